"""The outputs of all models of a store under one probe set, as `find_relatives` takes them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..errors import StoreError
from ..io.progress import track
from .records import ModelRecord
from .store import ModelStore


@dataclass(frozen=True)
class StoredOutputs:
    """The result of `stored_outputs`: names, outputs (n, k_i) and record of each; notes for people."""

    probe_hash: str
    names: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    records: tuple[ModelRecord, ...]
    notes: tuple[str, ...]


def stored_outputs(store: ModelStore, probe_hash: str | None = None, *, progress: bool = False) -> StoredOutputs:
    """Read the outputs of all models on one probe set; large ones are mapped, not read.

    Args:
        store: open for reading.
        probe_hash: ``"sha256:…"`` or its first digits; None where the store has one probe set.
        progress: a bar on stderr.

    Returns:
        Names, outputs and records; failed models are counted in the notes.

    Raises:
        StoreError: no or several such probe sets, fewer than two models, or damaged outputs.
    """
    probe_hash = store.complete_probe_hash(probe_hash or "", "done")
    records = list(store.records(probe_hash))
    done = [record for record in records if record.status == "done"]
    rows = {record.n for record in done}
    if len(rows) > 1:
        raise StoreError(f"models must have outputs for the same number of probes, got {sorted(rows, key=str)}")
    if len(done) < 2:
        raise StoreError(f"the store must hold outputs of at least two models for {probe_hash}, got {len(done)}")
    outputs = tuple(store.outputs(record) for record in track(done, "reading outputs", enabled=progress))
    left = len(records) - len(done)
    notes = (f"{left} models without outputs (failed or to be redone) are left out",) if left else ()
    return StoredOutputs(probe_hash, tuple(record.name for record in done), outputs, tuple(done), notes)
