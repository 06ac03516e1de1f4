"""What goes between a scan and its worker processes: a length, a JSON header and the raw bytes of one array.

    frame = header length (uint32) | body length (uint64) | header (JSON, ASCII) | body

Never pickle: a worker runs strangers' models, so its answers are as hostile as their files. Both lengths are checked
before memory is taken, and `read_reply` takes nothing for granted.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import ModelError
from ..io.hashing import is_hash
from ..io.text import escape_text

MAX_HEADER_BYTES = 1 << 20
#: Largest answer of one model: 100,000 probes × 1,000 float32 outputs are 400 MB.
MAX_BODY_BYTES = 1 << 30
MAX_MESSAGE_CHARACTERS = 500

_LENGTHS = struct.Struct("<IQ")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}


class WireError(ModelError):
    """Bytes that are not what the other side was asked for."""


@dataclass(frozen=True)
class Answer:
    """What became of one model: its outputs, or the reason why there are none.

    Attributes:
        outputs: ``(n, k)`` float32 or float64, finite, on the CPU; None: it failed.
        format: of the file, as `sac_fast.formats.identify` names it; "" where it is not known.
        model_hash: ``"sha256:…"``; "" where it is not known.
        recorded: whether the outputs were read, not computed.
        inferred: position among the scan's architectures of the one that fits; None: none was inferred.
        seconds: that loading and running took, by the worker's own clock.
        reason: short code of a failure; None: it did not fail.
        message: of a failure, one line of printable characters.
        probe_hash: of the probes that recorded outputs say they answer, ``"sha256:…"``; None: they do not say.
    """

    outputs: torch.Tensor | None
    format: str = ""
    model_hash: str = ""
    recorded: bool = False
    inferred: int | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    reason: str | None = None
    message: str = ""
    probe_hash: str | None = None

    def __post_init__(self) -> None:
        if (self.outputs is None) != (self.reason is not None):
            raise ValueError("an answer must have outputs or a reason, and not both")

    def checked(self, probe_hash: str) -> Answer:
        """The answer, or the failure that it is where it says to be one to other probes than those of the hash."""
        if self.probe_hash in (None, probe_hash):
            return self
        message = f"a fingerprint must be of the probes {probe_hash}, got one of {self.probe_hash}"
        return Answer(None, self.format, seconds=self.seconds, reason="other-probes", message=message)


def failed(reason: str, message: str, format: str = "") -> Answer:
    """An answer that says why there are no outputs."""
    return Answer(None, format=format, reason=reason, message=_escape_message(message))


def _escape_message(text: str) -> str:
    return escape_text(text[: 4 * MAX_MESSAGE_CHARACTERS], MAX_MESSAGE_CHARACTERS)


def pack(header: Mapping[str, Any], body: bytes | memoryview = b"") -> list[bytes | memoryview]:
    """The pieces of one frame, to be sent one after the other.

    Raises:
        WireError: the header or the body is longer than the other side would take.
    """
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode("ascii")
    size = memoryview(body).nbytes
    _check_lengths(len(text), size, MAX_BODY_BYTES)
    return [_LENGTHS.pack(len(text), size) + text, body] if size else [_LENGTHS.pack(len(text), 0) + text]


def send(connection: socket.socket, header: Mapping[str, Any], body: bytes | memoryview = b"") -> None:
    """Send one frame over a blocking socket."""
    for piece in pack(header, body):
        connection.sendall(piece)


def receive(connection: socket.socket, max_body: int = MAX_BODY_BYTES) -> tuple[dict[str, Any], bytearray] | None:
    """Wait for one frame of a blocking socket; None at its end.

    Raises:
        WireError: a frame that is too long, cut off, or whose header is no JSON object.
    """
    head = _exactly(connection, _LENGTHS.size)
    if not head:
        return None
    header_bytes, body_bytes = _LENGTHS.unpack(head)
    _check_lengths(header_bytes, body_bytes, max_body)
    rest = _exactly(connection, header_bytes + body_bytes)
    if len(head) < _LENGTHS.size or len(rest) < header_bytes + body_bytes:
        raise WireError("a frame must be whole, got one that was cut off")
    header = _parsed(rest[:header_bytes])
    del rest[:header_bytes]
    return header, rest


class FrameReader:
    """Puts frames together from pieces, for a reader that must not wait.

    Args:
        max_body: longest body to accept.
    """

    def __init__(self, max_body: int = MAX_BODY_BYTES) -> None:
        self._max_body = max_body
        self._held = bytearray()

    def feed(self, piece: bytes) -> list[tuple[dict[str, Any], bytearray]]:
        """Take in what has arrived; returns the frames that are whole now.

        Raises:
            WireError: a frame that is too long, or whose header is no JSON object.
        """
        self._held += piece
        frames = []
        while len(self._held) >= _LENGTHS.size:
            header_bytes, body_bytes = _LENGTHS.unpack_from(self._held)
            _check_lengths(header_bytes, body_bytes, self._max_body)
            start = _LENGTHS.size + header_bytes
            if len(self._held) < start + body_bytes:
                break
            header = _parsed(self._held[_LENGTHS.size : start])
            frames.append((header, self._held[start : start + body_bytes]))
            del self._held[: start + body_bytes]
        return frames


def reply_of(answer: Answer, number: int) -> tuple[dict[str, Any], memoryview]:
    """Header and body that say an answer; `read_reply` is the other side."""
    header: dict[str, Any] = {
        "number": number,
        "format": answer.format,
        "seconds": list(answer.seconds),
    }
    if answer.outputs is None:
        return header | {"reason": answer.reason, "message": answer.message}, memoryview(b"")
    outputs = answer.outputs.detach().cpu().contiguous()
    header |= {
        "model_hash": answer.model_hash,
        "recorded": answer.recorded,
        "probe_hash": answer.probe_hash,
        "inferred": answer.inferred,
        "dtype": str(outputs.dtype).removeprefix("torch."),
        "shape": list(outputs.shape),
    }
    return header, outputs.view(torch.uint8).numpy().reshape(-1).data


def read_reply(header: Mapping[str, Any], body: bytearray, rows: int | None) -> Answer:
    """Turn a worker's reply into an answer, believing nothing.

    Args:
        header, body: the frame.
        rows: number of probes; None: recorded outputs of any number of rows.

    Returns:
        The answer; outputs that are not ``(rows, k)`` or not finite are a failure of the model.

    Raises:
        WireError: a reply that no worker of ours would write.
    """
    word, text = header.get("format"), header.get("message", "")
    if not isinstance(word, str) or (word and not _WORD.fullmatch(word)) or not isinstance(text, str):
        raise WireError("a reply must name a format and a message")
    seconds = _seconds(header.get("seconds"))
    reason = header.get("reason")
    if reason is not None:
        if not isinstance(reason, str) or not _WORD.fullmatch(reason) or body:
            raise WireError("a failure must have a reason of letters, digits and hyphens, and no body")
        return Answer(None, format=word, seconds=seconds, reason=reason, message=_escape_message(text))
    digest, recorded = header.get("model_hash"), header.get("recorded")
    if not is_hash(digest) or not isinstance(recorded, bool):
        raise WireError("a reply must have a model hash and say whether the outputs were recorded")
    probe_hash = header.get("probe_hash")
    if probe_hash is not None and not is_hash(probe_hash):
        raise WireError("a reply must give the hash of the probes that recorded outputs answer, or None")
    inferred = header.get("inferred")
    if inferred is not None and (type(inferred) is not int or not 0 <= inferred < MAX_HEADER_BYTES):
        raise WireError("a reply must give the position of the architecture that was inferred")
    dtype = header.get("dtype")
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise WireError("a reply must be float32 or float64")
    shape = _shape(header.get("shape"))
    if math.prod(shape) * _DTYPES[dtype].itemsize != len(body):
        raise WireError(f"a reply of shape {shape} must have a body to match, got {len(body)} bytes")
    if rows is not None and shape[0] != rows:
        return failed("wrong-shape", f"the model must answer {rows} probes, got {shape[0]} rows", word)
    outputs = torch.frombuffer(body, dtype=_DTYPES[dtype]).reshape(shape)
    finite = torch.isfinite(outputs).all(1)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0])
        return failed("not-finite", f"the model must answer finite numbers, got NaN or Inf for probe {row}", word)
    return Answer(outputs, word, digest, recorded, inferred, seconds, probe_hash=probe_hash)


def _seconds(value: Any) -> tuple[float, float]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(second) in (int, float) and 0 <= second <= 1e9 for second in value)
    ):
        raise WireError("a reply must say how many seconds loading and running took")
    return float(value[0]), float(value[1])


def _shape(value: Any) -> tuple[int, int]:
    if (
        not isinstance(value, list)
        or len(value) != 2
        or not all(type(side) is int and 1 <= side <= MAX_BODY_BYTES for side in value)
    ):
        raise WireError("a reply must have two dimensions of at least 1")
    return value[0], value[1]


def _check_lengths(header_bytes: int, body_bytes: int, max_body: int) -> None:
    if not 2 <= header_bytes <= MAX_HEADER_BYTES or not 0 <= body_bytes <= max_body:
        raise WireError(
            f"a frame must have a header of 2 … {MAX_HEADER_BYTES:,} bytes and a body of at most {max_body:,}, "
            f"got {header_bytes:,} and {body_bytes:,}"
        )


def _parsed(text: bytes | bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header of a frame must be JSON, got {type(error).__name__}") from error
    if not isinstance(header, dict):
        raise WireError(f"the header of a frame must be a JSON object, got {type(header).__name__}")
    return header


def _exactly(connection: socket.socket, count: int) -> bytearray:
    """So many bytes, fewer at the end of the connection."""
    received = bytearray()
    while len(received) < count:
        piece = connection.recv(min(count - len(received), 1 << 20))
        if not piece:
            break
        received += piece
    return received
