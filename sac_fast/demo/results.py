"""What the demo reports: a verdict on every suspect by each ground, and the commands that reproduce a row."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..fingerprint import Fingerprint
from ..io.choices import Comparison, Metric
from ..labelled_zoo.folder import ZooMember
from ..models.output_form import to_form
from ..ops import correlation_distance
from ..probes import JPEG_SEVERITY, ProbeSet
from ..verdict import NullPool
from ..verify.siblings import sibling_test
from ..verify.weights import weights_test
from .data import Task
from .folder import PROBES, fingerprint_file, model_file, weights_file
from .plan import BACKBONE, DECIMALS, PREPROCESSING, Member, Size, architecture


def judge(
    out: Path,
    members: Sequence[Member],
    trained: Mapping[str, ZooMember],
    prints: Mapping[str, Fingerprint],
    size: Size,
    metric: Metric,
    comparison: Comparison,
) -> dict[str, Any]:
    """Judge every suspect by the siblings, by its weights where they are there, and by a null pool.

    Args:
        out: the demo's folder.
        members: of the demo.
        trained: accuracies by name.
        prints: fingerprints by name.
        size: error rates.
        metric, comparison: of the null pool, as `correlation_distance` takes them.

    Returns:
        The part of results.json that holds the table and its summary.
    """
    source = next(member for member in members if member.method == "source")
    siblings = [member for member in members if member.method == "sibling"]
    suspects = [member for member in members if member.is_suspect]
    ours = prints[source.name], [prints[member.name] for member in siblings]
    tested = {member.name: prints[member.name] for member in suspects}
    # Each is a question of its own, as `verify` would ask it; `p_adjusted` is for all of them at once.
    alone = {name: sibling_test(*ours, {name: suspect}, alpha=size.alpha) for name, suspect in tested.items()}
    together = sibling_test(*ours, tested, alpha=size.alpha)
    distances = {member.name: _distance(source, member, prints, metric, comparison) for member in suspects}
    nulls = {member.name: distances[member.name] for member in suspects if member.truth == "independent"}
    rows = []
    for member in suspects:
        name = member.name
        others = [distance for other, distance in nulls.items() if other != name]
        null = NullPool(others).judge(distances[name], size.null_alpha)
        accuracy = trained[member.behind or name].accuracy
        rows.append(
            {
                "name": name,
                "origin": member.origin,
                "truth": member.truth,
                "kind": member.kind,
                "takes": member.takes,
                "architecture": member.architecture,
                "accuracy": accuracy,
                "output_form": member.form,
                "p_exact": alone[name].p_exact[name],
                "p_adjusted": together.adjusted[name],
                "p_student": alone[name].p_student[name],
                "verdict": alone[name].verdict[name],
                "reason": alone[name].reason[name],
                "correct": is_correct(member.truth, alone[name].verdict[name]),
                "weights": _compare_weights(out, source, member),
                "distance": distances[name],
                "null_p_value": null.p_value,
                "null_verdict": null.verdict,
            }
        )
    return {
        "source": _describe(source, trained),
        "siblings": [_describe(member, trained) for member in siblings],
        "alpha": size.alpha,
        "exact": together.exact,
        "smallest_p": together.smallest_p,
        "hypothesis": together.hypothesis,
        "conditions": list(together.conditions),
        "warnings": list(together.warnings),
        "models": rows,
        "summary": {
            **{key: _count(rows, key) for key in ("verdict", "null_verdict")},
            "by_labels": _count([row for row in rows if row["takes"] == "labels"], "verdict"),
        },
        "null_pool": {
            "count": len(nulls), "alpha": size.null_alpha, "metric": metric, "comparison": comparison,
            "smallest_p": 1 / (len(nulls) + 1),
        },
    }  # fmt: skip


def is_correct(truth: str, verdict: str) -> bool:
    """Whether a verdict says what is true; *inconclusive* never does."""
    return verdict.startswith("derived") if truth == "derived" else verdict == "not distinguished"


def _describe(member: Member, trained: Mapping[str, ZooMember]) -> dict[str, Any]:
    return {
        "name": member.name,
        "origin": member.origin,
        "architecture": member.architecture,
        "accuracy": trained[member.name].accuracy,
    }


def _compare_weights(out: Path, source: Member, member: Member) -> dict[str, Any] | None:
    """The weights test; None where there is no file."""
    if member.behind is not None:
        return None
    ours, theirs = out / weights_file(source), out / weights_file(member)
    found = weights_test(ours, theirs)
    return {"verdict": found.verdict, "log10_p": found.log10_p}


def _distance(
    source: Member, member: Member, prints: Mapping[str, Fingerprint], metric: Metric, comparison: Comparison
) -> float:
    """The published distance, the source's outputs brought to what an API lets through of the suspect's."""
    ours, theirs = prints[source.name].outputs, prints[member.name].outputs
    if member.form == "labels":
        ours = to_form(ours, "labels", current="logits")
    if member.form == "probabilities":
        ours = to_form(ours, "probabilities", current="logits", decimals=DECIMALS)
        ours, theirs = (
            to_form(outputs, "log-probabilities", current="probabilities", decimals=DECIMALS)
            for outputs in (ours, theirs)
        )
    return float(correlation_distance(ours, theirs.to(ours.dtype), metric=metric, comparison=comparison))


def _count(rows: Sequence[Mapping[str, Any]], key: str) -> dict[str, int]:
    """Thefts and honest models, and how many of each are called derived."""
    count = {"thefts": 0, "found": 0, "honest": 0, "accused": 0}
    for row in rows:
        is_theft = row["truth"] == "derived"
        count["thefts" if is_theft else "honest"] += 1
        count["found" if is_theft else "accused"] += row[key].startswith("derived")
    return count


def manifest_rows(members: Sequence[Member], classes: int, public_classes: int) -> list[dict[str, str]]:
    """The models as `sac-fast scan` must know them; the independents are tagged as such."""
    rows = []
    for member in members:
        outputs = public_classes if member.side == "public" else classes
        is_file = member.behind is None
        rows.append(
            {
                "path": model_file(member),
                "name": member.name,
                "architecture": architecture(member.architecture, outputs).spec if is_file else "",
                "kwargs": json.dumps({"classes": outputs}) if is_file else "",
                "preprocessing": json.dumps(PREPROCESSING.to_dict()),
                "tags": {"source": "source", "sibling": "sibling", "independent": "independent"}.get(
                    member.method, "backbone" if member.name == BACKBONE else "suspect"
                ),
            }
        )
    return rows


def reproduce(members: Sequence[Member], out: Path, classes: int, alpha: float) -> list[str]:
    """The two commands that reproduce the row of the last distilled model."""
    member = [member for member in members if member.method == "extract-soft-t4"][-1]
    source = next(member for member in members if member.method == "source")
    mine = f"{member.name}.safetensors"

    def path(name: str) -> str:
        return shlex.quote(str(out / name))

    def numbers(values: Sequence[float]) -> str:
        return ",".join(f"{value:g}" for value in values)

    return [
        f"sac-fast fingerprint {architecture(member.architecture, classes).spec} "
        f"--model-args '{{\"classes\": {classes}}}' --weights {path(weights_file(member))} --probes {path(PROBES)} "
        f"--mean {numbers(PREPROCESSING.mean)} --std {numbers(PREPROCESSING.std)} --output-form logits --out {mine}",
        f"sac-fast verify {path(fingerprint_file(source))} {mine} --siblings {path('fingerprints/siblings')} "
        f"--alpha {alpha:g}",
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
        "architectures": sorted({"plain", *size.students, *(kind for kind, _, _ in size.independents)}),
        "mean": list(PREPROCESSING.mean),
        "std": list(PREPROCESSING.std),
    }
