"""The strict safetensors reader beside the library: what it accepts is read alike, what it refuses has a reason."""

import json
import math
import struct
import tempfile

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.limits import REASONS, Limits
from sac_fast.formats.safetensors import read_header, read_tensors
from sac_fast.io.dtypes import STORED_DTYPES

SIZES = {row.safetensors: getattr(torch, row.name).itemsize for row in STORED_DTYPES if row.safetensors}
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
DECORATED = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def file_of(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@st.composite
def tables(draw):
    """A sound header as a list of pairs, and its data."""
    pairs, start = [], 0
    for name in draw(st.lists(NAMES.filter(lambda name: name != "__metadata__"), max_size=4, unique=True)):
        dtype = draw(st.sampled_from(sorted(SIZES)))
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        stop = start + math.prod(shape) * SIZES[dtype]
        pairs.append((name, {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}))
        start = stop
    data = draw(st.binary(min_size=start, max_size=start))
    if draw(st.booleans()):
        pairs.insert(0, ("__metadata__", draw(st.dictionaries(NAMES, NAMES, max_size=3))))
    return draw(st.permutations(pairs)), data


def text_of(pairs, **how):
    """JSON of pairs, duplicates included."""
    return "{" + ",".join(f"{json.dumps(key, **how)}:{json.dumps(value, **how)}" for key, value in pairs) + "}"


NUMBERS = st.one_of(
    st.integers(-2, 40), st.sampled_from([2**32, 2**62, 2**63, 2**64, 10**30]), st.floats(), st.booleans(), st.none()
)


@st.composite
def broken(draw):
    """A file with one thing wrong, or only written in another way."""
    pairs, data = draw(tables())
    pairs = [(key, dict(value)) for key, value in pairs]
    tensors = [value for key, value in pairs if key != "__metadata__"]
    wrong = draw(st.sampled_from(
        ["twice", "number", "shape", "field", "dtype", "metadata", "spaces", "after", "cut", "longer", "byte", "names"]
    ))  # fmt: skip
    how = {"ensure_ascii": draw(st.booleans())}
    if wrong == "twice" and pairs:
        pairs.insert(draw(st.integers(0, len(pairs))), draw(st.sampled_from(pairs)))
    elif wrong == "number" and tensors:
        draw(st.sampled_from(tensors))["data_offsets"][draw(st.integers(0, 1))] = draw(NUMBERS)
    elif wrong == "shape" and tensors:
        draw(st.sampled_from(tensors))["shape"] = draw(st.lists(NUMBERS, max_size=3))
    elif wrong == "field" and tensors:
        entry = draw(st.sampled_from(tensors))
        entry[draw(st.sampled_from(["dtype", "more", "shape"]))] = draw(st.one_of(st.text(max_size=3), NUMBERS))
    elif wrong == "dtype" and tensors:
        draw(st.sampled_from(tensors))["dtype"] = draw(st.sampled_from(["F4", "F8_E8M0", "f32", "C64", "F6_E2M3", ""]))
    elif wrong == "metadata":
        pairs.append(("__metadata__", draw(st.one_of(st.none(), NUMBERS, st.dictionaries(NAMES, NUMBERS, max_size=2)))))
    elif wrong == "names" and pairs:
        pairs[0] = (draw(st.sampled_from(["\ud800", "", "a\0b", "\U0001f600"])), pairs[0][1])
    text = text_of(pairs, **how)
    if wrong == "spaces":
        text = draw(st.sampled_from(["", " ", "\n", "\t\r"])) + text.replace(":", " :\t").replace(",", "\n, ")
    elif wrong == "after":
        text += draw(st.sampled_from([" ", "   ", "\n", "x", "{}", "\0", "\xa0"]))
    raw = file_of(text.encode("utf-8", "surrogatepass"), data)
    if wrong == "cut":
        return raw[: draw(st.integers(0, len(raw)))]
    if wrong == "longer":
        return raw + draw(st.binary(min_size=1, max_size=9))
    if wrong == "byte":
        place = draw(st.integers(0, len(raw) - 1))
        return raw[:place] + bytes([draw(st.integers(0, 255))]) + raw[place + 1 :]
    return raw


def ours(raw):
    """What the strict reader makes of a file: tensors and metadata, or its refusal."""
    with tempfile.TemporaryFile() as handle:
        handle.write(raw)
        handle.flush()
        try:
            header = read_header(handle, "file", Limits())
            return read_tensors(handle, "file", header), header.metadata
        except ModelRefusedError as error:
            return error


def library(raw):
    """What the library makes of it; None where it refuses."""
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as handle:
        handle.write(raw)
        handle.flush()
        try:
            with safetensors.safe_open(handle.name, "pt") as opened:
                return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
        except (safetensors.SafetensorError, OSError, ValueError, TypeError, RuntimeError, OverflowError):
            return None


def check(raw):
    found = ours(raw)
    if isinstance(found, ModelRefusedError):
        assert found.reason in REASONS
        assert str(found).startswith("file must ")
        return found.reason
    read = library(raw)
    assert read is not None, "accepted here, refused by the library"
    assert found[1] == read[1]
    assert sorted(found[0]) == sorted(read[0])
    for key, tensor in found[0].items():
        other = read[0][key]
        assert (tensor.dtype, tensor.shape) == (other.dtype, other.shape)
        assert torch.equal(tensor.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8))
    return None


@DECORATED
@given(tables(), st.booleans())
def test_sound_files_are_accepted_and_read_alike(made, ensure_ascii):
    pairs, data = made
    assert check(file_of(text_of(pairs, ensure_ascii=ensure_ascii).encode(), data)) is None


@DECORATED
@given(broken())
def test_whatever_is_accepted_the_library_reads_alike(raw):
    check(raw)


@DECORATED
@given(st.binary(max_size=80), st.integers(0, 90))
def test_rubbish_is_refused_with_a_reason(body, length):
    check(struct.pack("<Q", length) + b"{" + body)


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
         b"x", "duplicate-keys"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"dtype":"I8"}}', b"x", "duplicate-keys"),
        (b'{"__metadata__":{"a":"b","a":"c"}}', b"", "duplicate-keys"),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"more":[0,1]}}', b"x", "malformed"),
    ],
)  # fmt: skip
def test_what_the_library_accepts_and_is_refused_here(header, data, reason):
    """Differences that are meant: the library takes the last of two entries of one name and unknown fields."""
    assert check(file_of(header, data)) == reason


def test_files_of_the_library_are_accepted():
    state = {
        "weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "steps": torch.tensor(7),
        "empty": torch.zeros(0, 4),
    }
    raw = safetensors.torch.save(state, {"format": "pt"})
    assert check(raw) is None
    tensors, metadata = ours(raw)
    assert metadata == {"format": "pt"}
    assert {key: value.tolist() for key, value in tensors.items()} == {
        "weight": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "half": [1.5, -2.0], "steps": 7, "empty": [],
    }  # fmt: skip


def test_a_header_that_was_changed_is_read_anew(tmp_path):
    file = tmp_path / "a.safetensors"
    safetensors.torch.save_file({"a": torch.ones(2)}, file, metadata={"made": "here"})
    for _ in range(2):
        with file.open("rb") as handle:
            header = read_header(handle, "a", Limits())
        assert (set(header.tensors), header.metadata) == ({"a"}, {"made": "here"})
        header.tensors.clear()
        header.metadata["made"] = "elsewhere"
