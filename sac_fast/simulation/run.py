"""Run a simulation: the planned models that are not there yet are trained, and zoo.json grows with every model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..attacks.registry import ATTACKS
from ..attacks.training import SCRATCH, TUNING, TrainingConfig, compute_logits
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..labelled_zoo.engine import OutputFolderError, file_weights_hash, lock_folder, open_folder, train_missing
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.training_pool import check_workers
from ..models import Preprocessing, load_model, save_weights, weights_hash
from ..models.runner import evaluating
from ..probes import ProbeSet
from .independents import independent_warnings
from .plan import Images, Planned, Setting, obstacle, plan
from .trainer import SimulationTrainer


@dataclass(frozen=True)
class SimulationImages:
    """The images of a simulation; labels are those of `ProbeSet`.

    Attributes:
        thief: the thief's own.
        test: for accuracies on the thief's task; None: every fifth image of ``thief``.
        owner: what the source was trained on, for independents on the same data; None: not known.
        surrogate: other images, for extract-knockoff.
        transfer: another task, for transfers; None: the thief's with half as many classes.
    """

    thief: ProbeSet
    test: ProbeSet | None = None
    owner: ProbeSet | None = None
    surrogate: ProbeSet | None = None
    transfer: ProbeSet | None = None


@dataclass(frozen=True)
class SimulationModels:
    """Which models a simulation makes, see `plan`.

    Attributes:
        attacks: origins, see `ATTACKS`; None: every attack that the images allow.
        students: architectures of extracted and independent models; none: the source's.
        copies: models of each attack (and of each student).
        independents: models of each kind.
        seed: of everything random.
    """

    attacks: Sequence[str] | None = None
    students: Sequence[Architecture] = ()
    copies: int = 1
    independents: int = 0
    seed: int = 0


def simulate(
    out: StrPath,
    source: Architecture,
    weights: StrPath,
    images: SimulationImages,
    *,
    models: SimulationModels | None = None,
    preprocessing: Preprocessing | None = None,
    config: TrainingConfig = SCRATCH,
    tuning: TrainingConfig = TUNING,
    probes: Mapping[str, ProbeSet] | None = None,
    own_independents: Sequence[Fingerprint] = (),
    device: str = "cpu",
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Steal a model in every known way and train independent ones, into a labelled zoo; see `run_plan`.

    Args:
        out: the folder of the labelled zoo: missing, empty, or with an earlier simulation of the same source, which
            is resumed.
        source: architecture of the model that is stolen.
        weights: its weights: safetensors, or a weights_only state dict.
        images: see `SimulationImages`.
        models: see `SimulationModels`.
        preprocessing: of all models; None: pixels in 0 … 1.
        config: of trainings from new weights.
        tuning: of trainings that start from stolen weights.
        probes: probe sets by name, on which every model is fingerprinted.
        own_independents: fingerprints, on one of the probe sets, of independents that were not simulated.
        device: torch device of the trainings.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        progress: a bar on stderr.

    Returns:
        As `run_plan`, and ``left_out``: attack to reason, of the attacks that the images do not allow; and
        ``warnings``: of independents that are no fair nulls, see `independent_warnings`.

    Raises:
        TypeError, ValueError: a wrong argument, or a named attack that the images do not allow.
        ModelError: a model that cannot be built, or does not fit weights or images; a worker process died.
        OutputFolderError: ``out`` holds something else, or another run is at work in it.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> import sac_fast
        >>> from sac_fast.simulation import Architecture, SimulationImages, SimulationModels
        >>> folder = tempfile.TemporaryDirectory()
        >>> source = Architecture("sac_fast.demo.architectures:plain", {"classes": 4})
        >>> weights = f"{folder.name}/source.safetensors"
        >>> model = sac_fast.load_model(source.spec, kwargs=source.arguments)
        >>> hash_ = sac_fast.save_weights(weights, model)
        >>> pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
        >>> images = SimulationImages(sac_fast.ProbeSet.from_arrays(pixels, np.arange(40) % 4, layout="NHWC"))
        >>> models = SimulationModels(["quantize-int8"], copies=2)
        >>> summary = sac_fast.simulate(f"{folder.name}/zoo", source, weights, images, models=models, progress=False)
        >>> summary["made"]
        ['quantize-int8-1', 'quantize-int8-2']
        >>> folder.cleanup()
    """
    for name, value, kind in (("source", source, Architecture), ("images", images, SimulationImages)):
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
    models, preprocessing = models or SimulationModels(), preprocessing or Preprocessing()
    model = load_model(source.spec, weights=weights, kwargs=source.arguments)
    seed = models.seed
    setting = Setting(
        source,
        weights_hash(model),
        compute_logits(model, preprocessing(torch.from_numpy(images.thief.images[:1].copy()))).shape[1],
        preprocessing,
        Images.split(images.thief, images.test, seed),
        None if images.owner is None else Images.split(images.owner, None, seed),
        images.surrogate,
        None if images.transfer is None else Images.split(images.transfer, None, seed),
        config,
        tuning,
        device,
    )
    attacks, left_out = models.attacks, {}
    if attacks is None:
        reasons = {name: obstacle(attack, setting) for name, attack in ATTACKS.items()}
        left_out = {name: reason for name, reason in reasons.items() if reason is not None}
        attacks = [name for name in ATTACKS if name not in left_out]
    planned = plan(
        setting, attacks,
        students=models.students, copies=models.copies, independents=models.independents, seed=seed,
    )  # fmt: skip
    summary = run_plan(Path(out), model, setting, planned, probes=probes, workers=workers, progress=progress)
    warnings = independent_warnings(LabelledZoo.load(out), own_independents)
    return {**summary, "left_out": left_out, "warnings": warnings}


def run_plan(
    out: Path,
    source: nn.Module,
    setting: Setting,
    planned: Sequence[Planned],
    *,
    probes: Mapping[str, ProbeSet] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train the planned models into a labelled zoo and fingerprint all of its members.

    Models are trained in worker processes (start method spawn: a script that calls this needs the usual
    ``if __name__ == "__main__":``), one thread each and every model under a seed of its own: two runs on one
    machine give the same weights, whatever the number of workers. After every model zoo.json is written anew,
    so a run that was interrupted or killed resumes: a model whose weights file is whole and whose plan hash (attack,
    options, architecture, seed, images, source, training) is the planned one is kept. Members that are not in the
    plan stay, so that a labelled zoo can be made in several runs, one at a time.

    Args:
        out: the folder of the labelled zoo: missing, empty, or with an earlier simulation of the same source.
        source: the model that is stolen, with its weights.
        setting: see `Setting`; its ``source_hash`` is ``weights_hash(source)``.
        planned: see `plan`.
        probes: probe sets by name, on which all members are fingerprinted.
        workers: number of processes, ≥ 1; None: one a core, at most 8.
        progress: a bar on stderr.

    Returns:
        ``folder``, ``source_accuracy``, ``made``, ``kept`` and ``other`` (names), ``failed`` (name to reason),
        ``probes`` (names) and ``members``, as zoo.json has them.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError: ``out`` holds something else, the labelled zoo of another source, or other probes of this
            name; or another run is at work in it.
        ModelError: a worker process died.
    """
    check_workers(workers)
    open_folder(out)  # refuses anything else before a file is written
    with lock_folder(out):
        zoo = _open(out, source, setting, probes or {})
        outcome = train_missing(
            zoo, planned, partial(SimulationTrainer, setting),
            workers=workers, description="simulating thefts", progress=progress,
        )  # fmt: skip
    zoo = outcome.zoo
    return {
        "folder": str(out),
        "source_accuracy": zoo.source.accuracy,
        "made": outcome.made,
        "kept": outcome.kept,
        "other": outcome.other,
        "failed": outcome.failed,
        "probes": list(zoo.probes),
        "members": [dataclasses.asdict(member) for member in zoo.members],
    }


def _open(out: Path, source: nn.Module, setting: Setting, probes: Mapping[str, ProbeSet]) -> LabelledZoo:
    """The labelled zoo in the folder, or a new one with its source; its probe sets are written."""
    zoo = open_folder(out)
    if zoo is None:
        member = ZooMember(
            "source", "source", "source", setting.source.spec, dict(setting.source.arguments),
            details={"weights": setting.source_hash},
        )  # fmt: skip
        task = {"name": "simulation", "classes": setting.outputs, "images": setting.thief.hash}
        zoo = LabelledZoo(out, task, setting.preprocessing.to_dict(), (member,))
        # First the index, and then the weights: a folder with an index is known as a labelled zoo.
        zoo.save()
    elif zoo.source.details.get("weights") != setting.source_hash:
        raise OutputFolderError(
            f"out must be a new folder or a labelled zoo of the source {setting.source_hash}, got one of "
            f"{zoo.source.details.get('weights')}"
        )
    elif zoo.preprocessing != setting.preprocessing.to_dict():
        raise OutputFolderError(f"out must be a labelled zoo of the same preprocessing, got {dict(zoo.preprocessing)}")
    zoo = dataclasses.replace(zoo, probes=tuple(dict.fromkeys([*zoo.probes, *probes])))
    for name, images in probes.items():
        if not zoo.probes_file(name).exists():
            images.save(zoo.probes_file(name))
        elif zoo.load_probes(name).content_hash != images.content_hash:
            raise OutputFolderError(f"probes {name!r} must be the same as those in the labelled zoo, got other images")
    if file_weights_hash(zoo.weights_file("source")) != setting.source_hash:
        save_weights(zoo.weights_file("source"), source)
    here = SimulationTrainer(dataclasses.replace(setting, device="cpu"), zoo)
    with evaluating(source):
        accuracy = here.measure_on(setting.thief.test, source.cpu())
    measured = dataclasses.replace(zoo.source, accuracy=accuracy)
    zoo = dataclasses.replace(zoo, members=(measured, *(m for m in zoo.members if m.role != "source")))
    zoo.save()
    return zoo
