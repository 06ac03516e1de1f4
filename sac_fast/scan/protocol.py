"""The protocol between a scan and its worker processes: two lengths, a JSON header and the raw bytes of one array.

    frame = header length (uint32) | body length (uint64) | header (JSON, ASCII) | body

Never pickle: a worker runs untrusted models, so its replies are as untrusted as their files. Both lengths are checked
before memory is allocated, and `read_reply` checks every value.
"""

from __future__ import annotations

import json
import math
import re
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelError
from ..io.hashing import is_hash
from ..io.text import escape_text
from ..models.plain_forms import OUTPUT_FORMS, row_not_finite
from ..models.preprocessing import Preprocessing

MAX_HEADER_BYTES = 1 << 20
#: Largest outputs of one model: 100,000 probes × 1,000 float32 outputs are 400 MB.
MAX_BODY_BYTES = 1 << 30
MAX_MESSAGE_CHARACTERS = 2000
MAX_NOTES = 8  # of one model
#: Reasons of failures that are none of the model: of the machine, of a mount, of a worker that was lost. No store keeps
#: them, so that the next scan runs the model again.
ENVIRONMENT = "environment"
WORKER_LOST = "worker-lost"
SURROUNDINGS = (ENVIRONMENT, WORKER_LOST)

_LENGTHS = struct.Struct("<IQ")
_WORD = re.compile(r"[a-z0-9][a-z0-9_.+-]{0,63}")
_DTYPES = {name: np.dtype(name) for name in ("float32", "float64")}


class WireError(ModelError):
    """Bytes that do not follow the protocol."""


@dataclass(frozen=True)
class RunResult:
    """The outputs of one model, or the reason of its failure.

    Attributes:
        outputs: ``(n, k)`` float32 or float64, finite; None: the model failed.
        format: of the file, as `sac_fast.formats.identify` names it; ``""``: not known.
        model_hash: ``"sha256:…"``; ``""``: not known.
        recorded: whether the outputs were read, not computed.
        inferred: index of the scan's architecture that fits; None: none was inferred.
        seconds: of loading and of running, by the worker's clock.
        reason: short code of a failure; None: success.
        message: of a failure, one line of printable characters.
        probe_hash: of the probes that recorded outputs name, ``"sha256:…"``; None: they name none.
        preprocessing: `Preprocessing.to_dict` of what the model was run on; None: it was not run.
        notes: `OpenedModel.notes`, each one line of printable characters.
        output_form: `OpenedModel.output_form`.
        file_sha256: ``"sha256:…"`` of the file as `sha256sum` counts it; None: it was gone when it had been run.
    """

    outputs: NDArray[Any] | None
    format: str = ""
    model_hash: str = ""
    recorded: bool = False
    inferred: int | None = None
    seconds: tuple[float, float] = (0.0, 0.0)
    reason: str | None = None
    message: str = ""
    probe_hash: str | None = None
    preprocessing: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    output_form: str | None = None
    file_sha256: str | None = None

    def __post_init__(self) -> None:
        if (self.outputs is None) != (self.reason is not None):
            raise ValueError("a result must have outputs or a reason, and not both")

    def checked(self, probe_hash: str) -> RunResult:
        """This result, or a failure where it names other probes."""
        if self.probe_hash in (None, probe_hash):
            return self
        message = f"a fingerprint must be of the probes {probe_hash}, got one of {self.probe_hash}"
        return RunResult(None, self.format, seconds=self.seconds, reason="other-probes", message=message)


def failed(reason: str, message: str, format: str = "") -> RunResult:
    """A failure."""
    return RunResult(None, format=format, reason=reason, message=_escape_message(message))


def _escape_message(text: str) -> str:
    return escape_text(text[: 4 * MAX_MESSAGE_CHARACTERS], MAX_MESSAGE_CHARACTERS)


def pack(header: Mapping[str, Any], body: bytes | memoryview = b"") -> list[bytes | memoryview]:
    """The pieces of one frame, in the order of sending.

    Raises:
        WireError: the header or the body is longer than the receiver accepts.
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
    """Wait for one frame on a blocking socket; None at its end.

    Raises:
        WireError: a frame that is too long, cut off, or whose header is no JSON object.
    """
    reader = FrameReader(max_body)
    while piece := connection.recv(min(reader.missing, 1 << 20)):
        if frames := reader.feed(piece):
            return frames[0]
    if reader.is_inside:
        raise WireError("a frame must be complete, got one that was cut off")
    return None


class FrameReader:
    """Assembles frames from pieces, for a non-blocking reader.

    Args:
        max_body: longest body to accept.
    """

    def __init__(self, max_body: int = MAX_BODY_BYTES) -> None:
        self._max_body = max_body
        self._buffer = bytearray()
        #: Bytes to the end of the frame, or of its lengths where these are not known yet.
        self.missing = _LENGTHS.size

    @property
    def is_inside(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return bool(self._buffer)

    def feed(self, piece: bytes) -> list[tuple[dict[str, Any], bytearray]]:
        """Add received bytes; returns the frames that are complete.

        Raises:
            WireError: a frame that is too long, or whose header is no JSON object.
        """
        self._buffer += piece
        frames: list[tuple[dict[str, Any], bytearray]] = []
        while len(self._buffer) >= _LENGTHS.size:
            header_bytes, body_bytes = _LENGTHS.unpack_from(self._buffer)
            _check_lengths(header_bytes, body_bytes, self._max_body)
            start = _LENGTHS.size + header_bytes
            end = start + body_bytes
            if len(self._buffer) < end:
                self.missing = end - len(self._buffer)
                return frames
            frames.append((_parse_header(self._buffer[_LENGTHS.size : start]), self._buffer[start:end]))
            del self._buffer[:end]
        self.missing = _LENGTHS.size - len(self._buffer)
        return frames


def reply_of(result: RunResult, number: int) -> tuple[dict[str, Any], memoryview]:
    """Header and body of a reply; `read_reply` is the inverse."""
    header: dict[str, Any] = {"number": number, "format": result.format, "seconds": list(result.seconds)}
    if result.outputs is None:
        return header | {"reason": result.reason, "message": result.message}, memoryview(b"")
    outputs = np.ascontiguousarray(result.outputs)
    header |= {
        "model_hash": result.model_hash,
        "recorded": result.recorded,
        "probe_hash": result.probe_hash,
        "inferred": result.inferred,
        "preprocessing": result.preprocessing,
        "dtype": outputs.dtype.name,
        "shape": list(outputs.shape),
        "output_form": result.output_form,
        "file_sha256": result.file_sha256,
        "notes": [_escape_message(note) for note in result.notes[:MAX_NOTES]],
    }
    return header, outputs.reshape(-1).view(np.uint8).data


def read_reply(
    header: Mapping[str, Any], body: bytearray, rows: int | None, architectures: int = MAX_HEADER_BYTES
) -> RunResult:
    """The result in a worker's reply, after checking every value.

    Args:
        header, body: the frame.
        rows: number of probes; None: recorded outputs of any number of rows.
        architectures: number of architectures of the scan.

    Returns:
        The result; outputs that are not ``(rows, k)`` or not finite are a failure of the model.

    Raises:
        WireError: a reply that does not follow the protocol.
    """
    get: Callable[..., Any] = header.get  # of any type, until it is checked
    word, text, seconds, reason = get("format"), get("message", ""), get("seconds"), get("reason")
    is_word = isinstance(word, str) and (not word or _WORD.fullmatch(word) is not None)
    _check_reply(
        (is_word and isinstance(text, str), "name a format and a message"),
        (_is_pair(seconds, (int, float), 0, 1e9), "say how many seconds loading and running took"),
    )
    seconds = (float(seconds[0]), float(seconds[1]))
    if reason is not None:
        if not isinstance(reason, str) or not _WORD.fullmatch(reason) or body:
            raise WireError("a failure must have a reason of letters, digits and hyphens, and no body")
        return RunResult(None, format=word, seconds=seconds, reason=reason, message=_escape_message(text))
    names = ("model_hash", "recorded", "probe_hash", "inferred", "dtype", "shape")
    digest, recorded, probe_hash, inferred, dtype, shape = map(get, names)
    notes = header.get("notes", [])
    is_texts = isinstance(notes, list) and len(notes) <= MAX_NOTES and all(isinstance(note, str) for note in notes)
    form, of_file = header.get("output_form"), header.get("file_sha256")
    is_known = inferred is None or (type(inferred) is int and 0 <= inferred < architectures)
    _check_reply(
        (is_hash(digest) and isinstance(recorded, bool), "have a model hash and say whether the outputs were recorded"),
        (probe_hash is None or is_hash(probe_hash), "give the hash of the probes of recorded outputs, or None"),
        (is_known, "infer one of the architectures"),
        (isinstance(dtype, str) and dtype in _DTYPES, "be float32 or float64"),
        (_is_pair(shape, (int,), 1, MAX_BODY_BYTES), "have two dimensions of at least 1"),
        (form is None or form in OUTPUT_FORMS, "name an output form, or None"),
        (of_file is None or is_hash(of_file), "give the SHA-256 of the file, or None"),
        (is_texts, f"have at most {MAX_NOTES} notes"),
    )
    if math.prod(shape) * _DTYPES[dtype].itemsize != len(body):
        raise WireError(f"a reply of shape {tuple(shape)} must have a body to match, got {len(body)} bytes")
    if rows is not None and shape[0] != rows:
        return failed("wrong-shape", f"the model must return {rows} rows, one per probe, got {shape[0]} rows", word)
    outputs = np.frombuffer(body, _DTYPES[dtype]).reshape(shape)
    if (row := row_not_finite(outputs)) is not None:
        return failed("not-finite", f"the model must return finite numbers, got NaN or Inf for probe {row}", word)
    said = tuple(map(_escape_message, notes))
    used = _preprocessing(header)
    return RunResult(
        outputs, word, digest, recorded, inferred, seconds, probe_hash=probe_hash, preprocessing=used, notes=said,
        output_form=form, file_sha256=of_file,
    )  # fmt: skip


def _preprocessing(header: Mapping[str, Any]) -> dict[str, Any] | None:
    said = header.get("preprocessing")
    if said is None:
        return None
    try:
        return Preprocessing.from_dict(said).to_dict()
    except (ValueError, TypeError, AttributeError) as error:
        raise WireError(f"a reply must give a preprocessing, got {type(error).__name__}") from error


def _check_reply(*checks: tuple[bool, str]) -> None:
    for passed, wanted in checks:
        if not passed:
            raise WireError(f"a reply must {wanted}")


def _is_pair(value: Any, types: tuple[type, ...], low: float, high: float) -> bool:
    """Whether it is a list of two numbers of these types in the range."""
    is_list = isinstance(value, list) and len(value) == 2
    return is_list and all(type(number) in types and low <= number <= high for number in value)


def _check_lengths(header_bytes: int, body_bytes: int, max_body: int) -> None:
    if not 2 <= header_bytes <= MAX_HEADER_BYTES or not 0 <= body_bytes <= max_body:
        raise WireError(
            f"a frame must have a header of 2 … {MAX_HEADER_BYTES:,} bytes and a body of at most {max_body:,}, "
            f"got {header_bytes:,} and {body_bytes:,}"
        )


def _parse_header(text: bytes | bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"the header of a frame must be JSON, got {type(error).__name__}") from error
    if not isinstance(header, dict):
        raise WireError(f"the header of a frame must be a JSON object, got {type(header).__name__}")
    return header
