"""The test of a null pool for suspects that answered different probes: one pool for those of the same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..fingerprint import Fingerprint
from .pool import PoolTest, Verification
from .rows import covers, group_by_rows, restrict_fingerprint, rows_of, shared_rows


def judge_by_rows(
    make_test: Callable[..., PoolTest],
    source: Fingerprint,
    suspects: Mapping[str, Fingerprint],
    nulls: Sequence[Fingerprint],
    siblings: Sequence[Fingerprint],
    thefts: Mapping[str, Sequence[Fingerprint]],
) -> tuple[dict[str, Verification], PoolTest]:
    """Judge suspects by the pool on the probes that they answered.

    Args:
        make_test: `pool_test` with everything but its fingerprints.
        source, suspects, nulls, siblings, thefts: of `verify_suspects`. Nulls without all of a suspect's probes do not
            serve for it; where none has them all, those probes serve that all nulls have.

    Returns:
        The results in the order of the suspects, and the test of the first group.
    """
    found: dict[str, Verification] = {}
    tests: list[PoolTest] = []
    for rows, names in group_by_rows(source, suspects).items():
        test = make_test(**_on_rows(rows, source, nulls, siblings, thefts))
        own = rows_of(test.source)
        for name in names:
            fp = suspects[name]
            found[name] = test.judge(fp if own in (None, rows_of(fp)) else restrict_fingerprint(fp, own or ()))
        tests.append(test)
    return {name: found[name] for name in suspects}, tests[0]


def _on_rows(
    rows: tuple[int, ...] | None,
    source: Fingerprint,
    nulls: Sequence[Fingerprint],
    siblings: Sequence[Fingerprint],
    thefts: Mapping[str, Sequence[Fingerprint]],
) -> dict[str, Any]:
    """What `pool_test` compares suspects with that answered these probes; nulls without all of them are left out."""
    part = shared_rows(rows, source, nulls)
    own = rows_of(source) if part is None else part
    there = [fp for fp in nulls if covers(fp, own)]
    if part is None:
        return {"source": source, "nulls": there, "siblings": siblings, "thefts": thefts}

    def on(fp: Fingerprint) -> Fingerprint:
        return restrict_fingerprint(fp, part)

    return {
        "source": on(source),
        "nulls": [on(fp) for fp in there],
        "siblings": [on(fp) for fp in siblings],
        "thefts": {attack: [on(fp) for fp in some] for attack, some in thefts.items()},
    }
