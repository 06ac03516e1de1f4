"""What a worker process does: train one model, measure its accuracy, write its weights and fingerprints."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..attacks.training import seeded
from ..fingerprint import Fingerprint, fingerprint
from ..models import Preprocessing, load_model, save_weights
from ..models.runner import Model
from ..probes import ProbeSet
from .folder import LabelledZoo, Role, ZooMember
from .plan import Architecture
from .training_pool import Named, StoppedError, prepare_worker

BATCH_SIZE = 256


class Planned(Named, Protocol):
    """A model to train: `PlannedModel`, or anything with its name and seed."""

    @property
    def seed(self) -> int: ...


P = TypeVar("P", bound=Planned)


@dataclass(frozen=True)
class Failure:
    """A model that could not be made, and why."""

    name: str
    reason: str


def inputs(pixels: NDArray[np.uint8], preprocessing: Preprocessing) -> Tensor:
    """Preprocessed pixels, float32; NCHW is channels-last in memory, which is faster on a CPU."""
    tensor = preprocessing(torch.from_numpy(np.array(pixels)))
    return tensor.contiguous(memory_format=torch.channels_last) if preprocessing.layout == "NCHW" else tensor


class Trainer(ABC, Generic[P]):
    """How an application trains its models. It is sent to every worker process, which keeps it between two models.

    Args:
        zoo: folder, source and probe sets; the other members do not matter.
        preprocessing: of all models.
        device: on which models are trained and run.
    """

    def __init__(self, zoo: LabelledZoo, preprocessing: Preprocessing, device: str = "cpu") -> None:
        self.zoo, self.preprocessing, self.device = zoo, preprocessing, device
        self.stop: Event | None = None
        self._inputs: dict[str, Tensor] = {}
        self._probes: dict[str, ProbeSet] = {}

    @abstractmethod
    def train(self, planned: P) -> tuple[nn.Module, dict[str, Any]]:
        """Train a model; returns it and the `ZooMember.details`."""

    @abstractmethod
    def measure(self, planned: P, model: nn.Module) -> float | None:
        """The accuracy of a trained model; None without labelled test images."""

    @abstractmethod
    def label(self, planned: P) -> tuple[Role, str, Architecture]:
        """Role, origin and the architecture of the weights file."""

    def serve(self, model: nn.Module) -> Model:
        """What is fingerprinted, of a model as loaded from its file."""
        return model.to(self.device)

    def make(self, job: P | ZooMember) -> ZooMember:
        """Train, measure, save and fingerprint a model, or fingerprint a member that is there."""
        if isinstance(job, ZooMember):
            return self._fingerprint(job)
        start = time.perf_counter()
        model, details = self.train(job)
        seconds = round(time.perf_counter() - start, 2)
        role, origin, architecture = self.label(job)
        accuracy = self.measure(job, model)
        digest = save_weights(self.zoo.weights_file(job.name), model)
        member = ZooMember(
            job.name, role, origin, architecture.spec, dict(architecture.arguments), job.seed, accuracy, seconds,
            {**details, "weights": digest},
        )  # fmt: skip
        return self._fingerprint(member)

    def _fingerprint(self, member: ZooMember) -> ZooMember:
        """Write the fingerprints that are missing."""
        missing = [name for name in self.zoo.probes if not self.zoo.fingerprint_file(name, member).exists()]
        if missing:
            model = self.serve(self.load(member))
            for name in missing:
                self.check_stop()
                self.run(member, model, self.probes(name)).save(self.zoo.fingerprint_file(name, member))
        return member

    def load(self, member: ZooMember) -> nn.Module:
        """A member with its weights, from the file: what is fingerprinted is what was written."""
        weights = self.zoo.weights_file(member)
        return load_model(member.architecture, weights=weights, kwargs=member.architecture_args)

    def run(self, member: ZooMember, model: Model, probes: ProbeSet) -> Fingerprint:
        """The fingerprint of a member on a probe set."""
        kind = member.origin if member.role in ("sibling", "independent") else None
        return fingerprint(
            model, probes, preprocessing=self.preprocessing, batch_size=BATCH_SIZE, name=member.name, kind=kind
        )

    def probes(self, name: str) -> ProbeSet:
        """A probe set of the folder, kept for the next model."""
        if name not in self._probes:
            self._probes[name] = self.zoo.load_probes(name)
        return self._probes[name]

    def check_stop(self, done: int = 0, steps: int = 0) -> None:
        """The ``progress`` of every training.

        Raises:
            StoppedError: the run ends early.
        """
        if self.stop is not None and self.stop.is_set():
            raise StoppedError

    def build(self, architecture: Architecture, seed: int) -> nn.Module:
        """A freshly initialised network on the device."""
        with seeded(seed, torch.device("cpu")):
            model = load_model(architecture.spec, kwargs=architecture.arguments)
        return self.place(model)

    def load_source(self) -> nn.Module:
        """The source with its weights, on the device."""
        return self.place(self.load(self.zoo.source))

    def place(self, model: nn.Module) -> nn.Module:
        """The model on the device, channels-last, which is faster on a CPU and changes no value."""
        return model.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def inputs(self, key: str, pixels: NDArray[np.uint8]) -> Tensor:
        """`inputs`, kept under the key for the next model."""
        if key not in self._inputs:
            self._inputs[key] = inputs(pixels, self.preprocessing)
        return self._inputs[key]

    def outputs(self, model: nn.Module, pixels: NDArray[np.uint8]) -> Tensor:
        """The outputs of a model in eval mode, on the CPU."""
        batches = (pixels[start : start + BATCH_SIZE] for start in range(0, len(pixels), BATCH_SIZE))
        with torch.inference_mode():
            return torch.cat([model(inputs(batch, self.preprocessing).to(self.device)).cpu() for batch in batches])

    def accuracy(self, model: nn.Module, pixels: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """The share of images whose label is the largest output."""
        return int((self.outputs(model, pixels).argmax(dim=1).numpy() == labels).sum()) / len(labels)


_trainer: Trainer[Any] | None = None


def start_worker(trainer: Trainer[Any], stop: Event) -> None:
    """Prepare a worker process.

    Args:
        trainer: of the application.
        stop: once it is set, a training ends with `StoppedError` at its next step.
    """
    global _trainer
    prepare_worker()
    trainer.stop = stop
    _trainer = trainer


def make_member(job: Any) -> ZooMember | Failure:
    """`Trainer.make`, in a process prepared by `start_worker`.

    A model that fails (a training that diverges, an architecture of the user's that raises anything) does not end the
    others: the failure is returned, not raised.

    Args:
        job: a planned model, or a member to fingerprint; the source must be written before a stolen model is made.

    Returns:
        The member as zoo.json lists it, or what went wrong.

    Raises:
        StoppedError: the run ends early.
    """
    if _trainer is None:
        raise RuntimeError("make_member must run in a process prepared by start_worker")
    try:
        return _trainer.make(job)
    except StoppedError:
        raise
    except Exception as error:
        return Failure(job.name, f"{type(error).__name__}: {error}")
