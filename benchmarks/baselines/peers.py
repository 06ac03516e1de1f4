"""Published fingerprints beside sac_fast's statistics on the same models, at the same numbers of queries.

Peers that only need outputs on images are computed from a zoo's recorded outputs; of those that craft their queries the
scores come from `bench_baselines.py` on the same zoo.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sac_fast.evaluation.merits import CONTRAST, CONTRAST_MEAN, SIBLINGS, Measured, measure_contrast, of_ruling
from sac_fast.evaluation.methods import score_method
from sac_fast.evaluation.rulings import rule_by_siblings
from sac_fast.evaluation.sources import PAPER, SourceZoo
from sac_fast.scores import Score

#: Numbers of queries at which all are compared.
BUDGETS = (100, 200, 400, 2000)
_SIBLINGS = 19
OWN = {
    SIBLINGS: "sibling test, 19 siblings",
    CONTRAST: "contrast, 19 siblings",
    CONTRAST_MEAN: "contrast as a mean, 19 siblings",
}
#: Name -> (title, paper, score without its number of probes); probes are evenly spaced ones of the set.
RECORDED = {
    "akh": ("AKH", "Godinot et al., AAAI 2025, arXiv 2412.13021", "agreement@misclassified"),
    "random-labels": ("labels on random images", "QuRD's baseline, arXiv 2412.13021", "agreement@plain"),
    "sac-w": ("SAC-w", "Guan et al., NeurIPS 2022, arXiv 2210.15427", "raw/cosine/l1@misclassified"),
    "sac-normal": ("SAC-normal", "Guan et al., NeurIPS 2022, arXiv 2210.15427", "raw/cosine/l1@plain"),
    "sac-jc": ("SAC-JC", "Guan et al., IJCV, arXiv 2412.20768", "raw/cosine/l1@jpeg-q15"),
}
#: AUCs as their authors state them, on other models: (method, what, figure, where).
PUBLISHED = (
    ("AnaFP", "distillation, lowest and highest of its tasks", "0.60–0.79", "Yang et al., ICLR 2026, arXiv 2603.21411"),
)
#: Distillation by the names of the attacks here.
DISTILLATION = ("extract-distill", "extract-soft-t1", "extract-soft-t4")


@dataclasses.dataclass(frozen=True)
class Compared:
    """One statistic on one source at one budget.

    Attributes:
        measured: its distances.
        budget: number of queries that it was given.
        output_form: what a suspect must give.
    """

    measured: Measured
    budget: int
    output_form: str

    @property
    def by_attack(self) -> dict[str, float]:
        """AUC of the working thefts of each of the paper's attacks against all honest models."""
        return {name: value for name, value in self.measured.aucs().items() if name.startswith(PAPER)}

    def to_dict(self) -> dict[str, Any]:
        """JSON values."""
        found = self.by_attack
        return {
            "task": self.measured.source.task,
            "source": self.measured.source.name,
            "statistic": self.measured.statistic,
            "output_form": self.output_form,
            "budget": self.budget,
            "queries": self.measured.queries,
            "mean_auc": float(np.mean(list(found.values()))) if found else None,
            "auc_by_attack": found,
        }


def from_outputs(source: SourceZoo, budget: int) -> list[Compared]:
    """sac_fast's statistics and the peers that are known from recorded outputs, as far as the source has what they
    need.
    """
    found = []
    if len(source.loaded.siblings) >= _SIBLINGS:
        ruling, _ = rule_by_siblings(source, _SIBLINGS, budget)
        found.append(Compared(of_ruling(source, SIBLINGS, ruling), budget, "logits"))
        for name in (CONTRAST, CONTRAST_MEAN):
            found.append(Compared(measure_contrast(source, _SIBLINGS, budget, name), budget, "logits"))
    for name, (_, _, score) in RECORDED.items():
        probes = score.partition("@")[2]
        if probes not in source.loaded.outputs:
            continue
        count = min(budget, source.loaded.count(probes))
        method = score_method(source.loaded, Score.parse(f"{score}:{count}"), name)
        measured = Measured(source, name, method.distances, count, method.compare_seconds or 0.0)
        found.append(Compared(measured, budget, "labels" if score.startswith("agreement") else "logits"))
    return found


def from_models(source: SourceZoo, results: Mapping[str, Any]) -> list[Compared]:
    """Peers that craft their queries, from the JSON of `bench_baselines.py` on this zoo.

    Raises:
        ValueError: it is of another zoo.
    """
    missing = [m.name for m in source.loaded.suspects if m.name not in results["members"]]
    if missing:
        raise ValueError(f"scores must be of the zoo {source.key}, got none of {missing[0]!r}")
    found = []
    for row in results["results"]:
        scores = {name: float("nan") if score is None else score for name, score in row["scores"].items()}
        measured = Measured(source, row["method"], scores, row["queries"], row["median_suspect_cpu_seconds"])
        found.append(Compared(measured, row["budget"], row["output_form"]))
    return found


def read_scores(folder: Path, source: SourceZoo) -> list[Compared]:
    """`from_models` of FOLDER/TASK-SOURCE.json; nothing where there is none."""
    path = folder / f"{source.task}-{source.name}.json"
    return from_models(source, json.loads(path.read_text())) if path.is_file() else []


def markdown(results: Mapping[str, Any]) -> str:
    """The tables: by task, statistic and budget; by attack at 200 queries."""
    rows: Sequence[Mapping[str, Any]] = results["records"]
    titles = results["titles"]
    lines = [
        "# sac_fast beside published fingerprints, on the same models",
        "",
        f"Made by `python benchmarks/{results['command']}`; figures of [peers.json](peers.json), commit "
        f"{(results['commit'] or 'unknown')[:10]}. Mean AUC over the paper's attacks (each attack's working thefts "
        "against all honest models), then over sources; in brackets the number of sources. A method that cannot "
        "compare a model has ½ there. Peers are written anew from their papers and scaled down as their modules say; "
        "statistics of sac_fast need 19 siblings, peers do not.",
    ]
    tasks = sorted({row["task"] for row in rows})
    for task in tasks:
        lines += ["", f"## {task}", "", *_by_budget([row for row in rows if row["task"] == task], titles)]
    lines += ["", "## By attack, at 200 queries", ""]
    for task in tasks:
        lines += [
            f"{task}:",
            "",
            *_by_attack([r for r in rows if r["task"] == task and r["budget"] == 200], titles),
            "",
        ]
    lines += ["## As published, on other models", "", "| method | what | AUC | where |", "| --- | --- | ---: | --- |"]
    lines += ["| " + " | ".join(row) + " |" for row in results["published"]]
    return "\n".join(lines) + "\n"


def _by_budget(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    names = [name for name in titles if any(row["statistic"] == name for row in rows)]
    budgets = sorted({row["budget"] for row in rows})
    lines = [
        "| statistic | asks for | " + " | ".join(f"{budget} queries" for budget in budgets) + " |",
        "| --- | --- |" + " ---: |" * len(budgets),
    ]
    for name in names:
        of = [row for row in rows if row["statistic"] == name]
        cells = [_cell([r["mean_auc"] for r in of if r["budget"] == budget]) for budget in budgets]
        lines.append(f"| {titles[name]} | {of[0]['output_form']} | " + " | ".join(cells) + " |")
    return lines


def _by_attack(rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> list[str]:
    names = [name for name in titles if any(row["statistic"] == name for row in rows)]
    attacks = sorted({attack for row in rows for attack in row["auc_by_attack"]})
    lines = ["| attack | " + " | ".join(titles[name] for name in names) + " |", "| --- |" + " ---: |" * len(names)]
    for attack in attacks:
        cells = [
            _cell([row["auc_by_attack"].get(attack) for row in rows if row["statistic"] == name]) for name in names
        ]
        lines.append(f"| {attack} | " + " | ".join(cells) + " |")
    return lines


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f} ({len(known)})" if known else "–"
