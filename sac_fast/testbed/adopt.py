"""Checkpoints in the reference scripts' folders, as a labelled zoo."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from ..errors import FileFormatError, ModelError, require
from ..fingerprint import fingerprint
from ..io.files import StrPath
from ..io.progress import track
from ..labelled_zoo.engine import OutputFolderError, lock_folder, open_folder
from ..labelled_zoo.folder import NULL_KINDS, LabelledZoo, NullKind, Role, ZooMember
from ..labelled_zoo.images import Images
from ..labelled_zoo.plan import Architecture
from ..models import Preprocessing, load_model, load_weights, run_model, save_weights
from .probes import candidates, make_probes
from .task import Task

# Folder, name of the file (N is its number) -> attack. The scripts of SAC_JC number Finetune-A 0 … 9 and Finetune-L
# 10 … 19, and write the first ten also to finetune2 and pruned models to prune2.
_ORIGINS: tuple[tuple[str, str, str], ...] = (
    ("model_extract", r"model_extract_kd\d+", "extract-distill"),
    ("model_extract", r"model_extract\d+", "extract-labels"),
    ("adv_train", r"adv_train\d+", "extract-adversarial"),
    ("finetune2", r"finetune\d+", "finetune-all"),
    ("finetune", r"finetune\d", "finetune-all"),
    ("finetune", r"finetune\d\d+", "finetune-last"),
    ("prune", r"prune_model_\d+", "fine-prune"),
    ("prune2", r"prune_model_\d+", "fine-prune"),
    # Those of SAC, which are QuRD's benchmark "SACBench".
    ("model", r"student_model_1_\d+", "extract-labels"),
    ("model", r"student_model_kd_\d+", "extract-distill"),
    ("adv_train", r"adv_\d+", "extract-adversarial"),
    ("finetune_10", r"finetune\d+", "finetune-all"),
    ("finetune_model", r"finetune_(cifar10c|C)_\d+", "transfer-all"),
    ("Fine-Pruning", r"prune_model_\d+", "fine-prune"),
)
# Independents of SACBench that are told by their names, and what they share with the teacher; None: as it is said.
_INDEPENDENTS: tuple[tuple[str, str, NullKind | None], ...] = (
    ("model", r"clean_model_\d+", None),
    ("finetune_model", r"CIFAR10C_\d+", "other-data"),
    ("finetune_model", r"CIFAR100\d+", "other-classes"),
)
_NULLS = "irrelevant"
_TEACHER = "teacher"
_SACBENCH_TEACHER = ("model", "vgg_model")
_ENDINGS = (".pth", ".pt", ".safetensors")


@dataclass(frozen=True)
class Adopted:
    """The labelled zoo, and the files that were left out, with the reason."""

    zoo: LabelledZoo
    left_out: tuple[tuple[str, str], ...]


def origin_of(folder: str, stem: str, null_kind: NullKind) -> tuple[Role, str] | None:
    """Role and origin of a checkpoint by its folder and name; None: the scripts write no such file.

    Args:
        folder: the folder's name.
        stem: the file's name without its ending.
        null_kind: what the models in ``irrelevant`` (``model/clean_model_N`` of SACBench) share with the teacher.
    """
    if folder == _TEACHER or (folder, stem) == _SACBENCH_TEACHER:
        return "source", "source"
    if folder == _NULLS:
        return "independent", null_kind
    for place, name, origin in _ORIGINS:
        if folder == place and re.fullmatch(name, stem):
            return "stolen", origin
    for place, name, kind in _INDEPENDENTS:
        if folder == place and re.fullmatch(name, stem):
            return "independent", kind or null_kind
    return None


def adopt(
    folder: StrPath,
    out: StrPath,
    images: Images,
    classes: Sequence[str],
    architectures: Sequence[Architecture],
    *,
    null_kind: NullKind,
    preprocessing: Preprocessing | None = None,
    probes: int = 800,
    skip_bad: bool = False,
    progress: bool = False,
) -> Adopted:
    """Make a labelled zoo of the reference scripts' checkpoints, and fingerprint every model.

    Read are ``teacher/`` (one file), ``irrelevant/``, ``model_extract/``, ``adv_train/``, ``finetune/``,
    ``finetune2/``, ``prune/`` and ``prune2/`` of SAC_JC, or ``model/`` (``vgg_model.pth``, ``clean_model_N``,
    ``student_model_1_N``, ``student_model_kd_N``), ``adv_train/``, ``finetune_10/``, ``finetune_model/`` and
    ``Fine-Pruning/`` of SAC, which are QuRD's benchmark SACBench. Of the architectures given, the first whose weights
    fit a file, every name and shape, is that file's. Weights are read without running code, so whole models
    (``torch.save(model)``, as the scripts save pruned ones) must be saved as state dicts first.

    Args:
        folder: where the scripts' folders are.
        out: folder of the labelled zoo; it must not exist yet or be empty.
        images: that no model was trained on, with labels: the first ``probes`` become the probes, those that the
            teacher errs on the misclassified ones; all are used for the accuracies.
        classes: names in the order of the labels.
        architectures: tried in this order.
        null_kind: what the models in ``irrelevant`` share with the teacher.
        preprocessing: of all models; None: pixels in 0 … 1.
        probes: largest number in a probe set.
        skip_bad: leave out checkpoints that cannot be read, fit no architecture or have an invalid name.
        progress: a bar on stderr.

    Returns:
        The zoo, and what was left out.

    Raises:
        ValueError: an unknown null kind, no architecture.
        OutputFolderError: ``out`` is not empty, or another run is at work in it.
        FileFormatError, ModelError: no teacher or several, a checkpoint that cannot be read, fits no architecture or
            has a name that no member can have.
    """
    require(null_kind in NULL_KINDS, f"null_kind must be one of {', '.join(NULL_KINDS)}", null_kind)
    if not architectures:
        raise ValueError("architectures must name at least one callable, got none")
    folder, out = Path(folder), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputFolderError(f"out must not exist yet or be an empty folder, got {str(out)!r}")
    files = _files(folder, null_kind)
    preprocessing = preprocessing or Preprocessing()
    task = _task(images, classes, preprocessing)
    pool = candidates(task, len(images))
    found: list[tuple[ZooMember, nn.Module]] = []
    left_out: list[tuple[str, str]] = []
    for path, role, origin in track(files, "reading checkpoints", enabled=progress):
        try:
            name = "source" if role == "source" else _member_name(path, {member.name for member, _ in found})
            model, architecture = _fitting(path, architectures)
            rows = run_model(model, pool, preprocessing=preprocessing)
        except (FileFormatError, ModelError) as error:
            if not skip_bad or role == "source":
                raise
            left_out.append((str(path.relative_to(folder)), str(error)))
            continue
        # A model with another label set has no accuracy on these labels.
        same = rows.shape[1] == len(classes)
        accuracy = float((rows.argmax(1).numpy() == images.labels).mean()) if same else None
        member = ZooMember(
            name, role, origin, architecture.spec, architecture.arguments, 0, accuracy, None,
            {"file": str(path.relative_to(folder))},
        )  # fmt: skip
        found.append((member, model))
    with lock_folder(out):
        if open_folder(out) is not None:  # another run has made it since
            raise OutputFolderError(f"out must not exist yet or be an empty folder, got {str(out)!r}")
        return Adopted(_write(out, found, task, probes, progress), tuple(left_out))


def _files(folder: Path, null_kind: NullKind) -> list[tuple[Path, Role, str]]:
    """The scripts' checkpoints, the teacher first."""
    if not folder.is_dir():
        raise FileFormatError(f"folder must be an existing folder, got {str(folder)!r}")
    known = sorted({_TEACHER, _NULLS, *(place for place, _, _ in (*_ORIGINS, *_INDEPENDENTS))})
    files: list[tuple[Path, Role, str]] = []
    for place in known:
        for path in sorted((folder / place).glob("*"), key=lambda path: (len(path.stem), path.name)):
            what = origin_of(place, path.stem, null_kind) if path.suffix in _ENDINGS else None
            if what is not None:
                files.append((path, *what))
    teachers = [path for path, role, _ in files if role == "source"]
    if len(teachers) != 1:
        raise FileFormatError(
            f"{str(folder / _TEACHER)!r} must hold one checkpoint ({', '.join(_ENDINGS)}), got {len(teachers)}; "
            "in SACBench it is model/vgg_model.pth"
        )
    return sorted(files, key=lambda file: file[1] != "source")


def _member_name(path: Path, taken: Collection[str]) -> str:
    """The folder's and the file's name as that of a member; refused where no member can have it."""
    name = f"{path.parent.name}-{path.stem}"
    try:
        ZooMember(name, "stolen", "adopted", "none:none")  # for its check of names
    except ValueError as error:
        raise FileFormatError(f"{str(path)!r} must be renamed to become a member of a labelled zoo: {error}") from error
    if name in taken:
        raise FileFormatError(f"{str(path)!r} must have a name of its own whatever its ending, got a second {name!r}")
    return name


def _fitting(path: Path, architectures: Sequence[Architecture]) -> tuple[nn.Module, Architecture]:
    problems = []
    for architecture in architectures:
        model = load_model(architecture.spec, kwargs=architecture.arguments)
        try:
            load_weights(model, path)
        except FileFormatError:  # refused or damaged: fits none (a refusal is a ModelError too)
            raise
        except ModelError as error:  # the next one may fit
            problems.append(f"{architecture.spec}: {error}")
            continue
        return model.eval(), architecture
    raise ModelError(f"{str(path)!r} must fit one of the architectures, got none that does: {' | '.join(problems)}")


def _task(images: Images, classes: Sequence[str], preprocessing: Preprocessing) -> Task:
    # Only the pool is used here; the other sides are what the models' maker had.
    one = images.take(np.zeros(1, np.int64))
    return Task(
        name="adopted", classes=tuple(classes), defender=one, attacker=one, test=images, pool=images,
        surrogate=one.pixels, transfer=one, transfer_test=one, transfer_classes=tuple(classes),
        preprocessing=preprocessing,
    )  # fmt: skip


def _write(
    out: Path, found: Sequence[tuple[ZooMember, nn.Module]], task: Task, count: int, progress: bool
) -> LabelledZoo:
    outputs = fingerprint(found[0][1], candidates(task, count), preprocessing=task.preprocessing, name="source")
    sets = make_probes(task, count, outputs)
    zoo = LabelledZoo(
        out,
        {"name": "adopted", "classes": list(task.classes), "images": {"pool": len(task.pool)}},
        task.preprocessing.to_dict(),
        tuple(member for member, _ in found),
        tuple(sets),
    )
    zoo.make_folders()
    for name, probes in sets.items():
        probes.save(zoo.probes_file(name))
    for member, model in track(found, "fingerprinting", enabled=progress):
        save_weights(zoo.weights_file(member), model)
        for name, probes in sets.items():
            made = fingerprint(model, probes, preprocessing=task.preprocessing, name=member.name)
            made.save(zoo.fingerprint_file(name, member))
    # Last: a folder with zoo.json is complete.
    zoo.save()
    return zoo
