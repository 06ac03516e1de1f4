"""What a worker process of a simulation does: make one model, measure it, fingerprint it."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Event

import torch
from torch import Tensor, nn

from ..attacks import train
from ..attacks.registry import ATTACKS, AttackContext
from ..attacks.training import seeded
from ..fingerprint import fingerprint
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..labelled_zoo.training_pool import StoppedError, quiet_worker
from ..models import load_model, save_weights
from ..probes import ProbeSet
from .plan import Architecture, Images, Planned, Setting

_BATCH = 256


@dataclass(frozen=True)
class Failure:
    """A model that could not be made, and why."""

    name: str
    reason: str


class Worker:
    """What a worker process keeps between two models."""

    def __init__(self, setting: Setting, zoo: LabelledZoo, stop: Event) -> None:
        self.setting, self.zoo, self.stop = setting, zoo, stop
        self._inputs: dict[str, Tensor] = {}
        self._probes: dict[str, ProbeSet] = {}

    def make(self, planned: Planned) -> ZooMember:
        """Train one model and write its weights."""
        start = time.perf_counter()
        images = self._images(planned)
        model = self._train(planned, images)
        seconds = round(time.perf_counter() - start, 2)
        accuracy = self.accuracy(model, images.test)
        digest = save_weights(self.zoo.weights_file(planned.name), model)
        return ZooMember(
            planned.name, planned.role, planned.origin,
            planned.architecture.spec, dict(planned.architecture.arguments), planned.seed, accuracy, seconds,
            {"options": dict(planned.options), "recipe": dict(planned.provenance), "recipe_hash": planned.plan_hash,
             "weights": digest},
        )  # fmt: skip

    def fingerprint(self, member: ZooMember) -> ZooMember:
        """Run a member on the probe sets of which it has no answers yet, and keep them."""
        missing = [name for name in self.zoo.probes if not self.zoo.fingerprint_file(name, member).exists()]
        if missing:
            # From the file, as anybody else would: what is fingerprinted is what was written.
            model = load_model(
                member.architecture, weights=self.zoo.weights_file(member), kwargs=member.architecture_args
            )
            for name in missing:
                if name not in self._probes:
                    self._probes[name] = self.zoo.load_probes(name)
                fingerprint(
                    model, self._probes[name],
                    preprocessing=self.setting.preprocessing, batch_size=_BATCH, device=self.setting.device,
                    name=member.name,
                ).save(self.zoo.fingerprint_file(name, member))  # fmt: skip
        return member

    def accuracy(self, model: nn.Module, test: ProbeSet | None) -> float | None:
        """The share of test images whose label is the largest output; None without labelled test images."""
        if test is None or test.labels is None:
            return None
        right = 0
        with torch.inference_mode():
            for start in range(0, len(test), _BATCH):
                pixels = torch.from_numpy(test.images[start : start + _BATCH].copy())
                answers = model(self.setting.preprocessing(pixels).to(self.setting.device)).argmax(dim=1).cpu()
                right += int((answers == torch.from_numpy(test.labels[start : start + _BATCH].copy())).sum())
        return right / len(test)

    def _images(self, planned: Planned) -> Images:
        """Those that the model is trained on for its labels, and measured on."""
        if planned.origin.startswith("transfer-"):
            return self.setting.other_task[0]
        if planned.role == "independent" and planned.origin != "other-data":
            assert self.setting.owner is not None
            return self.setting.owner
        return self.setting.thief

    def _train(self, planned: Planned, images: Images) -> nn.Module:
        setting, seed = self.setting, planned.seed
        inputs, labels = self._tensors(images.train)
        if planned.role == "independent":
            assert labels is not None
            model = self._student(planned.trained, seed)
            return train(model, inputs, labels, config=setting.config, seed=seed, progress=self.check)
        attack = ATTACKS[planned.origin]
        own, own_labels = self._tensors(setting.thief.train)
        transfer = (inputs, labels) if planned.origin.startswith("transfer-") and labels is not None else None
        surrogate = self._tensors(setting.surrogate)[0] if attack.needs_surrogate and setting.surrogate else None
        return attack.make(
            self._source(),
            (lambda _: self._student(planned.trained, seed)) if attack.starts_from == "student" else None,
            own,
            own_labels,
            context=AttackContext(
                setting.config, setting.tuning, surrogate, transfer, setting.preprocessing,
                # A transfer's head has an output for every class, also for one without training images.
                {**planned.options, "outputs": setting.other_task[1]} if transfer else planned.options,
            ),
            seed=seed,
            progress=self.check,
        )  # fmt: skip

    def _student(self, architecture: Architecture, seed: int) -> nn.Module:
        with seeded(seed, torch.device("cpu")):
            return self._placed(load_model(architecture.spec, kwargs=architecture.arguments))

    def _source(self) -> nn.Module:
        source = self.setting.source
        return self._placed(load_model(source.spec, weights=self.zoo.weights_file("source"), kwargs=source.arguments))

    def _placed(self, model: nn.Module) -> nn.Module:
        # Convolutions on a CPU are faster with the channels last; the values' layout is all that changes.
        return model.to(self.setting.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def _tensors(self, images: ProbeSet) -> tuple[Tensor, Tensor | None]:
        key = images.content_hash
        if key not in self._inputs:
            x = self.setting.preprocessing(torch.from_numpy(images.images.copy()))
            nchw = self.setting.preprocessing.layout == "NCHW"
            self._inputs[key] = x.contiguous(memory_format=torch.channels_last) if nchw else x
        return self._inputs[key], None if images.labels is None else torch.from_numpy(images.labels.copy())

    def check(self, done: int, steps: int) -> None:
        """Called after every step of a training."""
        if self.stop.is_set():
            raise StoppedError


_worker: Worker | None = None


def start_worker(setting: Setting, zoo: LabelledZoo, stop: Event) -> None:
    """Prepare a worker process; it ends with its parent, also where that is killed.

    Args:
        setting: of the simulation.
        zoo: folder and probe sets; the members do not matter here.
        stop: once it is set, a training ends with `StoppedError` at its next step.
    """
    global _worker
    quiet_worker()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker = Worker(setting, zoo, stop)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)  # no clean-up: files are written whole or not at all


def make_member(job: Planned | ZooMember) -> ZooMember | Failure:
    """Make and fingerprint one model, or fingerprint one that is there.

    A model that fails (a training that diverges, a student that takes other images) does not end the others: it is
    told and not raised. A student is somebody's own code, which can raise anything.

    Args:
        job: which; the source's weights must be there.

    Returns:
        The member as zoo.json shall list it, or what went wrong.

    Raises:
        StoppedError: the whole is told to stop.
    """
    if _worker is None:
        raise RuntimeError("make_member must run in a process prepared by start_worker")
    try:
        return _worker.fingerprint(_worker.make(job) if isinstance(job, Planned) else job)
    except StoppedError:
        raise
    except Exception as error:
        return Failure(job.name, f"{type(error).__name__}: {error}")
