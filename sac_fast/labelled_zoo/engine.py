"""The engine: one run at a time in a folder, which trains what is missing there and keeps what is done."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, overload

import safetensors.torch
from safetensors import SafetensorError

from ..errors import FileFormatError, SacFastError, StoreLockedError
from ..io.files import is_leftover, open_regular
from ..io.progress import track
from ..models import weights_hash
from ..store.lock import NAME as LOCK
from ..store.lock import WriterLock
from .folder import LabelledZoo, ZooMember
from .plan import PlannedModel
from .trainer import Failure, Trainer, make_member, start_worker
from .training_pool import Named, in_processes

J = TypeVar("J", bound=Named)
Z = TypeVar("Z", bound=LabelledZoo)


class OutputFolderError(SacFastError, FileExistsError):
    """The output folder holds something else, or another run is at work in it."""


def check_folder(out: Path) -> None:
    """Refuse a file in place of an output folder, which may be missing.

    Raises:
        OutputFolderError: it is a file.
    """
    if out.exists() and not out.is_dir():
        raise OutputFolderError(f"out must be a folder, got the file {out}")


@contextmanager
def lock_folder(out: Path) -> Iterator[None]:
    """Hold the only run in a folder, which is made where it is missing; the lock file is removed at the end.

    Two runs in one folder would each list only the models that they know of.

    Raises:
        OutputFolderError: it is a file, or another run is at work in it.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    lock = _lock(out)
    # A run that ended just now may have removed the file of this lock, and a third one made its own.
    while not _is_current(lock, out):
        lock.release()
        lock = _lock(out)
    try:
        yield
    finally:
        (out / LOCK).unlink(missing_ok=True)
        lock.release()


def _lock(out: Path) -> WriterLock:
    try:
        return WriterLock(out)
    except StoreLockedError as error:
        process = "" if error.pid is None else f" (process {error.pid})"
        raise OutputFolderError(
            f"out must have one run at a time, got {out}, in which another one is at work{process}"
        ) from error


def _is_current(lock: WriterLock, out: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(lock.fileno()), os.stat(out / LOCK))
    except FileNotFoundError:
        return False


@overload
def open_folder(out: Path) -> LabelledZoo | None: ...


@overload
def open_folder(out: Path, zoo_class: type[Z]) -> Z | None: ...


def open_folder(out: Path, zoo_class: type[LabelledZoo] = LabelledZoo) -> LabelledZoo | None:
    """The labelled zoo in a folder; None where there is none yet.

    Args:
        out: the folder, which may be missing.
        zoo_class: what kind of labelled zoo it is.

    Raises:
        OutputFolderError: it is a file, or holds files of something else.
        FileFormatError: a damaged index.
    """
    check_folder(out)
    index = zoo_class.index_name
    if (out / index).exists():
        return zoo_class.load(out)
    # A run that was killed before it wrote the index leaves these files, and empty folders.
    ours = (out / "models/source.safetensors", out / LOCK)
    for path in out.rglob("*"):
        leftover = path.parent in (out, out / "models") and is_leftover(path)
        if path not in ours and not leftover and (path.is_symlink() or not path.is_dir()):
            raise OutputFolderError(
                f"out must be a new or empty folder, or one with a {index}, got {out} with {path.name!r}"
            )
    return None


def run_jobs(
    jobs: Sequence[J],
    trainer: Trainer[Any],
    *,
    workers: int | None,
    description: str,
    progress: bool,
    after: Callable[[J], str | None] = lambda job: None,
) -> Generator[tuple[J, ZooMember | Failure], None, None]:
    """Make every job's model in worker processes, see `in_processes`; no process is left when the loop ends early."""
    with closing(in_processes(jobs, make_member, start_worker, (trainer,), workers=workers, after=after)) as pairs:
        yield from track(pairs, description, total=len(jobs), enabled=progress)


@dataclass(frozen=True)
class Outcome:
    """What `train_missing` did.

    Attributes:
        zoo: as its zoo.json is now.
        made, kept, other: names of the planned models that were trained and that were there already, and of members
            that are not planned (without the source).
        failed: name and reason of the models that could not be made.
    """

    zoo: LabelledZoo
    made: list[str]
    kept: list[str]
    other: list[str]
    failed: dict[str, str]


def train_missing(
    zoo: LabelledZoo,
    planned: Sequence[PlannedModel],
    trainer: Callable[[LabelledZoo], Trainer[Any]],
    *,
    workers: int | None = None,
    description: str = "training",
    progress: bool = False,
) -> Outcome:
    """Train the planned models that are missing, and fingerprint every member; zoo.json grows with every model.

    A planned model is kept where zoo.json lists it as `PlannedModel.matches` and its weights file has the listed
    hash. Members that are not planned stay.

    Args:
        zoo: with its source and probe sets; the folder is locked.
        planned: without the source.
        trainer: called with the labelled zoo without its other members.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        description: of the progress bar.
        progress: whether there is one, on stderr.

    Raises:
        ModelError: a worker process died.
    """
    members = {member.name: member for member in zoo.members}
    kept = [job.name for job in planned if _is_trained(zoo, members.get(job.name), job)]
    missing = [job for job in planned if job.name not in kept]
    for job in missing:
        members.pop(job.name, None)
        for name in zoo.probes:  # of other weights
            zoo.fingerprint_file(name, job.name).unlink(missing_ok=True)
    zoo = _with_members(zoo, members, planned)
    jobs: list[PlannedModel | ZooMember] = [
        *(m for m in zoo.members if any(not zoo.fingerprint_file(name, m).exists() for name in zoo.probes)),
        *missing,
    ]
    failed: dict[str, str] = {}
    worker = trainer(dataclasses.replace(zoo, members=zoo.of_role("source")))
    run = run_jobs(jobs, worker, workers=workers, description=description, progress=progress)
    with closing(run) as pairs:
        for entry, done in pairs:
            if isinstance(done, Failure):
                failed[done.name] = done.reason
            elif not isinstance(entry, ZooMember):
                members[done.name] = done
                zoo = _with_members(zoo, members, planned)
    names = {job.name for job in planned}
    other = [m.name for m in zoo.members if m.name not in names and m.role != "source"]
    return Outcome(zoo, [job.name for job in missing if job.name not in failed], kept, other, failed)


def _with_members(zoo: LabelledZoo, members: dict[str, ZooMember], planned: Sequence[PlannedModel]) -> LabelledZoo:
    """Write the source, members of other plans, then those of this one in its order, whichever was ready first."""
    places = {job.name: place for place, job in enumerate(planned)}
    ordered = sorted(members.values(), key=lambda m: (m.role != "source", places.get(m.name, -1)))
    zoo = dataclasses.replace(zoo, members=tuple(ordered))
    zoo.save()
    return zoo


def _is_trained(zoo: LabelledZoo, member: ZooMember | None, job: PlannedModel) -> bool:
    if member is None or not job.matches(member):
        return False
    return file_weights_hash(zoo.weights_file(member)) == member.details.get("weights")


def file_weights_hash(path: Path) -> str | None:
    """`weights_hash` of a safetensors file's tensors; None where it is missing or damaged."""
    try:
        with open_regular(path) as handle:
            return weights_hash(safetensors.torch.load(handle.read()))
    except (FileFormatError, SafetensorError, OSError, ValueError, KeyError):
        return None
