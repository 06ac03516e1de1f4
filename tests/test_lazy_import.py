"""`import sac_fast` imports no torch; `torch.ops.sac_fast.*` is there for whoever imported both, in either order."""

import ast
import importlib
import inspect
import pathlib
import subprocess
import sys
import tempfile

import pytest
import torch

import sac_fast

OPS = (
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "jpeg_roundtrip",
    "nearest_models",
    "pairwise_correlation_distances",
)
USE = f"""
missing = [name for name in {OPS} if not hasattr(torch.ops.sac_fast, name)]
assert not missing, missing
images = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
quality = torch.tensor([75], dtype=torch.uint8)
assert torch.ops.sac_fast.jpeg_roundtrip(images, quality, "4:2:0", "reference").shape == images.shape
assert not any(type(finder).__module__ == "sac_fast.io.after_import" for finder in sys.meta_path)
assert "exec_module" not in vars(torch.__loader__)
"""


def python(code, *arguments, **kwargs):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import sys\n" + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tempfile.gettempdir(),
        timeout=300,
        **kwargs,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_importing_imports_nothing_slow():
    slow = "[m for m in ('torch', 'numpy', 'PIL', 'rich', 'typer') if m in sys.modules]"
    assert python(f"import sac_fast; print({slow})") == "[]\n"


@pytest.mark.parametrize(
    "imports",
    [
        "import torch, sac_fast",
        "import sac_fast, torch",
        "import sac_fast; sac_fast.ProbeSet; import torch",
        "import sac_fast._backend, torch",  # torch is imported by half a module of the package
        "import sac_fast.compat, torch",
    ],
)
def test_the_ops_are_registered_in_either_order(imports):
    python(f"{imports}\n{USE}")


def test_a_failed_import_of_torch_is_survived(tmp_path):
    (tmp_path / "torch.py").write_text("raise OSError('libtorch_cpu.so: no such file')")
    code = """
import sac_fast
sys.path.insert(0, sys.argv[1])
for _ in range(2):
    try:
        import torch
    except OSError as error:
        assert "libtorch" in str(error)
    else:
        raise AssertionError
assert sac_fast.StoreError.__mro__[1] is sac_fast.SacFastError
sys.path.remove(sys.argv[1])
sys.path_importer_cache.clear()
import torch
"""
    python(code + USE, tmp_path)


def test_a_reload_adds_nothing():
    code = """
import importlib
import sac_fast
importlib.reload(sac_fast)
assert sum(type(finder).__module__ == "sac_fast.io.after_import" for finder in sys.meta_path) == 1
import torch
importlib.reload(sac_fast)
"""
    python(code + USE)


@pytest.mark.parametrize(
    "names",
    [
        ["torch", "sac_fast.ops"],
        ["sac_fast:fingerprint", "sac_fast:correlation_distance", "torch", "sac_fast:ProbeSet", "sac_fast:verdict"],
    ],
)
def test_threads_that_use_both_at_once_lose_nothing(names):
    code = """
import importlib, pkgutil, threading
import sac_fast
start, errors = threading.Barrier(len(sys.argv) - 1), []
def load(name):
    start.wait()
    try:
        pkgutil.resolve_name(name)
    except BaseException as error:
        errors.append(error)
threads = [threading.Thread(target=load, args=(name,)) for name in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not errors, errors
import torch
"""
    python(code + USE, *names)


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="needs fork")
def test_a_forked_child_registers_for_itself():
    code = """
import os
import sac_fast
child = os.fork()
if child == 0:
    import torch
"""
    body = "\n".join("    " + line for line in USE.splitlines())
    python(code + body + "\n    os._exit(0)\nassert os.waitpid(child, 0)[1] == 0\nassert 'torch' not in sys.modules\n")


@pytest.mark.parametrize("imports", ["import torch, sac_fast", "import sac_fast, torch"])
def test_an_exported_program_runs(tmp_path, imports):
    class Compress(torch.nn.Module):
        def forward(self, images):
            return torch.ops.sac_fast.jpeg_roundtrip(
                images, torch.tensor([20], dtype=torch.uint8), "4:2:0", "reference"
            )

    images = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.export.save(torch.export.export(Compress(), (images,)), tmp_path / "program.pt2")
    torch.save((images, Compress()(images)), tmp_path / "images.pt")
    code = f"""
{imports}
images, expected = torch.load(sys.argv[2])
assert torch.equal(torch.export.load(sys.argv[1]).module()(images), expected)
"""
    python(
        "import warnings; warnings.simplefilter('default')\n" + code, tmp_path / "program.pt2", tmp_path / "images.pt"
    )


def test_a_public_name_is_the_function_and_not_its_module():
    code = """
import sac_fast.fingerprint
from sac_fast.fingerprint import Fingerprint
module = sys.modules["sac_fast.fingerprint"]
assert sac_fast.fingerprint is module.fingerprint
assert sac_fast.Fingerprint is Fingerprint is module.Fingerprint
import sac_fast
from sac_fast import fingerprint
assert fingerprint is module.fingerprint
sac_fast.fingerprint = None  # as a test's monkeypatch
assert sac_fast.fingerprint is None
"""
    python(code)


@pytest.mark.parametrize("name", sac_fast.__all__)
def test_every_public_name_is_what_its_module_defines(name):
    value = getattr(sac_fast, name)
    assert callable(value)
    assert not inspect.ismodule(value)
    assert value.__name__ == name
    assert value.__module__.startswith("sac_fast.")
    assert vars(sac_fast)[name] is value


def test_the_table_and_the_imports_for_type_checkers_agree():
    tree = ast.parse(pathlib.Path(sac_fast.__file__).read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    imported = {alias.name: node.module for node in block.body for alias in node.names}
    assert imported == sac_fast._MODULE_OF
    assert sorted(imported) == sorted(sac_fast.__all__)


def test_dir_names_what_is_public():
    assert set(sac_fast.__all__) <= set(dir(sac_fast))


def test_submodules_come_when_they_are_named():
    assert python("import sac_fast; print(sac_fast.verdict.conformal_p_value.__name__)") == "conformal_p_value\n"
    assert sac_fast.io.container is importlib.import_module("sac_fast.io.container")
    assert not hasattr(sac_fast, "no_such_name")
    with pytest.raises(ImportError, match="cannot import name 'no_such_name' from 'sac_fast'"):
        from sac_fast import no_such_name  # noqa: F401
