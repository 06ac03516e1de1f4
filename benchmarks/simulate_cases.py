"""False-accusation rates of cases with files and services, which share one α: together with 19 siblings, apart with 39.

    python benchmarks/simulate_cases.py --json benchmarks/results/case_simulation.json

As `simulate_looks.py`, with four honest suspects; every second is a file with its logits on all probes. The rate is
that of any false accusation in the case.
"""

from __future__ import annotations

import sys

import simulate_looks
from simulate_looks import Cell


def plan_cases(repetitions: int) -> list[Cell]:
    """Both rules by which a case shares its α."""
    return [Cell(siblings, "labels", "exact", repetitions, files=True) for siblings in (19, 39)]


if __name__ == "__main__":
    simulate_looks.plan_cells = plan_cases
    sys.exit(simulate_looks.main("sac_fast simulation of cases of files and services"))
