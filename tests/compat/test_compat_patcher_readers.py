"""The scripts' dataset classes, with and without torchvision: which are replaced and which are kept."""

import re
import sys

import h5py
import numpy as np
import pytest
import torch
from support.reference_scripts import PLAIN_READER, READER, run

from sac_fast.compat import run_script

TORCHVISION_READER = READER.replace("IMPORTS", "import cv2, torchvision\nfrom torchvision import transforms").replace(
    "TRANSFORM", "transforms.Compose([transforms.ToPILImage(), transforms.ToTensor()])"
)


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
