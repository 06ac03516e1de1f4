"""What an untrusted file may cost before it is refused, and the reasons for which it is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from ..errors import ModelRefusedError

#: Every `ModelRefusedError.reason`, and what it says.
REASONS = {
    "missing": "there is no such file, or it may not be read",
    "empty": "the file has no bytes",
    "not-a-regular-file": "a folder, a pipe, a socket or a device",
    "symlink": "a link to a file outside the folder of models",
    "symlink-loop": "links that lead to themselves",
    "path-too-long": "a path that the system does not take",
    "unknown-format": "no format that is read here",
    "not-a-model": "a file of sac_fast that holds no model (probes, for example)",
    "truncated": "the file ends before its data do",
    "malformed": "the file contradicts its own format",
    "duplicate-keys": "one name is given twice",
    "overlap": "two tensors or archive entries share bytes",
    "gap": "bytes that belong to no tensor",
    "damaged": "the content does not have the hash that the file states",
    "too-large": "the file, its header or its tensors exceed a limit",
    "too-many-tensors": "more tensors than the limit",
    "expanded": "little data that claim to be many",
    "compressed": "a compressed archive where only stored ones are written",
    "pickle": "loading it would run code that the file names",
    "torchscript": "a TorchScript program",
    "pt2": "an exported PyTorch program",
    "sparse": "sparse tensors, whose indices may lie",
    "not-dense": "quantized, nested or other tensors that are no plain arrays of numbers",
    "no-state-dict": "a checkpoint that holds no mapping from names to tensors",
    "object-array": "an array of Python objects",
    "not-numbers": "values that are no real numbers",
    "not-finite": "NaN or infinity",
    "wrong-shape": "recorded outputs that are not (n, k)",
    "other-probes": "a fingerprint on other probes",
    "which-weights": "several state dicts that fit and differ, or none under the key that was named",
    "class-numbers": "several class numbers a probe, which are no real values",
    "looks-like-weights": "one array that is named like weights, where outputs are expected",
    "ambiguous-table": "a text table that can be read in two ways",
    "which-array": "several arrays, none of them named as the one",
    "external-link": "HDF5 data that lie in other files, or links instead of data",
    "filter": "a compression filter that is not allowed",
    "external-data": "ONNX weights in a file that may not be read",
    "custom-domain": "ONNX operators that are not of the standard",
    "more-inputs": "an ONNX graph with further inputs that need fixed values",
    "no-images": "a model that takes no images",
    "random": "ONNX operators whose outputs differ from run to run",
    "graph": "an ONNX graph that the checker or the runtime refuses",
    "no-architecture": "weights, and no architecture is given or fits",
    "ambiguous-architecture": "several registered architectures fit",
    "missing-extra": "an optional dependency is not installed",
}

# Limits that no option changes, since no sound file comes near them.
MAX_DIMENSIONS = 64  # of a tensor
MAX_TENSOR_ENTRY = 4096  # characters of one tensor's description in a safetensors header; a legal one has about 100
MAX_METADATA_ENTRIES = 4096  # of a safetensors header
MAX_FINGERPRINT_HEADER = 2 << 20  # bytes; parsed as JSON twice, a header costs many times its own size
MAX_PICKLE_STEPS = 1_500_000  # one step makes at most some 100 bytes: an empty dict and its place in the memo
MAX_PICKLE_CLASSES = 10_000  # that a pickle names; each is a class in memory
MAX_KEY_PARTS = 30_000  # of a pickle's keys that are neither short numbers nor text, whose hashes cannot be chosen
MAX_ONNX_BYTES = (1 << 31) - 1  # of a ModelProto; protobuf reads no longer message
MAX_ONNX_FIELDS = 10_000  # of a ModelProto, at its top
MAX_ONNX_GRAPH_FIELDS = 1_000_000  # of a ModelProto, all together
MAX_ONNX_DEPTH = 50  # of messages inside each other
MAX_ONNX_SUBGRAPHS = 16  # of graphs inside each other
MAX_FLATBUFFER_VALUES = 2_000_000  # of one file, those of its arrays left out
MAX_JSON_BYTES = 32 << 20  # of one JSON file; half of it with other characters than ASCII, which take four bytes each
MAX_JSON_VALUES = 900_000  # of one JSON file; names of one object take 200 bytes each while it is parsed
MAX_JSON_DEPTH = 100  # of objects and lists inside each other
MAX_CSV_BYTES = 64 << 20
MAX_CSV_COLUMNS = 1 << 20
MAX_HDF5_CHUNK_BYTES = 32 << 20
MAX_HDF5_CHUNKS = 400_000  # of one dataset; each is an entry in memory while they are read


@dataclass(frozen=True)
class Limits:
    """Caps on one model file; all are checked before the memory is taken.

    Attributes:
        max_file_bytes: size of the file, external data included.
        max_tensors: number of tensors, arrays or archive entries.
        max_tensor_bytes: one tensor, as it lies in memory.
        max_inflated_bytes: all tensors together, as they lie in memory.
        max_header_bytes: safetensors header, pickled structure, archive directory: what is parsed in full.
        max_activation_bytes: one value inside an ONNX graph, for one probe, where its size is known.
        free_expansion_bytes: memory that a compressed or compact file may claim beyond twice its own size.

    Raises:
        ValueError: a limit below 1.

    Example::

        >>> import numpy
        >>> numpy.save("outputs.npy", numpy.ones((20, 10)))
        >>> sac_fast.identify("outputs.npy", limits=sac_fast.Limits(max_file_bytes=1000))
        Traceback (most recent call last):
        sac_fast.errors.ModelRefusedError: 'outputs.npy' must have at most 1,000 bytes, got 1,728
    """

    max_file_bytes: int = 16 << 30
    max_tensors: int = 50_000
    max_tensor_bytes: int = 8 << 30
    max_inflated_bytes: int = 16 << 30
    max_header_bytes: int = 16 << 20
    max_activation_bytes: int = 1 << 30
    free_expansion_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} must be an integer of at least 1, got {value!r}")

    def check_file(self, name: str, size: int) -> None:
        """Refuse an empty file and one above `max_file_bytes`."""
        if size == 0:
            refuse("empty", f"{name} must hold a model, got an empty file")
        if size > self.max_file_bytes:
            refuse("too-large", f"{name} must have at most {self.max_file_bytes:,} bytes, got {size:,}")

    def check_count(self, name: str, count: int, what: str = "tensors") -> None:
        """Refuse more than `max_tensors`."""
        if count > self.max_tensors:
            refuse("too-many-tensors", f"{name} must hold at most {self.max_tensors:,} {what}, got {count:,}")

    def check_header(self, name: str, size: int, what: str) -> None:
        """Refuse a structure above `max_header_bytes`."""
        if size > self.max_header_bytes:
            refuse("too-large", f"{name} must have {what} of at most {self.max_header_bytes:,} bytes, got {size:,}")

    def check_tensor(self, name: str, key: str, size: int, total: int) -> None:
        """Refuse a tensor above `max_tensor_bytes`, or a sum above `max_inflated_bytes`."""
        wanted = f"{name} must hold tensors of at most"
        if size > self.max_tensor_bytes:
            refuse("too-large", f"{wanted} {self.max_tensor_bytes:,} bytes, got {size:,} at {key!r}")
        if total > self.max_inflated_bytes:
            refuse("too-large", f"{wanted} {self.max_inflated_bytes:,} bytes together, got more")

    def check_expansion(self, name: str, key: str, size: int, file_bytes: int) -> None:
        """Refuse an array that needs far more memory than the file has bytes."""
        if size > 2 * file_bytes + self.free_expansion_bytes:
            found = f"{size:,} bytes at {key!r} out of {file_bytes:,}"
            refuse("expanded", f"{name} must store what it declares, got {found}")


@contextlib.contextmanager
def refuse_errors(message: str, reason: str = "malformed") -> Iterator[None]:
    """Turn whatever a library raises for a damaged file into a `ModelRefusedError`; those pass as they are.

    Args:
        message: what was expected; the error follows it.
        reason: one of `REASONS`.
    """
    try:
        yield
    except ModelRefusedError:
        raise
    except Exception as error:  # what libraries raise for damaged files is not documented
        refuse(reason, f"{message}, got {type(error).__name__}: {str(error)[:300]}", error)


def refuse(reason: str, message: str, cause: BaseException | None = None) -> NoReturn:
    """Raise a `ModelRefusedError`.

    Args:
        reason: one of `REASONS`.
        message: what was expected and what was got.
        cause: the error behind it.
    """
    if reason not in REASONS:
        raise AssertionError(f"reason must be one of REASONS, got {reason!r}")
    raise ModelRefusedError(message, reason) from cause


def refuse_weights(name: str, found: str, reason: str = "malformed") -> NoReturn:
    """Refuse a file that is no sound one of weights."""
    refuse(reason, f"{name} must be a file of weights, got {found}")
