"""Scripts of the shape of the reference scripts run as they are, and print what they print on their own."""

import os
import re
import runpy
import subprocess
import sys
import types

import h5py
import numpy as np
import pytest
import torch
from support import script_formulas as plain

import sac_fast.compat
from sac_fast.compat import patched, run_script
from sac_fast.compat.__main__ import main
from sac_fast.compat.deferred import DeferredMatrix
from sac_fast.errors import FileFormatError

# A neighbour of the script: the dataset class.
READER = """
import os
import h5py
import numpy as np
import torch
IMPORTS
from torch.utils.data import Dataset

to_tensor = TRANSFORM


class dataset_test(Dataset):
    def __init__(self, name):
        super(dataset_test, self).__init__()
        stored = h5py.File(os.path.join("data", name), "r")
        self.images, self.labels = np.array(stored["/data"]), np.array(stored["/label"])

    def __len__(self):
        return self.labels.shape[0]

    def __getitem__(self, item):
        picture = np.array(self.images[item] * 255, dtype="uint8")
        return [to_tensor(torch.tensor(picture)), torch.tensor(self.labels[item])]
"""
PLAIN_READER = READER.replace("IMPORTS", "").replace("TRANSFORM", "lambda picture: picture.to(torch.float32).div(255)")
TORCHVISION_READER = READER.replace("IMPORTS", "import cv2, torchvision\nfrom torchvision import transforms").replace(
    "TRANSFORM", "transforms.Compose([transforms.ToPILImage(), transforms.ToTensor()])"
)

# Another neighbour: the models, as a function of a number and a kind.
LOADER = """
import torch
from torch import nn


class FeatureHook():
    def __init__(self, module):
        self.hook = module.register_forward_hook(self.hook_fn)

    def hook_fn(self, module, input, output):
        self.output = output

    def close(self):
        self.hook.remove()


def load_model(num, mode):
    kinds = ["teacher", "kd", "label", "irrelevant", "adversarial", "finetune", "prune"]
    noise = [0, 0.5, 0.7, 0.8, 0.75, 0.1, 0.3][kinds.index(mode)]
    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 7))
    for seed, scale in [(0, 1.0), (1000 * kinds.index(mode) + num + 1, noise)]:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data = (seed > 0) * parameter.data + scale * torch.randn(parameter.shape, generator=generator)
    if num == 0:
        torch.save(model.state_dict(), "model.pth")
        model.load_state_dict(torch.load("model.pth"))
    return model
"""

# The script: its own functions, all matrices at once, seven groups of models.
SCRIPT = """
import sys
import types
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from sklearn.metrics import roc_curve, auc
from readers import dataset_test
from loading import load_model, FeatureHook


def correlation(m, n):
    a = F.normalize(m, dim=-1)
    b = F.normalize(n, dim=-1).transpose(0, 1)
    return (1 - torch.mm(a, b))HALF


def cal_cor(model, dataloader):
    model.eval()
    model = model.cuda()
    outputs = []
    for i, (x, y) in enumerate(dataloader):
        x, y = x.cuda(), y.cuda()
        outputs.append(model(x).detach())
    output = torch.concat(outputs, 0)
    model = model.cpu()
    return correlation(output, output)


def calculate_auc(list_a, list_b):
    truth = [0] * len(list_a) + [1] * len(list_b)
    score = []
    score.extend(list_a)
    score.extend(list_b)
    fpr, tpr, thresholds = roc_curve(truth, score)
    return auc(fpr, tpr)


def cal_corre(models, iter, augment_name):
    name = "data_augmented/" + augment_name + "_augment_s={}_f={}.h5".format(int(np.floor(iter / 2)) + 1, iter % 2)
    loader = DataLoader(dataset_test(name), shuffle=False, batch_size=16)
    cor_mats = []
    for i in range(len(models)):
        cor_mat = cal_cor(models[i], loader)
        cor_mats.append(cor_mat)
    diff = torch.zeros(len(models))
    for i in range(len(models) - 1):
        diff[i] = torch.sum(torch.abs(cor_mats[i + 1] - cor_mats[0])) / (cor_mat.shape[0] * cor_mat.shape[1])
    print("mean of the differences: %.4f" % diff[:-1].mean().item(), diff.shape)
    clean = diff[40:60]
    groups = [diff[:20], diff[20:40], diff[60:80], diff[80:90], diff[90:100], diff[100:105]]
    return [calculate_auc(group, clean) for group in groups]


if __name__ == "__main__":
    models = []
    counts = [("teacher", 1), ("kd", 20), ("label", 20), ("irrelevant", 20), ("adversarial", 20), ("finetune", 20)]
    for mode, count in counts + [("prune", 5)]:
        for i in range(count):
            models.append(load_model(i, mode))
    found = cal_corre(models, 0, "jpeg_compression")
    print("AUC_P:", found[0], "AUC_L:", found[1], "AUC_Adv:", found[2], "AUC_F:", found[3:5], "AUC_Prune:", found[5])
    print(sys.argv[1:], __file__, [type(m).__module__ for m in models[:1]])
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A folder with the script, its neighbours and its data; the current folder."""

    def write(half="", reader=PLAIN_READER):
        (tmp_path / "SAC.py").write_text(SCRIPT.replace("HALF", half))
        (tmp_path / "readers.py").write_text(reader)
        (tmp_path / "loading.py").write_text(LOADER)

    write()
    folder = tmp_path / "data" / "data_augmented"
    folder.mkdir(parents=True)
    with h5py.File(folder / "jpeg_compression_augment_s=1_f=0.h5", "w") as file:
        generator = np.random.default_rng(0)
        file["data"] = generator.random((51, 3, 8, 8), dtype=np.float32)
        file["label"] = generator.integers(0, 7, 51)
    monkeypatch.chdir(tmp_path)
    return tmp_path, write


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


def run(script, *arguments, capsys, **options):
    """stdout and the lines of stderr of a script run in this process."""
    run_script(script, arguments, **options)
    captured = capsys.readouterr()
    return captured.out, [line.removeprefix("sac_fast.compat: ") for line in captured.err.splitlines()]


def test_half_the_distance_and_no_matrix(project, capsys, monkeypatch):
    folder, write = project
    write(" / 2")
    forms = []
    monkeypatch.setattr(DeferredMatrix, "formed", lambda self: forms.append(self))
    ours, lines = run("SAC.py", capsys=capsys)
    assert forms == []
    check_report(lines, "sac")
    assert plain_output(folder, capsys=capsys, monkeypatch=monkeypatch) == ours


def test_missing_torchvision_is_not_needed(project, capsys, monkeypatch):
    folder, write = project
    (folder / "script.py").write_text(
        "from readers import dataset_test\n"
        "data = dataset_test('data_augmented/jpeg_compression_augment_s=1_f=0.h5')\n"
        "print(len(data), [(x.sum().item(), y.item()) for x, y in data])\n"
    )
    expected, _ = run("script.py", capsys=capsys)
    for name in ("torchvision", "cv2"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write(reader=TORCHVISION_READER)
    out, lines = run("script.py", capsys=capsys)
    assert out == expected
    assert out.startswith("51 [(")
    assert "torchvision is not installed: the script goes on until it needs it" in lines
    assert "cv2 is not installed: the script goes on until it needs it" in lines
    (line,) = [line for line in lines if line.startswith("readers.dataset_test")]
    assert "not compared: No module named 'torchvision', which torchvision.transforms.Compose needs" in line


USES = ["model.fc[0]", "model[0] = 1", "list(model)", "len(model)", "model(torch.ones(2))", "class A(model): pass"]


@pytest.mark.parametrize("use", USES)
def test_missing_torchvision_is_told_where_it_is_needed(tmp_path, monkeypatch, use):
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    script = tmp_path / "script.py"
    script.write_text(
        "import torch, torchvision.models as m\nimport torchvision\nfrom torchvision.transforms import ToTensor as T\n"
        f"model = m.vgg16_bn(pretrained=False)\ntorchvision.x, T\n{use}\n"
    )
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'torchvision', which torchvision\.models") as error:
        run_script(script, quiet=True)
    (line,) = [entry.lineno + 1 for entry in error.traceback if entry.path == script]
    assert line == 6  # lines keep their numbers


def test_functions_that_only_share_a_name_are_kept(tmp_path, capsys):
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\n"
        "def correlation(m, n):\n    return m @ n.T\n"
        "def pairwise_euclid_distance(A):\n    return torch.cdist(A, A).double() ** 2\n"
        "def similarity(output1, output2):\n    raise KeyError('mine')\n"
        "def feature(model):\n    return 'other signature'\n"
        "def cal_correct(model, dataloader=None):\n    return 'default'\n"
        "def calculate_auc(*lists):\n    return 'any number'\n"
        "class correlation_dist:\n    pass\n"
        "def output_to_label(output):\n    return 0\n"
        "if True:\n    def correlation_dist(A):\n        return 'not at the top level'\n"
        "x = torch.ones(2, 3)\n"
        "print(correlation(x, x).tolist(), pairwise_euclid_distance(x).dtype, correlation_dist(x))\n"
        "print(feature(1), cal_correct(1, 2), calculate_auc())\n"
        "try:\n    similarity(x, x)\nexcept KeyError as error:\n    print(error)\n"
    )
    out, lines = run(script, capsys=capsys)
    assert out == (
        "[[3.0, 3.0], [3.0, 3.0]] torch.float64 not at the top level\nother signature default any number\n'mine'\n"
    )
    assert lines[1:] == [
        "__main__.correlation kept, since its values on the example are others",
        "__main__.pairwise_euclid_distance kept, since its values on the example are others",
        "__main__.similarity kept, since it fails on the example: KeyError: 'mine'",
        "found, but never called: __main__.output_to_label",
    ]


READERS_THAT_DIFFER = {
    "scaled": PLAIN_READER.replace("div(255)", "div(255).sub(0.5)"),
    "random": PLAIN_READER.replace("div(255)", "div(255).mul(torch.rand(1).round())"),
    "flipped": PLAIN_READER.replace("div(255)", "div(255).flip(2)"),
    "rounded": PLAIN_READER.replace("[item] * 255", "[item] * 255 + 0.5"),
    "other folder": PLAIN_READER.replace('"data", name', '"other", name'),
    "float labels": PLAIN_READER.replace("torch.tensor(self.labels[item])", "float(self.labels[item])"),
}


@pytest.mark.parametrize("reader", READERS_THAT_DIFFER.values(), ids=READERS_THAT_DIFFER)
def test_readers_that_differ_are_kept(tmp_path, monkeypatch, capsys, reader):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "readers.py").write_text(reader)
    (tmp_path / "script.py").write_text(
        "import torch\nfrom readers import dataset_test\ntorch.manual_seed(1)\n"
        "d = dataset_test('x.h5')\nprint(type(d).__module__, len(d), torch.rand(1).item())\n"
    )
    for folder in ("data", "other"):
        (tmp_path / folder).mkdir()
        with h5py.File(tmp_path / folder / "x.h5", "w") as file:
            file["data"], file["label"] = np.zeros((4, 3, 8, 8), np.float32), np.zeros(4)
    out, lines = run("script.py", capsys=capsys)
    with torch.random.fork_rng():
        drawn = torch.manual_seed(1) and torch.rand(1).item()
    assert out == f"readers 4 {drawn}\n"  # and trying it used up none of the script's random numbers
    assert re.match(r"readers\.dataset_test kept, since (its values|it fails) on the example", lines[1])


def test_subclasses_of_a_reader_are_left_alone(project, capsys):
    folder, _ = project
    (folder / "script.py").write_text(
        "from readers import dataset_test\n"
        "class mine(dataset_test):\n    def __len__(self):\n        return 3\n"
        "d = mine('data_augmented/jpeg_compression_augment_s=1_f=0.h5')\n"
        "print(len(d), d[0][0].shape, type(d).__name__, hasattr(d, 'pixels'))\n"
    )
    out, lines = run("script.py", capsys=capsys)
    assert out == "3 torch.Size([3, 8, 8]) mine False\n"
    assert lines[1:] == ["found, but never called: readers.dataset_test"]


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


def cor(correlation, each=torch.Tensor.detach):
    def cal_cor(model, dataloader):
        outputs = torch.cat([each(model(x.cuda())) for x, _ in dataloader])
        return correlation(outputs, outputs)

    return cal_cor


def last(model, dataloader):
    return plain.answers(model, list(dataloader)[-1:])


# name, a script's own function, whose counterpart is the same
OWN = [
    ("correlation", plain.correlation_sac_jc, "sac_jc"),
    ("correlation", plain.correlation_sac, "sac"),
    ("pairwise_euclid_distance", plain.pairwise_euclid_distance, "sac_jc"),
    ("correlation_dist", plain.correlation_dist, "sac_jc"),
    ("output_to_label", plain.output_to_label, "sac"),
    ("similarity", plain.similarity, "sac_jc"),
    ("calculate_auc", plain.calculate_auc, "sac_jc"),
    ("cal_cor", cor(plain.correlation_sac_jc), "sac_jc"),
    ("cal_cor", cor(plain.correlation_sac), "sac"),
    ("cal_cor_onehot", cor(plain.correlation_sac, plain.output_to_label), "sac"),
    ("cal_correct", plain.cal_correct, "sac_jc"),
    ("feature", last, "sac_jc"),
]


@pytest.mark.parametrize(("name", "own", "module"), OWN, ids=[f"{module}.{name}" for name, _, module in OWN])
def test_every_function_finds_its_counterpart(name, own, module, capsys):
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(11, 12, generator=generator), torch.arange(11) % 3
    model, other = torch.nn.Linear(12, 3), torch.nn.Linear(12, 3)
    batches = [(x[:8], y[:8]), (x[8:], y[8:])]
    cells = {name: types.FunctionType(own.__code__, own.__globals__, name, closure=own.__closure__)}
    more = {"correlation": (x, x), "similarity": (x, x.flip(0)), "calculate_auc": ([1.0, 2.0], [1.5, 3.0])}
    arguments = more.get(name, (model, batches) if own.__code__.co_varnames[0] == "model" else (x,))
    with patched(cells):
        got, expected = cells[name](*arguments), own(*arguments)
        torch.testing.assert_close(torch.as_tensor(got).clone(), torch.as_tensor(expected).detach(), rtol=0, atol=1e-5)
        if name.startswith("cal_cor") and name != "cal_correct":
            a, b = cells[name](model, batches), cells[name](other, batches)
            difference = torch.sum(torch.abs(a - b))
            assert (type(a), a._matrix, b._matrix) == (DeferredMatrix, None, None)
            torch.testing.assert_close(difference, torch.sum(torch.abs(own(model, batches) - own(other, batches))))
    assert f".{name} replaced by sac_fast.compat.{module}.{name}\n" in capsys.readouterr().err
