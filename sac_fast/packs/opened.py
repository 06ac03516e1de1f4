"""Open a pack from a file or an address: its hash first, then a worker with limits reads it."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import FileFormatError, require
from ..io.files import StrPath, check_holes, file_size, open_regular
from ..io.text import escape_text
from ..scan.protocol import FrameReader
from ..scan.sandbox import scrubbed
from .pack import MAX_MEMBERS, MAX_PACK_BYTES, Pack, check_about, check_outputs, pack_of
from .pull import check_hash, pull_pack

_TIMEOUT = 120
_PIECE = 1 << 20
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
# The search path comes as an argument: the current folder may hold untrusted code.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[5]); from sac_fast.packs.worker import main; "
    "main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))"
)


def is_address(at: StrPath) -> bool:
    """Whether a place is an address and no path."""
    return _ADDRESS.match(os.fspath(at)) is not None


def open_pack(at: StrPath, hash: str | None, *, keep: StrPath | None = None, timeout: float = _TIMEOUT) -> Pack:
    """Open a pack.

    Args:
        at: a file, or an address (see `pull_pack`).
        hash: SHA-256 of the file, ``"sha256:…"``, which you must have from its maker: it is compared before anything
            is read.
        keep: folder in which a pack from an address is kept, and found again; None: it is not kept.
        timeout: seconds for reading it.

    Returns:
        The pack. What it says is a claim of its maker.

    Raises:
        ModelError: no hash, or an address that is refused.
        FileFormatError: another hash, too large, damaged, or no pack.

    Example::

        >>> from sac_fast.packs.make import make_pack
        >>> probes = sac_fast.ProbeSet.from_arrays(np.arange(480, dtype=np.uint8).reshape(10, 4, 4, 3))
        >>> theirs = sac_fast.fingerprint(lambda batch: batch.mean(dim=(2, 3)), probes, name="a", kind="same-data")
        >>> hash = make_pack([theirs], probes, probes_at="https://example.org/probes").save("nulls.pack")
        >>> sac_fast.open_pack("nulls.pack", hash).fingerprints()[0].kind
        'same-data'
    """
    hash = check_hash(hash)
    if not is_address(at):
        return _open_file(at, hash, timeout)
    if keep is not None:
        folder = Path(keep)
        folder.mkdir(parents=True, exist_ok=True)
        return _open_file(pull_pack(os.fspath(at), hash, folder / f"{hash[7:]}.safetensors"), hash, timeout)
    with tempfile.TemporaryDirectory(prefix="sac_fast-") as folder_name:
        return _open_file(pull_pack(os.fspath(at), hash, Path(folder_name) / "pack.safetensors"), hash, timeout)


def _open_file(path: StrPath, hash: str, timeout: float) -> Pack:
    content = _hashed_copy(path, hash)
    try:
        return _read_in_worker(content, repr(os.fspath(path)), hash, timeout)
    finally:
        os.close(content)


def _hashed_copy(path: StrPath, hash: str) -> int:
    """Sealed memory with the file, its hash compared: what is read later is what was hashed."""
    import fcntl

    descriptor = os.memfd_create("sac_fast pack", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open_regular(path) as handle, os.fdopen(descriptor, "wb", closefd=False) as copy:
            size = file_size(handle)
            wanted = f"{os.fspath(path)!r} must have at most {MAX_PACK_BYTES:,} bytes"
            require(size <= MAX_PACK_BYTES, wanted, size, FileFormatError)
            check_holes(repr(os.fspath(path)), handle)
            digest, left = hashlib.sha256(), size
            while left and (piece := handle.read(min(left, _PIECE))):
                digest.update(piece)
                copy.write(piece)
                left -= len(piece)
        found = "sha256:" + digest.hexdigest()
        require(found == hash, f"{os.fspath(path)!r} must have the hash {hash}", found, FileFormatError)
        seals = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _read_in_worker(content: int, name: str, hash: str, timeout: float) -> Pack:
    ours, theirs = socket.socketpair()
    path = json.dumps([os.path.abspath(folder) for folder in sys.path])
    arguments = [str(theirs.fileno()), str(content), escape_text(name), str(math.ceil(timeout)), path]
    with theirs, tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", _PROGRAM, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
            pass_fds=(theirs.fileno(), content),
            env=scrubbed(os.environ) | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            start_new_session=True,
        )  # fmt: skip
    try:
        with ours:
            return _pack_from(_frames(ours, time.monotonic() + timeout, name), name, hash)
    finally:
        process.kill()
        process.wait()


def _frames(connection: socket.socket, deadline: float, name: str) -> Iterator[tuple[dict[str, Any], bytearray]]:
    """What the worker sends, of which all together may be as large as the largest pack."""
    reader, total = FrameReader(MAX_PACK_BYTES), 0
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise FileFormatError(f"{name} must be read in time, got none", reason="timed-out")
        connection.settimeout(left)
        try:
            piece = connection.recv(_PIECE)
        except TimeoutError:
            continue
        except ConnectionError:
            piece = b""
        total += len(piece)
        if not piece or total > 2 * MAX_PACK_BYTES:
            raise FileFormatError(f"{name} must be a pack, got one at which the process that reads it ended")
        yield from reader.feed(piece)


def _pack_from(frames: Iterator[tuple[dict[str, Any], bytearray]], name: str, hash: str) -> Pack:
    """The pack of a worker's frames; nothing of them is believed that is not checked."""
    first, _ = next(frames)
    if "failed" in first:
        raise FileFormatError(escape_text(str(first["failed"]), 2000))
    about, count = first.get("about"), first.get("count")
    if not isinstance(about, dict) or type(count) is not int:
        raise FileFormatError(f"{name} must be a pack, got a reply of another form")
    require(0 < count <= MAX_MEMBERS, f"{name} must hold 1 … {MAX_MEMBERS:,} members", count, FileFormatError)
    members: list[Any] = []
    outputs: list[torch.Tensor] = []
    while len(members) < count:
        header, body = next(frames)
        dtype, shape = header.get("dtype"), header.get("shape")
        members.append(header.get("member"))
        _, probes = check_about({**about, "members": members[-1:]}, name)
        check_outputs(dtype, shape if isinstance(shape, list) else [], probes, name)
        assert isinstance(shape, list)
        assert isinstance(dtype, str)
        wanted = math.prod(shape) * _DTYPES[dtype].itemsize
        require(len(body) == wanted, f"{name} must send {wanted} bytes", len(body), FileFormatError)
        outputs.append(torch.frombuffer(body, dtype=_DTYPES[dtype]).reshape(shape))
    return pack_of({**about, "members": members}, outputs, name, hash)
