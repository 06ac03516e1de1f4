"""False-accusation rates and queries of looks at services, on simulated models, by the code that users run.

    python benchmarks/simulate_looks.py --json benchmarks/results/looks_simulation.json

Every repetition has a fresh source with its own siblings, three honest suspects and a thief, each suspect behind a
service that gives labels or probabilities. The honest ones are judged together, so that the rate is that of any false
accusation. Rates of plans with exact p-values must not be above α by more than three standard errors; the command ends
with exit code 1 where one is. `simulate_cases.py` has files among the suspects.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from simulation_arguments import parse_arguments
from torch import Tensor

from sac_fast import Fingerprint
from sac_fast.audit.family import Family, plan_family
from sac_fast.audit.specs import ModelSpec
from sac_fast.bench.results import start_result, write_json
from sac_fast.verify.grounds import verify_suspects
from sac_fast.verify.stages import judge_in_looks, query_order

KIND = "sac_fast simulation of looks at services"
ALPHA = 0.05
PROBES, CLASSES, HONEST = 160, 4, 3
LOOKS = (40, 80, 160)
_HASH = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Cell:
    """One setting.

    Attributes:
        siblings: K.
        form: ``"labels"`` or ``"probabilities"``: what services answer.
        spending: see `plan_looks`.
        repetitions: sources.
        files: whether every second suspect is a file, with its logits on all probes, in one case with the services.
    """

    siblings: int
    form: str
    spending: str
    repetitions: int
    files: bool = False

    @property
    def family(self) -> Family:
        """How α is shared, and what is spent at each look."""
        suspects = [ModelSpec(path="file"), ModelSpec(predict="a:service")][0 if self.files else 1 :]
        return plan_family("auto", suspects, LOOKS, 1 / (self.siblings + 1), ALPHA, self.spending)

    @property
    def exact(self) -> bool:
        """Whether every part of α that is spent can be reached by an exact p-value."""
        spent = (self.family.files, *self.family.looks.alphas)
        return all(alpha == 0 or alpha >= 1 / (self.siblings + 1) - 1e-12 for alpha in spent)


def plan_cells(repetitions: int) -> list[Cell]:
    """All settings: α at the last look, at two; and Student's t at all three."""
    return [
        Cell(siblings, form, spending, repetitions)
        for siblings, spending in ((19, "exact"), (39, "exact"), (19, "equal"))
        for form in ("labels", "probabilities")
    ]


def make_models(cell: Cell, generator: torch.Generator) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Logits of source and siblings, of honest suspects, and of a copy of the source that was changed."""

    probes = PROBES * 3 // 2 if cell.files else PROBES

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, probes, CLASSES, generator=generator)

    task = 2.0 * torch.nn.functional.one_hot(torch.randint(CLASSES, (probes,), generator=generator), CLASSES) + noise()
    family, data = noise(2), noise(2)
    members = task + family[0] + data[0] + noise(cell.siblings + 1)
    honest = [task + family[i % 2] + data[i % 2] + noise(1)[0] for i in range(HONEST + cell.files)]
    return list(members), honest, members[0] + 0.5 * noise(1)[0]


def run_repetition(cell: Cell, generator: torch.Generator, *, with_thief: bool) -> dict[str, float]:
    """Whether any honest suspect was accused and the thief found, and the queries to one of each."""
    members, honest, thief = make_models(cell, generator)
    prints = [_print(f"member {i}", logits, "logits") for i, logits in enumerate(members)]
    accused, queries = _judge(cell, prints, honest)
    outcome = {"accused": float(accused), "queries": float(queries)}
    if with_thief:
        found, asked = _judge(cell, prints, [thief])
        outcome |= {"found": float(found), "queries of thief": float(asked)}
    return outcome


def _judge(cell: Cell, prints: Sequence[Fingerprint], suspects: Sequence[Tensor]) -> tuple[bool, int]:
    def ask(rows: Sequence[int], names: Sequence[str]) -> dict[str, Fingerprint]:
        return {name: _answers(cell, name, suspects[int(name)][list(rows)]) for name in names}

    def judge(found: Mapping[str, Fingerprint], alpha: float) -> list[str]:
        verdicts = verify_suspects(prints[0], found, siblings=prints[1:], alpha=alpha)
        return [str(word) for word in verdicts.verdict.values()]

    names, family = [str(i) for i in range(len(suspects))], cell.family
    files = {name: _print(name, suspects[int(name)], "logits") for name in names[::2] if cell.files}
    services = [name for name in names if name not in files]
    if family.together:
        rows = sorted(query_order(prints)[: LOOKS[-1]].tolist())
        answers = {
            name: Fingerprint(fp.outputs, {**fp.provenance, "probe_rows": rows})
            for name, fp in ask(rows, services).items()
        }
        words, asked = judge(files | answers, ALPHA), len(rows)
    else:
        looks = judge_in_looks(
            ask, services, family.looks, source=prints[0], siblings=prints[1:], alpha=family.services
        )
        words = [look.verdicts.verdict[name] for look in looks for name in look.decided]
        words += judge(files, family.files) if files else []
        asked = len(looks[-1].rows) if looks else 0
    return any(word.startswith("derived") for word in words), asked


def _answers(cell: Cell, name: str, logits: Tensor) -> Fingerprint:
    labels = cell.form == "labels"
    return _print(name, logits.argmax(1).float()[:, None] if labels else logits.softmax(1), cell.form)


def _print(name: str, outputs: Tensor, form: str) -> Fingerprint:
    return Fingerprint(outputs, {"name": name, "probe_hash": _HASH, "output_form": form})


def run_cell(cell: Cell, seed: int) -> dict[str, Any]:
    """Rates of one setting."""
    generator = torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    outcomes = [run_repetition(cell, generator, with_thief=not i % 4) for i in range(cell.repetitions)]
    values = {key: [outcome[key] for outcome in outcomes if key in outcome] for key in outcomes[0]}
    means = {key: sum(some) / len(some) for key, some in values.items()}
    limit = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / cell.repetitions)
    family = dataclasses.asdict(cell.family)
    about = {**dataclasses.asdict(cell), "looks": family.pop("looks"), "family": family, "exact": cell.exact}
    return {**about, **means, "limit": limit, "seconds": time.perf_counter() - start}


def main(kind: str = KIND) -> int:
    """Run all settings and write the result."""
    parser, asked = parse_arguments(__doc__, 1000, "sources of each setting")
    result = start_result(kind, torch.get_num_threads())
    start = time.perf_counter()
    counts: dict[str, Any] = {"probes": PROBES, "classes": CLASSES, "honest": HONEST, "alpha": ALPHA}
    cells: list[dict[str, Any]] = []
    broken: list[dict[str, Any]] = []
    for i, cell in enumerate(plan_cells(asked.repetitions)):
        cells.append(run_cell(cell, asked.seed + i))
        shown = {key: round(cells[-1][key], 3) for key in ("accused", "found", "queries", "queries of thief")}
        also = " and files" if cell.files else ""
        print(f"K = {cell.siblings}, {cell.form}{also}, {cell.spending}: {shown}", flush=True)
        broken = [cell for cell in cells if cell["exact"] and cell["accused"] > cell["limit"]]
        counts["seconds"] = time.perf_counter() - start
        # after every setting: a long run that is stopped has a result
        write_json({**result, **counts, "cells": cells, "violations": len(broken)}, asked.json)
    for cell in broken:
        print(f"{parser.prog}: above α: {cell}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
