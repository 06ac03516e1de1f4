"""How large the cases are."""

from __future__ import annotations

from dataclasses import dataclass

from ..io.choices import Metric


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Sizes of one run; n probes, k outputs, m models.

    Attributes:
        judged: whether the targets are for these sizes.
        rounds: turns of all implementations.
        peer_budget: seconds of each implementation but ours in a case (see `measure`).
        pairs: (n, k, metric) of correlation_distance.
        matrix: (n, k) of correlation_matrix and correlation_vector.
        source: (m, n, k) of correlation_distances.
        weighted: (n, k, R) of correlation_distance_weighted.
        all_pairs: (m, n, k) of pairwise_correlation_distances.
        few_models: (m, n) of pairwise_correlation_distances of few models.
        gradients: (n, k) of the gradient of correlation_distance.
        nearest: (m, n, k) of nearest_models; `top` of its neighbours.
        nearest_peers: (m, n, k) of nearest_models beside other libraries, which are slow.
        memory: (n, k) of the pair whose memory is measured.
        sweep_n, sweep_k, sweep_m: the values on the plot's axes, with what stays fixed.
    """

    judged: bool
    rounds: int
    peer_budget: float = 10.0
    pairs: tuple[tuple[int, int, Metric], ...]
    matrix: tuple[int, int]
    source: tuple[int, int, int]
    weighted: tuple[int, int, int]
    all_pairs: tuple[int, int, int]
    few_models: tuple[tuple[int, int], ...] = ((10, 50), (10, 100), (30, 50), (30, 100))
    gradients: tuple[tuple[int, int], ...]
    nearest: tuple[int, int, int]
    nearest_peers: tuple[int, int, int]
    top: int = 10
    memory: tuple[int, int]
    sweep_n: tuple[int, ...]
    sweep_n_k: int = 10
    sweep_k: tuple[int, ...]
    sweep_k_n: int
    sweep_m: tuple[int, ...]
    sweep_m_n: int = 50


FULL = Sizes(
    judged=True,
    rounds=9,
    pairs=(
        (10_000, 10, "cosine"),
        (10_000, 512, "cosine"),
        (800, 7, "cosine"),
        (10_000, 10, "rbf"),
        (50, 10, "cosine"),
    ),
    matrix=(5_000, 10),
    source=(50, 2_000, 100),
    weighted=(2_000, 10, 200),
    all_pairs=(1_000, 200, 10),
    gradients=((5_000, 10), (5_000, 128), (2_000, 512)),
    nearest=(20_000, 100, 10),
    nearest_peers=(4_000, 100, 10),
    memory=(200_000, 64),
    sweep_n=(30, 100, 300, 1_000, 3_000, 10_000),
    sweep_k=(1, 3, 10, 30, 100, 300, 1_000),
    sweep_k_n=2_000,
    sweep_m=(10, 30, 100, 300, 1_000, 2_000),
)

QUICK = Sizes(
    judged=False,
    rounds=3,
    pairs=((2_000, 10, "cosine"), (2_000, 512, "cosine"), (800, 7, "cosine"), (2_000, 10, "rbf"), (50, 10, "cosine")),
    matrix=(1_000, 10),
    source=(10, 1_000, 100),
    weighted=(500, 10, 100),
    all_pairs=(200, 100, 10),
    gradients=((2_000, 10),),
    nearest=(2_000, 50, 10),
    nearest_peers=(1_000, 50, 10),
    memory=(20_000, 64),
    sweep_n=(30, 300, 3_000),
    sweep_k=(1, 10, 100),
    sweep_k_n=1_000,
    sweep_m=(10, 100, 300),
)
