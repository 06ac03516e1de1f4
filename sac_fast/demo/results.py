"""What the demo reports: the table, its summary, and the commands that reproduce a row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ..fingerprint import Fingerprint
from ..labelled_zoo.folder import ZooMember
from ..probes import JPEG_SEVERITY, ProbeSet
from ..verdict import NullPool, auc
from .data import Task
from .folder import PROBES, fingerprint_file, weights_file
from .plan import PREPROCESSING, TEMPERATURE, THEFTS, Member, Size, architecture_of

METRICS = ("cosine", "pearson", "spearman", "rbf")
WHY = {
    "pearson": "logits are defined only up to a constant a row, and a thief who trains on probabilities "
    "never learns the source's constant; pearson does not depend on it, cosine does",
    "spearman": "ranks of the logits do not depend on a row's additive constant or scale",
    "cosine": "the paper's form, on raw logits; it depends on a row's additive constant, which a thief who "
    "trains on probabilities never learns, so distilled models may seem independent",
    "rbf": "a function of the cosine on raw logits, with the same dependence on a row's additive constant",
}


def judge(
    members: Sequence[Member],
    trained: dict[str, ZooMember],
    prints: dict[str, Fingerprint],
    rate: float,
    metric: str,
    comparison: str,
) -> dict[str, Any]:
    """Calibrate on the null members, judge all others, and measure how well the distances rank.

    Args:
        members: of the demo, the source first.
        trained: accuracies by name.
        prints: fingerprints by name.
        rate: false-accusation rate.
        metric, comparison: as `correlation_distance` takes them.

    Returns:
        The part of results.json that holds the table and its summary.
    """
    source = members[0]
    others = members[1:]

    def distances(by: str) -> dict[str, float]:
        return {
            member.name: prints[source.name].distance(prints[member.name], metric=by, comparison=comparison)
            for member in others
        }

    def area(by: dict[str, float], thefts: Collection[str] = THEFTS) -> float:
        return auc(
            [by[member.name] for member in others if member.method in thefts],
            [by[member.name] for member in others if member.role == "held-out"],
        )

    distance = distances(metric)
    pool = NullPool(
        [distance[member.name] for member in others if member.role == "null"],
        kind="models trained from new weights on the attacker's and on the defender's patches",
    )
    rows = [_row(member, trained[member.name], distance[member.name], pool, rate) for member in others]
    any_verdict = pool.judge(0.0, rate)
    return {
        "source": {
            "name": source.name,
            "origin": source.origin,
            "architecture": source.architecture,
            "accuracy": trained[source.name].accuracy,
        },
        "models": rows,
        "auc": area(distance),
        "auc_by_theft": {theft: area(distance, [theft]) for theft in THEFTS},
        "auc_by_metric": {by: area(distances(by)) for by in METRICS},
        "alpha": rate,
        "threshold": any_verdict.threshold,
        "upper_bound": any_verdict.upper_bound,
        "null_count": len(pool),
        "null_kind": pool.kind,
        "attainable_p_value": any_verdict.attainable_p_value,
    }


def _row(member: Member, trained: ZooMember, distance: float, pool: NullPool, rate: float) -> dict[str, Any]:
    """One line of the table; the null members calibrate, so they have no verdict."""
    is_derived = member.role == "suspect"
    verdict = None if member.role == "null" else pool.judge(distance, rate)
    return {
        "name": member.name,
        "origin": member.origin,
        "truth": "derived" if is_derived else "independent",
        "role": member.role,
        "architecture": member.architecture,
        "accuracy": trained.accuracy,
        "distance": distance,
        "p_value": None if verdict is None else verdict.p_value,
        "verdict": None if verdict is None else verdict.verdict,
        "correct": None if verdict is None else verdict.verdict == ("derived" if is_derived else "not distinguished"),
        "reason": None if verdict is None else verdict.reason,
    }


def manifest_rows(members: Sequence[Member], classes: int) -> list[dict[str, str]]:
    """The models as `sac-fast scan` must know them; the independents are tagged as such."""
    return [
        {
            "path": weights_file(member),
            "name": member.name,
            "architecture": architecture_of(member, classes).spec,
            "kwargs": json.dumps({"classes": classes}),
            "preprocessing": json.dumps(PREPROCESSING.to_dict()),
            "tags": "independent" if member.method == "independent" else member.role,
        }
        for member in members
    ]


def reproduce(
    members: Sequence[Member], out: Path, classes: int, metric: str, comparison: str, rate: float
) -> list[str]:
    """The two commands that reproduce the row of the last distilled model."""
    member = [member for member in members if member.method == "extract-probabilities"][-1]
    mine = f"{member.name}.safetensors"

    def path(name: str) -> str:
        return shlex.quote(str(out / name))

    def numbers(values: Sequence[float]) -> str:
        return ",".join(f"{value:g}" for value in values)

    return [
        f"sac-fast fingerprint {architecture_of(member, classes).spec} --model-args '{{\"classes\": {classes}}}' "
        f"--weights {path(weights_file(member))} --probes {path(PROBES)} "
        f"--mean {numbers(PREPROCESSING.mean)} --std {numbers(PREPROCESSING.std)} --out {mine}",
        f"sac-fast verify {path(fingerprint_file(members[0]))} {mine} --null {path('fingerprints/null')} "
        f"--metric {metric} " + (f"--comparison {comparison} " if comparison != "l1" else "") + f"--alpha {rate:g}",
    ]


def settings(size: Size, task: Task, probes: ProbeSet, severity: int) -> dict[str, Any]:
    """What the demo was, for results.json."""
    return {
        "classes": list(task.classes),
        "patches_a_side": len(task.defender.labels),
        "probes": len(probes),
        "probe_kind": "SAC-JC",
        "jpeg_severity": severity,
        "jpeg_quality": JPEG_SEVERITY[severity],
        "epochs": size.epochs,
        "temperature": TEMPERATURE,
        "architectures": list(size.architectures),
        "mean": list(PREPROCESSING.mean),
        "std": list(PREPROCESSING.std),
    }
