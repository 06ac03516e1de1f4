"""A tiny run of all benchmarks, shared by the tests of this folder."""

import sys

import pytest

from sac_fast.bench import harness, run, run_bench, sizes

TINY = sizes.Sizes(
    judged=True,
    rounds=2,
    pairs=((40, 3, "cosine"), (30, 3, "rbf")),
    matrix=(30, 3),
    source=(3, 30, 4),
    weighted=(30, 4, 5),
    all_pairs=(9, 20, 3),
    few_models=((5, 12),),
    gradients=((40, 3),),
    nearest=(40, 20, 3),
    nearest_peers=(60, 20, 3),
    top=3,
    memory=(300, 4),
    sweep_n=(10, 20),
    sweep_n_k=3,
    sweep_k=(1, 3),
    sweep_k_n=20,
    sweep_m=(4, 6),
    sweep_m_n=10,
)


@pytest.fixture(autouse=True)
def no_pykeops(monkeypatch):
    """pykeops compiles for half a minute; here it is missing, as it may be."""
    monkeypatch.setitem(sys.modules, "pykeops", None)
    monkeypatch.setitem(sys.modules, "pykeops.torch", None)
    monkeypatch.setattr(harness, "_BLOCK_SECONDS", 1e-4)
    monkeypatch.setattr(harness, "_PAUSE_SECONDS", 0)


@pytest.fixture
def tiny_sizes():
    return TINY


@pytest.fixture(scope="session")
def results():
    """One tiny run of everything, shared by the tests that read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pykeops", None)
        patch.setitem(sys.modules, "pykeops.torch", None)
        patch.setattr(harness, "_BLOCK_SECONDS", 1e-4)
        patch.setattr(run, "QUICK", TINY)
        return run_bench(quick=True, threads=2, progress=False)
