"""Hashes of arrays and JSON."""

from __future__ import annotations

import hashlib
import io
import struct

import numpy as np
import pytest

from sac_fast.io.hashing import content_hash, hash_json, is_hash, sha256_stream

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "label": np.array([1, 2, 3], np.int64)}


def test_content_hash_is_the_documented_one() -> None:
    stream = b'["label","int64",[3]]\n' + struct.pack("<3q", 1, 2, 3)
    stream += b'["x","float32",[3,4]]\n' + struct.pack("<12f", *range(12))
    assert content_hash(ARRAYS) == "sha256:" + hashlib.sha256(stream).hexdigest()
    assert content_hash(dict(reversed(ARRAYS.items()))) == content_hash(ARRAYS)
    assert content_hash({"x": ARRAYS["x"].astype(">f4")}) == content_hash({"x": ARRAYS["x"]})


def test_content_hash_tells_apart() -> None:
    x = np.zeros((2, 3), np.float32)
    hashes = {
        content_hash(arrays)
        for arrays in (
            {"x": x},
            {"y": x},
            {"x": x.T},
            {"x": x.astype(np.int32)},
            {"x": x + 1},
            {"x": x, "y": x},
            {"x": np.asfortranarray(x + np.arange(3, dtype=np.float32))},
        )
    }
    assert len(hashes) == 7


def test_is_hash() -> None:
    assert is_hash("sha256:" + "0a" * 32)
    for value in ("sha256:" + "0A" * 32, "sha256:" + "0" * 63, "0" * 64, "sha256:" + "0" * 64 + "\n", None, 3):
        assert not is_hash(value)


def test_hash_json_is_that_of_canonical_json() -> None:
    text = b'{"a":[1,null],"b":"\\u00e4"}'
    assert hash_json({"b": "ä", "a": [1, None]}) == "sha256:" + hashlib.sha256(text).hexdigest()
    with pytest.raises(ValueError, match="not JSON compliant"):
        hash_json(float("nan"))


def test_hash_of_a_stream_is_that_of_the_rest() -> None:
    stream = io.BytesIO(bytes(3) + bytes(range(256)) * 10_000)
    stream.seek(3)
    assert sha256_stream(stream) == "sha256:" + hashlib.sha256(bytes(range(256)) * 10_000).hexdigest()
