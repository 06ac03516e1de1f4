"""What a verdict from a pack holds under."""

from __future__ import annotations

from collections.abc import Iterable

from ..fingerprint import Fingerprint
from ..io.hashing import is_hash


def pack_conditions(models: Iterable[Fingerprint]) -> tuple[str, ...]:
    """The conditions that models from packs add to a verdict; none where there are no such models.

    Args:
        models: siblings and nulls; the provenance of those from a pack names it.
    """
    packs = [fp.provenance["pack"] for fp in models if isinstance(fp.provenance.get("pack"), dict)]
    named = {pack["hash"]: str(pack.get("created"))[:40] for pack in packs if is_hash(pack.get("hash"))}
    return tuple(
        f"Valid if the suspect is older than the pack {hash} (made {created}, by its maker's word): whoever has a pack "
        "can train towards the answers in it. What its models are is a claim of its maker."
        for hash, created in named.items()
    )
