"""Few queries first: judge suspects behind services in looks at more and more probes.

docs/verdicts.md, section "Looks at services", has the proof of the error rate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import require
from ..fingerprint import Fingerprint
from ..models.output_form import score_rows
from ..ops.arguments import check_choice
from ..scores.siblings_products import label_disagreement
from ..verdict.checks import check_rate
from .grounds import verify_suspects
from .rows import covers, restrict_fingerprint
from .verdicts import Verdicts

SPENDING = ("exact", "equal")
#: A suspect with a larger p-value at a look has no prospect of being called derived.
FUTILITY = 0.5
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Looks:
    """When suspects are looked at, and what each look may spend of α.

    Attributes:
        queries: (L,) numbers of probes, rising.
        alphas: (L,) parts of α, their sum at most α; 0: this look can only end with *not distinguished*.
    """

    queries: tuple[int, ...]
    alphas: tuple[float, ...]


def plan_looks(queries: Sequence[int], smallest_p: float, alpha: float = 0.05, *, spending: str = "exact") -> Looks:
    """Spread α over looks.

    Args:
        queries: probes at each look, rising.
        smallest_p: the smallest p-value that the ground can reach: 1/(K + 1) with K siblings.
        alpha: α.
        spending: ``"exact"``: α is spread over as many of the last looks as can reach their part of it by an exact
            p-value, all L of them where ``smallest_p ≤ α/L``; over all looks where none can (Student's t decides then).
            ``"equal"``: α/L a look; Student's t decides where exact p-values cannot reach it.

    Returns:
        The looks.

    Raises:
        ValueError: no look, numbers that do not rise, or rates outside (0, 1).

    Example::

        >>> plan_looks((100, 200), 1 / 20).alphas, plan_looks((100, 200), 1 / 40).alphas
        ((0.0, 0.05), (0.025, 0.025))
    """
    alpha = check_rate("alpha", alpha)
    check_choice("spending", spending, SPENDING)
    sizes = tuple(queries)
    whole = all(type(size) is int and size >= 2 for size in sizes)
    rising = bool(sizes) and whole and all(a < b for a, b in pairwise(sizes))
    require(rising, "queries must be integers of at least 2 that rise", queries)
    require(0 < smallest_p <= 1, "smallest_p must be above 0 and at most 1", smallest_p)
    reached = int(alpha / smallest_p + _ROUNDING)
    spent = len(sizes) if spending == "equal" or reached == 0 else min(reached, len(sizes))
    return Looks(sizes, (0.0,) * (len(sizes) - spent) + (alpha / spent,) * spent)


def query_order(members: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Probes in the order in which they are asked, those on which the members disagree most first.

    Disagreement is the entropy of the members' labels, then, where outputs say more than labels, the variance of their
    probabilities. All members count alike, so that the order does not tell the source from its siblings.

    Args:
        members: the source and its siblings; one alone: the probes' own order.

    Returns:
        (n,) positions.
    """
    n = len(members[0])
    forms = {fp.output_form for fp in members}
    width = {fp.outputs.shape[1] for fp in members}
    if len(members) < 2 or forms & {"embeddings", "similarities"} or len(width) > 1:
        return np.arange(n)
    if width == {1}:
        labels = np.stack([fp.outputs[:, 0].round().long().numpy() for fp in members])
        labels = np.unique(labels, return_inverse=True)[1].reshape(labels.shape)
        return np.argsort(-label_disagreement(labels, int(labels.max()) + 1).round(9), kind="stable")
    labels = np.stack([fp.outputs.argmax(dim=1).numpy() for fp in members])
    entropy = label_disagreement(labels, width.pop()).round(9)
    soft = np.stack([score_rows(fp.outputs, fp.output_form).double().softmax(dim=1).numpy() for fp in members])
    variance = soft.var(axis=0).sum(axis=1).round(9)
    return np.lexsort((np.arange(n), -variance, -entropy))


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
        rows: positions of the probes, rising.
        alpha: the part of α that it spent.
        verdicts: at this α, or at the whole α where it spent none: on those that it decides where there are others that
            are asked more, else on all suspects that were looked at.
        decided: those that this look decides.
    """

    rows: tuple[int, ...]
    alpha: float
    verdicts: Verdicts
    decided: tuple[str, ...]


def judge_in_looks(
    ask: Callable[[Sequence[int], Sequence[str]], Mapping[str, Fingerprint]],
    suspects: Sequence[str],
    looks: Looks,
    *,
    source: Fingerprint,
    siblings: Sequence[Fingerprint] = (),
    nulls: Sequence[Fingerprint] = (),
    alpha: float = 0.05,
    **options: Any,
) -> list[Look]:
    """Judge suspects in looks, and end early where more queries have no prospect.

    At each look all suspects that are not yet *derived* are judged together at the look's part of α. The looks end
    when every one of them has p > 1/2 and none is *inconclusive*, which costs nothing of α, or when all are *derived*.

    Args:
        ask: gets positions of probes, rising, and the names that are wanted, and returns fingerprints that hold these
            rows alone (and the hash of the whole probe set); a suspect that cannot be asked is left out.
        suspects: names.
        looks: see `plan_looks`; a look at more probes than there are looks at all.
        source, siblings, nulls: fingerprints on all probes; nulls of some serve at the looks whose probes they have.
        alpha: α.
        options: of `verify_suspects`.

    Returns:
        The looks that were made, each with the suspects that it decides.
    """
    order = query_order([source, *siblings])
    made: list[Look] = []
    waiting = list(suspects)
    for place, (count, share) in enumerate(zip(looks.queries, looks.alphas, strict=True)):
        rows = sorted(order[:count].tolist())
        found = dict(ask(rows, waiting))
        if not found:
            break
        evidence: dict[str, Any] = {
            "siblings": [restrict_fingerprint(fp, rows) for fp in siblings],
            "nulls": [restrict_fingerprint(fp, rows) for fp in nulls if covers(fp, rows)],
            **options,
        }
        ours = restrict_fingerprint(source, rows)
        verdicts = verify_suspects(ours, found, alpha=share or alpha, **evidence)
        waiting = [name for name in waiting if name in found]
        derived = [name for name in waiting if share and verdicts.verdict[name].startswith("derived")]
        rest = [name for name in waiting if name not in derived]
        # few probes may not show yet that outputs are evidence
        hopeless = all(verdicts.p_value[n] > FUTILITY and verdicts.verdict[n] != "inconclusive" for n in rest)
        last = place == len(looks.queries) - 1 or count >= len(source) or hopeless
        if derived and not last:  # so that the numbers follow from those that this look decides
            verdicts = verify_suspects(ours, {name: found[name] for name in derived}, alpha=share, **evidence)
        made.append(Look(tuple(rows), share, verdicts, tuple(waiting if last else derived)))
        waiting = rest
        if last:
            break
    return made
