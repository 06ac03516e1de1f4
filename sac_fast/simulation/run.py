"""Run a simulation: what is planned and not yet there is made, and zoo.json grows with every model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from ..attacks.training import compute_logits
from ..errors import FileFormatError, SacFastError
from ..io.files import open_regular
from ..io.progress import track
from ..labelled_zoo.folder import INDEX, LabelledZoo, ZooMember
from ..labelled_zoo.training_pool import check_workers, in_processes
from ..models import save_weights, weights_hash
from ..probes import ProbeSet
from .plan import Planned, Setting
from .work import Failure, Worker, make_member, start_worker


class OutputFolderError(SacFastError, FileExistsError):
    """The output folder holds something else, or the zoo of another source."""


def simulate(
    out: Path,
    source: nn.Module,
    setting: Setting,
    planned: Sequence[Planned],
    *,
    probes: Mapping[str, ProbeSet] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Make the planned models, write them into a labelled zoo and fingerprint all of its members.

    Models are made in worker processes (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``), one thread each and every model under a seed of its own: two runs on one
    machine give the same weights, whatever the number of workers. After every model zoo.json is written anew,
    so a run that was interrupted or killed goes on where it was: a model whose weights file is whole and whose
    recipe (attack, options, architecture, seed, images, source, training) is the planned one is kept.
    Members that are not in the plan stay, so that a zoo can be made in several runs.

    Args:
        out: the zoo's folder: missing, empty, or with an earlier simulation of the same source.
        source: the model that is stolen, with its weights.
        setting: see `Setting`; its ``source_hash`` is ``weights_hash(source)``.
        planned: see `plan`.
        probes: probe sets by name, which all members answer.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        progress: a bar on stderr.

    Returns:
        ``folder``, ``source_accuracy``, ``made``, ``kept`` and ``other`` (names), ``failed`` (name to reason) and
        ``members``, as zoo.json has them.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError: ``out`` holds something else, the zoo of another source, or other probes of this name.
        ModelError: a worker process died.
    """
    check_workers(workers)
    probes = dict(probes or {})
    zoo = _open(out, source, setting, probes)
    there = {member.name: member for member in zoo.members}
    kept = [job for job in planned if _is_there(zoo, there.get(job.name), job)]
    names = {job.name for job in kept}
    missing = [job for job in planned if job.name not in names]
    # Of a member that is made anew the answers are old.
    for job in missing:
        for name in zoo.probes:
            zoo.fingerprint_file(name, job.name).unlink(missing_ok=True)
    replaced = {job.name for job in missing}
    zoo = dataclasses.replace(zoo, members=tuple(member for member in zoo.members if member.name not in replaced))
    zoo.save()
    jobs: list[Planned | ZooMember] = [
        *missing,
        *(m for m in zoo.members if any(not zoo.fingerprint_file(name, m).exists() for name in zoo.probes)),
    ]
    failed: dict[str, str] = {}
    # Without members: the workers need its folder and probe sets only.
    shared = dataclasses.replace(zoo, members=(zoo.source,))
    pairs = in_processes(jobs, make_member, start_worker, (setting, shared), workers=workers)
    # Closed also when the loop is left early, so that no process is left behind.
    with closing(pairs):
        for made_from, done in track(pairs, "simulating thefts", total=len(jobs), enabled=progress):
            if isinstance(done, Failure):
                failed[done.name] = done.reason
            elif isinstance(made_from, Planned):
                zoo = dataclasses.replace(zoo, members=_in_order([*zoo.members, done], planned))
                zoo.save()
    wanted = {job.name for job in planned}
    return {
        "folder": str(out),
        "source_accuracy": zoo.source.accuracy,
        "made": [job.name for job in missing if job.name not in failed],
        "kept": [job.name for job in kept],
        "other": [m.name for m in zoo.members if m.name not in wanted and m.role != "source"],
        "failed": failed,
        "probes": list(zoo.probes),
        "members": [dataclasses.asdict(member) for member in zoo.members],
    }


def _open(out: Path, source: nn.Module, setting: Setting, probes: Mapping[str, ProbeSet]) -> LabelledZoo:
    """The zoo that is there, or a new one with its source; its probe sets are written."""
    if out.exists() and not out.is_dir():
        raise OutputFolderError(f"out must be a folder, got the file {str(out)!r}")
    if (out / INDEX).exists():
        zoo = LabelledZoo.load(out)
        if zoo.source.details.get("weights") != setting.source_hash:
            raise OutputFolderError(
                f"out must be a new folder or a zoo of the source {setting.source_hash}, got one of "
                f"{zoo.source.details.get('weights')}"
            )
        if zoo.preprocessing != setting.preprocessing.to_dict():
            raise OutputFolderError(f"out must be a zoo of the same preprocessing, got {dict(zoo.preprocessing)}")
    else:
        # Empty folders may be left of a run that was killed at once.
        if out.exists() and any(path.is_file() or path.is_symlink() for path in out.rglob("*")):
            raise OutputFolderError(f"out must be a new or empty folder, or one with a {INDEX}, got {str(out)!r}")
        member = ZooMember(
            "source", "source", "source", setting.source.spec, dict(setting.source.arguments),
            details={"weights": setting.source_hash},
        )  # fmt: skip
        task = {"name": "simulation", "classes": setting.outputs, "images": setting.thief.hash}
        zoo = LabelledZoo(out, task, setting.preprocessing.to_dict(), (member,))
        # First the index, and then the weights: a folder with an index is known as a zoo.
        zoo.save()
    zoo = dataclasses.replace(zoo, probes=tuple(dict.fromkeys([*zoo.probes, *probes])))
    for name, images in probes.items():
        if not zoo.probes_file(name).exists():
            images.save(zoo.probes_file(name))
        elif zoo.load_probes(name).content_hash != images.content_hash:
            raise OutputFolderError(f"probes {name!r} must be the same as those in the zoo, got other images")
    if _hash_of(zoo.weights_file("source")) != setting.source_hash:
        save_weights(zoo.weights_file("source"), source)
    measured = dataclasses.replace(zoo.source, accuracy=_accuracy(source, setting, zoo))
    zoo = dataclasses.replace(zoo, members=(measured, *(m for m in zoo.members if m.role != "source")))
    zoo.save()
    return zoo


def _accuracy(source: nn.Module, setting: Setting, zoo: LabelledZoo) -> float | None:
    modes = [(module, module.training) for module in source.modules()]
    try:
        # `accuracy` needs neither processes nor an event to stop it.
        here = Worker(dataclasses.replace(setting, device="cpu"), zoo, stop=None)  # type: ignore[arg-type]
        return here.accuracy(source.cpu().eval(), setting.thief.test)
    finally:
        for module, mode in modes:
            module.training = mode


def _is_there(zoo: LabelledZoo, member: ZooMember | None, job: Planned) -> bool:
    """Whether the zoo lists this model by the same recipe and holds its weights, every byte of them."""
    if member is None or member.details.get("recipe_hash") != job.plan_hash:
        return False
    return _hash_of(zoo.weights_file(member)) == member.details.get("weights")


def _hash_of(path: Path) -> str | None:
    """`weights_hash` of a safetensors file's tensors; None where it is missing or damaged."""
    try:
        with open_regular(path) as handle:
            return weights_hash(safetensors.torch.load(handle.read()))
    except (FileFormatError, SafetensorError, OSError, ValueError, KeyError):
        return None


def _in_order(members: Sequence[ZooMember], planned: Sequence[Planned]) -> tuple[ZooMember, ...]:
    """The source, members of other plans, then the plan's order: the file does not depend on who was faster."""
    places = {job.name: place for place, job in enumerate(planned)}
    return tuple(sorted(members, key=lambda m: (m.role != "source", places.get(m.name, -1))))


def outputs_of(source: nn.Module, setting_images: ProbeSet, setting: Any) -> int:
    """The number of the source's outputs, asked with one image.

    Raises:
        ModelError: answers that are not (n, classes) finite logits.
    """
    return int(compute_logits(source, setting(torch.from_numpy(setting_images.images[:1].copy()))).shape[1])
