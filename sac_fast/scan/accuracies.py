"""Accuracies of a scan's models on labelled probes, measured here and not by the workers that run the models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from ..models.accuracy import accuracy_of, describe_accuracy, is_accuracy, low_accuracies, stated_accuracy
from ..probes import Probes


@dataclass
class Accuracies:
    """Accuracies by model.

    Attributes:
        labels: class numbers of the probes; None: there are none.
        probes: provenance of the probes.
        found: by name.
    """

    labels: NDArray[Any] | None = None
    probes: Mapping[str, Any] = field(default_factory=dict)
    found: dict[str, float | None] = field(default_factory=dict)

    @classmethod
    def of(cls, probes: Probes | str) -> Accuracies:
        """For the models that are asked with these probes."""
        if isinstance(probes, str) or probes.labels is None:
            return cls()
        return cls(probes.labels, probes.provenance)

    def notes_of(self, name: str, outputs: NDArray[Any], notes: tuple[str, ...]) -> list[str]:
        """A worker's notes with the accuracy that is measured here in front, in place of what it says of it."""
        found = accuracy_of(outputs, self.labels, self.probes)
        self.found[name] = found
        said = [] if found is None else [describe_accuracy(found)]
        return [*said, *(note for note in notes if not is_accuracy(note))]

    def add_stated(self, name: str, message: str | None) -> None:
        """Take the accuracy of a model that the store knows from its message."""
        if self.labels is not None:
            self.found[name] = stated_accuracy(message)

    def far_below(self) -> list[str]:
        """A line for each model far below the others."""
        return low_accuracies(self.found)
