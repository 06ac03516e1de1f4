"""A draw whose seed can be committed to in advance, so that anyone can check that nobody picked the probes.

The draw is a function of a seed and of the dataset's content, made of SHA-256 alone (no library's generator):

* image hash ``h_i``: SHA-256 of image i's file (its 64 hexadecimal digits); names do not matter
* dataset hash ``D``: SHA-256 of the different ``h_i``, sorted, each followed by a line feed
* key ``k_i``: SHA-256 of ``"sac_fast committed draw 1\\n" + seed + "\\n" + D + "\\n" + h_i`` (UTF-8)
* the draw of m: the m different images with the smallest ``k_i``, in the order of ``k_i``

``commitment(seed)`` = SHA-256 of ``"sac_fast commitment 1\\n" + seed``. Publish it, and ``D``, before anybody can
know which draw would suit (before the suspect model is chosen, say); reveal the seed with the probes. A seed that
can be guessed can be read off its commitment: take ``secrets.token_hex(32)``, or a public beacon's later value. What
this does not show: that the dataset itself was not put together to suit, nor that other commitments were not made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..errors import ProbeError


def _sha256(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _check_seed(seed: str) -> str:
    if not isinstance(seed, str) or not seed or "\n" in seed:
        raise ProbeError(f"seed of a committed draw must be one line of text, not empty, got {seed!r}")
    try:
        seed.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise ProbeError(f"seed of a committed draw must be text that UTF-8 can hold, got {seed!r}") from None
    return seed


def commitment(seed: str) -> str:
    """What to publish in advance: ``SHA-256("sac_fast commitment 1\\n" + seed)``.

    Args:
        seed: one line of text that nobody can guess.

    Returns:
        ``"sha256:..."``.

    Raises:
        ProbeError: the seed is empty or more than a line.
    """
    return _sha256("sac_fast commitment 1\n" + _check_seed(seed))


def dataset_hash(hashes: Iterable[str]) -> str:
    """SHA-256 of the different image hashes (without their ``sha256:``), sorted, each followed by a line feed."""
    digits = sorted({value.removeprefix("sha256:") for value in hashes})
    return _sha256("".join(digit + "\n" for digit in digits))


def committed_order(seed: str, hashes: Sequence[str]) -> list[int]:
    """All different images in the order of the draw; the first m of them are the draw of m.

    Args:
        seed: the revealed seed.
        hashes: ``"sha256:..."`` of every image of the dataset, in any order.

    Returns:
        Indices into ``hashes``; of equal hashes only the first one's.

    Raises:
        ProbeError: the seed is empty or more than a line.
    """
    prefix = f"sac_fast committed draw 1\n{_check_seed(seed)}\n{dataset_hash(hashes).removeprefix('sha256:')}\n"
    first = {value.removeprefix("sha256:"): index for index, value in reversed(list(enumerate(hashes)))}
    return [first[digits] for digits in sorted(first, key=lambda digits: _sha256(prefix + digits))]


def committed_record(seed: str, hashes: Sequence[str], count: int, *, whole: bool) -> dict[str, Any]:
    """What the provenance says of a committed draw; ``whole``: from all images of the source."""
    return {
        "kind": "committed",
        "seed": seed,
        "commitment": commitment(seed),
        "dataset_hash": dataset_hash(hashes),
        "of": len(hashes),
        "whole": whole,
        "count": count,
    }


def derived_integer(*parts: object) -> int:
    """A whole number below 2²⁵⁶ that is a function of the parts: SHA-256 of their texts, a line each."""
    return int(_sha256("\n".join(str(part) for part in parts)).removeprefix("sha256:"), 16)
