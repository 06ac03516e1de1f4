"""From the layers to the pair: at least half of the comparable layers must speak."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: With fewer comparable layers a single fixed transform could decide.
MIN_LAYERS = 3


def partial_conjunction(log10_p: Sequence[float]) -> float:
    """log10 p of the hypothesis that fewer than half of the layers hold weights that depend on each other.

    ``p = (n − u + 1) · p_(u)``, u = ⌈n/2⌉, whatever the dependence between layers.

    Args:
        log10_p: of each layer.

    Returns:
        At most 0.

    Source: Benjamini and Heller, Screening for partial conjunction hypotheses, Biometrics 64 (2008).
    """
    n = len(log10_p)
    if n == 0:
        return 0.0
    half = (n + 1) // 2
    return min(0.0, sorted(log10_p)[half - 1] + math.log10(n - half + 1))
