"""The runner: source, probes, then all other models, into a labelled zoo that can be read while it grows."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ModelError, SacFastError, StoreLockedError
from ..fingerprint import fingerprint
from ..io.files import StrPath, is_leftover
from ..io.progress import track
from ..labelled_zoo.folder import INDEX, LabelledZoo, ZooMember
from ..labelled_zoo.training_pool import check_seed, check_workers, in_processes, one_thread
from ..models import load_model
from ..store.lock import NAME as LOCK
from ..store.lock import WriterLock
from .plan import ARCHITECTURES, FULL, Planned, Size, plan
from .probes import REFERENCES, candidates, make_probes, references
from .task import Task
from .work import Failure, Setting, make_member, start_worker, thefts


class TestbedFolderError(SacFastError, FileExistsError):
    """The output folder holds something that is not this test bed."""

    __test__ = False  # not a test, whatever its name begins with


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
    is listed in zoo.json as soon as its weights and fingerprints are written. A run that was stopped, by whatever,
    goes on where it was when it is called again with the same arguments; a larger size adds models.

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
        TestbedFolderError: the folder holds something else, or another test bed.
        ModelError: a training failed, or a process died.
    """
    check_seed(seed)
    check_workers(workers)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    out = Path(out)
    members = plan(size, seed, names=tuple(architectures), attacks=thefts(task))
    about = {**task.describe(), "testbed": _settings(size, seed, architectures)}
    _resume(out, about)  # refuses what is not this test bed before anything is made in it
    (out / "models").mkdir(parents=True, exist_ok=True)
    with _alone(out):
        return _go_on(out, task, about, members, size, architectures, device, workers, progress)


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Two runs in one folder would each list only the members that they know of."""
    try:
        lock = WriterLock(out)
    except StoreLockedError as error:
        raise TestbedFolderError(
            f"out must have one run at a time, got {out}, in which another one is at work (process {error.pid})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _go_on(
    out: Path,
    task: Task,
    about: Mapping[str, Any],
    members: Sequence[Planned],
    size: Size,
    architectures: Mapping[str, Mapping[str, Any]],
    device: str,
    workers: int | None,
    progress: bool,
) -> LabelledZoo:
    zoo = _resume(out, about)
    if zoo is None:
        # A zoo needs its source; this one serves to name the files until there is one.
        zoo = LabelledZoo(
            out, about, task.preprocessing.to_dict(), (ZooMember("source", "source", "source", "none:none"),)
        )
        made = _run([members[0]], zoo, task, size, architectures, device, 1, "training the source", progress)
        zoo = dataclasses.replace(zoo, members=tuple(_good(made, [])))
        zoo.save()
    if not zoo.probes:
        zoo = _with_probes(zoo, task, size)
    # A member that was made otherwise than it is planned now (other options, another seed) is made again.
    asked = {planned.name: (planned.origin, planned.seed, dict(planned.options)) for planned in members}
    there = {
        member.name: member
        for member in zoo.members
        if asked.get(member.name, _made(member)) == _made(member) or member.role == "source"
    }
    jobs: list[Planned | ZooMember] = [
        member
        for member in there.values()
        if not all(zoo.fingerprint_file(name, member).exists() for name in zoo.probes)
    ]
    jobs += [planned for planned in members if planned.name not in there]
    failed: list[str] = []
    done = _run(jobs, zoo, task, size, architectures, device, workers, "training", progress)
    for member in _good(done, failed):
        there[member.name] = member
        zoo = dataclasses.replace(zoo, members=_in_order(there, members))
        zoo.save()
    if failed:
        raise ModelError(
            f"{len(failed)} of {len(members)} models failed, the others are in {out}: " + "; ".join(failed)
        )
    return zoo


def _made(member: ZooMember) -> tuple[str, int, dict[str, Any]]:
    return member.origin, member.seed, dict(member.details.get("options", {}))


def _good(made: Iterable[ZooMember | Failure], failed: list[str]) -> Iterator[ZooMember]:
    """The members that were made; the source must be among them, other failures are noted and passed over."""
    for member in made:
        if isinstance(member, ZooMember):
            yield member
        elif member.name == "source":
            raise ModelError(f"source failed: {member.reason}")
        else:
            failed.append(f"{member.name}: {member.reason}")


def _run(
    jobs: Sequence[Planned | ZooMember],
    zoo: LabelledZoo,
    task: Task,
    size: Size,
    architectures: Mapping[str, Mapping[str, Any]],
    device: str,
    workers: int | None,
    description: str,
    progress: bool,
) -> Iterator[ZooMember | Failure]:
    # The pool of probe images stays here: workers read the probe files.
    sent = dataclasses.replace(task, pool=task.pool.take(np.zeros(1, np.int64)))
    setting = Setting(zoo, sent, size, architectures, device)
    # Closed also when the loop is left early, so that no process is left behind.
    with closing(in_processes(jobs, make_member, start_worker, (setting,), workers=workers)) as done:
        for _, member in track(done, description, total=len(jobs), enabled=progress):
            yield member


def _with_probes(zoo: LabelledZoo, task: Task, size: Size) -> LabelledZoo:
    """Ask the source about the pool, write the probe sets, and list them."""
    (zoo.folder / "probes").mkdir(exist_ok=True)
    answers = None
    if task.references is not None:
        references(task.references).save(zoo.probes_file(REFERENCES))
    else:
        source = zoo.source
        model = load_model(source.architecture, weights=zoo.weights_file(source), kwargs=source.architecture_args)
        with one_thread():
            answers = fingerprint(
                model, candidates(task, size.probes), preprocessing=task.preprocessing, batch_size=256, name=source.name
            )
    made = make_probes(task, size.probes, answers)
    zoo = dataclasses.replace(zoo, probes=tuple(made))
    for name, probes in made.items():
        probes.save(zoo.probes_file(name))
    zoo.save()
    return zoo


def _settings(size: Size, seed: int, architectures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What two runs into one folder must agree on; the number of models may grow."""
    return {
        "seed": seed,
        "images": size.images,
        "tuning": size.tuning,
        "probes": size.probes,
        "architectures": {name: dict(arguments) for name, arguments in architectures.items()},
    }


def _resume(out: Path, about: Mapping[str, Any]) -> LabelledZoo | None:
    """The test bed that is there already; None where there is none yet."""
    if not out.exists():
        return None
    if not out.is_dir():
        raise TestbedFolderError(f"out must be a folder, got the file {out}")
    if not (out / INDEX).exists():
        # What a run leaves that was stopped before its source was trained.
        ours = (out / "models", out / "models/source.safetensors", out / LOCK)
        strange = [
            path
            for path in out.rglob("*")
            if path not in ours and not (path.parent in (out, out / "models") and is_leftover(path))
        ]
        if strange:
            raise TestbedFolderError(
                f"out must be a new or empty folder, or one with an unfinished test bed, got {out} with "
                f"{strange[0].name!r}"
            )
        return None
    zoo = LabelledZoo.load(out)
    wanted = json.loads(json.dumps(about))
    if zoo.task != wanted:
        differs = [key for key in wanted if zoo.task.get(key) != wanted[key]] or sorted(set(zoo.task) - set(wanted))
        raise TestbedFolderError(
            f"out must hold this very test bed to be gone on with, got {out}, another one: it differs in "
            f"{', '.join(differs)}"
        )
    missing = [member.name for member in zoo.members if not zoo.weights_file(member).exists()]
    # Weights that somebody removed are trained again; the source's are what all others depend on.
    if zoo.source.name in missing:
        raise TestbedFolderError(f"out must hold the source's weights, got none at {zoo.weights_file(zoo.source)}")
    return dataclasses.replace(zoo, members=tuple(m for m in zoo.members if m.name not in missing))


def _in_order(there: Mapping[str, ZooMember], members: Sequence[Planned]) -> tuple[ZooMember, ...]:
    """The members as the plan lists them, then those of a larger plan."""
    planned = [there[member.name] for member in members if member.name in there]
    names = {member.name for member in planned}
    return (*planned, *(member for name, member in there.items() if name not in names))
