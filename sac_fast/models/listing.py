"""What a folder, a file or a manifest lists: the models, what was passed over, and what nobody has vouched for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .entry import ModelEntry


@dataclass(frozen=True)
class PassedOver:
    """Files of a folder that are not opened as models.

    Attributes:
        name: the path below the folder; of several files, that of the folder that they are in.
        what: by content: ``"a text"``, …
        count: number of files.
    """

    name: str
    what: str
    count: int = 1


@dataclass(frozen=True)
class Listing:
    """The models of a folder, a file or a manifest.

    Attributes:
        entries: the models, with different names.
        passed_over: what else lies there.
        unbelieved: the manifest inside the folder, which the user has not named; None: there is none.
        problem: why it could not be read; "": it could.
    """

    entries: list[ModelEntry]
    passed_over: list[PassedOver] = field(default_factory=list)
    unbelieved: Path | None = None
    problem: str = ""

    def counts(self) -> dict[str, int]:
        """The numbers of files that were passed over, by what they are."""
        found: Counter[str] = Counter()
        for one in self.passed_over:
            found[one.what] += one.count
        return dict(found)

    def events(self) -> Iterator[dict[str, Any]]:
        """JSON-able values of everything but the models: what was passed over, and what is claimed of the models."""
        for one in self.passed_over:
            yield {"event": "passed-over", "name": one.name, "what": one.what, "count": one.count}
        if self.problem:
            yield {"event": "claim", "name": "", "claims": {"problem": self.problem}}
        for entry in self.entries:
            if entry.claims:
                yield {"event": "claim", "name": entry.name, "claims": dict(entry.claims)}
