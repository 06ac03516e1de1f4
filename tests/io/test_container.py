"""The sealed container and all-or-nothing writing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import struct
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sac_fast.errors import FileFormatError
from sac_fast.io import container
from sac_fast.io.container import load_container, save_container

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "label": np.array([1, 2, 3], np.int64)}
METADATA = {"name": "ä\ud800", "list": [1, 2.5, None], "hash": "sha256:" + "0" * 64}


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    save_container(path, "probes", ARRAYS, METADATA)
    return path


def raw_file(path: Path, header: bytes, data: bytes = b"") -> Path:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)
    return path


def test_round_trip(sealed: Path) -> None:
    arrays, metadata = load_container(sealed, "probes")
    assert metadata == METADATA
    assert sorted(arrays) == ["label", "x"]
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_file_is_plain_safetensors_with_one_metadata_key(sealed: Path) -> None:
    loaded = safetensors.numpy.load_file(sealed)
    np.testing.assert_array_equal(loaded["x"], ARRAYS["x"])
    raw = sealed.read_bytes()
    header = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    assert list(header["__metadata__"]) == ["sac_fast"]
    assert json.loads(header["__metadata__"]["sac_fast"])["metadata"] == METADATA


def test_hash_is_that_of_arrays_kind_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a"
    digest = save_container(path, "probes", ARRAYS, {"b": [1, None], "a": "ä"})
    stream = b'["label","int64",[3]]\n' + struct.pack("<3q", 1, 2, 3)
    stream += b'["x","float32",[3,4]]\n' + struct.pack("<12f", *range(12))
    text = (
        f'{{"arrays":"sha256:{hashlib.sha256(stream).hexdigest()}","format":2,"kind":"probes",'
        '"metadata":{"a":"\\u00e4","b":[1,null]}}'
    )
    assert digest == "sha256:" + hashlib.sha256(text.encode()).hexdigest()
    assert path.read_bytes().count(digest.encode()) == 1


def test_order_of_arrays_and_metadata_does_not_matter_to_the_hash(tmp_path: Path) -> None:
    one = save_container(tmp_path / "a", "k", ARRAYS, {"a": 1, "b": {"c": 2, "d": 3}})
    two = save_container(tmp_path / "b", "k", dict(reversed(ARRAYS.items())), {"b": {"d": 3, "c": 2}, "a": 1})
    assert one == two
    assert list(load_container(tmp_path / "b", "k")[1]) == ["b", "a"]


def test_keys_that_are_no_texts_become_texts(tmp_path: Path) -> None:
    save_container(tmp_path / "a", "k", ARRAYS, {"counts": {1: 2, "1": 3, None: 4}})
    assert load_container(tmp_path / "a", "k")[1] == {"counts": {"1": 3, "null": 4}}


def test_arrays_of_any_strides_and_byte_order(tmp_path: Path) -> None:
    path = tmp_path / "a"
    arrays = {
        "transposed": np.arange(6).reshape(2, 3).T,
        "reversed": np.arange(5, dtype=np.uint8)[::-1],
        "big": np.array([1.5, 2.5], ">f8"),
        "scalar": np.array(3, np.int32),
        "empty": np.zeros((0, 3), np.float32),
    }
    save_container(path, "k", arrays, {})
    loaded, _ = load_container(path, "k")
    for name, array in arrays.items():
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)


def test_every_flipped_bit_is_found(sealed: Path) -> None:
    good = sealed.read_bytes()
    for position in range(len(good)):
        for bit in (0, 5, 7):  # 5: letters change case
            bad = bytearray(good)
            bad[position] ^= 1 << bit
            sealed.write_bytes(bad)
            with pytest.raises(FileFormatError, match=r"a\.safetensors"):
                load_container(sealed, "probes")
    sealed.write_bytes(good)
    load_container(sealed, "probes")


def test_every_flipped_bit_of_the_earlier_format_is_found(tmp_path: Path) -> None:
    good = (Path(__file__).parents[1] / "data" / "v0.1" / "vgg-1.safetensors").read_bytes()
    path = tmp_path / "a.safetensors"
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 1 << 5  # letters change case
        path.write_bytes(bad)
        with pytest.raises(FileFormatError, match=r"a\.safetensors"):
            load_container(path, "fingerprint")
    path.write_bytes(good)
    assert load_container(path, "fingerprint")[0]["outputs"].shape == (6, 4)


def test_duplicates_in_the_header_are_found(sealed: Path) -> None:
    good = sealed.read_bytes()
    header = good[8 : 8 + struct.unpack("<Q", good[:8])[0]]
    (entry,) = re.findall(rb'"x":\{.*?\}', header)
    for bad in (
        header.replace(entry, entry + b"," + entry),
        header.replace(b'{\\"format\\":2', b'{\\"format\\":2,\\"format\\":2'),
        header.replace(b'"__metadata__":{', b'"__metadata__":{"more":"",'),
    ):
        assert bad != header
        raw_file(sealed, bad.rstrip() + b" " * (-len(bad.rstrip()) % 8), good[8 + len(header) :])
        with pytest.raises(FileFormatError, match="its header must be as it was written"):
            load_container(sealed, "probes")


def test_header_that_means_the_same_is_found(sealed: Path) -> None:
    # The padding space after the header becomes a tab: valid JSON with the same meaning.
    save_container(sealed, "probes", ARRAYS, {**METADATA, "padded": 123})
    good = sealed.read_bytes()
    end = 8 + struct.unpack("<Q", good[:8])[0]
    assert good[end - 1 : end] == b" "
    sealed.write_bytes(good[: end - 1] + b"\t" + good[end:])
    with pytest.raises(FileFormatError, match="is damaged: its header must be as it was written"):
        load_container(sealed, "probes")


def test_every_truncation_and_an_extra_byte_are_found(sealed: Path) -> None:
    good = sealed.read_bytes()
    for length in range(len(good)):
        sealed.write_bytes(good[:length])
        with pytest.raises(FileFormatError):
            load_container(sealed, "probes")
    sealed.write_bytes(good + b"\0")
    with pytest.raises(FileFormatError, match="must hold 72 bytes of data as its header says, got 73"):
        load_container(sealed, "probes")


def test_other_kind_and_version(sealed: Path) -> None:
    with pytest.raises(FileFormatError, match="must be a fingerprint file, got kind 'probes'"):
        load_container(sealed, "fingerprint")
    for version in (0, 3):
        sealed.write_bytes(re.sub(rb'format\\":\d', rb'format\\":%d' % version, sealed.read_bytes()))
        with pytest.raises(FileFormatError, match=f"must have a format version of at most 2, got {version}"):
            load_container(sealed, "probes")


@pytest.mark.parametrize(
    "header",
    [
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'{"__metadata__":{"sac_fast":"[]"}}',
        b'{"__metadata__":{"sac_fast":"{}"}}',
        b'{"__metadata__":{"other":"{}"}}',
        b'{"__metadata__":{"sac_fast":"' + b"[" * 50_000 + b'"}}',
        b'{"x":{"data_offsets":[0,Infinity]},"__metadata__":{"sac_fast":"{}"}}',
        b"\xff\xfe",
    ],
)
def test_other_headers(tmp_path: Path, header: bytes) -> None:
    with pytest.raises(FileFormatError, match="must be a sac_fast probes file"):
        load_container(raw_file(tmp_path / "a", header), "probes")


@pytest.mark.parametrize("version", [1, 2])
def test_header_without_hash(tmp_path: Path, version: int) -> None:
    head = json.dumps({"format": version, "kind": "probes", "metadata": {}})
    path = raw_file(tmp_path / "a", json.dumps({"__metadata__": {"sac_fast": head}}).encode())
    with pytest.raises(FileFormatError, match="without a hash"):
        load_container(path, "probes")


def forged_hash(shape: list[int]) -> bytes:
    """The hash of `ARRAYS` and `METADATA` where x is said to have another shape."""
    stream = b'["label","int64",[3]]\n' + ARRAYS["label"].tobytes()
    stream += b'["x","float32",%s]\n' % json.dumps(shape, separators=(",", ":")).encode() + ARRAYS["x"].tobytes()
    content = {
        "arrays": "sha256:" + hashlib.sha256(stream).hexdigest(), "format": 2, "kind": "probes", "metadata": METADATA,
    }  # fmt: skip
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return b"sha256:" + hashlib.sha256(text.encode()).hexdigest().encode()


def test_sealed_file_with_a_lying_tensor_table(sealed: Path) -> None:
    # A forger can seal anything: what he seals still has to be a sound safetensors file.
    good = sealed.read_bytes()
    (entry,) = re.findall(rb'"x":(\{.*?\})', good)
    for change in (b'"shape":[9,4]', b'"shape":[3.0,4]', b'"shape":3', b'"dtype":"F99"', b'"data_offsets":[0,72]'):
        field = change.split(b":")[0]
        sealed.write_bytes(good.replace(entry, re.sub(field + rb":(\[.*?\]|[^,}]*)", change, entry)))
        with pytest.raises(FileFormatError):
            load_container(sealed, "probes")
    forged = re.sub(rb"sha256:[0-9a-f]{64}", forged_hash([9, 4]), good.replace(b"[3,4]", b"[9,4]"), count=1)
    sealed.write_bytes(forged)
    with pytest.raises(FileFormatError, match="must be a safetensors file of NumPy dtypes"):
        load_container(sealed, "probes")


@pytest.mark.parametrize("at_once", [1 << 20, 0])
@pytest.mark.parametrize("place", [9, -1])
def test_a_write_while_the_file_is_read_is_found(
    sealed: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, place: int
) -> None:
    good = sealed.read_bytes()
    monkeypatch.setattr(container, "_READ_AT_ONCE", at_once)
    seeks = []

    class Raced(io.BufferedReader):
        def seek(self, offset: int, whence: int = 0, /) -> int:
            # Before whatever is read last, once the header and, of a large file, the hash is done.
            seeks.append(offset)
            if offset == 0:
                bad = bytearray(good)
                bad[place] ^= 1
                sealed.write_bytes(bad)
            return super().seek(offset, whence)

    monkeypatch.setattr(container, "open_regular", lambda path: Raced(io.FileIO(path), 16))
    with pytest.raises(FileFormatError, match=r"must stay as it is|is damaged"):
        load_container(sealed, "probes")
    start = 8 + int.from_bytes(good[:8], "little")
    assert seeks == ([0] if at_once else [start, start + 24, 0])


def test_huge_claims_cost_nothing(tmp_path: Path, sealed: Path) -> None:
    lying = tmp_path / "lying"
    lying.write_bytes(struct.pack("<Q", 1 << 62) + b"{}")
    sparse = tmp_path / "sparse"
    sparse.write_bytes(sealed.read_bytes())
    os.truncate(sparse, 1 << 40)
    start = time.perf_counter()
    with pytest.raises(FileFormatError, match="its header claims 4,611,686,018,427,387,904 bytes, the file has 10"):
        load_container(lying, "probes")
    with pytest.raises(FileFormatError, match="must be a probes file of at most 17,179,869,184 bytes"):
        load_container(sparse, "probes")
    assert time.perf_counter() - start < 1


OTHERS = [b"a letter to mother\n", b"\x93NUMPY\x01\x00v\x00{'descr'", b"PK\x03\x04 an archive"]


@pytest.mark.parametrize("content", OTHERS)
def test_a_file_of_another_format_is_told_as_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(FileFormatError) as refusal:
        load_container(path, "fingerprint")
    said = str(refusal.value)
    assert "must be a fingerprint file of sac_fast" in said
    assert f"another format: {len(content)} bytes that begin with {content[:16]!r}" in said
    assert "claims" not in said


def test_not_a_regular_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path, fifo, Path("/dev/zero")):
        with pytest.raises(FileFormatError, match="must be a regular file"):
            load_container(path, "probes")
    with pytest.raises(FileFormatError, match="No such file"):
        load_container(tmp_path / "none", "probes")
    with pytest.raises(FileFormatError, match="null byte"):
        load_container("a\0b", "probes")
    (tmp_path / "empty").touch()
    with pytest.raises(FileFormatError, match="at least 10 bytes, got 0"):
        load_container(tmp_path / "empty", "probes")


def test_save_container_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_container(tmp_path / "a", "k", ARRAYS, {"x": float("nan")})
    with pytest.raises(TypeError, match="not JSON serializable"):
        save_container(tmp_path / "a", "k", ARRAYS, {"x": object()})
    assert os.listdir(tmp_path) == []


def test_imports_are_light() -> None:
    code = (
        "import sys, sac_fast.fingerprint, sac_fast.probes, sac_fast.models, sac_fast.io.progress; "
        "print(sorted({'h5py', 'rich', 'scipy', 'sklearn', 'pandas', 'skimage'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_what_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"metadata of .* must stay under 2,097,1"):
        save_container(tmp_path / "a", "probes", ARRAYS, {"text": "x" * (3 << 20)})
    assert not list(tmp_path.iterdir())
