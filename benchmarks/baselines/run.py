"""Score every member of a labelled zoo with every method; what is scored once is kept."""

from __future__ import annotations

import hashlib
import json
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sac_fast.io.hashing import canonical_json, content_hash
from sac_fast.io.progress import track
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.models import load_model, weights_hash

from . import METHODS, Fingerprint, Method
from .defender import OwnModels, PixelModel, Task, logits_of
from .summary import summarise


def load_member(zoo: LabelledZoo, member: ZooMember) -> PixelModel:
    """A member of the zoo, from pixels to logits."""
    network = load_model(member.architecture, weights=zoo.weights_file(member), kwargs=member.architecture_args)
    # Convolutions on a CPU are faster with the channels last; the values' layout is all that changes.
    network = network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PixelModel(network, zoo.preprocessing).eval()


class Clock:
    """Wall and processor time since it was made; with one thread the latter is the former on a quiet machine."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds of both kinds."""
        return {"seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


class Kept:
    """Scores of earlier runs: a file with one JSON object a line, appended to as they come.

    A line that a stopped run left unfinished is ignored. Every line carries a key, of all that decides the score:
    source, images, own models, method, settings, budget and seed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[str, dict[str, Any]] = {}
        self.scored: dict[tuple[str, str], dict[str, Any]] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    entry = json.loads(line)
                    key = entry["key"]
                    if "weights" in entry:
                        self.scored[key, entry["weights"]] = entry
                    else:
                        self.made[key] = entry
                except (ValueError, KeyError, TypeError):
                    continue

    @contextmanager
    def appending(self) -> Iterator[None]:
        """Open the file for `add`."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        broken = self.path.exists() and not self.path.read_bytes().endswith(b"\n") and self.path.stat().st_size
        with open(self.path, "a", encoding="utf-8") as self._handle:
            if broken:
                self._handle.write("\n")
            yield

    def add(self, entry: dict[str, Any]) -> None:
        """Keep a score, or what making a fingerprint took."""
        if "weights" in entry:
            self.scored[entry["key"], entry["weights"]] = entry
        else:
            self.made[entry["key"]] = entry
        self._handle.write(canonical_json(entry) + "\n")
        self._handle.flush()


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical_json(values).encode()).hexdigest()


def task_hash(task: Task) -> str:
    """Of all the defender's images and labels."""
    arrays = {"images": task.images, "labels": task.labels, "errors": task.errors, "error_labels": task.error_labels}
    return content_hash({name: tensor.numpy() for name, tensor in arrays.items() if tensor is not None})


def run_methods(
    zoo: LabelledZoo,
    task: Task,
    own: OwnModels,
    wanted: Iterable[tuple[str, int]],
    kept: Kept,
    *,
    seed: int = 0,
    only_kept: bool = False,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Make every fingerprint and score every member.

    Args:
        zoo: with all its weights.
        task: the defender's images.
        own: the defender's models; may be empty where no method needs them.
        wanted: (name in `METHODS`, budget).
        kept: earlier scores; new ones are added.
        seed: of every method.
        only_kept: score nothing, and leave out what is not kept for all members.
        progress: show a bar on stderr for each method.

    Returns:
        One JSON-able dictionary for each method and budget.
    """
    source = load_member(zoo, zoo.source)
    classes = logits_of(source, task.images[:1]).shape[1]
    members = [member for member in zoo.members if member.role != "source"]
    suspects = [load_member(zoo, member) for member in track(members, "loading the zoo", enabled=progress)]
    fits = [logits_of(suspect, task.images[:1]).shape[1] == classes for suspect in suspects]
    hashes = [
        _hash({"weights": weights_hash(s), "architecture": m.architecture, "arguments": dict(m.architecture_args)})
        for s, m in zip(suspects, members, strict=True)
    ]
    fixed = {
        "source": weights_hash(source),
        "task": task_hash(task),
        "seed": seed,
    }
    own_hashes = [weights_hash(model) for model in (*own.stolen, *own.independent)]
    results = []
    with kept.appending():
        for name, budget in wanted:
            method = METHODS[name]
            decides = {**fixed, "method": name, "budget": budget, "settings": dict(method.settings)}
            key = _hash({**decides, "own": own_hashes if method.own_models else []})
            asked = [i for i, fit in enumerate(fits) if fit or method.any_classes]
            missing = [i for i in asked if (key, hashes[i]) not in kept.scored]
            if only_kept and (missing or key not in kept.made):
                continue
            if missing or key not in kept.made:
                fingerprint = _make(method, source, task, own, budget, seed, key, kept)
                for i in track(missing, f"{name}, {budget} queries", enabled=progress):
                    clock = Clock()
                    score = fingerprint.score(suspects[i])
                    kept.add({"key": key, "weights": hashes[i], "score": score, **clock.read()})
            scores = {member.name: None for member in members} | {
                members[i].name: kept.scored[key, hashes[i]]["score"] for i in asked
            }
            results.append(_result(name, method, budget, own, kept, key, [hashes[i] for i in asked], scores, members))
    return results


def _make(
    method: Method, source: nn.Module, task: Task, own: OwnModels, budget: int, seed: int, key: str, kept: Kept
) -> Fingerprint:
    clock = Clock()
    fingerprint = method.prepare(source, task, own, budget, seed)
    taken = clock.read()
    itself = fingerprint.score(source)
    if not itself < 1e-6:
        raise AssertionError(f"{method.title} must give the source itself a score of 0, got {itself}")
    kept.add({"key": key, "queries": fingerprint.queries, "source_score": itself, **taken})
    return fingerprint


def _result(
    name: str,
    method: Method,
    budget: int,
    own: OwnModels,
    kept: Kept,
    key: str,
    hashes: Sequence[str],
    scores: Mapping[str, float | None],
    members: Sequence[ZooMember],
) -> dict[str, Any]:
    made = kept.made[key]
    return {
        "method": name,
        "title": method.title,
        "paper": method.paper,
        "settings": dict(method.settings),
        "output_form": method.output_form,
        "budget": budget,
        "queries": made["queries"],
        "prepare_seconds": made["seconds"],
        "prepare_cpu_seconds": made["cpu_seconds"],
        "own_models_cpu_seconds": own.seconds if method.own_models else 0.0,
        **{
            f"median_suspect_{kind}": statistics.median(kept.scored[key, digest][kind] for digest in hashes)
            for kind in ("seconds", "cpu_seconds")
        },
        "auc": summarise(scores, members),
        "scores": dict(scores),
    }
