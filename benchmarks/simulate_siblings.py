"""False-accusation rates of the sibling test on simulated honest models, by the code that users run.

    python benchmarks/simulate_siblings.py --json benchmarks/results/sibling_simulation.json

Every repetition has a fresh source with its own siblings and up to 1,000 honest suspects. Outputs are made, not
trained: what the task gives, what an architecture adds, what a model has of its own. Suspects share task, architecture,
training data or each other's errors with the members, but nothing with one member alone. In some settings they answer
with other classes, so that the regression decides.

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
from sac_fast.scores.siblings_chance import agreement_with_members, correlation_agreement
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
_TIE = 1e-9  # of the test
#: Labels of so few probes that similarities tie.
TIED_PROBES = 12
#: Settings with suspects of other classes: the members' classes, the suspects', and sizes of zoos.
OTHER_MEMBERS, OTHER_SUSPECTS = 3, 2
OTHER_ZOOS = (10, 100)
#: Labels that members of these settings change on their own: so few that some members give the same ones, and tie.
_OWN_LABELS = 1.0
_FLIPS = 0.22  # labels that change for each probe and unit of a member's own part


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation.

    Attributes:
        siblings: K.
        form: ``"logits"`` or ``"labels"`` (few probes, or members that hardly differ, so that there are ties).
        source: ``"fresh"``, ``"best"`` (the most accurate of K + 1) or ``"other recipe"`` (siblings a little worse).
        repetitions: sources.
        other_classes: whether suspects answer with other classes, so that the regression decides.
    """

    siblings: int
    form: str
    source: str
    repetitions: int
    other_classes: bool = False

    @property
    def exact(self) -> bool:
        """Whether the conditions of exactness hold."""
        return self.source == "fresh"

    @property
    def zoos(self) -> tuple[int, ...]:
        """Sizes of the zoos of suspects."""
        return OTHER_ZOOS if self.other_classes else ZOOS

    @property
    def probes(self) -> int:
        """n: for the regression as few as it accepts."""
        if self.other_classes:
            return 4 * OTHER_MEMBERS * (self.siblings + 2)
        return PROBES if self.form == "logits" else TIED_PROBES


def plan_cells(repetitions: int) -> list[Cell]:
    """All settings; that of Student's t alone with a quarter of the repetitions."""
    cells = [Cell(k, form, "fresh", repetitions) for k in (9, 19, 99) for form in ("logits", "labels")]
    # 4 siblings allow no exact verdict: what is measured there is Student's t
    cells += [Cell(4, form, "fresh", max(1, repetitions // 4)) for form in ("logits", "labels")]
    cells += [Cell(19, "logits", source, repetitions) for source in ("best", "other recipe")]
    return cells + [
        Cell(k, form, "fresh", repetitions, other_classes=True) for k in (9, 19, 99) for form in ("logits", "labels")
    ]


def make_models(cell: Cell, suspects: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Outputs of a source with its siblings, and of honest suspects.

    Returns:
        (K + 1, n, k) with the source first, (S, n, k) float32.
    """
    n, classes = cell.probes, OTHER_MEMBERS if cell.other_classes else CLASSES

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, n, classes, generator=generator)

    truth = torch.randint(classes, (n,), generator=generator)
    task = 2.0 * torch.nn.functional.one_hot(truth, classes) + 1.5 * noise()
    families, data = noise(4), noise(3)
    count = cell.siblings + 1
    own = torch.full((count,), _OWN_LABELS / (_FLIPS * n) if cell.other_classes and cell.form == "labels" else 1.0)
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
    others = task + families[family] + data[source_of_data] + cliques + scale * noise(suspects)
    if cell.other_classes:  # heads of their own on what they compute
        others = torch.tanh(others / 3) @ torch.randn(suspects, classes, OTHER_SUSPECTS, generator=generator)
    return members, others


def run_repetition(cell: Cell, generator: torch.Generator, *, student: bool, check: bool) -> dict[str, Any]:
    """p-values of one source.

    Args:
        cell: the setting.
        generator: of all randomness.
        student: Student's t, too.
        check: compare with `sibling_test` on the first ten suspects.

    Returns:
        Shares and outcomes by α: ``rank``, ``student``, and by size of the zoo ``max``, ``student max``; under ``tied``
        the share of suspects for which a sibling ties with the source.
    """
    members, suspects = make_models(cell, max(cell.zoos), generator)
    if cell.form == "labels":
        members, suspects = (torch.nn.functional.one_hot(o.argmax(2), o.shape[2]).float() for o in (members, suspects))
    channels = [
        standardise(similarities)
        for similarities in sibling_similarities(members, suspects, cell.form, "default", disputed=DISPUTED).values()
    ]
    profiles = combined_profiles(channels)
    if check:
        check_against_test(cell, members, suspects[:10])
    ties = np.abs(profiles[:, 1:] - profiles[:, :1]) <= _TIE * (1 + np.abs(profiles[:, :1]))
    found: dict[str, Any] = {"tied": float(ties.any(axis=1).mean()), "rank": share_below(rank_p_values(profiles))}
    if student:
        found["student"] = share_below(student_p_values(channels, over_suspects=False))
    for zoo in cell.zoos:
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
    if cell.other_classes:
        metric = "cosine" if cell.form == "labels" else "pearson"
        agreement = correlation_agreement(list(members), list(suspects), metric)
    else:
        agreement = agreement_with_members(list(members), list(suspects), soft=cell.form != "labels")
    for i, name in enumerate(some):
        # a suspect that agrees by chance only is left out by the test, or compared as one of other classes
        if agreement[i] >= _MIN_AGREEMENT:
            np.testing.assert_allclose(result.profiles[name], expected[i], rtol=1e-9, atol=1e-9)
            assert not cell.other_classes or result.channels[name] == ("regression",), result.channels


def run_cell(cell: Cell, seed: int) -> dict[str, Any]:
    """Rates of one setting, with standard errors over sources; those of Student's t over a quarter of them."""
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    outcomes = [
        run_repetition(cell, generator, student=i <= cell.repetitions // 4, check=i < 3)
        for i in range(cell.repetitions)
    ]
    tied = float(np.mean([outcome.pop("tied") for outcome in outcomes]))
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
    about = {**dataclasses.asdict(cell), "exact": cell.exact, "tied": tied}
    return {**about, "rates": rates, "seconds": time.perf_counter() - start}


def violations(cells: list[dict[str, Any]]) -> list[str]:
    """Rates of exact tests, where their conditions hold, that are above α by more than three standard errors."""
    return [
        f"K = {cell['siblings']}, {cell['form']}{', other classes' if cell['other_classes'] else ''}, {rate['test']}, "
        f"α = {rate['alpha']}: {rate['rate']:.4f}"
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
        what = f"{cell.form}, {cell.source}{', other classes' if cell.other_classes else ''}"
        print(f"K = {cell.siblings}, {what}: at 5 % {five}, {seconds:.0f} s", flush=True)
    broken = violations(cells)
    write_json(
        {
            **result,
            "seconds": time.perf_counter() - start,
            "probes": {"logits": PROBES, "labels": TIED_PROBES, "disputed": DISPUTED},
            "classes": CLASSES,
            "other_classes": {"members": OTHER_MEMBERS, "suspects": OTHER_SUSPECTS},
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
