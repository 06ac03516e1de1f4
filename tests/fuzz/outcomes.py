"""What readers made of the inputs, and which of these are worth to begin with again."""

from __future__ import annotations

import contextlib
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import sac_fast
from sac_fast.errors import SacFastError

_PACKAGE = str(Path(sac_fast.__file__).parent)
_FRAMES = 5

#: For each attempt on an input: where it was refused; an empty tuple: nowhere, it was opened.
Place = tuple[tuple[str, int], ...]


@dataclass
class Outcomes:
    """Counts inputs; a reader's attempts on one go between `begin` and `end`.

    Attributes:
        opened: number of inputs that at least one attempt opened.
        refused: number of those that all attempts refused.
        places: how often each line of sac_fast refused an attempt.
        seen: the combinations of places so far.
    """

    opened: int = 0
    refused: int = 0
    places: Counter[Place] = field(default_factory=Counter)
    seen: set[tuple[Place, ...]] = field(default_factory=set)
    _current: list[Place] = field(default_factory=list)

    @contextlib.contextmanager
    def attempt(self) -> Iterator[None]:
        """One reader's try; an error of sac_fast is a refusal, any other one a fault."""
        try:
            yield
        except SacFastError as error:
            self._current.append(_place_of(error))
        else:
            self._current.append(())

    def begin(self) -> None:
        """Before an input."""
        self._current = []

    def end(self) -> bool:
        """After it; whether no other came to such an end."""
        attempts = tuple(self._current)
        self.opened += () in attempts
        self.refused += () not in attempts
        self.places.update(place for place in attempts if place)
        is_new = attempts not in self.seen
        self.seen.add(attempts)
        return is_new

    def __str__(self) -> str:
        ways = f"{len(self.places):,} places of refusal, {len(self.seen):,} different ends"
        return f"{self.opened:,} opened, {self.refused:,} refused; {ways}"


def _place_of(error: BaseException) -> Place:
    """Types and reasons of an error and of those that led to it, and the last lines of sac_fast on the way to each."""
    found: list[tuple[str, int]] = []
    one: BaseException | None = error
    while one is not None and len(found) < 4 * _FRAMES:
        found.append((f"{type(one).__name__} {getattr(one, 'reason', '')}", 0))
        frames = traceback.walk_tb(one.__traceback__)
        lines = [(frame.f_code.co_filename, line) for frame, line in frames]
        found += [line for line in lines if line[0].startswith(_PACKAGE)][-_FRAMES:]
        one = one.__cause__ or one.__context__
    return tuple(found)
