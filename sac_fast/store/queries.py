"""Queries of a store's models and outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from ..errors import StoreError
from .additions import Additions, Values
from .database import bound
from .output_files import unreadable
from .records import ModelRecord, ResultKey, Status
from .rows import SELECT, record_of

if TYPE_CHECKING:  # commands that run no network start without torch
    import torch

    from ..fingerprint import Fingerprint

_PAGE = 2000
_MAX_NAMES = 500  # of a query: SQLite binds at most 999 values in its smallest builds


class ModelQueries(Additions):
    """The part of a store that finds models and their outputs."""

    def has_result(self, key: ResultKey) -> bool:
        """Whether the key has outputs, under whatever name."""
        return bool(self.rows("SELECT 1 FROM results WHERE digest = ?", key.digest))

    def result_for(self, key: ResultKey) -> ModelRecord | None:
        """The first model by name whose result has this key; None where there is none (see `has_result`)."""
        return self.first("WHERE m.digest = ? AND m.status = 'done' ORDER BY m.name LIMIT 1", key.digest)

    def record_for(self, name: str, probe_hash: str | None = None) -> ModelRecord | None:
        """The record of a model under the given probe set, or under the first by hash."""
        if probe_hash is None:
            return self.first("WHERE m.name = CAST(? AS TEXT) ORDER BY m.probe_hash LIMIT 1", bound(name))
        return self.first("WHERE m.name = CAST(? AS TEXT) AND m.probe_hash = ?", bound(name), probe_hash)

    def records_of(self, name: str) -> Iterator[ModelRecord]:
        """The records of one model, by probe set."""
        where = "WHERE m.name = CAST(? AS TEXT) ORDER BY m.probe_hash"
        yield from map(record_of, self.rows(SELECT + where, bound(name)))

    def complete_probe_hash(self, prefix: str, status: Status | None = None) -> str:
        """The hash of the only probe set whose hash has this prefix, with or without ``"sha256:"``.

        Args:
            prefix: of the hash; empty where the store has one probe set.
            status: only probe sets with models of this status.

        Raises:
            StoreError: no probe set fits, or several do.
        """
        rows = self.rows(
            "SELECT DISTINCT probe_hash FROM models WHERE ? IS NULL OR status = ? ORDER BY probe_hash", status, status
        )
        hashes = [str(row[0]) for row in rows]
        digits = prefix.removeprefix("sha256:")
        found = [value for value in hashes if value.removeprefix("sha256:").startswith(digits)]
        if len(found) != 1:
            listed = ", ".join(hashes[:5]) or "none"
            raise StoreError(
                f"probe_hash must start the hash of one of the store's probe sets ({listed}), got {prefix!r}: "
                f"{len(found)} fit"
            )
        return found[0]

    def records_for(self, names: Iterable[str], probe_hash: str) -> dict[str, ModelRecord]:
        """The records of many models under one probe set, by name; unknown names are left out."""
        found: dict[str, ModelRecord] = {}
        wanted = [bound(name) for name in names]
        for start in range(0, len(wanted), _MAX_NAMES):
            some = wanted[start : start + _MAX_NAMES]
            places = ", ".join(["CAST(? AS TEXT)"] * len(some))
            rows = self.rows(SELECT + f"WHERE m.probe_hash = ? AND m.name IN ({places})", probe_hash, *some)
            found.update({record.name: record for record in map(record_of, rows)})
        return found

    def records_of_results(self, digests: Sequence[str], probe_hash: str) -> Iterator[ModelRecord]:
        """The records of models with these results, by name; each `_MAX_NAMES` digests by themselves."""
        for start in range(0, len(digests), _MAX_NAMES):
            some = digests[start : start + _MAX_NAMES]
            where = f"WHERE m.probe_hash = ? AND m.status = 'done' AND m.digest IN ({', '.join('?' * len(some))}) "
            yield from map(record_of, self.rows(SELECT + where + "ORDER BY m.name", probe_hash, *some))

    def names_since(self, moment: str, probe_hash: str) -> list[str]:
        """Names of the models that were recorded at a moment or later, ``"2026-01-31T12:00:00+00:00"`` (UTC)."""
        sql = (
            "SELECT v.name FROM visits v JOIN models m ON m.name = v.name AND m.probe_hash = v.probe_hash "
            "WHERE v.probe_hash = ? AND v.recorded_at >= ? AND m.status = 'done' ORDER BY v.name"
        )
        return [str(name) for (name,) in self.rows(sql, probe_hash, moment)]

    def records(self, probe_hash: str | None = None, status: Status | None = None) -> Iterator[ModelRecord]:
        """All records in the order of their names, then probe sets.

        Args:
            probe_hash: only those of this probe set.
            status: only those of this status.

        Yields:
            Records, read in pages: one that is added meanwhile may be among them or not.
        """
        last = ("", "")
        while True:
            rows = self.rows(
                SELECT + "WHERE (m.name, m.probe_hash) > (CAST(? AS TEXT), ?) AND (? IS NULL OR m.probe_hash = ?) "
                "AND (? IS NULL OR m.status = ?) ORDER BY m.name, m.probe_hash LIMIT ?",
                *(bound(last[0]), last[1], probe_hash, probe_hash, status, status, _PAGE),
            )
            yield from map(record_of, rows)
            if len(rows) < _PAGE:
                return
            last = (rows[-1][0], rows[-1][1])

    def outputs(self, record: ModelRecord) -> torch.Tensor:
        """A model's outputs ``(n, k)`` on the CPU, after checking the hash of their file.

        Raises:
            StoreError: the record has none, or the file is missing, damaged, or cannot be read now.
        """
        import torch

        return torch.from_numpy(self.output_array(record))

    def output_array(self, record: ModelRecord) -> NDArray[Any]:
        """The same as a NumPy array."""
        return next(self.output_arrays([record]))

    def output_arrays(self, records: Iterable[ModelRecord]) -> Iterator[NDArray[Any]]:
        """The outputs of many models, in their order."""
        waiting = iter(records)
        while some := list(islice(waiting, _PAGE)):
            self.check_open()
            places = self.places_of([one.outputs_file for one in some])
            for record in some:
                yield self._read(record, places.get(record.outputs_file))

    def _read(self, record: ModelRecord, place: Values | None) -> NDArray[Any]:
        name = record.outputs_file
        if name is None:
            raise StoreError(f"the model {record.name!r} must have outputs, got status {record.status}")
        try:
            try:
                key, outputs = self.files.read(name, place)
            except FileNotFoundError:  # a writer may have moved them since
                key, outputs = self.files.read(name, self.places_of([name]).get(name))
            if key != record.key or tuple(outputs.shape) != (record.n, record.k):
                raise ValueError(f"it must hold {(record.n, record.k)} outputs of {record.key}, got {key}")
        except (FileNotFoundError, ValueError) as error:
            raise StoreError(
                f"the outputs of {record.name!r} are missing or damaged ({name}: {error}); `sac-fast store check "
                "--repair` marks the model, the next scan runs it again"
            ) from error
        except OSError as error:
            raise unreadable(name, error) from error
        return outputs

    def fingerprint(self, record: ModelRecord) -> Fingerprint:
        """A model's outputs with their provenance, as `sac-fast verify` reads them."""
        from ..fingerprint import Fingerprint

        outputs = self.outputs(record)
        visit = self.rows(
            "SELECT recorded_at FROM visits WHERE name = CAST(? AS TEXT) AND probe_hash = ?",
            *(bound(record.name), record.probe_hash),
        )
        return Fingerprint(
            outputs.clone(),
            {
                "name": record.name,
                "model_hash": record.model_hash,
                "probe_hash": record.probe_hash,
                "probes": {"count": record.n},
                "preprocessing": dict(record.preprocessing),
                "preprocessing_hash": record.preprocessing_hash,
                "output": record.output,
                "dtype": record.dtype,
                "versions": {"sac_fast": record.code_version},
                "created": visit[0][0] if visit else None,
                **({"file": record.origin} if record.origin else {}),
            },
        )
