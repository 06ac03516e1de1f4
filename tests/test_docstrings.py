"""The examples in the docstrings of all modules run, and every public name has one."""

import doctest
import importlib
import inspect
import pathlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest
import torch

import sac_fast

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(sac_fast.__path__, "sac_fast.")
    if found.name.rpartition(".")[2] not in ("__main__", "_C")
)
# What no module may need for being imported, by the name that is imported.
OPTIONAL = {
    *("imagecorruptions", "matplotlib", "nvidia.dali", "onnx", "onnxruntime", "pyarrow", "pykeops", "ray", "skimage"),
    *("timm", "torchvision", "httpx2", "jmespath"),
}
# Optional packages that examples need.
NEEDED = {
    "sac_fast.probes.corruptions.corrupt": "imagecorruptions",
    "sac_fast.probes.dali.DaliLoader": "nvidia.dali",
    "sac_fast.probes.dali_probes.load_dali": "nvidia.dali",
}
# Public names without an example that runs: shorten the list, never lengthen it.
WITHOUT_EXAMPLE = {"evaluate"}
# Errors need none; NearestModels is shown by the op that returns it
EXEMPT = {"NearestModels", *(name for name in sac_fast.__all__ if inspect.isclass(getattr(sac_fast, name))
                             and issubclass(getattr(sac_fast, name), Exception))}  # fmt: skip


def find_doctests():
    """Docstrings with examples, by the dotted name of what they describe."""
    finder, names = doctest.DocTestFinder(), {"torch": torch, "np": np, "sac_fast": sac_fast}
    modules = [importlib.import_module(name) for name in MODULES]
    found = [test for module in (sac_fast, *modules) for test in finder.find(module, extraglobs=names)]
    return {test.name: test for test in found if test.examples}


DOCTESTS = find_doctests()


def runs(test):
    """Whether any example of a docstring is not marked to be skipped."""
    return not all(example.options.get(doctest.SKIP) for example in test.examples)


@pytest.mark.parametrize("name", sorted(DOCTESTS))
def test_examples_run(name, tmp_path, monkeypatch):
    test = DOCTESTS[name]
    if not runs(test):
        pytest.skip("its examples are marked +SKIP")
    if name in NEEDED:
        pytest.importorskip(NEEDED[name], reason=f"needs {NEEDED[name]}, which is not installed")
    monkeypatch.chdir(tmp_path)
    output = []
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS | doctest.REPORT_NDIFF)
    runner.run(test, out=output.append)
    assert not runner.failures, "".join(output)


def test_every_example_is_found():
    """A docstring that the finder misses, of a wrapped function say, would never run."""
    package = pathlib.Path(sac_fast.__file__).parent
    written = sum(
        line.lstrip().startswith(">>> ") for path in package.rglob("*.py") for line in path.read_text().splitlines()
    )
    assert sum(len(test.examples) for test in DOCTESTS.values()) == written


def test_every_public_name_has_an_example():
    public = {name: getattr(sac_fast, name) for name in set(sac_fast.__all__) - EXEMPT}
    tests = {name: DOCTESTS.get(f"{value.__module__}.{value.__qualname__}") for name, value in public.items()}
    assert {name for name, test in tests.items() if test is None or not runs(test)} == WITHOUT_EXAMPLE


def test_modules_are_imported_without_optional_packages():
    code = (
        "import importlib, sys\n"
        f"sys.modules.update(dict.fromkeys({sorted(OPTIONAL)}))\n"
        f"for name in {MODULES}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
