"""The defender's own stolen and independent models, for the methods that need examples of both (CAE, UAP).

They are trained on the defender's images alone: independent ones on those of the source, with their labels; stolen
ones on the source's answers to the held-out images, as a thief with images of his own would. None of them is in the
evaluated zoo. They are kept as files, so that a run that was stopped does not train them again.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sac_fast.attacks import TrainingConfig, extract_labels, extract_probabilities, finetune_all, train
from sac_fast.attacks.training import Progress
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.io.files import atomic_write
from sac_fast.io.hashing import canonical_json, content_hash
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.models import load_model, load_weights, save_weights, weights_hash

from .defender import OwnModels, PixelModel, Task

#: What the defender expects of thieves, in turn: soft labels at T = 1 and 4, hard labels, fine-tuning.
THEFTS = ("probabilities-1", "labels", "probabilities-4", "finetune")
SEED = 900_000_000  # far from any seed that a zoo's own members have


@dataclass(frozen=True)
class Architecture:
    """How to build a network, and how such a network is trained (its number of epochs does not count)."""

    spec: str
    arguments: Mapping[str, Any]
    recipe: TrainingConfig


def architectures(zoo: LabelledZoo) -> list[Architecture]:
    """All that occur in the zoo with the source's number of classes, the source's first, with the recipes recorded
    there.

    That the defender knows the thieves' architectures is in favour of the methods that train own models.

    Raises:
        FileFormatError: a member's recipe is none.
    """
    classes = zoo.source.architecture_args.get("classes")
    found: dict[str, Architecture] = {}
    for member in (zoo.source, *zoo.of_role("independent"), *zoo.of_role("stolen")):
        key = canonical_json([member.architecture, dict(member.architecture_args)])
        if member.architecture_args.get("classes") == classes and key not in found:
            try:
                recipe = TrainingConfig(**member.details.get("recipe", {}))
            except TypeError as error:
                raise FileFormatError(
                    f"recipe of {member.name!r} must hold the fields of TrainingConfig, got {error}"
                ) from error
            found[key] = Architecture(member.architecture, dict(member.architecture_args), recipe)
    return list(found.values())


def _build(architecture: Architecture, preprocessing: Mapping[str, Any], seed: int) -> PixelModel:
    """A freshly initialised model; the global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = load_model(architecture.spec, kwargs=architecture.arguments)
    # Convolutions on a CPU are faster with the channels last; the values' layout is all that changes.
    return PixelModel(network.to(memory_format=torch.channels_last), preprocessing)  # type: ignore[call-overload]


def _trained_for(recipe: TrainingConfig, seen: int, images: Tensor) -> TrainingConfig:
    """The recipe with as many epochs as show so many images."""
    return dataclasses.replace(recipe, epochs=max(1, round(seen / len(images))))


def _make(
    kind: str,
    source: PixelModel,
    student: PixelModel,
    task: Task,
    recipe: TrainingConfig,
    seen: int,
    seed: int,
    progress: Progress,
) -> nn.Module:
    if kind == "train":
        how = _trained_for(recipe, seen, task.images)
        return train(student, task.images, task.labels, config=how, seed=seed, progress=progress)
    images, labels = (task.images, task.labels) if task.held_out is None else (task.held_out, task.held_out_labels)
    assert labels is not None  # Task gives both or none
    how = _trained_for(recipe, seen, images)
    if kind == "finetune":
        # At a fifth of the learning rate and half the length, as test bed and demo do.
        gentle = _trained_for(recipe, seen // 2, images)
        gentle = dataclasses.replace(gentle, learning_rate=recipe.learning_rate / 5)
        return finetune_all(source, images, labels, config=gentle, seed=seed, progress=progress)
    if kind == "labels":
        return extract_labels(source, student, images, config=how, seed=seed, progress=progress)
    temperature = float(kind.removeprefix("probabilities-"))
    return extract_probabilities(
        source, student, images, temperature=temperature, config=how, seed=seed, progress=progress
    )


def train_own_models(
    source: PixelModel,
    task: Task,
    known: Sequence[Architecture],
    folder: Path,
    *,
    count: int = 5,
    seen: int = 36_000,
    progress: Progress = False,
) -> OwnModels:
    """Train, or read back, so many stolen and as many independent models.

    Args:
        source: the defender's model.
        task: the defender's images and labels.
        known: architectures that are taken in turn, with the source's number of classes, the source's first.
        folder: where weights are kept; made where it is missing.
        count: of each role.
        seen: images that every training sees, all epochs together.
        progress: of every single training.

    Returns:
        The models, and the seconds that their training took (when they were trained, if they were read back).
    """
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {"images": task.images, "labels": task.labels, "held_out": task.held_out}
    fixed = {
        "source": weights_hash(source),
        "images": content_hash({name: tensor.numpy() for name, tensor in arrays.items() if tensor is not None}),
        "seen": seen,
    }
    made: dict[str, list[nn.Module]] = {"stolen": [], "independent": []}
    seconds = 0.0
    for i in range(count):
        for role, models in made.items():
            kind = THEFTS[i % len(THEFTS)] if role == "stolen" else "train"
            architecture = known[0] if kind == "finetune" else known[i % len(known)]
            seed = SEED + 2 * i + (role == "stolen")
            model = _build(architecture, source.preprocessing.to_dict(), seed)
            how = {**fixed, "kind": kind, "seed": seed, "architecture": dataclasses.asdict(architecture)}
            path = folder / f"{role}-{i + 1:02}"
            spent = _read(path, how, model)
            if spent is None:
                start = time.process_time()
                trained = _make(kind, source, model, task, architecture.recipe, seen, seed, progress)
                _write(path, how, trained, time.process_time() - start)
                # Read like one that was there: the order of the weights in memory decides last bits of the answers.
                spent = _read(path, how, model)
                assert spent is not None
            models.append(model.eval())
            seconds += spent
    return OwnModels(tuple(made["stolen"]), tuple(made["independent"]), seconds)


def _write(path: Path, how: Mapping[str, Any], model: nn.Module, seconds: float) -> None:
    # Removed first and written last: what is described is there, whenever the run is stopped.
    path.with_suffix(".json").unlink(missing_ok=True)
    save_weights(path.with_suffix(".safetensors"), model)
    with atomic_write(path.with_suffix(".json")) as handle:
        handle.write(canonical_json({"how": how, "seconds": seconds}).encode())


def _read(path: Path, how: Mapping[str, Any], model: nn.Module) -> float | None:
    """The seconds a kept training took, the weights being loaded; None where there is none that fits."""
    try:
        kept = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        if canonical_json(kept["how"]) != canonical_json(how):
            return None
        load_weights(model, path.with_suffix(".safetensors"))
        return float(kept["seconds"])
    except (OSError, ValueError, KeyError, TypeError, FileFormatError, ModelError):
        return None
