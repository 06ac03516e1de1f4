"""The protocol between a scan and its workers: round trips, and refusal of everything else."""

import json
import math
import socket
import struct

import numpy as np
import pytest

from sac_fast.scan.protocol import (
    MAX_HEADER_BYTES,
    FrameReader,
    RunResult,
    WireError,
    failed,
    pack,
    read_reply,
    receive,
    reply_of,
    send,
)

HASH = "sha256:" + "ab" * 32
OUTPUTS = np.array([[1.0, -2.0], [3.5, 0.25], [0.0, 7.0]], np.float32)


def frame(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<IQ", len(text), len(body)) + text + body


def done(**changes):
    header = {
        "number": 4,
        "format": "safetensors",
        "seconds": [0.5, 0.25],
        "model_hash": HASH,
        "recorded": False,
        "inferred": None,
        "dtype": "float32",
        "shape": [3, 2],
    }
    return {**header, **changes}


def body():
    return bytearray(struct.pack("<6f", 1.0, -2.0, 3.5, 0.25, 0.0, 7.0))


def test_an_answer_to_other_probes_is_a_failure_that_names_both():
    other = "sha256:" + "cd" * 32
    header, sent = reply_of(RunResult(OUTPUTS, "fingerprint", HASH, recorded=True, probe_hash=other), 4)
    answer = read_reply(header, bytearray(sent), 3)
    assert answer.probe_hash == other
    assert answer.checked(other) is answer
    refused = answer.checked(HASH)
    assert (refused.outputs, refused.reason, refused.format) == (None, "other-probes", "fingerprint")
    assert HASH in refused.message
    assert other in refused.message
    unsaid = read_reply(done(recorded=True), body(), 3)
    assert unsaid.checked(HASH) is unsaid
    for wrong in ("sha256:", 5, [HASH], HASH.upper()):
        with pytest.raises(WireError, match="hash of the probes"):
            read_reply(done(probe_hash=wrong), body(), 3)


def test_a_frame_comes_back_whole_from_any_pieces():
    sent = b"".join(pack({"a": [1, "ü"]}, b"12345")) + b"".join(pack({"b": None}))
    assert sent.startswith(struct.pack("<IQ", len(b'{"a":[1,"\\u00fc"]}'), 5))
    for size in (1, 7, len(sent)):
        reader = FrameReader()
        found = []
        for start in range(0, len(sent), size):
            found += reader.feed(sent[start : start + size])
        assert found == [({"a": [1, "ü"]}, bytearray(b"12345")), ({"b": None}, bytearray())]


def test_a_blocking_reader_sees_frames_and_the_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(theirs, {"number": 1}, b"abc")
        assert receive(ours) == ({"number": 1}, bytearray(b"abc"))
        theirs.sendall(frame({"number": 2}, b"abcd")[:-2])
        theirs.close()
        with pytest.raises(WireError, match="cut off"):
            receive(ours)
        assert receive(ours) is None


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        (struct.pack("<IQ", 1 << 31, 0), "header of 2"),
        (struct.pack("<IQ", MAX_HEADER_BYTES + 1, 0), "header of 2"),
        (struct.pack("<IQ", 1, 0), "header of 2"),
        (struct.pack("<IQ", 20, 1 << 63), "body of at most 1,000"),
        (struct.pack("<IQ", 20, 1001), "body of at most 1,000"),
        (frame(b"{'a': 1}"), "must be JSON"),
        (frame(b"[" * 100_000), "must be JSON"),
        (frame(b"\xff\xfe\x00\x01"), "must be JSON"),
        (frame([1]), "JSON object"),
    ],
)
def test_frames_that_lie_are_refused_before_their_bytes_are_waited_for(piece, words):
    with pytest.raises(WireError, match=words):
        FrameReader(max_body=1000).feed(piece)


def test_an_answer_comes_back_equal():
    for outputs in (OUTPUTS, np.asfortranarray(OUTPUTS.astype(np.float64))):
        sent = RunResult(outputs, "onnx", HASH, True, 3, (0.5, 2.0), file_sha256="sha256:" + "5" * 64)
        header, data = reply_of(sent, 9)
        assert header["number"] == 9
        got = read_reply(json.loads(json.dumps(header)), bytearray(data), 3)
        assert np.array_equal(got.outputs, outputs)
        assert got.outputs.dtype == outputs.dtype
        assert got.file_sha256 == "sha256:" + "5" * 64
        assert (got.format, got.model_hash, got.recorded, got.inferred, got.seconds) == (
            "onnx",
            HASH,
            True,
            3,
            (0.5, 2),
        )
    header, data = reply_of(failed("pickle", "no\x1b[2J\nthanks", "torch"), 2)
    got = read_reply(header, bytearray(data), 3)
    assert (got.outputs, got.reason, got.message, got.format) == (None, "pickle", r"no\x1b[2J\nthanks", "torch")


@pytest.mark.parametrize(
    "changes",
    [
        {"model_hash": "sha256:" + "g" * 64},
        {"model_hash": None},
        {"recorded": 1},
        {"inferred": -1},
        {"inferred": True},
        {"dtype": "object"},
        {"dtype": ["float32"]},
        {"shape": [3, 2, 1]},
        {"shape": [3, -2]},
        {"shape": [3, 3]},
        {"shape": [1 << 62, 1 << 62]},
        {"shape": [3.0, 2]},
        {"shape": "32"},
        {"shape": [0, 6]},
        {"seconds": [1]},
        {"seconds": [math.nan, 0]},
        {"seconds": [-1, 0]},
        {"seconds": [True, 0]},
        {"seconds": None},
        {"format": "../../etc"},
        {"format": 3},
        {"reason": "with a body"},
        {"reason": "Not A Code"},
        {"message": 3},
        {"file_sha256": "0" * 64},
        {"file_sha256": 3},
    ],
)
def test_replies_that_no_worker_would_write_are_refused(changes):
    with pytest.raises(WireError):
        read_reply(done(**changes), body(), 3)


def test_wrong_rows_and_numbers_that_are_none_are_the_models_failure():
    assert read_reply(done(), body(), 3).reason is None
    assert read_reply(done(), body(), None).reason is None
    assert read_reply(done(), body(), 4).reason == "wrong-shape"
    for value in (math.nan, math.inf, -math.inf):
        data = body()
        data[12:16] = struct.pack("<f", value)
        got = read_reply(done(), data, 3)
        assert (got.reason, got.outputs) == ("not-finite", None)
        assert "probe 1" in got.message


def test_messages_are_made_fit_for_a_terminal():
    text, shown = "a\x1b]0;title\x07b\r\n\tc\ud800d\u202ee", r"a\x1b]0;title\x07b\r\n\tc\ud800d\u202ee"
    reply = {"format": "torch", "reason": "odd", "message": text, "seconds": [0, 0]}
    assert (failed("odd", text).message, read_reply(reply, bytearray(), None).message) == (shown, shown)
    assert len(failed("odd", "x" * 10_000).message) == 2000
    with pytest.raises(ValueError, match="outputs or a reason"):
        RunResult(None)
