"""What a worker process of the test bed does: train one member, measure it, fingerprint it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks import train
from ..attacks import transfer as transfer_attacks
from ..attacks.attack import Attack, AttackContext
from ..attacks.registry import ATTACKS
from ..fingerprint import fingerprint
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from ..labelled_zoo.training_pool import StoppedError, quiet_worker
from ..models import ReferenceSimilarity, load_model, save_weights
from ..probes import ProbeSet
from .plan import Planned, Size, model_spec, training_config, tuning_config
from .probes import references
from .task import Images, Task, inputs
from .verification import VERIFIER_ATTACKS, embedder, verification_accuracy

_BATCH = 256
_OTHER_DATA = 0.6  # of the attacker's images: each such independent has data of its own


@dataclass(frozen=True)
class Setting:
    """What all members of a test bed share, sent to every worker.

    Attributes:
        zoo: its folder and probe sets; the members do not matter here.
        task: without the pool, which workers do not need.
        size: of the test bed.
        arguments: keyword arguments of each architecture's callable, the number of classes apart.
        device: where models are trained and run.
    """

    zoo: LabelledZoo
    task: Task
    size: Size
    arguments: Mapping[str, Mapping[str, Any]]
    device: str


@dataclass(frozen=True)
class Failure:
    """A member that could not be made, and why."""

    name: str
    reason: str


class _Worker:
    """What a worker process keeps between two models."""

    def __init__(self, setting: Setting, stop: Event) -> None:
        self.setting, self.stop = setting, stop
        self._probes: dict[str, ProbeSet] = {}
        self._inputs: dict[str, Tensor] = {}

    def work(self, planned: Planned) -> ZooMember:
        """Train the model, write weights and fingerprints, and say what became of it."""
        start = time.perf_counter()
        model, made_by = self._train(planned)
        seconds = time.perf_counter() - start
        transferred = planned.origin.startswith("transfer-")
        verifies = self.setting.task.references is not None
        accuracy = self._accuracy(model, "transfer_test" if transferred and not verifies else "test")
        arguments = self._arguments(planned.architecture)
        spec = model_spec(planned.architecture)
        if transferred:
            arguments = {"model": spec, "outputs": self._classes(planned), "model_args": arguments}
            spec = f"{transfer_attacks.__name__}:with_head"
        else:
            arguments["classes"] = self._classes(planned)
        digest = save_weights(self.setting.zoo.weights_file(planned.name), model)
        member = ZooMember(
            planned.name, planned.role, planned.origin, spec, arguments, planned.seed, accuracy, round(seconds, 2),
            {**made_by, "kind": planned.architecture, "options": dict(planned.options), "weights": digest},
        )  # fmt: skip
        # Fingerprints that are there already are of other weights, those of a run that was killed.
        return self.fingerprint(member, again=True)

    def fingerprint(self, member: ZooMember, *, again: bool = False) -> ZooMember:
        """Run a trained member on the probe sets of which it has no answers yet, or again on all."""
        zoo = self.setting.zoo
        wanted = [name for name in zoo.probes if again or not zoo.fingerprint_file(name, member).exists()]
        if not wanted:
            return member
        # From the file, as anybody else would: what is fingerprinted is what was written.
        model = load_model(member.architecture, weights=zoo.weights_file(member), kwargs=member.architecture_args)
        model = _placed(model, self.setting.device)
        preprocessing = self.setting.task.preprocessing
        if self.setting.task.references is not None:
            known = references(self.setting.task.references)
            model = ReferenceSimilarity(embedder(model), known, preprocessing=preprocessing, batch_size=_BATCH)
        for name in wanted:
            self.check(0, 0)
            if name not in self._probes:
                self._probes[name] = zoo.load_probes(name)
            made = fingerprint(
                model, self._probes[name], preprocessing=preprocessing, batch_size=_BATCH, name=member.name
            )
            made.save(zoo.fingerprint_file(name, member))
        return member

    def check(self, done: int, steps: int) -> None:
        """Called after every step of a training."""
        if self.stop.is_set():
            raise StoppedError

    def _train(self, planned: Planned) -> tuple[nn.Module, dict[str, Any]]:
        task, size, kind, seed = self.setting.task, self.setting.size, planned.architecture, planned.seed
        if planned.role != "stolen":
            side = self._side(planned)
            images, labels = self._images(side), torch.from_numpy(getattr(task, side).labels)
            facts: dict[str, Any] = {"data": side}
            if planned.origin == "other-data":
                rows = torch.from_numpy(
                    np.sort(np.random.default_rng(seed).permutation(len(labels))[: round(_OTHER_DATA * len(labels))])
                )
                images, labels = images[rows], labels[rows]
                facts["rows"] = len(rows)
            how = training_config(kind, size.images, len(labels))
            model = train(self._student(kind, seed)(self._classes(planned)), images, labels,
                          config=how, seed=seed, progress=self.check)  # fmt: skip
            return model, {**facts, "recipe": asdict(how)}
        attack = thefts(task)[planned.origin]
        context = self._context(planned)
        stolen = attack.make(
            self._source(),
            self._student(kind, seed) if attack.starts_from == "student" else None,
            self._images("attacker"),
            None if task.references is not None else torch.from_numpy(task.attacker.labels),
            context=context,
            seed=seed,
            progress=self.check,
        )
        return stolen, {"recipe": asdict(context.config), "tuning": asdict(context.tuning)}

    def _context(self, planned: Planned) -> AttackContext:
        task, size, kind = self.setting.task, self.setting.size, planned.architecture
        # The number of epochs follows from the images that this attack is trained on.
        sides = {"extract-knockoff": len(task.surrogate), "transfer-all": len(task.transfer),
                 "transfer-last": len(task.transfer)}  # fmt: skip
        rows = sides.get(planned.origin, len(task.attacker))
        pruning = planned.origin in ("fine-prune", "prune-taylor", "prune-magnitude")
        return AttackContext(
            config=training_config(kind, size.images, rows),
            tuning=tuning_config(kind, size.tuning // 2 if pruning else size.tuning, rows),
            surrogate=self._images("surrogate") if planned.origin == "extract-knockoff" else None,
            transfer=(self._images("transfer"), torch.from_numpy(task.transfer.labels)),
            preprocessing=task.preprocessing,
            options=planned.options,
        )

    def _arguments(self, architecture: str) -> dict[str, Any]:
        return {"classes": len(self.setting.task.classes), **self.setting.arguments[architecture]}

    def _student(self, architecture: str, seed: int) -> Callable[[int], nn.Module]:
        def build(outputs: int) -> nn.Module:
            arguments = {**self._arguments(architecture), "classes": outputs}
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                model = load_model(model_spec(architecture), kwargs=arguments)
            return _placed(model, self.setting.device)

        return build

    def _source(self) -> nn.Module:
        first = next(iter(self.setting.arguments))
        weights = self.setting.zoo.weights_file("source")
        model = load_model(model_spec(first), weights=weights, kwargs=self._arguments(first))
        return _placed(model.eval(), self.setting.device)

    def _images(self, side: str) -> Tensor:
        if side not in self._inputs:
            images: Images | np.ndarray = getattr(self.setting.task, side)
            pixels = images.pixels if isinstance(images, Images) else images
            self._inputs[side] = inputs(pixels, self.setting.task.preprocessing)
        return self._inputs[side]

    def _side(self, planned: Planned) -> str:
        """What an independent or the source is trained on."""
        if planned.origin != "other-data":
            return "defender"
        return "attacker" if self.setting.task.references is None else "transfer"

    def _classes(self, planned: Planned) -> int:
        """The number of outputs that the finished model has."""
        task = self.setting.task
        other = planned.origin.startswith("transfer-") or self._side(planned) == "transfer"
        return len(task.transfer_classes if other else task.classes)

    def _accuracy(self, model: nn.Module, side: str) -> float:
        verifies = self.setting.task.references is not None
        model = embedder(model) if verifies else model
        labels = torch.from_numpy(getattr(self.setting.task, side).labels)
        with torch.inference_mode():
            batches = torch.split(self._images(side), _BATCH)
            answers = torch.cat([model(batch.to(self.setting.device)).cpu() for batch in batches])
        if verifies:
            return verification_accuracy(answers, labels)
        return int((answers.argmax(dim=1) == labels).sum()) / len(labels)


def _placed(model: nn.Module, device: str) -> nn.Module:
    # Convolutions on a CPU are faster with the channels last; the values' layout is all that changes.
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def thefts(task: Task) -> Mapping[str, Attack]:
    """The attacks that a task knows, by origin."""
    return ATTACKS if task.references is None else VERIFIER_ATTACKS


_worker: _Worker | None = None


def start_worker(setting: Setting, stop: Event) -> None:
    """Prepare a worker process.

    Args:
        setting: of the test bed.
        stop: once it is set, a training ends with `StoppedError` at its next step.
    """
    global _worker
    quiet_worker()
    _worker = _Worker(setting, stop)


def make_member(job: Planned | ZooMember) -> ZooMember | Failure:
    """Train and fingerprint one planned model, or fingerprint one that is trained.

    One model that fails (a training that diverges, say) shall not cost the others, so it is told and not raised.

    Args:
        job: which; the source must have been written before a stolen model is made.

    Returns:
        The member, as zoo.json shall list it, or what went wrong.

    Raises:
        StoppedError: the whole was told to stop.
    """
    if _worker is None:
        raise RuntimeError("make_member must run in a process prepared by start_worker")
    try:
        return _worker.work(job) if isinstance(job, Planned) else _worker.fingerprint(job)
    except StoppedError:
        raise
    except Exception as error:  # an architecture of the user's may raise anything
        return Failure(job.name, f"{type(error).__name__}: {error}")
