"""Draw of probes by a seed that is committed to in advance, so that anyone can verify that they were not hand-picked.

The draw is a function of the seed and the dataset's content, defined by SHA-256 alone (no library's generator):

* image hash ``h_i``: SHA-256 of image i's file (its 64 hexadecimal digits); names do not matter
* dataset hash ``D``: SHA-256 of the different ``h_i``, sorted, each followed by a line feed
* key ``k_i``: SHA-256 of ``"sac_fast committed draw 1\\n" + seed + "\\n" + D + "\\n" + h_i`` (UTF-8)
* the draw of m: the m different images with the smallest ``k_i``, in the order of ``k_i``

``commitment(seed)`` = SHA-256 of ``"sac_fast commitment 1\\n" + seed``. Publish it, and ``D``, before anyone can know
which draw would be favourable (for example before the suspect is chosen); reveal the seed with the probes. The seed
must not be guessable, since it could be recovered from its commitment: use ``secrets.token_hex(32)``, or a later value
of a public beacon. This does not show that the dataset was not chosen to suit, nor that no other commitments were made.
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
    """Commitment to a seed, to be published in advance: ``SHA-256("sac_fast commitment 1\\n" + seed)``.

    Args:
        seed: one line of text that cannot be guessed.

    Returns:
        ``"sha256:..."``.

    Raises:
        ProbeError: the seed is empty or has several lines.

    Example::

        >>> commitment("not a good seed")[:23]
        'sha256:fd8b7136a5e0c692'
    """
    return _sha256("sac_fast commitment 1\n" + _check_seed(seed))


def dataset_hash(hashes: Iterable[str]) -> str:
    """SHA-256 of the distinct image hashes (without ``sha256:``), sorted, each followed by a line feed.

    Example::

        >>> dataset_hash(["sha256:bb", "sha256:aa"]) == dataset_hash(["sha256:aa", "sha256:bb", "sha256:aa"])
        True
    """
    digits = sorted({value.removeprefix("sha256:") for value in hashes})
    return _sha256("".join(digit + "\n" for digit in digits))


def committed_order(seed: str, hashes: Sequence[str]) -> list[int]:
    """Distinct images in the order of the draw; the first m of them are the draw of m.

    Args:
        seed: the revealed seed.
        hashes: ``"sha256:..."`` of every image of the dataset, in any order.

    Returns:
        Indices into ``hashes``; for equal hashes only the first.

    Raises:
        ProbeError: the seed is empty or has several lines.

    Example::

        >>> sorted(committed_order("seed", ["sha256:aa", "sha256:bb", "sha256:aa"]))
        [0, 1]
    """
    prefix = f"sac_fast committed draw 1\n{_check_seed(seed)}\n{dataset_hash(hashes).removeprefix('sha256:')}\n"
    first = {value.removeprefix("sha256:"): index for index, value in reversed(list(enumerate(hashes)))}
    return [first[digits] for digits in sorted(first, key=lambda digits: _sha256(prefix + digits))]


def committed_record(seed: str, hashes: Sequence[str], count: int, *, whole: bool) -> dict[str, Any]:
    """Provenance entry of a committed draw; ``whole``: drawn from all images of the source."""
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
    """Integer below 2²⁵⁶ determined by the parts: SHA-256 of their texts, one per line."""
    return int(_sha256("\n".join(str(part) for part in parts)).removeprefix("sha256:"), 16)
