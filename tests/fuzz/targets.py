"""What is fuzzed: for each reader its seeds and how a file is put to it.

A target may refuse a file by an error of sac_fast, inside of `Outcomes.attempt`; every other error is a fault.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.store_models import PROBES, result

from sac_fast import Fingerprint, ProbeSet
from sac_fast.formats.table_format import DELIMITERS, TableFormat
from sac_fast.formats.weights.opening import open_weights
from sac_fast.io.container import save_container
from sac_fast.io.hashing import content_hash
from sac_fast.models import ModelEntry, open_model
from sac_fast.models.answers_file import open_answers
from sac_fast.models.claims import read_claims
from sac_fast.models.manifest import read_manifest
from sac_fast.packs.pack import ROLES, pack_of, read_pack
from sac_fast.probes import verify_probes
from sac_fast.probes.image import read_image
from sac_fast.scan.jobs import Job, pack_request
from sac_fast.store import ModelStore, check_store
from sac_fast.store.vectors import open_vectors, update_vectors

from . import probe_files, report_files, seeds
from .outcomes import Outcomes

_MAX_ARRAYS = 20
_PROBES = ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))


@dataclass(frozen=True)
class Target:
    """A reader.

    Attributes:
        seeds: makes the files to begin with.
        read: takes the content of a file, an empty folder, and where to count what becomes of it.
        is_sealed: the content is the part behind a seal or a syntax that is read first, and changes within its own
            structure alone.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes, Path, Outcomes], Any]
    is_sealed: bool = False


def _model(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    path = folder / "model"
    path.write_bytes(content)
    with outcomes.attempt(), open_model(ModelEntry("model", path, "torch.nn:Linear", _SIZES)) as model:
        assert model.model_hash
    with outcomes.attempt(), open_model(ModelEntry("model", path)) as model:
        if model.recorded:
            assert model.run(None).ndim == 2
    with outcomes.attempt(), open_weights(path) as weights:
        for array in weights.arrays[:_MAX_ARRAYS]:
            array.read()


_SIZES = {"in_features": 3, "out_features": 2}


def _manifest(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    for name in ("zoo.toml", "zoo.csv", "zoo.json"):
        path = folder / name
        path.write_bytes(content)
        with outcomes.attempt():
            for entry in read_manifest(path, ModelEntry("default", path), asked=False):
                pack_request(Job(0, entry))
                repr(entry)
        json.dumps(list(read_claims(path)[0].values()))


_FLAGS = (None, True, False)
_TABLES = [TableFormat(*given) for given in itertools.product(_FLAGS, _FLAGS, (None, *DELIMITERS))]


def _table(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """A table as what the user says of it, and as answers to exported probes."""
    path = folder / "model"
    path.write_bytes(content)
    for given in (_TABLES[0], _TABLES[sum(content) % len(_TABLES)]):
        with outcomes.attempt(), open_model(ModelEntry("model", path, table=given)) as model:
            assert model.run(None).ndim == 2
    for ending in (".csv", ".json", ".jsonl"):
        shutil.copy(path, path.with_suffix(ending))
        with outcomes.attempt():
            repr(open_answers(path.with_suffix(ending), _PROBES, ["cat", "dog"]))


def _container(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    path = folder / "sealed"
    path.write_bytes(content)
    for load in (Fingerprint.load, ProbeSet.load):
        with outcomes.attempt():
            load(path)


def _provenance(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """What says anything about itself, in a file whose seal is right."""
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return
    images = {"images": np.zeros((4, 8, 8, 3), np.uint8)}
    try:
        save_container(folder / "probes", "probes", images, {"content_hash": content_hash(images), "provenance": said})
        save_container(folder / "print", "fingerprint", {"outputs": np.ones((4, 3))}, {"provenance": said})
    except (ValueError, RecursionError):  # what JSON cannot hold, or no file of ours
        return
    with outcomes.attempt():
        probes = ProbeSet.load(folder / "probes")
        repr(probes)
        with outcomes.attempt():
            verify_probes(probes, folder)
    with outcomes.attempt():
        repr(Fingerprint.load(folder / "print"))


def _pack(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """What a pack says of itself and its members, in a file whose seal is right."""
    path = folder / "pack"
    try:
        save_container(path, "pack", {"0": np.ones((4, 3))}, json.loads(content))
    except (ValueError, TypeError, RecursionError):  # what JSON cannot hold, or no object
        return
    with outcomes.attempt(), path.open("rb") as handle:
        arrays, about = read_pack(handle, "pack")
        made = pack_of(about, [torch.from_numpy(array) for array in arrays.values()], "pack", "sha256:" + "0" * 64)
        for role in ROLES:
            repr(made.fingerprints(role))


def _store(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """A database, a segment, a description of packed vectors, or a file of outputs under the name of its hash."""
    place = folder / "store"
    with ModelStore.open(place, write=True, create=True) as opened:
        opened.add_results([result(1), result(2)])
        if content.startswith(b"{"):
            update_vectors(opened, PROBES)
    if content.startswith(b"SQLite"):
        (place / "zoo.sqlite").write_bytes(content)
        for name in ("zoo.sqlite-wal", "zoo.sqlite-shm"):
            (place / name).unlink(missing_ok=True)
    elif content.startswith(b"{"):
        next(place.rglob("vectors.json")).write_bytes(content)
    elif content.startswith((b"outputs\n", b"removed\n")):
        next((place / "segments").iterdir()).write_bytes(content)
    else:
        digest = hashlib.sha256(content).hexdigest()
        (place / "outputs" / digest[:2]).mkdir(exist_ok=True)
        (place / "outputs" / digest[:2] / f"{digest}.safetensors").write_bytes(content)
    with outcomes.attempt(), ModelStore.open(place, write=False) as opened:
        for record in opened.records():
            with outcomes.attempt():
                opened.outputs(record)
        with outcomes.attempt():
            found = open_vectors(opened, PROBES)
            if found is not None:
                found.nearest(np.array([0]), 1, np.zeros(len(found.digests), bool))
    with outcomes.attempt():
        check_store(place)
    with outcomes.attempt():
        check_store(place, repair=True)
        assert check_store(place).clean


def _image(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    path = folder / "image.png"
    path.write_bytes(content)
    with outcomes.attempt():
        read_image(path)


TARGETS = {
    "safetensors": Target(seeds.safetensors, _model),
    "torch": Target(seeds.torch_files, _model),
    "onnx": Target(seeds.onnx, _model),
    "npy": Target(seeds.npy, _model),
    "hdf5": Target(seeds.hdf5, _model),
    "csv": Target(seeds.csv, _table),
    "manifests": Target(seeds.manifests, _manifest),
    "container": Target(seeds.containers, _container),
    "pack": Target(seeds.packs, _pack, True),
    "probes": Target(probe_files.seeds, probe_files.read),
    "provenance": Target(seeds.provenance, _provenance, True),
    "report": Target(report_files.seeds, report_files.read, True),
    "store": Target(seeds.store, _store),
    "images": Target(seeds.images, _image),
}
