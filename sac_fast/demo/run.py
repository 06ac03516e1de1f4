"""The demo: train a source and its siblings, steal it, fingerprint all models, judge."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from ..errors import ModelError
from ..fingerprint import Fingerprint
from ..io.choices import Comparison, Metric
from ..io.version import package_version
from ..labelled_zoo.engine import lock_folder, run_jobs
from ..labelled_zoo.folder import ZooMember
from ..labelled_zoo.trainer import Failure
from ..labelled_zoo.training_pool import check_seed, check_workers, one_thread
from ..ops import correlation_distance
from ..probes import ProbeSet
from .data import PUBLIC, Task, make_task
from .folder import (
    KIND,
    PROBES,
    DemoZoo,
    earlier_files,
    fingerprint_file,
    planned_files,
    prepare,
    write_manifest,
    write_results,
)
from .plan import FULL, PREPROCESSING, QUICK, Member, Size, architecture, plan
from .results import judge, manifest_rows, reproduce, settings
from .trainer import DemoTrainer

SEVERITY = 1


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    quick: bool = False,
    metric: Metric = "pearson",
    comparison: Comparison = "l1",
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a source and its siblings, steal the source in several ways, train honest models, and judge all suspects.

    Models are trained in worker processes (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``), one thread each and every model under a seed of its own, so that two
    runs on one machine give the same table, whatever the number of workers.

    Args:
        out: the folder to write to: probes.safetensors, zoo.csv, fingerprints/, models/, results.json. It may be
            missing, empty, or hold an earlier demo, whose files are then replaced.
        seed: 0 … 2⁴⁸ − 1; of the patches and of all models.
        quick: fewer models and probes; 9 siblings instead of 19, so that verdicts are approximate.
        metric, comparison: of the null pool, as `correlation_distance` takes them.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        progress: bars on stderr.

    Returns:
        What results.json holds; see the README.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError: ``out`` holds something that is not an earlier demo, or another run is at work in it.
        ProbeError: the photographs are not installed (``pip install 'sac-fast[demo]'``).
        ModelError: a training failed.
    """
    return _run(Path(out), QUICK if quick else FULL, seed, metric, comparison, workers, progress)


def _run(
    out: Path, size: Size, seed: int, metric: Metric, comparison: Comparison, workers: int | None, progress: bool
) -> dict[str, Any]:
    check_seed(seed)
    check_workers(workers)
    # A misspelt metric is refused before the training.
    tiny = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 2.0], [2.0, 5.0, 1.0], [0.0, 1.0, 7.0]])
    correlation_distance(tiny, tiny.flip(1), metric=metric, comparison=comparison)
    earlier_files(out)  # refuses what is no demo before anything is made in it
    start = time.perf_counter()
    task = make_task(seed, patches=size.patches, test_patches=size.test_patches)
    public = make_task(seed, patches=size.patches, test_patches=size.test_patches, photographs=PUBLIC)
    members = plan(size, seed)
    with lock_folder(out):
        prepare(out, members)
        name = f"demo test patches, seed {seed}"
        test = ProbeSet.from_arrays(task.test.pixels, task.test.labels, layout="NHWC", name=name)
        probes = test.jpeg(severity=SEVERITY)
        probes.save(out / PROBES)
        trained = _train_all(members, (task, public), size, out, workers, progress)
        write_manifest(out, manifest_rows(members, len(task.classes), len(public.classes)))
        training_seconds = time.perf_counter() - start
        prints = {member.name: Fingerprint.load(out / fingerprint_file(member)) for member in members}
        with one_thread():
            judged = judge(out, members, trained, prints, size, metric, comparison)
        results = {
            "kind": KIND,
            "finished": True,
            "seed": seed,
            **judged,
            "reproduce": reproduce(members, out, len(task.classes), size.alpha),
            "settings": settings(size, task, probes, SEVERITY),
            "versions": {
                "sac_fast": package_version(),
                "torch": torch.__version__,
                "numpy": np.__version__,
                "pillow": PIL.__version__,
                "python": platform.python_version(),
            },
            "seconds": {"training": round(training_seconds, 2), "total": round(time.perf_counter() - start, 2)},
            "files": planned_files(members),
        }
        write_results(out, results)
        return results


def _train_all(
    members: Sequence[Member], tasks: tuple[Task, Task], size: Size, out: Path, workers: int | None, progress: bool
) -> dict[str, ZooMember]:
    network = architecture("plain", len(tasks[0].classes))
    source = ZooMember("source", "source", "source", network.spec, network.arguments)
    files = {member.name: fingerprint_file(member) for member in members}
    zoo = DemoZoo(out, {}, PREPROCESSING.to_dict(), (source,), ("probes",), files)
    trained = {}
    # Whatever needs no other model keeps the cores busy meanwhile.
    run = run_jobs(
        members, DemoTrainer(zoo, tasks, size), workers=workers, description="training", progress=progress,
        after=lambda member: member.after,
    )  # fmt: skip
    with closing(run) as pairs:
        for member, made in pairs:
            if isinstance(made, Failure):
                raise ModelError(f"{member.name} failed: {made.reason}")
            trained[member.name] = made
    return trained
