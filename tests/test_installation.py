"""The package as installed: import time, a missing compiled module, the stub against the module, the README."""

import ast
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

import sac_fast
from sac_fast import _backend
from sac_fast.io.version import package_version

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = pathlib.Path(sac_fast.__file__).parent


def python(*arguments, **kwargs):
    # away from the source tree, which Python would import before the installed package
    kwargs.setdefault("cwd", tempfile.gettempdir())
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, **kwargs)


def test_import_is_quick():
    code = "import torch, time; t = time.perf_counter(); import sac_fast; print(time.perf_counter() - t)"
    assert min(float(python("-c", code, check=True).stdout) for _ in range(3)) < 0.3


def test_import_is_silent_and_light():
    code = (
        "import sys, sac_fast; "
        "print([m for m in ('sklearn', 'scipy', 'h5py', 'rich', 'typer', 'torchvision') if m in sys.modules])"
    )
    run = python("-c", code, check=True)
    assert run.stdout.strip() == "[]"
    assert run.stderr == ""


def test_works_without_the_compiled_module(tmp_path):
    ignore = shutil.ignore_patterns("_C.*.so", "__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "sac_fast", ignore=ignore)
    code = (
        "import torch, sac_fast, sac_fast.cli.main, sys\n"
        "a, b = torch.eye(2), torch.ones(2, 2)\n"
        "print(sac_fast.correlation_distance(a, b).item())\n"
        "try: sac_fast.correlation_distance(a, b, backend='cpu')\n"
        "except sac_fast.BackendError as error: print(error)\n"
        "sys.argv = ['sac-fast', 'info']; sac_fast.cli.main.main()\n"
    )
    run = python("-c", code, env=os.environ | {"PYTHONPATH": str(tmp_path)}, check=True)
    distance, error, *info = run.stdout.splitlines()
    assert float(distance) == 0.5
    assert "backend 'cpu' needs the compiled module sac_fast._C, which is missing" in error
    assert "everything runs on the backend 'reference'" in " ".join(" ".join(info).split())


@pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")
def test_stub_matches_the_module():
    module = _backend.compiled()
    tree = ast.parse((PACKAGE / "_C.pyi").read_text())
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    variables = {node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)}
    public = {name for name in dir(module) if not name.startswith("__")}
    assert public == set(functions) | variables
    for name, node in functions.items():
        signature = getattr(module, name).__doc__.splitlines()[0]
        assert re.findall(r"(\w+): ", signature) == [argument.arg for argument in node.args.args]


@pytest.mark.skipif(not _backend.is_compiled(), reason="sac_fast._C is not built")
def test_compiled_module_links_neither_torch_nor_a_driver():
    libraries = subprocess.run(["ldd", _backend.compiled().__file__], capture_output=True, text=True, check=True)
    assert "libc.so" in libraries.stdout
    assert not re.search("torch|cuda|cudart|nvidia|python", libraries.stdout)


def test_version_is_one(capsys):
    assert _backend.compiled().version == package_version()


def readme_blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def test_readme_example_runs_as_written():
    (code,) = readme_blocks("python")
    run = python("-c", code, check=True)
    assert run.stdout.startswith("derived ")


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    listed = set(re.findall(r"^\| `sac-fast (\w+)", text, re.M))
    help_text = python("-m", "sac_fast", "--help").stdout
    offered = set(re.findall(r"^  (\w+)  ", help_text, re.M))
    assert listed == offered != set()


def test_info_as_json_says_what_is_there():
    run = python("-m", "sac_fast", "info", "--json")
    info = json.loads(run.stdout)
    assert info["compiled"] is _backend.is_compiled()
    assert info["backends"][-1] == "reference"
    assert info["torch"].startswith("2.")


@pytest.mark.skipif(not _backend.is_compiled(), reason="the compiled module is not there")
def test_unknown_instruction_set_is_refused(run, monkeypatch):
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", "foo")
    code, out, err = run("info")
    assert (code, out) == (1, "")
    sets = ", ".join(_backend.compiled().instruction_sets())
    assert f"SAC_FAST_INSTRUCTION_SET must be one of {sets} (what this processor and build have), got 'foo'" in err
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", "portable")
    assert sac_fast.capabilities()["instruction_set"] == "portable"
