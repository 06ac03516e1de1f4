"""Train a test bed: the source, then the probe sets, then all other models, into a labelled zoo."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..fingerprint import fingerprint
from ..io.files import StrPath
from ..labelled_zoo.engine import OutputFolderError, lock_folder, open_folder, run_jobs, train_missing
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..labelled_zoo.trainer import Failure
from ..labelled_zoo.training_pool import check_seed, check_workers, one_thread
from ..models import load_model
from .plan import ARCHITECTURES, FULL, Planned, Size, plan
from .probes import REFERENCES, candidates, make_probes, references
from .task import Task
from .trainer import TestbedTrainer, attacks_on


def run_testbed(
    out: StrPath,
    task: Task,
    *,
    size: Size = FULL,
    seed: int = 0,
    workers: int | None = None,
    device: str | None = None,
    architectures: Mapping[str, Mapping[str, Any]] = ARCHITECTURES,
    progress: bool = True,
) -> LabelledZoo:
    """Train source, independents and stolen models, and fingerprint each on every probe set.

    Models are trained in worker processes (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``), one thread each and every model under a seed of its own, so that two runs on one
    machine give the same weights, bit for bit, whatever the number of workers (on a GPU up to its rounding). A model
    is listed in zoo.json as soon as its weights and fingerprints are written. A run that was interrupted or killed
    resumes when it is called again with the same arguments; a larger size adds models.

    Args:
        out: folder; missing, empty, or with this very test bed, unfinished or not.
        task: see `sac_fast.testbed.patches.make_patches`.
        size: how many models, how long they are trained, how many probes.
        seed: 0 … 2⁴⁸ − 1; of all models.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        device: torch device to train on; None: a GPU where there is one, else the CPU.
        architectures: names in `sac_fast.testbed.architectures` and their arguments; the first is the source's.
        progress: bars on stderr.

    Returns:
        The zoo, all planned members in it.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError: the folder holds something else, or another test bed, or another run is at work in it.
        ModelError: a training failed, or a process died.
    """
    check_seed(seed)
    planned = plan(size, seed, names=tuple(architectures), attacks=attacks_on(task))
    return train_planned(
        out, task, planned, size=size, settings={"seed": seed}, workers=workers, device=device,
        architectures=architectures, progress=progress,
    )  # fmt: skip


def train_planned(
    out: StrPath,
    task: Task,
    planned: Sequence[Planned],
    *,
    size: Size,
    settings: Mapping[str, Any],
    workers: int | None,
    device: str | None,
    architectures: Mapping[str, Mapping[str, Any]],
    progress: bool,
    backbones: Path | None = None,
    finish: Callable[[LabelledZoo], LabelledZoo] = lambda zoo: zoo,
) -> LabelledZoo:
    """Train the planned models, the source first, as `run_testbed` says.

    Args:
        out, task, size, workers, device, architectures, progress: see `run_testbed`.
        planned: the source, then the others.
        settings: what two runs into one folder must agree on, beside the size.
        backbones: folder of the public models.
        finish: called at the end with the zoo, its folder still locked; returns the zoo as it then is.

    Raises:
        ValueError, OutputFolderError, ModelError: see `run_testbed`.
    """
    check_workers(workers)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    out = Path(out)
    source, *others = planned
    # The number of models may grow.
    settings = {
        **settings,
        "images": size.images,
        "tuning": size.tuning,
        "probes": size.probes,
        "config": {**asdict(size.config), "epochs": None},
        "architectures": {name: dict(arguments) for name, arguments in architectures.items()},
    }
    about = {**task.describe(), "testbed": settings}
    # The pool of probe images stays here: workers read the probe files.
    sent = dataclasses.replace(task, pool=task.pool.take(np.zeros(1, np.int64)), other_half=None)

    def trainer(zoo: LabelledZoo) -> TestbedTrainer:
        return TestbedTrainer(zoo, sent, size, architectures, device, backbones)

    _resume(out, about)  # refuses what is not this test bed before anything is made in it
    with lock_folder(out):
        zoo = _resume(out, about) or _train_source(out, source, about, task, trainer, progress)
        if not zoo.probes:
            zoo = _with_probes(zoo, task, size)
        outcome = train_missing(zoo, others, trainer, workers=workers, progress=progress)
        if not outcome.failed:
            return finish(outcome.zoo)
    reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.failed.items())
    raise ModelError(f"{len(outcome.failed)} of {len(others) + 1} models failed, the others are in {out}: {reasons}")


def _train_source(
    out: Path,
    source: Planned,
    about: Mapping[str, Any],
    task: Task,
    trainer: Callable[[LabelledZoo], TestbedTrainer],
    progress: bool,
) -> LabelledZoo:
    # A labelled zoo needs its source; this one serves to name the files until there is one.
    unknown = ZooMember("source", "source", "source", "none:none")
    zoo = LabelledZoo(out, about, task.preprocessing.to_dict(), (unknown,))
    zoo.make_folders()
    run = run_jobs([source], trainer(zoo), workers=1, description="training the source", progress=progress)
    ((_, made),) = list(run)
    if isinstance(made, Failure):
        raise ModelError(f"source failed: {made.reason}")
    zoo = dataclasses.replace(zoo, members=(made,))
    zoo.save()
    return zoo


def _with_probes(zoo: LabelledZoo, task: Task, size: Size) -> LabelledZoo:
    """Run the source on the pool, write the probe sets, and list them."""
    outputs = None
    if task.references is not None:
        references(task.references).save(zoo.probes_file(REFERENCES))
    elif "misclassified" in size.probe_sets:
        source = zoo.source
        model = load_model(source.architecture, weights=zoo.weights_file(source), kwargs=source.architecture_args)
        with one_thread():
            outputs = fingerprint(
                model, candidates(task, size.probes), preprocessing=task.preprocessing, batch_size=256, name=source.name
            )
    made = make_probes(task, size.probes, outputs, size.probe_sets, jpeg_count=size.jpeg_probes)
    zoo = dataclasses.replace(zoo, probes=tuple(made))
    for name, probes in made.items():
        probes.save(zoo.probes_file(name))
    zoo.save()
    return zoo


def _resume(out: Path, about: Mapping[str, Any]) -> LabelledZoo | None:
    """The test bed that is there already; None where there is none yet."""
    zoo = open_folder(out)
    if zoo is None:
        return None
    wanted = json.loads(json.dumps(about))
    if zoo.task != wanted:
        differs = [key for key in wanted if zoo.task.get(key) != wanted[key]] or sorted(set(zoo.task) - set(wanted))
        raise OutputFolderError(
            f"out must hold this very test bed to be resumed, got {out}, another one: it differs in "
            f"{', '.join(differs)}"
        )
    # Weights that somebody removed are trained again; the source's are what all others depend on.
    if not zoo.weights_file("source").exists():
        raise OutputFolderError(f"out must hold the source's weights, got none at {zoo.weights_file('source')}")
    return zoo
