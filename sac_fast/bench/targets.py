"""The kinds of targets: a ratio to a peer, a rate, a fraction of a limit, a number of the record's agreement."""

from __future__ import annotations

from .harness import OURS, Target


def times(peer: str, at_least: float) -> Target:
    """`peer` must take at least so many times our time."""
    return Target(f"{at_least:g}× {peer}", lambda r: r["implementations"].get(peer, {}).get("ratio"), at_least=at_least)


def rate(at_least: float, unit: str) -> Target:
    """Ours must reach this rate."""
    return Target(f"{at_least:g} {unit}", lambda r: r["implementations"][OURS].get("rate"), at_least=at_least)


def fraction(limit: str, at_least: float) -> Target:
    """Ours must reach this fraction of a machine limit."""
    return Target(f"{at_least:.0%} of {limit}", lambda r: r["implementations"][OURS].get("fraction"), at_least=at_least)


def agreed(name: str, text: str, at_least: float) -> Target:
    """A number of the record's `agreement` must be at least this."""
    return Target(text, lambda r: r.get("agreement", {}).get(name), at_least=at_least)
