"""Hostile files: each is refused for the reason that holds, runs nothing and takes little memory."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.hostile import Payload
from support.hostile_arrays import npy_bytes, npz_bytes
from support.hostile_files import make_hostile_folder, marker
from support.hostile_onnx import linear_onnx, varint
from support.hostile_safetensors import safetensors_file
from support.hostile_torch import saved, torch_zip
from torch import nn

from sac_fast.errors import FileFormatError, ModelError, ModelRefusedError
from sac_fast.formats.csv_table import read_csv
from sac_fast.models import REASONS, Limits, identify, list_entries, load_weights, open_model, save_weights

MEASURE = """
import json, sys
from pathlib import Path
from sac_fast.models import ModelEntry, list_entries, open_model
from sac_fast.errors import ModelRefusedError
import numpy, h5py, onnx, onnxruntime, pickletools, zipfile

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

def resident():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmRSS"))

found = {}
for entry in list_entries(Path(sys.argv[1])):
    before = resident()
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    try:
        open_model(entry)
        reason = "opened"
    except ModelRefusedError as error:
        reason = error.reason
    found[entry.name] = [reason, peak() - before]
print(json.dumps(found))
"""


def measure(folder: Path) -> dict[str, tuple[str, int]]:
    """Reason and growth of resident memory for each file of a folder, opened in a process of its own."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", MEASURE, str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return {name: (reason, growth) for name, (reason, growth) in json.loads(run.stdout).items()}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("hostile")
    # more inputs than one are seen when the model is asked
    return folder, make_hostile_folder(folder) | {"onnx-two-inputs.onnx": "opened"}


@pytest.mark.parametrize("cell", [b"1", b"1.", b" ", b"1e"], ids=["digits", "decimals", "spaces", "exponent"])
def test_long_cells_of_text_take_no_longer_than_their_length(tmp_path: Path, cell: bytes) -> None:
    (tmp_path / "o.csv").write_bytes(cell + cell[:1] * 100_000 + b"x,b\n1,2\n3,4\n")
    start = time.process_time()
    with (tmp_path / "o.csv").open("rb") as handle:
        assert read_csv(handle, "o", Limits())[0].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert time.process_time() - start < 1


def test_the_payload_works(tmp_path: Path) -> None:
    """Else the test below would prove nothing."""
    pickle.loads(pickle.dumps(Payload(tmp_path)))
    assert marker(tmp_path).exists()


def test_each_is_refused_for_its_reason(hostile: tuple[Path, dict[str, str]]) -> None:
    folder, expected = hostile
    save_weights(folder / "good.safetensors", nn.Linear(2, 2))
    found, unnamed = {}, []
    for entry in list_entries(folder):
        try:
            open_model(entry, architectures=['torch.nn:Linear {"in_features": 2, "out_features": 2}'])
            found[entry.name] = "opened"
        except ModelRefusedError as error:
            found[entry.name] = error.reason
            unnamed += [entry.name] if repr(str(entry.path)) not in str(error) else []
    (folder / "good.safetensors").unlink()
    assert found == {**expected, "good.safetensors": "opened"}
    assert unnamed == []
    assert not marker(folder).exists()
    assert set(found.values()) <= {*REASONS, "opened"}


def test_memory_stays_under_twice_the_file(hostile: tuple[Path, dict[str, str]]) -> None:
    folder, expected = hostile
    found = measure(folder)
    assert {name: reason for name, (reason, _) in found.items()} == expected
    for name, (_, growth) in found.items():
        size = (folder / name).lstat().st_size
        assert growth < 2 * size + (200 << 20), f"{name} of {size:,} bytes took {growth:,}"
    assert not marker(folder).exists()


@pytest.mark.slow
def test_memory_of_large_files(tmp_path: Path) -> None:
    """Structures that multiply when they are parsed, at the largest sizes that are parsed at all."""
    header = 15 << 20
    deep = b'{"__metadata__":{"a":"' + b"\xf0\x9f\x98\x80" + b"x" * header + b'"}}'
    short = b'{"__metadata__":{' + b",".join(b'"%x":""' % i for i in range(1_000_000)) + b"}}"
    lists = b'{"a":{"dtype":"F32","shape":' + b"[]," * (header // 3) + b"}}"
    (tmp_path / "wide-text").write_bytes(safetensors_file(deep))
    (tmp_path / "metadata").write_bytes(safetensors_file(short))
    (tmp_path / "lists").write_bytes(safetensors_file(lists))
    container = b'{"__metadata__":{"sac_fast":"{\\"kind\\":\\"fingerprint\\",' + b"[]," * (header // 3) + b'"}}'
    (tmp_path / "container").write_bytes(safetensors_file(container))
    (tmp_path / "steps").write_bytes(torch_zip(b"\x80\x02]" + b"}q\x00" * (header // 3) + b".", {}))
    (tmp_path / "integers").write_bytes(torch_zip(b"\x80\x02]" + b"(K\x01K\x01t0" * 200_000 + b".", {}))
    (tmp_path / "commas").write_bytes(b"1\n" * (3 << 20))
    (tmp_path / "wide").write_bytes((b"1," * 1_000_000 + b"1\n") * 8)
    empty = b"\x0a\x00" * (5 << 20)
    (tmp_path / "swarm").write_bytes(b"\x08\x09\x3a" + varint(len(empty)) + empty)
    packed = b"\x2a" + varint((30 << 20) + 5) + b"\x3a" + varint(30 << 20) + bytes(30 << 20)
    (tmp_path / "packed").write_bytes(b"\x08\x09\x3a" + varint(len(packed)) + packed)
    weights = nn.Linear(5000, 5000)
    save_weights(tmp_path / "weights", weights)
    torch.save(weights.state_dict(), tmp_path / "weights.pth")
    np.save(tmp_path / "outputs.npy", np.ones((200_000, 100), np.float16))
    (tmp_path / "weights.onnx").write_bytes(linear_onnx(np.ones((12, 4_000_000), np.float32)).SerializeToString())
    found = measure(tmp_path)
    for name, (reason, growth) in found.items():
        size = (tmp_path / name).stat().st_size
        assert growth < 2 * size + (200 << 20), f"{name} ({reason}) of {size:,} bytes took {growth:,}"
    assert {name for name, (reason, _) in found.items() if reason == "opened"} == {
        *("commas", "wide", "outputs.npy", "weights.onnx")
    }


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_file_bytes": 100}, "too-large"),
        ({"max_tensors": 1}, "too-many-tensors"),
        ({"max_tensor_bytes": 200}, "too-large"),
        ({"max_inflated_bytes": 220}, "too-large"),
        ({"max_header_bytes": 50}, "too-large"),
    ],
)
@pytest.mark.parametrize("form", ["safetensors", "torch", "torch-legacy"])
def test_limits_hold_for_every_weight_file(tmp_path: Path, form: str, limits: dict[str, int], reason: str) -> None:
    model = nn.Linear(13, 4)
    path = tmp_path / "w"
    if form == "safetensors":
        save_weights(path, model)
    else:
        torch.save(model.state_dict(), path, _use_new_zipfile_serialization=form == "torch")
    assert identify(path) == form
    (entry,) = list_entries(path, architecture="torch.nn:Linear", kwargs={"in_features": 13, "out_features": 4})
    assert open_model(entry).format == form
    if form == "torch-legacy" and "max_header_bytes" in limits:
        reason = "truncated"  # what is not parsed might have been the rest of it
    with pytest.raises(ModelRefusedError) as caught:
        open_model(entry, limits=Limits(**limits))
    assert caught.value.reason == reason


def test_limits_themselves() -> None:
    for value in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="max_tensors must be an integer of at least 1"):
            Limits(max_tensors=value)  # type: ignore[arg-type]


def test_the_error_is_both_and_survives_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(b"")
    with pytest.raises(FileFormatError, match="empty file") as caught:
        load_weights(nn.Linear(2, 2), tmp_path / "w")
    assert isinstance(caught.value, ModelError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.reason) == (ModelRefusedError, str(caught.value), "empty")


def test_a_flipped_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    """Whatever bit of a header or directory changes: a typed refusal, or a model that was loaded and checked."""
    rng = np.random.default_rng(0)
    contents = {}
    save_weights(tmp_path / "w", nn.Linear(3, 2))
    contents["safetensors"] = (tmp_path / "w").read_bytes()
    contents["torch"] = saved(nn.Linear(3, 2).state_dict())
    contents["old"] = saved(nn.Linear(3, 2).state_dict(), old=True)
    contents["npy"] = npy_bytes(np.ones((3, 2)))
    contents["npz"] = npz_bytes(True, outputs=np.ones((3, 2)))
    contents["onnx"] = linear_onnx(np.ones((12, 3), np.float32)).SerializeToString()
    opened = refused = 0
    for content in contents.values():
        for position in rng.choice(len(content), min(len(content), 60), replace=False):
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            (tmp_path / "w").write_bytes(changed)
            (entry,) = list_entries(
                tmp_path / "w", architecture="torch.nn:Linear", kwargs={"in_features": 3, "out_features": 2}
            )
            try:
                open_model(entry)
                opened += 1
            except ModelError:  # of which ModelRefusedError is one
                refused += 1
    assert refused > 100
    assert opened > 0


def test_a_length_that_wraps(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(struct.pack("<Q", (1 << 64) - 1) + b"{}")
    with pytest.raises(ModelRefusedError) as caught:
        open_model(list_entries(path)[0])
    assert caught.value.reason == "unknown-format"
