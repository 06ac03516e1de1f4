"""Where users' code is found: never in the place of a library, last, and only where code was named.

Most commands run as the console script does, with ``-P``; one as ``python -m`` does, which puts the current folder
first.
"""

import ast
import importlib
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from sac_fast.models import code_path, save_weights
from sac_fast.probes import ProbeSet
from sac_fast.store import ModelStore

ROOT = Path(code_path.__file__).parents[2]
TRAPS = (
    *("PIL", "cv2", "h5py", "matplotlib", "numpy", "nvidia", "onnx", "onnxruntime", "pandas", "pyarrow", "ray"),
    *("safetensors", "skimage", "timm", "torch", "json", "random", "typing", "typer", "rich"),
    *("_winapi", "java", "msvcrt", "winreg"),  # which the standard library tries
)
TRAP = "open({!r}, 'a').close()\nraise ImportError('a trap')\n"
MODELS = """
from torch import nn
import traps_helper
def build(classes=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, classes))
"""


def sac_fast(folder, *arguments, code=0):
    """Run the console script in a folder."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from sac_fast.cli.main import run; run()", *map(str, arguments)],
        cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def run_as_module(folder, *arguments):
    """Run ``python -m sac_fast`` in a folder, which Python puts first."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": ""}
    done = subprocess.run(
        [sys.executable, "-m", "sac_fast", *map(str, arguments)], cwd=folder, capture_output=True, text=True,
        timeout=300, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.fixture
def folder(tmp_path):
    """Data files, a module of models, and files that leave a marker where one imports them in a library's place."""
    for name in TRAPS:
        (tmp_path / f"{name}.py").write_text(TRAP.format(str(tmp_path / f"{name}.marker")))
    (tmp_path / "beside_models.py").write_text(MODELS)
    (tmp_path / "traps_helper.py").write_text("")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    ProbeSet.from_arrays(images, np.arange(12) % 3, layout="NHWC").save(tmp_path / "probes.safetensors")
    with h5py.File(tmp_path / "images.h5", "w") as file:
        file["data"] = images.astype(np.float32) / 255
        file["label"] = np.arange(12) % 3
    with h5py.File(tmp_path / "recorded.h5", "w") as file:
        file["outputs"] = rng.normal(size=(12, 3)).astype(np.float32)
    (tmp_path / "models").mkdir()
    torch.manual_seed(0)
    state = {"1.weight": torch.randn(3, 192), "1.bias": torch.randn(3)}
    save_weights(tmp_path / "models" / "a.safetensors", state)
    yield tmp_path
    assert [path.name for path in tmp_path.rglob("*.marker")] == []


def test_a_model_file_opens_no_library_of_the_folder(folder):
    sac_fast(folder, "fingerprint", "recorded.h5", "--probes", "probes.safetensors", "--out", "f.safetensors", "-q")


def test_a_named_callable_is_found_and_an_absent_library_is_not(folder):
    probes = ("--probes", "probes.safetensors", "-q")
    sac_fast(folder, "fingerprint", "beside_models:build", "--random-weights", *probes, "--out", "f.safetensors")
    text = sac_fast(
        folder, "fingerprint", "models/a.safetensors", *probes, "--out", "g.safetensors",
        "--architecture", "timm:resnet18", code=1,
    )  # fmt: skip
    assert "No module named 'timm'" in text


def test_what_the_standard_library_tries_is_not_found(folder):
    program = (
        "import sys\n"
        "from sac_fast.models.code_path import allow_code_in\n"
        "allow_code_in('.')\n"
        "for name in ('mimetypes', 'subprocess', 'multiprocessing.connection', 'uuid'):\n"
        "    sys.modules.pop(name, None)\n"
        "    __import__(name)\n"
        "import beside_models\n"
    )
    subprocess.run(
        [sys.executable, "-P", "-c", program], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=True
    )


def test_the_module_run_by_name_is_no_way_round(folder):
    run_as_module(
        folder, "fingerprint", "models/a.safetensors", "--probes", "probes.safetensors", "--out", "f.safetensors", "-q",
        "--architecture", "beside_models:build",
    )  # fmt: skip


def test_a_folder_of_probes(folder):
    sac_fast(folder, "probes", "images.h5", "--severity", "3", "--out", "p.safetensors")


def test_a_scan_finds_the_module_that_a_named_manifest_names_and_no_other(folder):
    (folder / "zoo.toml").write_text(
        '[[models]]\npath = "models/a.safetensors"\narchitecture = "beside_models:build"\n'
        '[[models]]\npath = "recorded.h5"\n[[models]]\npath = "models/a.safetensors"\nname = "b"\n'
        'architecture = "timm:resnet18"\n'
    )
    arguments = ("scan", "zoo.toml", "--probes", "probes.safetensors", "--store", "store", "--workers", "1", "-q")
    sac_fast(folder, *arguments)
    with ModelStore.open(folder / "store", write=False) as store:
        found = {record.name: (record.status, record.reason) for record in store.records()}
    assert found == {
        "models/a.safetensors": ("done", None),
        "recorded.h5": ("done", None),
        "b": ("failed", "missing-extra"),
    }


def test_trainings_find_the_callable_in_their_processes(folder):
    sac_fast(
        folder, "simulate", "--model", "beside_models:build", "--weights", "models/a.safetensors",
        "--data", "probes.safetensors", "--attacks", "finetune-all", "--epochs", 1, "--tuning-epochs", 1,
        "--workers", 1, "--out", "zoo", "-q",
    )  # fmt: skip
    assert (folder / "zoo" / "models" / "finetune-all-1.safetensors").exists()


def test_checkpoints_are_adopted(folder):
    for name in ("teacher/teacher", "irrelevant/irrelevant0", "finetune/finetune1"):
        path = folder / "scripts" / f"{name}.pth"
        path.parent.mkdir(parents=True)
        torch.save({"1.weight": torch.randn(3, 192), "1.bias": torch.randn(3)}, path)
    sac_fast(
        folder, "testbed", "adopt", "scripts", "--out", "zoo", "--images", "images.h5", "--image-size", 8,
        "--model", "beside_models:build", "--null-kind", "same-data", "--probe-count", 4, "--quiet",
    )  # fmt: skip


def imported_libraries():
    """Third-party packages that sac_fast imports, anywhere."""
    for path in (ROOT / "sac_fast").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.partition(".")[0]


def test_every_library_that_is_imported_is_on_the_list():
    missing = set(imported_libraries()) - set(sys.stdlib_module_names) - {"sac_fast"} - code_path.LIBRARIES
    assert missing == set()


def test_no_other_line_changes_the_search_path():
    """Scripts run as scripts, and processes that take over the search path of another, are another matter."""
    found = {
        path.relative_to(ROOT / "sac_fast").as_posix()
        for path in (ROOT / "sac_fast").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"sys\.path(\.insert|\.append|\.pop| \+=|\[.*\] = )|del sys\.path", line)
    }
    assert found == {"_search_path.py", "packs/opened.py", "scan/fork_server.py", "scan/ray.py"}


@pytest.fixture
def clean(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    # without a folder that an earlier test of this process allowed
    allowed = [finder for finder in sys.meta_path if not isinstance(finder, code_path._FolderFinder)]
    monkeypatch.setattr(sys, "meta_path", allowed)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_the_folder_comes_last_and_only_once_it_is_allowed(clean):
    (clean / "only_here.py").write_text("value = 1")
    (clean / "colorsys.py").write_text("raise RuntimeError")
    (clean / "parts").mkdir()
    (clean / "parts" / "nets.py").write_text("value = 3")
    before = [*sys.path]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("only_here")
    code_path.allow_code_in(None)
    assert code_path.code_folder() is None
    code_path.allow_code_in(clean)
    assert hasattr(importlib.import_module("colorsys"), "rgb_to_hsv")
    assert importlib.import_module("only_here").value == 1
    assert importlib.import_module("parts.nets").value == 3
    assert sys.path == before


def test_libraries_are_never_found_in_the_folder(clean):
    (clean / "timm.py").write_text("raise RuntimeError")
    code_path.allow_code_in(clean)
    assert importlib.util.find_spec("timm") is None or "timm.py" not in importlib.util.find_spec("timm").origin
    assert importlib.util.find_spec("torch") is not None


def test_an_installed_library_finds_nothing_in_the_folder(clean):
    """Libraries try to import what they could use: that such a name is not on our list must not matter."""
    (clean / "here").mkdir()
    (clean / "here" / "could_be_used.py").write_text("value = 5")
    (clean / "here" / "users_nets.py").write_text("import could_be_used\nvalue = could_be_used.value")
    library = clean / "site-packages"
    library.mkdir()
    tries = "try:\n    {}\nexcept ImportError:\n    found = False\nelse:\n    found = True\n"
    (library / "a_library.py").write_text(tries.format("import could_be_used"))
    by_name = "import importlib; importlib.import_module('could_be_used')"
    (library / "b_library.py").write_text(tries.format(by_name))
    sys.path.append(str(library))
    code_path.allow_code_in(clean / "here")
    assert not importlib.import_module("a_library").found
    assert not importlib.import_module("b_library").found
    assert "could_be_used" not in sys.modules
    assert importlib.import_module("users_nets").value == 5


def test_a_module_beside_the_user_goes_before_a_folder_of_its_name(clean):
    (clean / "installed" / "my_nets").mkdir(parents=True)
    (clean / "here").mkdir()
    (clean / "here" / "my_nets.py").write_text("value = 2")
    sys.path.append(str(clean / "installed"))
    code_path.allow_code_in(clean / "here")
    assert importlib.import_module("my_nets").value == 2


def test_a_second_folder_replaces_the_first(clean):
    for name in ("one", "two"):
        (clean / name).mkdir()
        (clean / name / "which_nets.py").write_text(f"value = {name!r}")
        code_path.allow_code_in(clean / name)
    assert importlib.import_module("which_nets").value == "two"


def test_children_are_told_of_the_folder(clean, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    said = []
    code_path.start_with_code_folder(str(clean), lambda *arguments: said.append(arguments), 1, "b")
    assert (said, code_path.code_folder()) == ([(1, "b")], str(clean))
    with code_path.safe_children():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert "PYTHONSAFEPATH" not in os.environ
