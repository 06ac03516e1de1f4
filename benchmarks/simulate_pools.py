"""False-accusation rates of null pools on simulated honest models, by the code that users run.

    python benchmarks/simulate_pools.py --json benchmarks/results/pool_simulation.json

Every repetition has a fresh source with two siblings, fresh nulls and one honest suspect of a kind drawn at random.
Outputs are made, not trained: what the task gives, what architecture and training data add, what a model has of its
own. Models of the nearest kind share architecture and data with the source, those of the other kind neither.

Rates must not be above α by more than three standard errors where suspect and nulls of its kind are exchangeable; the
command ends with exit code 1 where one is. What comes of a pool that lacks the suspect's kind is reported beside.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from simulation_arguments import parse_arguments
from torch import Tensor

from sac_fast import Fingerprint, correlation_distance
from sac_fast.bench.results import start_result, write_json
from sac_fast.scores import Calibration, CohortStatistic
from sac_fast.scores.weights import Floats, Weights
from sac_fast.verdict import Verdict
from sac_fast.verify.contrast import contrast_distances, given_cohort_distances
from sac_fast.verify.fingerprints import pool_test
from sac_fast.verify.kinds import judge_by_score
from sac_fast.verify.nulls import collect_nulls
from sac_fast.verify.pool import Measure

KIND = "sac_fast simulation of null pools"
ALPHAS = (0.01, 0.05, 0.1)
SCORES = ("distance", "contrast", "given-cohort", "calibrated")
KINDS = ("same-data-same-architecture", "other-data")
PROBES, CLASSES, THEFTS = 40, 4, 6
#: Labels of so few probes that distances tie.
TIED_PROBES = 12
PROBE_HASH = "sha256:" + "0" * 64
STATISTIC = CohortStatistic(0.1, "softmax(1)", "pearson", "plain")


@dataclass(frozen=True)
class Cell:
    """One setting of the simulation.

    Attributes:
        score: one of `SCORES`.
        form: ``"logits"`` or ``"labels"`` (few probes, so that there are ties).
        pool: ``"one kind"``; ``"by kind"`` (two); ``"copies"`` (one, every third null once more, slightly changed);
            ``"undeclared"`` (the other kind only, and the suspect is of the nearest: nothing is promised).
        nulls: of each kind.
        repetitions: sources.
    """

    score: str
    form: str
    pool: str
    nulls: int
    repetitions: int

    @property
    def exact(self) -> bool:
        """Whether the suspect is exchangeable with the nulls of its kind."""
        return self.pool != "undeclared"


def plan_cells(repetitions: int) -> list[Cell]:
    """All settings: 19 nulls of a kind for α = 5 and 10 %, 99 for 1 %."""
    cells = [Cell(score, form, "by kind", 19, repetitions) for score in SCORES for form in ("logits", "labels")]
    cells += [Cell(score, "logits", "copies", 19, repetitions) for score in SCORES]
    cells += [Cell(score, "logits", "undeclared", 19, repetitions) for score in ("distance", "contrast")]
    return cells + [Cell(score, "logits", "one kind", 99, repetitions) for score in SCORES]


@dataclass(frozen=True)
class Models:
    """Outputs (n, k) of all models of one repetition."""

    source: Tensor
    siblings: list[Tensor]
    thefts: list[Tensor]
    suspect: Tensor
    nulls: list[Tensor]
    kinds: list[str]


def make_models(cell: Cell, generator: torch.Generator) -> Models:
    """A source, its siblings and thefts, an honest suspect and nulls."""
    n = TIED_PROBES if cell.form == "labels" else PROBES

    def noise() -> Tensor:
        return torch.randn(n, CLASSES, generator=generator, dtype=torch.float64)

    truth = torch.randint(CLASSES, (n,), generator=generator)
    task = 2.0 * torch.nn.functional.one_hot(truth, CLASSES) + noise()
    recipe = task + 1.5 * noise()

    def model(kind: str) -> Tensor:
        """A model of its own, more or less certain."""
        scale = 0.5 + torch.rand((), generator=generator, dtype=torch.float64)
        return (recipe if kind == KINDS[0] else task + 1.5 * noise()) + 2.0 * scale * noise()

    kinds = {"by kind": KINDS, "undeclared": KINDS[1:]}.get(cell.pool, KINDS[:1])
    source = model(KINDS[0])
    nulls = [model(kind) for kind in kinds for _ in range(cell.nulls)]
    names = [kind for kind in kinds for _ in range(cell.nulls)]
    if cell.pool == "copies":
        nulls += [null + 0.01 * noise() for null in nulls[::3]]
        names += names[::3]
    drawn = KINDS[int(torch.randint(len(kinds), (), generator=generator))]
    made = Models(
        source,
        [model(KINDS[0]) for _ in range(2)],
        [source + noise() for _ in range(THEFTS)],
        model(KINDS[0] if cell.pool != "by kind" else drawn),
        nulls,
        names,
    )
    if cell.form == "logits":
        return made

    def labels(outputs: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(outputs.argmax(1), CLASSES).double()

    lists = {name: [labels(o) for o in getattr(made, name)] for name in ("siblings", "thefts", "nulls")}
    return dataclasses.replace(made, source=labels(source), suspect=labels(made.suspect), **lists)


def fingerprint_of(outputs: Tensor, name: str, kind: str | None = None) -> Fingerprint:
    return Fingerprint(outputs, {"name": name, "probe_hash": PROBE_HASH, "kind": kind})


def make_measure(cell: Cell, models: Models) -> Measure:
    """The measure of a score."""
    if cell.score == "contrast":
        return lambda some: contrast_distances(models.source, models.siblings, some, cell.form)
    if cell.score == "given-cohort":
        return lambda some: given_cohort_distances(models.source, some, cell.form)
    if cell.score == "distance":
        return lambda some: np.array([float(correlation_distance(models.source, o, metric="pearson")) for o in some])
    thefts = {"plain": {f"s{i}": outputs for i, outputs in enumerate(models.thefts)}}
    # The weights are fitted anew in every call.
    nothing = Weights(np.zeros(1), np.ones(1), np.zeros(1), 0.0)
    source, origins = {"plain": models.source}, dict.fromkeys(thefts["plain"], "noise")
    fitted = Calibration(
        (STATISTIC,), nothing, {"plain": PROBE_HASH}, source, {"plain": {}}, {}, None, {}, {}, {}, {}, thefts, origins,
        regularisation=0.1,
    )  # fmt: skip

    def measure(some: Sequence[Tensor]) -> Floats:
        suspect, *others = ({"plain": rows} for rows in some)
        return fitted.conformal_distances(suspect, {str(i): rows for i, rows in enumerate(others)})

    return measure


def fingerprints_of_nulls(cell: Cell, models: Models) -> list[Fingerprint]:
    kinds = [None if cell.pool == "undeclared" else kind for kind in models.kinds]
    return [fingerprint_of(o, f"n{i}", kind) for i, (o, kind) in enumerate(zip(models.nulls, kinds, strict=True))]


def judge(cell: Cell, models: Models) -> Verdict:
    """The verdict, by the functions in `PoolTest.judge`."""
    measure = make_measure(cell, models)
    pool = collect_nulls(fingerprint_of(models.source, "source"), fingerprints_of_nulls(cell, models), cell.form)
    return judge_by_score(lambda rows: measure([models.suspect, *(models.nulls[i] for i in rows)]), pool, 0.05)[0]


def check_against_test(cell: Cell, models: Models, verdict: Verdict) -> None:
    """The steps above give what users get.

    Raises:
        AssertionError: they do not.
    """
    if cell.score == "calibrated":
        return
    nulls = fingerprints_of_nulls(cell, models)
    siblings = [fingerprint_of(o, f"s{i}") for i, o in enumerate(models.siblings)] if cell.score == "contrast" else []
    source, suspect = fingerprint_of(models.source, "source"), fingerprint_of(models.suspect, "suspect")
    found = pool_test(source, nulls, score=cell.score, siblings=siblings, metric="pearson").judge(suspect).verdict
    # A suspect or a null whose labels are nearly all the same is no evidence, which is for users to be told.
    if found.null_counts == verdict.null_counts and found.p_value == max(found.by_kind.values()):
        np.testing.assert_allclose(list(found.by_kind.values()), list(verdict.by_kind.values()))


def run_repetition(cell: Cell, generator: torch.Generator, *, check: bool) -> list[bool]:
    """Whether the honest suspect is accused, at each α."""
    models = make_models(cell, generator)
    verdict = judge(cell, models)
    if check:
        check_against_test(cell, models, verdict)
    return [max(verdict.by_kind.values()) <= alpha + 1e-12 for alpha in ALPHAS]


def run_cell(cell: Cell, seed: int) -> dict[str, Any]:
    """Rates of one setting."""
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    accused = np.array([run_repetition(cell, generator, check=i < 2) for i in range(cell.repetitions)], dtype=float)
    rates = []
    for i, alpha in enumerate(ALPHAS):
        error = math.sqrt(alpha * (1 - alpha) / cell.repetitions)
        rates.append({"alpha": alpha, "rate": float(accused[:, i].mean()), "limit": alpha + 3 * error})
    return {**dataclasses.asdict(cell), "exact": cell.exact, "rates": rates, "seconds": time.perf_counter() - start}


def violations(cells: list[dict[str, Any]]) -> list[str]:
    """Rates that are above α by more than three standard errors where the suspect's kind is in the pool."""
    return [
        f"{cell['score']}, {cell['form']}, {cell['pool']}, {cell['nulls']} nulls, α = {rate['alpha']}: "
        f"{rate['rate']:.4f}"
        for cell in cells
        if cell["exact"]
        for rate in cell["rates"]
        if rate["rate"] > rate["limit"]
    ]


def main() -> int:
    parser, asked = parse_arguments(__doc__, 30_000, "sources of each setting", SCORES)
    result = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    cells = []
    for i, cell in enumerate(plan_cells(asked.repetitions)):
        if cell.score not in asked.only:
            continue
        cells.append(run_cell(cell, asked.seed + i))
        rates = ", ".join(f"{rate['rate']:.4f} at {rate['alpha']:g}" for rate in cells[-1]["rates"])
        name = f"{cell.score}, {cell.form}, {cell.pool}, {cell.nulls} nulls"
        print(f"{name}: {rates}, {cells[-1]['seconds']:.0f} s", flush=True)
        sizes = {"logits": PROBES, "labels": TIED_PROBES}
        found = {"probes": sizes, "classes": CLASSES, "cells": cells, "violations": violations(cells)}
        # After every setting: what was found is kept where the run is stopped.
        write_json({**result, "seconds": time.perf_counter() - start, **found}, asked.json)
    for line in violations(cells):
        print(f"{parser.prog}: above α: {line}", file=sys.stderr)
    return 1 if violations(cells) else 0


if __name__ == "__main__":
    sys.exit(main())
