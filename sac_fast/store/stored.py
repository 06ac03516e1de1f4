"""The outputs of all models of a store under one probe set, as `find_relatives` takes them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import StoreError
from ..io.progress import track
from ..io.text import escape_text
from ..models.accuracy import low_accuracies, stated_accuracy
from .records import ModelRecord
from .store import ModelStore

_MAX_NAMED = 5


@dataclass(frozen=True)
class StoredOutputs:
    """The result of `stored_outputs`: names, outputs (n, k_i) and record of each; notes for people."""

    probe_hash: str
    names: tuple[str, ...]
    outputs: tuple[Tensor, ...]
    records: tuple[ModelRecord, ...]
    notes: tuple[str, ...]


def stored_outputs(store: ModelStore, probe_hash: str | None = None, *, progress: bool = False) -> StoredOutputs:
    """Read the outputs of all models on one probe set.

    Args:
        store: open for reading.
        probe_hash: ``"sha256:…"`` or its first digits; None where the store has one probe set.
        progress: a bar on stderr.

    Returns:
        Names, outputs and records. Failed models are counted in the notes, and models with another number of rows
        than most are named there: one such file of somebody else must not end the search.

    Raises:
        StoreError: no or several such probe sets, fewer than two models, or damaged outputs.
    """
    probe_hash = store.complete_probe_hash(probe_hash or "", "done")
    records = list(store.records(probe_hash))
    done = [record for record in records if record.status == "done"]
    usual = Counter(record.n for record in done).most_common(1)[0][0] if done else None
    others = [record for record in done if record.n != usual]
    done = [record for record in done if record.n == usual]
    if len(done) < 2:
        raise StoreError(f"the store must hold outputs of at least two models for {probe_hash}, got {len(done)}")
    arrays = store.output_arrays(track(done, "reading outputs", enabled=progress))
    outputs = tuple(torch.from_numpy(array) for array in arrays)
    left = len(records) - len(done) - len(others)
    notes = [f"{left} models without outputs (failed or to be redone) are left out"] if left else []
    if others:
        named = ", ".join(f"{escape_text(record.name, 80)!r} ({record.n})" for record in others[:_MAX_NAMED])
        more = f" and {len(others) - _MAX_NAMED} more" if len(others) > _MAX_NAMED else ""
        notes.append(f"models with another number of rows than {usual} are left out: {named}{more}")
    notes += low_accuracies({record.name: stated_accuracy(record.message) for record in done})
    return StoredOutputs(probe_hash, tuple(record.name for record in done), outputs, tuple(done), tuple(notes))
