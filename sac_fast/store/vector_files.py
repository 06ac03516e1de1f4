"""Files of packed vectors: they grow at the end, and a description that is replaced as a whole says how far they count.

vectors/0123456789abcdef/    one folder a probe set, named by the first digits of its hash
    vectors.json             what is in the other files, and their hashes, written last
    order.i32                the secret order of the correlations (see `sac_fast.neighbours.vectors`)
    head.u8, tail.u8         bytes of the correlations, a row for each result
    digests.bin              digests of the results, 32 bytes each
    near-….u64               lists of neighbours, sum << 32 | row
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StoreError
from ..io.choices import VectorMetric
from ..io.hashing import canonical_json
from ..neighbours.vectors import count_entries, part_bytes
from .durable import open_folder, open_regular_in, write_all, write_new
from .stored_rows import StoredRows

FOLDER = "vectors"
METRIC: VectorMetric = "cosine"
DESCRIPTION = "vectors.json"
DIGEST_BYTES = 32
#: Neighbours in a list.
NEAR = 16
#: More probes have vectors of more than 2²³ entries.
MAX_PROBES = 4_000
_MAX_ROWS = (1 << 32) - 1
_MAX_DESCRIPTION = 64 << 20
_FORMAT = 1


@dataclass
class Description:
    """What the files hold.

    Attributes:
        n: probes.
        rows: rows that count; what lies behind them is of a writer that was stopped.
        segments: rows of each addition, and the SHA-256 of its bytes in head, tail and digests, one after another.
        near: name of the file of lists, of as many rows; None: there are none.
        near_hash: its SHA-256.
        as_they_are: whether all outputs are compared as they are; else forms differ and the vectors are of no use.
        candidates: of the search that made the lists, see `sac_fast.neighbours.search`; None: all.
        measured: rows among which their recall was measured.
    """

    n: int
    rows: int = 0
    segments: list[tuple[int, str]] = field(default_factory=list)
    near: str | None = None
    near_hash: str | None = None
    as_they_are: bool = True
    candidates: int | None = None
    measured: int = 0

    @property
    def row_bytes(self) -> dict[str, int]:
        """Bytes of a row in each file that grows."""
        head, tail = part_bytes(self.n, METRIC)
        return {"head.u8": head, "tail.u8": tail, "digests.bin": DIGEST_BYTES}

    def to_json(self) -> bytes:
        """The content of `DESCRIPTION`."""
        return canonical_json({"format": _FORMAT, **vars(self)}).encode()

    @staticmethod
    def from_json(data: bytes) -> Description:
        """The inverse, for untrusted bytes.

        Raises:
            ValueError: anything else.
        """
        try:
            values = json.loads(data)
            if not isinstance(values, dict) or values.pop("format", None) != _FORMAT:
                raise ValueError("it is of another format")
            found = Description(**values)
            found.segments = [(int(rows), str(digest)) for rows, digest in found.segments]
            if type(found.n) is not int or not 2 <= found.n <= MAX_PROBES:
                raise ValueError(f"n must be within 2 … {MAX_PROBES}, got {found.n!r}")
            if type(found.rows) is not int or not 0 <= found.rows <= _MAX_ROWS:
                raise ValueError(f"rows must be within 0 … 2^32 - 1, got {found.rows!r}")
            if sum(rows for rows, _ in found.segments) != found.rows or any(rows < 1 for rows, _ in found.segments):
                raise ValueError("segments must hold all rows")
            if found.near is not None and not _is_name_of_lists(found.near):
                raise ValueError(f"near must be the name of a file of lists, got {found.near!r}")
            if not (found.candidates is None or (type(found.candidates) is int and 1 <= found.candidates <= 1 << 20)):
                raise ValueError(f"candidates must be a positive integer, got {found.candidates!r}")
            if type(found.measured) is not int or not 0 <= found.measured <= _MAX_ROWS:
                raise ValueError(f"measured must be a number of rows, got {found.measured!r}")
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"{DESCRIPTION} must describe packed vectors, got: {error}") from error
        return found


def name_of(probe_hash: str) -> str:
    """The folder of a probe set."""
    return probe_hash.removeprefix("sha256:")[:16]


class VectorFolder:
    """The files of one probe set, by descriptor: no link is followed.

    Args:
        root: descriptor of the store's folder.
        probe_hash: of the probe set.
        create: make the folder.

    Raises:
        FileNotFoundError: it does not exist.
    """

    def __init__(self, root: int, probe_hash: str, *, create: bool = False) -> None:
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            inside = root
            for name in (FOLDER, name_of(probe_hash)):
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(name, dir_fd=inside)
                inside = undo.enter_context(open_folder(name, inside))
            self.descriptor = os.dup(inside)
        self._stack.callback(os.close, self.descriptor)

    def __enter__(self) -> VectorFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open(self, name: str, flags: int = os.O_RDONLY) -> contextlib.AbstractContextManager[int]:
        """A descriptor of a regular file."""
        return open_regular_in(self.descriptor, name, flags)

    def describe(self) -> Description | None:
        """The description; None where there is none yet.

        Raises:
            ValueError: it is damaged.
        """
        try:
            with self.open(DESCRIPTION) as opened, os.fdopen(opened, "rb", closefd=False) as handle:
                data = handle.read(_MAX_DESCRIPTION + 1)
        except FileNotFoundError:
            return None
        if len(data) > _MAX_DESCRIPTION:
            raise ValueError(f"{DESCRIPTION} must have at most {_MAX_DESCRIPTION:,} bytes")
        return Description.from_json(data)

    def rows(self, name: str, rows: int, row_bytes: int) -> StoredRows:
        """The first rows of a file.

        Raises:
            ValueError: it is missing or too short.
        """
        try:
            with self.open(name) as opened:
                return StoredRows(opened, name, rows, row_bytes)
        except FileNotFoundError:
            raise ValueError(f"{name} must be there") from None

    def order(self, n: int) -> NDArray[np.int32]:
        """The order of the entries.

        Raises:
            ValueError: it is no order.
        """
        entries = count_entries(n, METRIC)
        order = self.rows("order.i32", entries, 4).read(0, entries).view("<i4").ravel().astype(np.int32)
        if not np.array_equal(np.sort(order), np.arange(entries)):
            raise ValueError("order.i32 must hold every entry once")
        return order

    def append(self, found: Description, parts: dict[str, NDArray[np.uint8]]) -> Description:
        """Add rows; they are on the disk when the call returns, but count only once the description is written."""
        digest = hashlib.sha256()
        rows = 0
        for name, row_bytes in found.row_bytes.items():
            data = np.ascontiguousarray(parts[name])
            rows = len(data)
            digest.update(data.data)
            with self.open(name, os.O_WRONLY | os.O_CREAT) as opened:
                os.ftruncate(opened, found.rows * row_bytes)
                os.lseek(opened, 0, os.SEEK_END)
                write_all(opened, data.reshape(-1).data)
                os.fsync(opened)
        segments = [*found.segments, (rows, digest.hexdigest())]
        return replace(found, rows=found.rows + rows, segments=segments, near=None, near_hash=None)

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Write a file as a whole: it is there, complete and durable, or not at all."""
        temporary = f"{name}.{secrets.token_hex(4)}.tmp"
        write_new(temporary, data, folder=self.descriptor)
        os.rename(temporary, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def write_lists(self, found: Description, keys: NDArray[np.uint64]) -> None:
        """Write the lists of all rows."""
        data = np.ascontiguousarray(keys, "<u8").data.cast("B")
        found.near, found.near_hash = f"near-{secrets.token_hex(8)}.u64", hashlib.sha256(data).hexdigest()
        self.write(found.near, data)

    def clean(self, keep: Sequence[str | None] = ()) -> None:
        """Delete files of stopped writers and lists that no description names; with nothing to keep: all files."""
        for name in os.listdir(self.descriptor):
            is_old = name.endswith(".tmp") or (_is_name_of_lists(name) and name not in keep)
            if is_old or not keep:
                with contextlib.suppress(OSError):
                    os.unlink(name, dir_fd=self.descriptor)

    def verify(self, found: Description) -> None:
        """Check the bytes of every segment and of the lists.

        Raises:
            ValueError: they differ from those that were written.
        """
        self.order(found.n)
        files = [self.rows(name, found.rows, size) for name, size in found.row_bytes.items()]
        first = 0
        for rows, expected in found.segments:
            digest = hashlib.sha256()
            for file in files:
                for _, block in file.blocks(first, first + rows):
                    digest.update(block.data)
            if digest.hexdigest() != expected:
                raise ValueError(f"rows {first} … {first + rows - 1} must have the hash {expected}")
            first += rows
        if found.near is not None:
            digest = hashlib.sha256()
            for _, block in self.rows(found.near, found.rows, NEAR * 8).blocks():
                digest.update(block.data)
            if digest.hexdigest() != found.near_hash:
                raise ValueError(f"{found.near} must have the hash {found.near_hash}")


def damaged_vectors(folder: Any, error: object) -> StoreError:
    """The error for vectors that cannot be used."""
    return StoreError(
        f"the packed vectors of {str(folder)!r} are damaged ({error}): `sac-fast store index --rebuild` makes them "
        "again"
    )


def _is_name_of_lists(name: object) -> bool:
    return (
        isinstance(name, str)
        and len(name) == 25
        and name.startswith("near-")
        and name.endswith(".u64")
        and name[5:21].isalnum()
    )
