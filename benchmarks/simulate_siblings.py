"""False-accusation rates of the sibling test on simulated honest models, by the code that users run.

    python benchmarks/simulate_siblings.py --json benchmarks/results/sibling_simulation.json

Every repetition has a fresh source with its own siblings and up to 1,000 honest suspects. Outputs are made, not
trained: what the task gives, what an architecture adds, what a model has of its own. Suspects share task, architecture,
training data or each other's errors with the members, but nothing with one member alone.

Rates of the exact tests must not be above α by more than three standard errors; the command ends with exit code 1 where
one is. Two conditions of exactness are broken on purpose, and the rate that comes of it is reported: a source that is
the most accurate of its siblings, and siblings of a slightly changed recipe.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from simulation_arguments import parse_arguments
from torch import Tensor

from sac_fast import sibling_test
from sac_fast.bench.results import start_result, write_json
from sac_fast.scores.siblings_chance import agreement_with_members
from sac_fast.scores.siblings_channels import sibling_similarities
from sac_fast.verify.sibling_p_values import (
    combined_profiles,
    max_p_values,
    rank_p_values,
    standardise,
    student_p_values,
)

KIND = "sac_fast simulation of siblings"
ALPHAS = (0.01, 0.05, 0.1)
ZOOS = (10, 100, 1000)
PROBES, CLASSES, DISPUTED = 30, 4, 15
_MIN_AGREEMENT = 3.09  # of the test: one-sided 0.1 % of the normal distribution
#: Labels of so few probes that similarities tie.
TIED_PROBES = 12


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation.

    Attributes:
        siblings: K.
        form: ``"logits"`` or ``"labels"`` (few probes, so that there are ties).
        source: ``"fresh"``, ``"best"`` (the most accurate of K + 1) or ``"other recipe"`` (siblings a little worse).
        repetitions: sources.
    """

    siblings: int
    form: str
    source: str
    repetitions: int

    @property
    def exact(self) -> bool:
        """Whether the conditions of exactness hold."""
        return self.source == "fresh"


def plan_cells(repetitions: int) -> list[Cell]:
    """All settings; the largest one, and that of Student's t alone, with a quarter of the repetitions."""
    largest = max(1, repetitions // 4)
    cells = [Cell(k, form, "fresh", repetitions) for k in (9, 19) for form in ("logits", "labels")]
    # 4 siblings allow no exact verdict: what is measured there is Student's t
    cells += [Cell(k, form, "fresh", largest) for k in (4, 99) for form in ("logits", "labels")]
    return cells + [Cell(19, "logits", source, repetitions) for source in ("best", "other recipe")]


def make_models(cell: Cell, suspects: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Outputs of a source with its siblings, and of honest suspects.

    Returns:
        (K + 1, n, k) with the source first, (S, n, k) float32.
    """
    n = PROBES if cell.form == "logits" else TIED_PROBES

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, n, CLASSES, generator=generator)

    truth = torch.randint(CLASSES, (n,), generator=generator)
    task = 2.0 * torch.nn.functional.one_hot(truth, CLASSES) + 1.5 * noise()
    families, data = noise(4), noise(3)
    count = cell.siblings + 1
    own = torch.ones(count)
    if cell.source == "other recipe":
        own[1:] = 1.05
    members = task + families[0] + data[0] + own[:, None, None] * noise(count)
    if cell.source == "best":
        accuracy = (members.argmax(2) == truth).double().mean(dim=1)
        best = int(accuracy.argmax())
        members = torch.cat([members[best : best + 1], members[:best], members[best + 1 :]])
    family = torch.randint(len(families), (suspects,), generator=generator)
    source_of_data = torch.randint(len(data), (suspects,), generator=generator)
    cliques = noise(20)[torch.randint(20, (suspects,), generator=generator)]  # copies of each other, more or less
    scale = 0.3 + torch.rand(suspects, 1, 1, generator=generator)
    return members, task + families[family] + data[source_of_data] + cliques + scale * noise(suspects)


def run_repetition(cell: Cell, generator: torch.Generator, *, student: bool, check: bool) -> dict[str, Any]:
    """p-values of one source.

    Args:
        cell: the setting.
        generator: of all randomness.
        student: Student's t, too.
        check: compare with `sibling_test` on the first ten suspects.

    Returns:
        Shares and outcomes by α: ``rank``, ``student``, and by size of the zoo ``max``, ``student max``.
    """
    members, suspects = make_models(cell, max(ZOOS), generator)
    if cell.form == "labels":
        members, suspects = (torch.nn.functional.one_hot(o.argmax(2), CLASSES).float() for o in (members, suspects))
    channels = [
        standardise(similarities)
        for similarities in sibling_similarities(members, suspects, cell.form, "default", disputed=DISPUTED).values()
    ]
    profiles = combined_profiles(channels)
    if check:
        check_against_test(cell, members, suspects[:10])
    found: dict[str, Any] = {"rank": share_below(rank_p_values(profiles))}
    if student:
        found["student"] = share_below(student_p_values(channels, over_suspects=False))
    for zoo in ZOOS:
        adjusted = max_p_values(profiles[:zoo])
        found[f"max {zoo}"] = [float((adjusted <= alpha + 1e-12).any()) for alpha in ALPHAS]
        if student:
            by_student = student_p_values([values[:zoo] for values in channels], over_suspects=True)
            found[f"student max {zoo}"] = [float((by_student <= alpha).any()) for alpha in ALPHAS]
    return found


def share_below(p: np.ndarray[Any, np.dtype[np.float64]]) -> list[float]:
    """Share of p-values at most α, for each α."""
    return [float((p <= alpha + 1e-12).mean()) for alpha in ALPHAS]


def check_against_test(cell: Cell, members: Tensor, suspects: Tensor) -> None:
    """The vectorised steps above are those of `sibling_test`: the same profiles.

    Raises:
        AssertionError: they are not.
    """
    some = {str(i): o for i, o in enumerate(suspects)}
    result = sibling_test(members[0], list(members[1:]), some, output_form=cell.form)
    similarities = sibling_similarities(members, suspects, cell.form, "default")
    expected = combined_profiles([standardise(values) for values in similarities.values()])
    agreement = agreement_with_members(list(members), list(suspects), soft=cell.form != "labels")
    for i, name in enumerate(some):
        # a suspect that agrees by chance only is left out by the test, or compared as one of other classes
        if agreement[i] >= _MIN_AGREEMENT:
            np.testing.assert_allclose(result.profiles[name], expected[i], rtol=1e-9, atol=1e-9)


def run_cell(cell: Cell, seed: int) -> dict[str, Any]:
    """Rates of one setting, with standard errors over sources; those of Student's t over a quarter of them."""
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    outcomes = [
        run_repetition(cell, generator, student=i <= cell.repetitions // 4, check=i < 3)
        for i in range(cell.repetitions)
    ]
    rates = []
    for test in outcomes[0]:
        values = np.array([outcome[test] for outcome in outcomes if test in outcome])
        for i, alpha in enumerate(ALPHAS):
            rate, error = float(values[:, i].mean()), float(values[:, i].std() / math.sqrt(len(values)))
            limit = alpha + 3 * math.sqrt(alpha * (1 - alpha) / len(values))
            rates.append(
                {
                    "test": test,
                    "alpha": alpha,
                    "rate": rate,
                    "standard_error": error,
                    "limit": limit,
                    "sources": len(values),
                }
            )
    return {**dataclasses.asdict(cell), "exact": cell.exact, "rates": rates, "seconds": time.perf_counter() - start}


def violations(cells: list[dict[str, Any]]) -> list[str]:
    """Rates of exact tests, where their conditions hold, that are above α by more than three standard errors."""
    return [
        f"K = {cell['siblings']}, {cell['form']}, {rate['test']}, α = {rate['alpha']}: {rate['rate']:.4f}"
        for cell in cells
        if cell["exact"]
        for rate in cell["rates"]
        if not rate["test"].startswith("student") and rate["rate"] > rate["limit"]
    ]


def main() -> int:
    parser, asked = parse_arguments(__doc__, 20_000, "sources of each setting; a quarter for K = 4 and 99")
    result = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    cells = []
    for i, cell in enumerate(plan_cells(asked.repetitions)):
        cells.append(run_cell(cell, asked.seed + i))
        five = {r["test"]: round(r["rate"], 4) for r in cells[-1]["rates"] if r["alpha"] == 0.05}
        seconds = cells[-1]["seconds"]
        print(f"K = {cell.siblings}, {cell.form}, {cell.source}: at 5 % {five}, {seconds:.0f} s", flush=True)
    broken = violations(cells)
    write_json(
        {
            **result,
            "seconds": time.perf_counter() - start,
            "probes": {"logits": PROBES, "labels": TIED_PROBES, "disputed": DISPUTED},
            "classes": CLASSES,
            "cells": cells,
            "violations": broken,
        },
        asked.json,
    )
    for line in broken:
        print(f"{parser.prog}: above α: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
