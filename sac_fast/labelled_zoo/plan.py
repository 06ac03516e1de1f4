"""What is known of a model before it is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .folder import Role, ZooMember

#: Most models of one sort in a plan: of a larger number the plan alone would not end.
MAX_COUNT = 10_000


@dataclass(frozen=True)
class Architecture:
    """How a network is built: ``spec`` is ``"package.module:callable"``, ``arguments`` are its keyword arguments."""

    spec: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """A short name for file names: the callable's own."""
        return re.sub(r"[^a-z0-9]+", "-", self.spec.rpartition(":")[2].lower()).strip("-") or "model"


@dataclass(frozen=True, kw_only=True)
class PlannedModel:
    """One model before it is trained.

    Attributes:
        name: of its files.
        role, origin: as in `ZooMember`.
        seed: of initialisation and training.
        options: of the attack.
    """

    name: str
    role: Role
    origin: str
    seed: int
    options: Mapping[str, Any] = field(default_factory=dict)

    def matches(self, member: ZooMember) -> bool:
        """Whether this member of a folder is the planned model, so that it need not be trained again."""
        options = dict(member.details.get("options", {}))
        return (member.origin, member.seed, options) == (self.origin, self.seed, dict(self.options))
