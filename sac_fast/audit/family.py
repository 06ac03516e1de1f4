"""How a case's α is shared between suspects in files and suspects behind services.

docs/verdicts.md, section "A case of files and services", has the rule and its proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ModelError
from ..verify.stages import Looks, plan_looks
from .specs import ModelSpec

#: "auto": by the case's suspects.
FAMILIES = ("auto", "files", "services", "apart", "together")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Family:
    """What of α is whose.

    Attributes:
        files: α of the test of suspects in files and recorded answers; 0: there are none.
        services: α of all looks at services; 0: there are none, or they are judged with the files.
        together: files and services are judged as one family, services after their last query.
        looks: at services.
    """

    files: float
    services: float
    together: bool
    looks: Looks

    def to_dict(self) -> dict[str, Any]:
        """As the protocol holds it."""
        return {"files": self.files, "services": self.services, "together": self.together}

    def describe(self, alpha: float) -> str | None:
        """The rule in a sentence, where there is something to share."""
        if self.together:
            return f"α = {alpha:g} is of the whole case: files and services are judged as one family (max-T, Holm)"
        if self.files and self.services:
            parts = f"files at {self.files:g}, services at {self.services:g} over all looks"
            return f"α = {alpha:g} is of the whole case: {parts}"
        return None


def plan_family(
    wanted: str, suspects: Sequence[ModelSpec], sizes: Sequence[int], smallest_p: float, alpha: float, spending: str
) -> Family:
    """Share α.

    Files alone, or services alone, have all of it. Both have half of it each where an exact p-value can reach the half
    (``2 · smallest_p ≤ α``), or none can reach α, so that Student's t decides; else they are one family: services are
    asked for all queries at once, and judged with the files.

    Args:
        wanted: one of `FAMILIES`.
        suspects: of the case.
        sizes: probes at each look.
        smallest_p: that the ground can reach.
        alpha: of the case.
        spending: see `plan_looks`.

    Raises:
        ModelError: suspects for which the family has no part of α.
    """
    services = any(spec.asked for spec in suspects)
    files = any(not spec.asked for spec in suspects) or not services
    if wanted == "auto":
        reached = int(alpha / smallest_p + _ROUNDING)
        both = "together" if reached == 1 else "apart"
        wanted = both if files and services else "files" if files else "services"
    if (wanted == "files" and services) or (wanted == "services" and files and suspects):
        raise ModelError(f"family must leave α to all suspects, got {wanted!r} with files and services")
    if wanted == "together":
        return Family(alpha, 0.0, True, Looks((sizes[-1],), (alpha,)))
    share = alpha / 2 if wanted == "apart" else alpha
    looks = plan_looks(sizes, smallest_p, share, spending=spending)
    return Family(share if wanted != "services" else 0.0, share if wanted != "files" else 0.0, False, looks)
