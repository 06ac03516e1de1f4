"""The weights test on the files of one source's zoo."""

from __future__ import annotations

from typing import Any

from ..errors import SacFastError
from ..verify.weights import weights_test
from .sources import SourceZoo


def weights_rows(source: SourceZoo) -> list[dict[str, Any]]:
    """Every suspect whose weights are kept, against the source's.

    Args:
        source: the zoo.

    Returns:
        ``source, member, role, origin, verdict, log10_p`` and ``layers``, the number of comparable layers; empty where
        the zoo keeps no weights of its source.
    """
    zoo = source.loaded.zoo
    own = zoo.weights_file(zoo.source)
    rows: list[dict[str, Any]] = []
    if not own.is_file():
        return rows
    for member in (*source.loaded.siblings, *source.loaded.suspects):
        path = zoo.weights_file(member)
        if not path.is_file():
            continue
        about = {"source": source.key, "member": member.name, "role": member.role, "origin": member.origin}
        try:
            found = weights_test(own, path)
        except (SacFastError, ValueError) as error:
            rows.append({**about, "verdict": "inconclusive", "log10_p": 0.0, "layers": 0, "reason": str(error)})
            continue
        used = sum(layer.left_out is None for layer in found.layers)
        rows.append({**about, "verdict": found.verdict, "log10_p": round(found.log10_p, 2), "layers": used})
    return rows
