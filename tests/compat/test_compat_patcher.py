"""Scripts of the shape of the reference scripts run as they are, and print what they print on their own."""

import os
import re
import runpy
import subprocess
import sys

import numpy as np
import pytest
import torch
from support.reference_scripts import run

import sac_fast.compat
from sac_fast.compat import patched, run_script
from sac_fast.compat.__main__ import main
from sac_fast.compat.deferred import DeferredMatrix
from sac_fast.errors import FileFormatError


def python(*arguments, **options):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # threads only wait for each other at these sizes
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, env=environment, **options
    )


def without_cuda_calls(folder):
    for path in folder.glob("*.py"):
        path.write_text(path.read_text().replace(".cuda()", ""))


def check_report(lines, which):
    assert sorted(lines) == sorted(
        [
            "no CUDA device: .cuda() does nothing, torch.load loads to the CPU",
            "readers.dataset_test replaced by sac_fast.compat.datasets.dataset_test",
            f"__main__.correlation replaced by sac_fast.compat.{which}.correlation",
            f"__main__.cal_cor replaced by sac_fast.compat.{which}.cal_cor",
            "__main__.calculate_auc replaced by sac_fast.compat.sac_jc.calculate_auc",
        ]
    )


def plain_output(folder, *arguments, capsys, monkeypatch):
    """What the script prints without this package, its calls of .cuda() left out."""
    without_cuda_calls(folder)
    monkeypatch.setattr(sys, "argv", ["SAC.py", *arguments])
    monkeypatch.syspath_prepend(str(folder))
    try:
        runpy.run_path(str(folder / "SAC.py"), run_name="__main__")
    finally:
        for name in ("readers", "loading"):
            sys.modules.pop(name, None)
    return capsys.readouterr().out


def test_an_unchanged_script_prints_the_same(project, capsys, monkeypatch):
    folder, _ = project
    ours = python("-m", "sac_fast.compat", "SAC.py", "--an", "argument")
    assert ours.returncode == 0, ours.stderr
    assert not (folder / "__pycache__").exists()  # no replaced byte code for a plain run to find
    assert ours.stdout == plain_output(folder, "--an", "argument", capsys=capsys, monkeypatch=monkeypatch)
    found = [float(value) for value in re.findall(r"\d\.\d+", ours.stdout.splitlines()[1])]
    assert len(found) == 6
    assert len(set(found)) > 2  # neither all at chance nor all perfect
    check_report([line.removeprefix("sac_fast.compat: ") for line in ours.stderr.splitlines()], "sac_jc")


def test_half_the_distance_and_no_matrix(project, capsys, monkeypatch):
    folder, write = project
    write(" / 2")
    forms = []
    monkeypatch.setattr(DeferredMatrix, "formed", lambda self: forms.append(self))
    ours, lines = run("SAC.py", capsys=capsys)
    assert forms == []
    check_report(lines, "sac")
    assert plain_output(folder, capsys=capsys, monkeypatch=monkeypatch) == ours


def test_keywords_and_wrong_calls(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "def correlation(x, y):\n"
        "    '''Mine.'''\n"
        "    return 1 - torch.nn.functional.normalize(x) @ torch.nn.functional.normalize(y).T\n"
        "a, b = torch.eye(3), torch.ones(2, 3)\n"
        "print(correlation(y=b, x=a).shape, correlation.__name__, correlation.__doc__)\n"
        "try:\n    correlation(a)\nexcept TypeError as error:\n    print(error)\n"
    )
    out, _ = run(script, capsys=capsys)
    assert out == "torch.Size([3, 2]) correlation Mine.\nmissing a required argument: 'y'\n"


def test_the_script_runs_as_main(tmp_path, capsys, monkeypatch):
    script = tmp_path / "folder" / "script.py"
    script.parent.mkdir()
    script.write_text(
        "# -*- coding: latin-1 -*-\nimport sys, pickle\n"
        "class Mine:\n    pass\n"
        "assert isinstance(pickle.loads(pickle.dumps(Mine())), sys.modules['__main__'].Mine)\n"
        "print(__name__, sys.argv, sys.path[0] == FOLDER, 'é')\nsys.exit(3)\n".replace(
            "FOLDER", repr(str(script.parent))
        ),
        encoding="latin-1",
    )
    before = sys.modules["__main__"], sys.argv, sys.path, list(sys.meta_path)
    with pytest.raises(SystemExit, match="3"):
        run_script(script, ["--x", "1"], quiet=True)
    assert capsys.readouterr() == (f"__main__ ['{script}', '--x', '1'] True é\n", "")
    assert (sys.modules["__main__"], sys.argv, sys.path, sys.meta_path) == before


def test_errors_are_the_scripts_own(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("x = 1\n\n\nraise KeyError('mine')\n")
    with pytest.raises(KeyError, match="mine") as error:
        run_script(script, quiet=True)
    assert error.traceback[-1].lineno == 3
    script.write_text("x = (\n")
    with pytest.raises(SyntaxError, match="was never closed"):
        run_script(script, quiet=True)
    with pytest.raises(FileFormatError, match="cannot read"):
        run_script(tmp_path / "none.py")


def test_command_line(tmp_path, monkeypatch, capsys):
    """In this process; `test_an_unchanged_script_prints_the_same` starts another with ``python -m``."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as done:
        main(["none.py"])
    found = capsys.readouterr()
    assert (done.value.code, found.out) == (2, "")
    assert "SCRIPT.py must be a file, got 'none.py'" in found.err
    (tmp_path / "script.py").write_text("import sys\nprint(sys.argv)\nsys.exit(7)\n")
    with pytest.raises(SystemExit) as done:
        main(["--quiet", "script.py", "--quiet", "-h"])
    assert (done.value.code, *capsys.readouterr()) == (7, "['script.py', '--quiet', '-h']\n", "")


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA devices are used as they are")
def test_without_cuda(tmp_path):
    x, model, own = torch.ones(2), torch.nn.Linear(2, 2), torch.load
    torch.save({"x": x}, tmp_path / "x.pth")
    with patched(quiet=True):
        assert x.cuda() is x
        assert x.cuda(0, non_blocking=True) is x
        assert model.cuda() is model
        assert torch.nn.Sequential(model).cuda(device=1)[0] is model
        assert torch.load(tmp_path / "x.pth")["x"].tolist() == [1, 1]
        assert torch.load(tmp_path / "x.pth", "meta")["x"].is_meta
        assert torch.load(tmp_path / "x.pth", map_location="meta")["x"].is_meta
        assert vars(np)["int"] is int
    assert torch.load is own
    for thing in (x, model):
        with pytest.raises((AssertionError, RuntimeError)):
            thing.cuda()
    assert "int" not in vars(np)


def test_pickled_models_only_when_asked_for(tmp_path, project, capsys):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pth")
    with patched(quiet=True), pytest.raises(Exception, match="Weights only load failed"):
        torch.load(tmp_path / "model.pth")
    with patched(quiet=True, allow_pickled_models=True):
        assert isinstance(torch.load(tmp_path / "model.pth"), torch.nn.Linear)
        with pytest.raises(Exception, match="Weights only load failed"):
            torch.load(tmp_path / "model.pth", weights_only=True)


def test_context_manager_for_notebooks(project, capsys):
    folder, _ = project
    name = "data_augmented/jpeg_compression_augment_s=1_f=0.h5"
    (folder / "unrelated.py").write_text("value = 1\n")

    def correlation(m, n):
        return 1 - torch.nn.functional.normalize(m) @ torch.nn.functional.normalize(n).T

    def similarity(output1, output2=None):
        return "other signature"

    cells = {"correlation": correlation, "other": 3, "similarity": similarity}
    x = torch.randn(4, 3, requires_grad=True)
    with patched(cells, folder=folder):
        import readers
        import unrelated

        assert hasattr(readers.dataset_test(name), "pixels")
        assert not cells["correlation"](x, x).requires_grad
        assert cells["similarity"] is similarity
        kept = cells["correlation"]
    assert cells == {"correlation": correlation, "other": 3, "similarity": similarity}
    assert kept(x, x).requires_grad  # the notebook's own again, wherever it was kept
    assert not hasattr(readers.dataset_test(name), "pixels")
    assert unrelated.value == 1
    assert "readers" not in sys.modules
    err = capsys.readouterr().err
    assert "readers.dataset_test replaced by sac_fast.compat.datasets.dataset_test\n" in err
    assert f"{__name__}.correlation replaced by sac_fast.compat.sac_jc.correlation\n" in err


def test_everything_is_put_back_after_an_error():
    before = torch.load, torch.Tensor.cuda, torch.nn.Module.cuda, list(sys.meta_path)
    with pytest.raises(KeyError), patched({"correlation": lambda m, n: 0}, quiet=True):
        raise KeyError
    assert (torch.load, torch.Tensor.cuda, torch.nn.Module.cuda, sys.meta_path) == before


def test_public_names():
    assert set(sac_fast.compat.__all__) == {"correlation_differences", "output_differences", "patched", "run_script"}
