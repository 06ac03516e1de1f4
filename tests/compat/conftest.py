"""The folders that the reference scripts work in."""

import h5py
import numpy as np
import pytest
from support.reference_scripts import LOADER, PLAIN_READER, SCRIPT


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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with the scripts' folder `data` in it."""
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path
