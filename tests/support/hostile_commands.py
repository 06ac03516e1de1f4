"""What other commands than `scan` are given by people under suspicion: input, what must be said, and how it ends.

Each entry writes its files into a folder and says which command reads them; `tests/scan/test_hostile_commands.py` runs
the commands and measures them.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from sac_fast import Fingerprint, ProbeSet
from sac_fast.io.container import load_container, save_container

from .hostile_arrays import deflated_zeros, npy_file
from .hostile_files import make_hostile_folder
from .hostile_safetensors import safetensors_file

PROBES = ProbeSet.from_arrays(np.random.default_rng(3).integers(0, 256, (6, 4, 4, 3), dtype=np.uint8))


@dataclass(frozen=True)
class Command:
    """An entry of the table.

    Attributes:
        item: the kind of attack.
        make: writes the files into a folder; returns the words of the command, in which a path is relative to it.
        code: exit code.
        says: regular expression of its output or errors.
        seconds: it ends within, start included.
    """

    item: str
    make: Callable[[Path], list[str]]
    code: int
    says: str
    seconds: float = 30.0


def fingerprint(name: str, seed: int = 0) -> Fingerprint:
    """A sound fingerprint on the probes."""
    outputs = np.random.default_rng(seed).normal(size=(len(PROBES), 5)).astype(np.float32)
    about = {"name": name, "probe_hash": PROBES.content_hash}
    import torch

    return Fingerprint(torch.from_numpy(outputs), about)


def _probes(folder: Path) -> None:
    PROBES.save(folder / "probes")


def _one_file(name: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _probes(folder)
        (folder / "all").mkdir()
        make_hostile_folder(folder / "all")
        os.rename(folder / "all" / name, folder / name)
        return ["fingerprint", name, "--probes", "probes", "--out", "out", "--timeout", "10"]

    return make


def _manifest(text: str, named: bool) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _probes(folder)
        (folder / "models").mkdir()
        (folder / "models" / "zoo.toml").write_text(text)
        np.save(folder / "models" / "good.npy", np.ones((len(PROBES), 5)))
        more = ["--manifest", "models/zoo.toml"] if named else []
        return ["scan", "models", "--probes", "probes", "--store", "store", "--workers", "1", "--quiet", *more]

    return make


def _holes(folder: Path) -> list[str]:
    path = folder / "sparse"
    save_container(path, "fingerprint", {"outputs": np.zeros((1 << 10, 4), np.float32)}, {})
    start = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    head = path.read_bytes()[:start]
    with path.open("wb") as handle:
        handle.write(head)
        handle.truncate(1 << 30)
    return ["show", "sparse"]


def _verify_holes(folder: Path) -> list[str]:
    _holes(folder)
    fingerprint("mine").save(folder / "mine")
    return ["verify", "mine", "sparse", "--null", "mine"]


def _steps(folder: Path) -> list[str]:
    """Each of k CutMix steps asks for all earlier ones."""
    image = {"name": "missing.png", "sha256": "sha256:" + "0" * 64}
    step = {"kind": "cutmix", "each": [{"box": [0, 0, 1, 1], "partner": image}] * len(PROBES)}
    _probes(folder)
    arrays, metadata = load_container(folder / "probes", "probes")
    said = {"source": {"type": "folder", "images": [image] * len(PROBES)}, "augmentation": [step] * 60}
    save_container(folder / "probes", "probes", arrays, {**metadata, "provenance": said})
    (folder / "images").mkdir()
    return ["probes", "verify", "probes", "--images", "images"]


def _chunks(folder: Path) -> list[str]:
    """Images in chunks that inflate past what they declare."""
    with h5py.File(folder / "images.h5", "w") as file:
        data = file.create_dataset("data", (4, 64, 64, 3), "u1", chunks=(1, 64, 64, 3), compression="gzip")
        for number in range(4):
            data.id.write_direct_chunk((number, 0, 0, 0), deflated_zeros(600))
    return ["probes", "jpeg", "images.h5", "--severity", "3", "--out", "out", "--limit", "2"]


def _pictures(content: bytes, name: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "images").mkdir()
        (folder / "images" / name).write_bytes(content)
        return ["probes", "jpeg", "images", "--severity", "3", "--out", "out", "--limit", "1"]

    return make


def _tar(folder: Path) -> list[str]:
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2 << 30
    with (folder / "images.tar").open("wb") as handle:
        handle.write(long.tobuf(tarfile.GNU_FORMAT))
        handle.truncate(3 << 30)
    return ["probes", "jpeg", "images.tar", "--severity", "3", "--out", "out", "--limit", "1"]


def _sparse_outputs(folder: Path) -> list[str]:
    """Three files of a few bytes that would become 864 MB of a store."""
    _probes(folder)
    (folder / "models").mkdir()
    shape = (len(PROBES), 6_000_000)
    for number in range(3):
        with (folder / "models" / f"{number}.npy").open("wb") as handle:
            handle.write(npy_file(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"))
            handle.truncate(128 + 8 * shape[0] * shape[1])
    return ["scan", "models", "--probes", "probes", "--store", "store", "--workers", "1", "--json"]


def _deep(folder: Path) -> list[str]:
    _probes(folder)
    (folder / "models").mkdir()
    descriptor = os.open(folder / "models", os.O_RDONLY)
    for _ in range(1200):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)
    with (folder / "models" / "a.onnx").open("wb") as handle:
        handle.write(b"\x08\x09")
        handle.truncate(20 << 30)
    return ["scan", "models", "--probes", "probes", "--store", "store", "--workers", "1", "--json"]


def _zoo(folder: Path) -> list[str]:
    """An index of a labelled zoo whose members are many and of one name."""
    member = {"name": "m", "role": "stolen", "origin": "x", "architecture": "torch.nn:Linear", "architecture_args": {}}
    zoo = {
        "kind": "sac_fast labelled zoo",
        "format": 1,
        "task": {},
        "preprocessing": {},
        "probes": [],
        "members": [member] * 20_000,
    }
    (folder / "zoo").mkdir()
    (folder / "zoo" / "zoo.json").write_text(json.dumps(zoo))
    return ["show", "zoo"]


def _report(verdicts: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        (folder / "case").mkdir()
        (folder / "case" / "verdicts.json").write_text(verdicts)
        digest = hashlib.sha256(verdicts.encode()).hexdigest()
        (folder / "case" / "SHA256SUMS").write_text(f"{digest}  verdicts.json\n")
        return ["report", "check", "case"]

    return make


def _weights(folder: Path) -> list[str]:
    for name, rows in (("a", 1 << 20), ("b", 1 << 30)):
        entry = {"dtype": "F32", "shape": [rows, 4], "data_offsets": [0, 16 * rows]}
        head = safetensors_file({"a": entry})
        with (folder / f"{name}.safetensors").open("wb") as handle:
            handle.write(head)
            handle.truncate(len(head) + 16 * rows)
    return ["weights", "a.safetensors", "b.safetensors"]


DOTS = "a" + ".a" * 20_000 + " = 1"
NESTED = '{"a": [' + ",".join(["[" * 900 + "]" * 900] * 500) + "]}"
DEFAULTS = f"[defaults]\nkwargs = {{ a = [{', '.join(['1'] * 110_000)}] }}\n" + "".join(
    f"[[models]]\npath = '{i}'\n" for i in range(25_000)
)
IPTC = b"\x1c\x03\x3c\x00\x01\x00" + bytes(200)

TABLE: dict[str, Command] = {
    "a dotted key of 40 kB": Command("manifests", _manifest(DOTS, False), 0, "few parts|not read"),
    "a dotted key of 40 kB, named": Command("manifests", _manifest(DOTS, True), 1, "few parts"),
    "1,200 folders and 20 GB of holes": Command("walk", _deep, 0, '"reason": ?"too-large"'),
    "60 CutMix steps": Command("probes", _steps, 5, "missing"),
    "a chunk of 600 MB": Command("HDF5", _chunks, 1, "inflate|store what it declares|bytes"),
    "chunks of 400 MB": Command("HDF5", _one_file("chunk-bomb.h5"), 1, "inflate|expanded|bytes"),
    "a sealed file of holes, shown": Command("containers", _holes, 1, "must lie on the disk"),
    "a sealed file of holes, judged": Command("containers", _verify_holes, 1, "must lie on the disk"),
    "an IPTC header": Command("images", _pictures(IPTC, "a.png"), 1, "PNG, JPEG|image"),
    "FITS": Command("images", _pictures(b"SIMPLE  =                    T".ljust(2880), "a.png"), 1, "image"),
    "a name of 2 GB in a tar": Command("images", _tar, 1, "must lie on the disk"),
    "outputs of holes": Command("disk", _sparse_outputs, 0, '"failed": ?3'),
    "20,000 members of one name": Command("labelled zoo", _zoo, 1, "different names"),
    "100,000 brackets in a report": Command("report", _report("[" * 100_000), 5, "verdicts.json. must be JSON"),
    "900 lists inside each other, 500 times": Command("report", _report(NESTED), 5, "nested at most|RecursionError"),
    "30 MB beyond ASCII": Command("report", _report('{"a": "' + "x" * (30 << 20) + "é" + '"}'), 5, "bytes of JSON"),
    "long defaults of 25,000 models": Command("manifests", _manifest(DEFAULTS, False), 0, "times its models|not read"),
    "long defaults of 25,000 models, named": Command("manifests", _manifest(DEFAULTS, True), 1, "times its models"),
    "weights of holes": Command("weights", _weights, 1, "expanded|lie on the disk|bytes"),
}
