"""Suspects that the sibling test compares in one form, on the same probes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..models.common_form import CommonForm
from .sibling_inputs import Member
from .sibling_p_values import Floats, combined_profiles, student_p_values


@dataclass
class Group:
    """Suspects that are compared in the same form: their places, channels (S, J) and what is wrong with each.

    `at` are the positions of the probes that they answered, where these are not all of them; members are compared on
    the same ones. `same_classes` is False for those whose outputs have the members' number but mean something else.
    """

    shared: CommonForm | None
    at: tuple[int, ...] | None = None
    same_classes: bool = True
    places: list[int] = field(default_factory=list)
    rows: list[Tensor] = field(default_factory=list)
    channels: dict[str, Floats] = field(default_factory=dict)
    problems: list[str | None] = field(default_factory=list)

    def heads(self, members: Sequence[Member]) -> list[Tensor]:
        """The members' outputs in the form and on the probes of this group."""
        assert self.shared is not None
        found = [self.shared.rows(member.formed) for member in members]
        return found if self.at is None else [rows[list(self.at)] for rows in found]

    def profiles(self, count: int) -> Floats:
        if not self.channels:
            return np.full((len(self.places), count), np.nan)
        return combined_profiles(list(self.channels.values()))

    def student(self, *, over_suspects: bool) -> Floats:
        if not self.channels:
            return np.ones(len(self.places))
        return student_p_values(list(self.channels.values()), over_suspects=over_suspects)
