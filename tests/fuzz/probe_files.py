"""Files of probes: images, inputs of other models, and what they were made from, which lies beside each of them."""

from __future__ import annotations

import functools
import io
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from PIL import Image
from support.hostile_arrays import npz_bytes

from sac_fast import ProbeSet, RecordedInputs, fingerprint
from sac_fast.probes import cutmix, load_probes, mixture, verify_probes
from sac_fast.probes.export import export_probes
from sac_fast.scan.probe_file import ProbeFile

from .outcomes import Outcomes

_DATA = "data.h5"


@functools.cache
def _sources() -> dict[str, bytes]:
    """By name the images, one of them unreadable, and the HDF5 file of which the seeds were made."""
    generator = np.random.default_rng(0)
    made = {"b/broken.png": b"\x89PNG\r\n\x1a\n"}
    for name in ("a/0.png", "a/1.png", "b/0.png"):
        buffer = io.BytesIO()
        Image.fromarray(generator.integers(0, 256, (10, 12, 3), np.uint8)).save(buffer, "PNG")
        made[name] = buffer.getvalue()
    made[_DATA] = hdf5(generator.random((4, 3, 8, 9)).astype(np.float32), np.arange(4))
    return made


def hdf5(data: Any, labels: Any, **options: Any) -> bytes:
    """The layout of the reference scripts."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("data", data=data, **options)
        file["label"] = labels
    return buffer.getvalue()


def write_sources(folder: Path) -> None:
    """Write the images and the HDF5 file that the seeds were made of."""
    for name, content in _sources().items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_bytes(content)


def seeds() -> list[bytes]:
    """Saved probes of every kind of step, saved inputs, ``.npz`` and HDF5 files."""
    data, label = np.random.default_rng(1).integers(0, 256, (4, 8, 9, 3), np.uint8), np.arange(4)
    arrays = {"sound": np.random.default_rng(2).random((4, 3), np.float32), "rate": np.ones((4, 2), np.int64)}
    made = [hdf5(data, label), hdf5(data / 255, label.astype(float), chunks=(2, 4, 4, 3), compression=4, shuffle=True)]
    made += [npz_bytes(zipped, labels=np.arange(4), **arrays) for zipped in (False, True)]
    made.append(npz_bytes(False, sound=arrays["sound"]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_sources(folder)
        few = ProbeSet.from_folder(folder, skip_bad=True)
        sized = ProbeSet.from_folder(folder, size=(7, 9), fit="pad", labels="folder", skip_bad=True)
        drawn = ProbeSet.from_folder(folder, limit=2, commit_seed="seed", skip_bad=True)
        kinds: list[ProbeSet | RecordedInputs] = [
            *(few, sized.jpeg(severity=[1, 5]), cutmix(few).jpeg(quality=40), drawn.transpose()),
            mixture([drawn.jpeg(severity=2), ProbeSet.from_folder(folder, limit=1)]),
            ProbeSet.from_hdf5(folder / _DATA, limit=3).jpeg(severity=3),
            RecordedInputs(arrays, np.arange(4)),
        ]
        for number, probes in enumerate(kinds):
            probes.save(folder / str(number))
            made.append((folder / str(number)).read_bytes())
    return made


def read(content: bytes, folder: Path, outcomes: Outcomes) -> None:
    """Whatever the commands do with a file of probes."""
    path, place = folder / "probes", folder / "images"
    path.write_bytes(content)
    write_sources(place)
    with outcomes.attempt():
        loaded = load_probes(path)
        repr(loaded)
        fingerprint(_first_values, loaded, name="first values")
    with outcomes.attempt():
        file = ProbeFile(path)
        repr((file.content_hash, file.has_labels, file.has_images, file.load()))
    with outcomes.attempt():
        RecordedInputs.from_npz(path, limit=2)
    with outcomes.attempt():
        made = ProbeSet.from_hdf5(path)
        assert verify_probes(made.jpeg(severity=1), path).equal
    with outcomes.attempt():
        saved = ProbeSet.load(path)
        export_probes(saved, folder / "exported")
        source = saved.provenance.get("source", {})
        result = verify_probes(saved, place / _DATA if source.get("type") == "hdf5" else place)
        repr(result)


def _first_values(*arrays: torch.Tensor, **named: torch.Tensor) -> torch.Tensor:
    first = [*arrays, *named.values()][0]
    return first.reshape(len(first), -1)[:, :2].double()
