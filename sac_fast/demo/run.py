"""The demo: train a source, steal it, fingerprint everything, judge."""

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

from ..fingerprint import Fingerprint, fingerprint
from ..io.progress import track
from ..io.version import package_version
from ..labelled_zoo.training_pool import check_seed, check_workers, in_processes, one_thread
from ..models import load_model
from ..ops import correlation_distance
from ..probes import ProbeSet
from .data import Task, make_task
from .folder import KIND, PROBES, fingerprint_file, planned_files, prepare, weights_file, write_manifest, write_results
from .results import WHY, judge, manifest_rows, model_spec, reproduce, settings
from .zoo import FULL, PREPROCESSING, QUICK, Member, Size, Trained, make_model, plan, start_worker

SEVERITY = 1


def run_demo(
    out: Path,
    *,
    seed: int = 0,
    quick: bool = False,
    metric: str = "pearson",
    comparison: str = "l1",
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train a source, steal it in four ways, train independents, fingerprint all and judge.

    Models are trained in worker processes (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``), one thread each and every model under a seed of its own, so that two
    runs on one machine give the same table, whatever the number of workers.

    Args:
        out: the folder to write to: probes.safetensors, zoo.csv, fingerprints/, models/, results.json. It may be
            missing, empty, or hold an earlier demo, whose files are then replaced.
        seed: 0 … 2⁴⁸ − 1; of the patches and of all models.
        quick: fewer models and a false-accusation rate of 20 % instead of 10 %.
        metric, comparison: as `correlation_distance` takes them.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        progress: bars on stderr.

    Returns:
        What results.json holds; see the README.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError: ``out`` holds something that is not an earlier demo.
        ProbeError: the photographs are not installed (``pip install 'sac-fast[demo]'``).
        ModelError: a training failed.
    """
    return _run(Path(out), QUICK if quick else FULL, seed, metric, comparison, workers, progress)


def _run(
    out: Path,
    size: Size,
    seed: int,
    metric: str,
    comparison: str,
    workers: int | None,
    progress: bool,
) -> dict[str, Any]:
    check_seed(seed)
    check_workers(workers)
    # A misspelt metric shall not cost the training first.
    tiny = torch.tensor([[1.0, 2.0, 4.0], [3.0, 1.0, 2.0], [2.0, 5.0, 1.0], [0.0, 1.0, 7.0]])
    correlation_distance(tiny, tiny.flip(1), metric=metric, comparison=comparison)
    start = time.perf_counter()
    task = make_task(seed, patches=size.patches, test_patches=size.test_patches)
    members = plan(size, seed)
    prepare(out, members)
    probes = ProbeSet.from_arrays(
        task.test.images, task.test.labels, layout="NHWC", name=f"demo test patches, seed {seed}"
    ).jpeg(severity=SEVERITY)
    probes.save(out / PROBES)
    trained = _train_all(members, task, size, out / "models", workers, progress)
    write_manifest(out, manifest_rows(members, len(task.classes)))
    training_seconds = time.perf_counter() - start
    with one_thread():
        prints = _fingerprint_all(members, probes, len(task.classes), out, progress)
        judged = judge(members, trained, prints, size.rate, metric, comparison)
    results = {
        "kind": KIND,
        "finished": True,
        "seed": seed,
        "metric": metric,
        "comparison": comparison,
        "why": WHY.get(metric, ""),
        **judged,
        "reproduce": reproduce(members, out, len(task.classes), metric, comparison, size.rate),
        "settings": settings(size, task, probes, SEVERITY),
        "versions": {
            "sac_fast": package_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "pillow": PIL.__version__,
            "python": platform.python_version(),
        },
        "seconds": {
            "training": round(training_seconds, 2),
            "total": round(time.perf_counter() - start, 2),
        },
        "files": planned_files(members),
    }
    write_results(out, results)
    return results


def _train_all(
    members: Sequence[Member], task: Task, size: Size, folder: Path, workers: int | None, progress: bool
) -> dict[str, Trained]:
    # The stolen models wait for the source; the independents meanwhile keep the cores busy.
    pairs = in_processes(
        members, make_model, start_worker, (task, size, folder),
        workers=workers, after=lambda member: members[0].name if member.role == "suspect" else None,
    )  # fmt: skip
    # Closed also when the loop is left early, so that no process is left behind.
    with closing(pairs):
        done = track(pairs, "training", total=len(members), enabled=progress)
        return {trained.name: trained for _, trained in done}


def _fingerprint_all(
    members: Sequence[Member], probes: ProbeSet, classes: int, out: Path, progress: bool
) -> dict[str, Fingerprint]:
    prints = {}
    for member in track(members, "fingerprinting", enabled=progress):
        # From the files, as the command line would: what is judged is what was written.
        model = load_model(model_spec(member), weights=out / weights_file(member), kwargs={"classes": classes})
        prints[member.name] = fingerprint(model, probes, preprocessing=PREPROCESSING, name=member.name)
        prints[member.name].save(out / fingerprint_file(member))
    return prints
