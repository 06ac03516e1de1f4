"""ModelStore: outputs, failures and distances of many models, in one folder that survives crashes.

    zoo.sqlite      models, keys of results, failures, distances (`sac_fast.store.database`)
    segments/       small outputs of the models, many in a file (`sac_fast.store.segments`)
    outputs/        large ones, a file each, named by its hash (`sac_fast.store.output_files`)
    incoming/       files that are being written
    vectors/        correlations as bytes and lists of neighbours, made from the outputs (`sac_fast.store.vectors`)
    writer.lock     held by the one writer

A result is durable when the call that adds it returns: its bytes are synced first, then the row that names them. What a
crash in between leaves behind is deleted by the next writer (`sac_fast.store.additions`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..errors import StoreError
from ..io.files import StrPath
from .additions import Named
from .codec import encode
from .database import NAME, bound, create_database, damaged, open_database
from .distances import DistanceRows
from .lock import NAME as LOCK_NAME
from .lock import WriterLock
from .output_files import FOLDER, INCOMING, OutputFiles
from .queries import ModelQueries
from .records import ModelRecord, ResultKey
from .rows import as_done, as_failed, put_record

# Limits of one commit; the files of a batch are held in memory until then.
_MAX_BATCH_RESULTS = 2000
_MAX_BATCH_BYTES = 64 << 20

if TYPE_CHECKING:
    import torch

Result = tuple[ResultKey, ModelRecord, "torch.Tensor | NDArray[Any]"]


class ModelStore(ModelQueries, DistanceRows):
    """A store, opened by `ModelStore.open`. Any thread may call it; a forked child must open its own.

    Example::

        >>> import tempfile
        >>> import torch
        >>> from sac_fast.store import ModelRecord, ModelStore
        >>> record = ModelRecord(
        ...     name="mine", path="mine.npy", probe_hash="sha256:" + "0" * 64, model_hash="sha256:" + "1" * 64
        ... )
        >>> with ModelStore.open(tempfile.mkdtemp(), write=True, create=True) as store:
        ...     _ = store.add_results([(record.key, record, torch.ones(20, 10))])
        ...     store.outputs(store.record_for("mine")).shape
        torch.Size([20, 10])
    """

    @classmethod
    def open(cls, folder: StrPath, *, write: bool, create: bool = False, sweep: bool = True) -> ModelStore:
        """Open a store.

        Args:
            folder: of the store.
            write: True: as its only writer; False: read only, also while another process writes.
            create: make a store where the folder is missing or empty; needs ``write``.
            sweep: with ``write``: delete the half-written files of earlier writers.

        Returns:
            The store; close it, or use it in ``with``.

        Raises:
            StoreLockedError: ``write``, and another process (or this one) has it open for writing.
            StoreError: it is no store, of another version, or damaged.
            ValueError: ``create`` without ``write``.
        """
        path = Path(folder)
        if create and not write:
            raise ValueError("create must come with write=True, got write=False")
        if create:
            _make_folder(path)
        if not path.is_dir():
            raise StoreError(f"{str(path)!r} must be a store, got no such folder")
        if not create and not os.path.lexists(path / NAME):
            if (path / FOLDER).is_dir():
                raise damaged(path / NAME, "it does not exist, only outputs do")
            raise StoreError(f"{str(path)!r} must be a store, got a folder without {NAME}")
        with contextlib.ExitStack() as undo:
            lock = None
            if write:
                lock = WriterLock(path)
                undo.callback(lock.release)
                if create and not os.path.lexists(path / NAME):
                    create_database(path)
            connection = open_database(path, write=write)
            undo.callback(connection.close)
            files = OutputFiles(path, write=write)
            undo.callback(files.close)
            store = cls(path, connection, files, lock)
            if write and sweep:
                with store.writing():
                    store.undo_addition()
                files.sweep()
            undo.pop_all()
        return store

    def __enter__(self) -> ModelStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_results(self, results: Iterable[Result]) -> int:
        """Add the outputs of many models with few commits; all are durable when the call returns.

        A key that is in the store keeps its outputs: adding it again changes nothing. The last record of a name and
        probe set replaces earlier ones, whose results stay until `remove_unused`.

        Args:
            results: ``(key, record, outputs)``, with ``key == record.key``, outputs a tensor or array,
                float32 or float64 ``(n, k)``; n, k, outputs_file and status of the record are filled in.

        Returns:
            The number of new keys.

        Raises:
            ValueError: a key that is not its record's, or unusable outputs; earlier batches are kept.
            StoreError: the disk is full or fails; earlier batches are kept, of this one all or nothing.
        """
        added, size = 0, 0
        batch: list[Result] = []
        for key, record, outputs in results:
            if key != record.key:
                raise ValueError(f"key must be that of the record of {record.name!r}: {record.key}, got {key}")
            batch.append((key, record, outputs))
            size += outputs.nbytes
            if len(batch) >= _MAX_BATCH_RESULTS or size >= _MAX_BATCH_BYTES:
                added += self._add_batch(batch)
                batch, size = [], 0
        return added + self._add_batch(batch) if batch else added

    def _add_batch(self, batch: list[Result]) -> int:
        new: dict[str, tuple[ResultKey, int, int]] = {}
        blobs: list[bytes] = []
        with self.writing() as connection:
            for key, _, outputs in batch:
                digest = key.digest
                found = connection.execute("SELECT 1 FROM results WHERE digest = ?", (digest,)).fetchone()
                if digest not in new and found is None:
                    blobs.append(encode(key, outputs))
                    new[digest] = (key, *outputs.shape)
            added = self.add_blobs(blobs) if blobs else []
            with self.transaction():
                self.put_places(added)
                for (digest, (key, n, k)), (file, _) in zip(new.items(), added, strict=True):
                    connection.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?)", (digest, key.json, n, k, file))
                for key, record, _ in batch:
                    put_record(connection, as_done(record), key.digest)
        return len(new)

    def add_failure(self, record: ModelRecord, reason: str, message: str) -> None:
        """Record that a model failed; durable when the call returns. A result under another key stays.

        Args:
            record: the model.
            reason: a short code, such as ``"timeout"``.
            message: for people; cut in the middle beyond 4096 characters.

        Raises:
            StoreError: the disk is full or fails.
        """
        with self.writing() as connection, self.transaction():
            put_record(connection, as_failed(record, reason, message), None)

    def retag(self, records: Iterable[ModelRecord]) -> None:
        """Write the tags of records that are in the store; results, failures and times do not change.

        Args:
            records: as the store returned them, with other tags.

        Raises:
            StoreError: the disk is full or fails.
        """
        with self.writing() as connection, self.transaction():
            for record in records:
                connection.execute(
                    "UPDATE models SET details = ? WHERE name = CAST(? AS TEXT) AND probe_hash = ?",
                    (record.details, bound(record.name), record.probe_hash),
                )

    def remove(self, name: str, probe_hash: str | None = None) -> int:
        """Delete a model, and its outputs and distances unless a copy of the model stays.

        Args:
            name: of the model.
            probe_hash: only its record under this probe set.

        Returns:
            The number of deleted records.

        Raises:
            StoreError: the disk fails.
        """
        which = "WHERE name = CAST(? AS TEXT) AND (? IS NULL OR probe_hash = ?)"
        values = (bound(name), probe_hash, probe_hash)
        with self.writing() as connection:
            with self.transaction():
                digests = [row[0] for row in connection.execute(f"SELECT digest FROM models {which}", values)]
                connection.execute(f"DELETE FROM models {which}", values)
                connection.execute(f"DELETE FROM visits {which}", values)
                files = self._drop_unused([digest for digest in digests if digest is not None])
            self.remove_blobs(files)
        return len(digests)

    def remove_unused(self) -> int:
        """Delete results that no model refers to, since it changed or failed later; returns their number."""
        with self.writing() as connection:
            with self.transaction():
                rows = connection.execute(
                    "SELECT digest FROM results WHERE digest NOT IN (SELECT digest FROM models WHERE digest NOT NULL)"
                ).fetchall()
                files = self._drop_unused([row[0] for row in rows])
            self.remove_blobs(files)
        return len(rows)

    def _drop_unused(self, digests: list[str]) -> list[Named]:
        """Delete the rows of results that no model refers to; returns the outputs to delete after the commit."""
        names: list[object] = []
        for digest in digests:
            if self.connection.execute("SELECT 1 FROM models WHERE digest = ? LIMIT 1", (digest,)).fetchone():
                continue
            rows = self.connection.execute("SELECT outputs_file FROM results WHERE digest = ?", (digest,))
            names += [file for (file,) in rows]
            self.connection.execute("DELETE FROM results WHERE digest = ?", (digest,))
            self.connection.execute("DELETE FROM distances WHERE digest = ?", (digest,))
        return self.drop_places(names)


def _make_folder(folder: Path) -> None:
    """Create the folder of a new store, or check that an existing one holds no foreign files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        inside = set(os.listdir(folder))
    except OSError as error:
        raise StoreError(f"cannot create a store in {str(folder)!r}: {error.strerror}") from error
    if NAME in inside:
        return
    # A process that was killed while it created a store may have left these.
    foreign = sorted(name for name in inside - {LOCK_NAME, INCOMING} if not name.startswith(NAME + ".new"))
    if foreign:
        raise StoreError(
            f"a new store must be created in an empty folder, got {str(folder)!r} with {foreign[0]!r}"
            + (" (outputs without a database: `sac-fast store check --repair`)" if FOLDER in foreign else "")
        )
