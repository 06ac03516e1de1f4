"""Make siblings: models of the owner's own training code with other seeds, from which the source is told apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..errors import ModelError, require
from ..io.files import StrPath, open_regular
from ..io.hashing import sha256_stream
from ..models import ModelEntry, Preprocessing
from ..models.output_form import OUTPUT_FORMS
from ..ops.arguments import check_choice
from ..probes import ProbeSet
from .engine import OutputFolderError, lock_folder, open_folder, train_missing
from .plan import MAX_COUNT, Architecture, PlannedModel
from .siblings_checks import check_equal_source, check_siblings, check_source
from .siblings_draw import new_draw
from .siblings_folder import SiblingFolder, draw_seeds
from .siblings_trainer import OwnedModel, SiblingOptions, SiblingTrainer, TrainFunction, describe_training, takes_device
from .training_pool import check_workers


def make_siblings(
    train: TrainFunction | None,
    out: StrPath,
    *,
    count: int = 19,
    source: StrPath | None = None,
    fork: StrPath | None = None,
    owned: Sequence[ModelEntry] = (),
    probes: Mapping[str, ProbeSet] | None = None,
    preprocessing: Preprocessing | None = None,
    model: Architecture | None = None,
    output: int | str | None = None,
    output_form: str | None = None,
    batch_size: int = 64,
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train siblings: models of one training code that differ by their seed alone.

    Given the suspect, a source and its siblings are exchangeable if the suspect was made without access to the source,
    so that the source's rank among them is a p-value: 1/20 at the smallest with 19 siblings. It needs seeds that nobody
    else has: they are drawn from the system's entropy, before the first training, and recorded in the folder.

    Every training has a worker process of its own (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``) with one thread. After every one siblings.json is written anew: a run that was
    interrupted or killed, or in which a training failed, resumes with the same seeds.

    Args:
        train: ``train(seed) -> nn.Module``, or ``"package.module:function"``: the code by which the source was made,
            data and hyper-parameters included. It may return ``(model, accuracy)``, 0 … 1, and may take ``device``.
            All that is random in it must come from ``seed``; before the call the global states of ``random``, NumPy
            and torch are seeded with it. None: nothing is trained.
        out: the folder: missing, empty, or with siblings of the same code, to be resumed or extended.
        count: how many are trained. One more than the test needs where the source is to be drawn (`draw_source`).
        source: weights of the model that was released, if it is there already; needs ``model``. Told is whether it
            began with a seed that others use (0, 42, …), since they share its start.
        fork: checkpoint from which only the last phase is trained again, by ``train(seed, checkpoint)``. Such siblings
            find what was extracted from the source's answers, not what was fine-tuned from its weights.
        owned: models of the same code that are there already, see `list_entries`.
        probes: probe sets by name, on which every sibling is fingerprinted.
        preprocessing: of all siblings; None: pixels in 0 … 1.
        model: builds the network, so that weights can be loaded again for probes of later runs.
        output, output_form, batch_size: see `fingerprint`.
        device: torch device of trainings and fingerprints; but for the CPU, ``train`` must take ``device``.
        workers: number of processes, ≥ 1; None: one a core, at most 8, and one alone on another device.
        progress: a bar on stderr.

    Returns:
        ``folder``, ``commitment`` (of the draw, to be published), ``made``, ``kept`` and ``other`` (names), ``failed``
        (name to reason), ``probes`` (names), ``members``, ``notes`` and ``warnings`` (sentences).

    Raises:
        TypeError, ValueError: a wrong argument.
        ModelError: ``train`` cannot be imported, or a worker process died.
        OutputFolderError: ``out`` holds something else, or siblings of other code, checkpoint, preprocessing or probes;
            or another run is at work in it.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> import sac_fast
        >>> from sac_fast.models.code_path import allow_code_in
        >>> net = "torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(108, 4))"
        >>> code = f"import torch\\ndef train(seed):\\n    torch.manual_seed(seed)\\n    return {net}\\n"
        >>> _ = Path("recipe.py").write_text(code)
        >>> allow_code_in(".")
        >>> pixels = np.arange(6 * 108, dtype=np.uint8).reshape(6, 6, 6, 3)
        >>> probes = sac_fast.ProbeSet.from_arrays(pixels, layout="NHWC")
        >>> made = sac_fast.make_siblings("recipe:train", "siblings", count=2, probes={"p": probes}, progress=False)
        >>> made["made"], made["failed"], made["warnings"]
        (['sibling-01', 'sibling-02'], {}, [])
    """
    _check_arguments(train, count, fork, owned, model, device)
    require(source is None or model is not None, "source must go with model, which builds its network", model)
    if output_form is not None:
        check_choice("output_form", output_form, OUTPUT_FORMS)
    check_workers(workers)
    if workers is None and torch.device(device).type != "cpu":
        workers = 1
    out, preprocessing, probes = Path(out), preprocessing or Preprocessing(), dict(probes or {})
    checkpoint = None if fork is None else Path(fork).resolve()
    training = None
    if train is not None:
        training = {**describe_training(train), "fork": None if checkpoint is None else _file_hash(checkpoint)}
    options = SiblingOptions(
        train=train, checkpoint=checkpoint, model=model, output=output, output_form=output_form,
        batch_size=batch_size, training=training,
    )  # fmt: skip
    of_source = [] if source is None or model is None else check_source(source, model)
    open_folder(out, SiblingFolder)  # refuses anything else before a file is written
    there = _plan_owned(owned)
    with lock_folder(out):
        zoo = _open(out, training, count if train is not None else 0, preprocessing, probes, model)
        drawn = zoo.draw.get("drawn")
        planned: list[PlannedModel] = [] if train is None else _plan(zoo.seeds[:count])
        planned = [job for job in [*planned, *there] if job.name != drawn]
        # An owned model is run again for new probes, as its file is there.
        fresh = {job.name for job in planned if isinstance(job, OwnedModel) and _lacks_prints(zoo, job.name)}
        zoo = dataclasses.replace(zoo, members=tuple(m for m in zoo.members if m.name not in fresh))
        outcome = train_missing(
            zoo, planned, partial(SiblingTrainer, options, device),
            workers=workers, description="making siblings", progress=progress,
        )  # fmt: skip
    zoo = dataclasses.replace(zoo, members=outcome.zoo.members)
    notes, warnings = check_siblings(zoo)
    of_source += [] if source is None else check_equal_source(source, zoo.members)
    return {
        "folder": str(out),
        "commitment": zoo.draw["commitment"],
        "made": outcome.made,
        "kept": outcome.kept,
        "other": outcome.other,
        "failed": outcome.failed,
        "probes": list(zoo.probes),
        "members": [dataclasses.asdict(member) for member in zoo.members],
        "notes": notes,
        "warnings": [*of_source, *warnings],
    }


def _check_arguments(
    train: TrainFunction | None,
    count: int,
    fork: StrPath | None,
    owned: Sequence[ModelEntry],
    model: Architecture | None,
    device: str,
) -> None:
    require(train is None or callable(train) or isinstance(train, str), "train must be a function", train, TypeError)
    require(train is not None or owned, "train must be given where no owned models are", train)
    require(train is not None or fork is None, "fork must go with train", fork)
    number = isinstance(count, int) and not isinstance(count, bool) and 1 <= count <= MAX_COUNT
    require(number, f"count must be an integer in 1…{MAX_COUNT}", count)
    for entry in owned:
        is_entry = isinstance(entry, ModelEntry)
        require(is_entry, "owned must be a sequence of ModelEntry", type(entry).__name__, TypeError)
    fits = model is None or isinstance(model, Architecture)
    require(fits, "model must be of type Architecture", type(model).__name__, TypeError)
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise ValueError(f"device must be a torch device, got {device!r}") from error
    takes = train is None or kind == "cpu" or takes_device(train)
    require(takes, "train must take the argument device where device is not the CPU", device, ModelError)


def _file_hash(path: StrPath) -> str:
    with open_regular(path) as handle:
        return sha256_stream(handle)


def _plan(seeds: Sequence[int]) -> list[PlannedModel]:
    """The trainings, one a seed."""
    return [
        PlannedModel(name=f"sibling-{place:02}", role="sibling", origin="sibling", seed=seed)
        for place, seed in enumerate(seeds, 1)
    ]


def _plan_owned(entries: Sequence[ModelEntry]) -> list[OwnedModel]:
    """The models that the owner has, named after their files."""
    planned: dict[str, OwnedModel] = {}
    for entry in entries:
        stem = re.sub(r"\.(safetensors|pth?|bin|ckpt|onnx|np[yz]|csv|h(df)?5)$", "", entry.name)
        name = f"owned-{re.sub(r'[^A-Za-z0-9_+-]+', '-', stem)[:100]}"
        if name in planned:
            twice = f"{planned[name].entry.name!r} and {entry.name!r}"
            raise ValueError(f"owned models must have names that differ in letters and digits, got {twice}")
        options = {"file": entry.name, "hash": _file_hash(entry.path)}
        planned[name] = OwnedModel(name=name, role="sibling", origin="sibling", seed=0, options=options, entry=entry)
    return list(planned.values())


def _lacks_prints(zoo: SiblingFolder, name: str) -> bool:
    return any(not zoo.fingerprint_file(probes, name).exists() for probes in zoo.probes)


def _open(
    out: Path,
    training: dict[str, Any] | None,
    count: int,
    preprocessing: Preprocessing,
    probes: Mapping[str, ProbeSet],
    model: Architecture | None,
) -> SiblingFolder:
    """The folder as it is, or a new one; its seeds are drawn and its probe sets written."""
    zoo = open_folder(out, SiblingFolder)
    if zoo is None:
        task = {"name": "siblings", "train": training, "seeds": draw_seeds(count), "draw": new_draw()}
        zoo = SiblingFolder(out, task, preprocessing.to_dict(), ())
    else:
        if zoo.members:
            _check_same(zoo, training, preprocessing)
        else:  # whatever failed may be asked for otherwise: nothing is of the old options
            zoo = dataclasses.replace(zoo, preprocessing=preprocessing.to_dict(), probes=())
        seeds = [*zoo.seeds, *draw_seeds(count - len(zoo.seeds), zoo.seeds)]
        zoo = dataclasses.replace(zoo, task={**zoo.task, "train": training or zoo.task.get("train"), "seeds": seeds})
    added = [name for name in probes if name not in zoo.probes]
    stuck = [member.name for member in zoo.members if member.details.get("how") != "owned"]
    if added and stuck and (model is None or not all(m.details.get("loadable") for m in zoo.members)):
        raise OutputFolderError(
            f"probes must be those of the first run where weights cannot be loaded again (no model was given), got "
            f"{added[0]!r} for {stuck[0]!r}: run `sac-fast fingerprint` with the weights in {out / 'models'}"
        )
    # First the index, with the seeds, before anything is trained.
    zoo = dataclasses.replace(zoo, probes=tuple(dict.fromkeys([*zoo.probes, *probes])))
    zoo.save()
    for name, images in probes.items():
        if not zoo.members or not zoo.probes_file(name).exists():
            images.save(zoo.probes_file(name))
        elif zoo.load_probes(name).content_hash != images.content_hash:
            raise OutputFolderError(f"probes {name!r} must be the same as those in the folder, got other images")
    return zoo


def _check_same(zoo: SiblingFolder, training: dict[str, Any] | None, preprocessing: Preprocessing) -> None:
    """Refuse another training code, checkpoint or preprocessing than the folder's."""
    earlier = zoo.task.get("train")
    if training is not None and earlier is not None:
        for key, what in (("train", "train"), ("fork", "fork")):
            if training[key] != earlier.get(key):
                raise OutputFolderError(
                    f"{what} must be that of the siblings in {zoo.folder}, {earlier.get(key)}, got {training[key]}"
                )
    if zoo.preprocessing != preprocessing.to_dict():
        raise OutputFolderError(f"out must hold siblings of the same preprocessing, got {dict(zoo.preprocessing)}")
