"""The demo's models: which there are, and how a worker process trains one of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from ..attacks import TrainingConfig, extract_labels, extract_probabilities, finetune_all, finetune_last, train
from ..labelled_zoo.training_pool import StoppedError, quiet_worker
from ..models import Preprocessing, load_model, save_weights
from . import architectures
from .data import Patches, Task

Method = Literal["source", "finetune-all", "finetune-last", "extract-labels", "extract-probabilities", "independent"]
Role = Literal["source", "suspect", "null", "held-out"]
THEFTS: tuple[Method, ...] = ("finetune-all", "finetune-last", "extract-labels", "extract-probabilities")
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TEMPERATURE = 4.0
_FINETUNE_LEARNING_RATE = 0.02  # a fifth of the first training's
_MAX_SEEDS = 1000  # of the models of one demo; demos of other seeds share none of them


@dataclass(frozen=True)
class Size:
    """How large a demo is.

    Attributes:
        patches, test_patches: per photograph, see `make_task`.
        epochs: of every training from the start; fine-tuning takes half.
        null, held_out: numbers of independents to calibrate on and to be judged.
        finetuned: number of models per kind of fine-tuning; extraction makes one per architecture.
        rate: false-accusation rate.
        architectures: names in `sac_fast.demo.architectures`; the first is the source's.
    """

    patches: int
    test_patches: int
    epochs: int
    null: int
    held_out: int
    finetuned: int
    rate: float
    architectures: tuple[str, ...] = ("plain", "residual", "inception")


FULL = Size(patches=400, test_patches=100, epochs=8, null=10, held_out=8, finetuned=2, rate=0.1)
QUICK = Size(patches=300, test_patches=60, epochs=8, null=5, held_out=5, finetuned=1, rate=0.2)


@dataclass(frozen=True)
class Member:
    """One model of the demo, before it is trained.

    Attributes:
        name: of its files.
        method: how it comes about.
        architecture: name in `sac_fast.demo.architectures`.
        side: whose patches it is trained on.
        role: what it is for.
        seed: of its initialisation and training.
    """

    name: str
    method: Method
    architecture: str
    side: Literal["defender", "attacker"]
    role: Role
    seed: int

    @property
    def origin(self) -> str:
        """How the model came about, in words."""
        if self.method == "finetune-all":
            return "fine-tuned, all layers"
        if self.method == "finetune-last":
            return "fine-tuned, last layer"
        if self.method == "extract-labels":
            return "extracted by labels"
        if self.method == "extract-probabilities":
            return f"extracted by probabilities (T = {TEMPERATURE:g})"
        return f"{self.method}, {self.side}'s patches"


def plan(size: Size, seed: int) -> list[Member]:
    """List the models of a demo, the source first.

    Independents run through all pairs of architecture and side, so that the null pool and the held-out
    ones are of the same kinds.

    Args:
        size: how many.
        seed: of the demo; every model gets a seed of its own.

    Returns:
        Source, independents (null, then held-out), stolen models: in the order of training.
    """
    kinds = size.architectures
    members: list[tuple[str, Method, str, Literal["defender", "attacker"], Role]] = [
        ("source", "source", kinds[0], "defender", "source")
    ]
    for i in range(size.null + size.held_out):
        side: Literal["defender", "attacker"] = "defender" if i % 2 == 0 else "attacker"
        kind = kinds[i % len(kinds)]
        role: Role = "null" if i < size.null else "held-out"
        members.append((f"independent-{i + 1:02}-{kind}-{side}", "independent", kind, side, role))
    for method in THEFTS:
        finetuned = method.startswith("finetune")
        for i, kind in enumerate([kinds[0]] * size.finetuned if finetuned else kinds):
            name = f"{method}-{i + 1}" if finetuned else f"{method}-{kind}"
            members.append((name, method, kind, "attacker", "suspect"))
    return [Member(*fields, seed=seed * _MAX_SEEDS + i) for i, fields in enumerate(members)]


@dataclass(frozen=True)
class Trained:
    """What a worker reports of a model: its test accuracy (0 … 1) and the seconds it took."""

    name: str
    accuracy: float
    seconds: float


class _Worker:
    """What a worker process keeps between two models."""

    def __init__(self, task: Task, size: Size, folder: Path, stop: Event) -> None:
        self.task, self.size, self.folder, self.stop = task, size, folder, stop
        self.inputs = {side: _inputs(getattr(task, side)) for side in ("defender", "attacker", "test")}

    def build(self, member: Member) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(member.seed)
            model: nn.Module = getattr(architectures, member.architecture)(classes=len(self.task.classes))
        # Convolutions on a CPU are faster with the channels last; the values' layout is all that changes.
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def source(self) -> nn.Module:
        model = load_model(
            f"{architectures.__name__}:{self.size.architectures[0]}",
            weights=self.folder / "source.safetensors",
            kwargs={"classes": len(self.task.classes)},
        )
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def make(self, member: Member) -> Trained:
        start = time.perf_counter()
        config = TrainingConfig(epochs=self.size.epochs)
        tune = TrainingConfig(epochs=max(1, self.size.epochs // 2), learning_rate=_FINETUNE_LEARNING_RATE)
        images, labels = self.inputs[member.side]
        seed = member.seed
        model: nn.Module
        if member.method == "finetune-all":
            model = finetune_all(self.source(), images, labels, config=tune, seed=seed, progress=self.check)
        elif member.method == "finetune-last":
            model = finetune_last(self.source(), images, labels, config=tune, seed=seed, progress=self.check)
        elif member.method == "extract-labels":
            model = extract_labels(
                self.source(), self.build(member), images, config=config, seed=seed, progress=self.check
            )
        elif member.method == "extract-probabilities":
            model = extract_probabilities(
                self.source(), self.build(member), images,
                temperature=TEMPERATURE, config=config, seed=seed, progress=self.check,
            )  # fmt: skip
        else:
            model = train(self.build(member), images, labels, config=config, seed=seed, progress=self.check)
        save_weights(self.folder / f"{member.name}.safetensors", model)
        return Trained(member.name, _accuracy(model, *self.inputs["test"]), time.perf_counter() - start)

    def check(self, done: int, steps: int) -> None:
        if self.stop.is_set():
            raise StoppedError


def _inputs(patches: Patches) -> tuple[Tensor, Tensor]:
    images = PREPROCESSING(torch.from_numpy(patches.images)).contiguous(memory_format=torch.channels_last)
    return images, torch.from_numpy(patches.labels)


def _accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    with torch.inference_mode():
        predicted = torch.cat([model(batch).argmax(dim=1) for batch in torch.split(images, 256)])
    return int((predicted == labels).sum()) / len(labels)


_make: Callable[[Member], Trained] | None = None


def start_worker(task: Task, size: Size, folder: Path, stop: Event) -> None:
    """Prepare a worker process: one thread, the task as tensors, Ctrl-C left to the parent.

    Args:
        task: the patches.
        size: of the demo.
        folder: where weights are written, and the source's are read.
        stop: once it is set, a training ends with `StoppedError` at its next step.
    """
    global _make
    quiet_worker()
    _make = _Worker(task, size, folder, stop).make


def make_model(member: Member) -> Trained:
    """Train one model and write its weights; runs in a process prepared by `start_worker`.

    Args:
        member: which; the source must have been written before a stolen model is made.

    Returns:
        Accuracy and time.

    Raises:
        SacFastError: the training failed.
        StoppedError: the demo was told to stop.
    """
    if _make is None:
        raise RuntimeError("make_model must run in a process prepared by start_worker")
    return _make(member)
