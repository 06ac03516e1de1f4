"""Warnings where a model may have been asked in another way than the others: its verdict says little then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..fingerprint import Fingerprint
from ..models.accuracy import low_accuracies
from ..models.preprocessing import REMEDY

_MAX_NOTES = 20


def warn_of_inputs(
    source: Fingerprint, suspects: Mapping[str, Fingerprint], others: Sequence[Fingerprint]
) -> list[str]:
    """Lines for the source and the suspects: accuracy far below the others', and notes on their own inputs.

    Args:
        source, suspects: of a verdict.
        others: siblings and nulls.
    """
    judged = {source.name: source, **suspects}
    known = [fp.provenance.get("accuracy") for fp in others]
    lines = low_accuracies(
        {name: fp.provenance.get("accuracy") for name, fp in judged.items()},
        [accuracy for accuracy in known if accuracy is not None],
    )
    noted = [(name, note) for name, fp in judged.items() for note in fp.provenance.get("notes", ()) if REMEDY in note]
    return [*lines, *(f"{name}: {note}" for name, note in noted)][:_MAX_NOTES]
