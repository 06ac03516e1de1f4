"""What a checkpoint's pickle may name beside tensors: classes of data, which become inert records.

Nothing of it is ever imported or called. Names that would act on the machine that loads the file elsewhere are refused
all the same, since such a file is an attack whatever is in it.
"""

from __future__ import annotations

import re
import sys

# What of the standard library holds data and does nothing else.
_STANDARD = {
    "argparse": {"Namespace"},
    "builtins": {
        *("object", "set", "frozenset", "slice", "range", "complex", "bytearray", "bytes", "int", "float", "str"),
        *("bool", "list", "dict", "tuple", "xrange", "unicode", "long"),
    },
    "_codecs": {"encode"},
    "collections": {"OrderedDict", "Counter", "defaultdict", "deque"},
    "copyreg": {"_reconstructor", "__newobj__"},
    "datetime": {"date", "datetime", "time", "timedelta", "timezone"},
    "decimal": {"Decimal"},
    "fractions": {"Fraction"},
    "functools": {"partial"},
    "pathlib": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "pathlib._local": {"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"},
    "types": {"SimpleNamespace"},
    "typing": {"Any", "Dict", "List", "Optional", "Tuple", "Union"},
    "uuid": {"UUID", "SafeUUID"},
}
# Names of Python 2, as its pickles and those of protocol 2 have them.
_OLD_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "UserDict": "collections"}
_NUMPY = re.compile(
    r"dtype|ndarray|scalar|_reconstruct|_frombuffer|\w+DType|bool_?|str_|bytes_|(u?int|float|complex)\d*|longdouble"
)
# Modules and classes of other packages by the habit of naming classes; what they call functions is refused.
_CLASS = re.compile(r"(\w+\.)*_{0,2}[A-Z]\w*")


def is_class_of_data(module: str, name: str) -> bool:
    """Whether ``module.name`` may stand in a checkpoint without being a tensor's part.

    Args:
        module: as the pickle names it.
        name: likewise, dotted for classes inside classes.

    Returns:
        True for a short list of the standard library, for NumPy's arrays, dtypes and scalars, and for classes (by
        their capital letter) of other packages.
    """
    module = _OLD_MODULES.get(module, module)
    root = module.partition(".")[0]
    if root == "numpy":
        return _NUMPY.fullmatch(name) is not None
    if root in sys.stdlib_module_names or root.startswith("_"):
        return name in _STANDARD.get(module, ())
    return _CLASS.fullmatch(name) is not None
