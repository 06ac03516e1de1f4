"""How a worker process of the demo trains one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..attacks import ATTACKS, SCRATCH, AttackContext, TrainingConfig, train, transfer_all
from ..attacks.training import RunOptions
from ..fingerprint import Fingerprint
from ..labelled_zoo.folder import LabelledZoo, Role, ZooMember
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import Trainer
from ..models import load_model
from ..models.output_form import to_form
from ..models.runner import Model
from ..probes import ProbeSet
from .data import Task
from .plan import BACKBONE, DECIMALS, PREPROCESSING, THEFTS, Member, Size, architecture

_TUNING_LEARNING_RATE = SCRATCH.learning_rate / 5
_BACKBONE_LEARNING_RATE = SCRATCH.learning_rate / 2


class DemoTrainer(Trainer[Member]):
    """Trains a `Member`, see `Trainer`.

    Args:
        zoo: see `Trainer`.
        tasks: the photographs to recognise, and those of the public backbone.
        size: of the demo.
    """

    def __init__(self, zoo: LabelledZoo, tasks: tuple[Task, Task], size: Size) -> None:
        super().__init__(zoo, PREPROCESSING)
        self.task, self.public = tasks
        self.size = size

    def make(self, job: Member | ZooMember) -> ZooMember:
        if isinstance(job, Member) and job.behind is not None:
            return self._answer(job, job.behind)
        return super().make(job)

    def train(self, planned: Member) -> tuple[nn.Module, dict[str, Any]]:
        patches = self.public.defender if planned.side == "public" else getattr(self.task, planned.side)
        images, labels = self.inputs(planned.side, patches.pixels), torch.from_numpy(patches.labels)
        run: RunOptions = {"seed": planned.seed, "progress": self.check_stop}
        half = max(1, self.size.epochs // 2)
        config = TrainingConfig(epochs=self.size.epochs)

        def build(classes: int) -> nn.Module:
            return self.build(architecture(planned.architecture, classes), planned.seed)

        if planned.method in THEFTS:
            tuning = TrainingConfig(epochs=half, learning_rate=_TUNING_LEARNING_RATE)
            attack, context = ATTACKS[planned.method], AttackContext(config, tuning)
            return attack.make(self.load_source(), build, images, labels, context=context, **run), {}
        if planned.from_backbone:
            again = TrainingConfig(epochs=half, learning_rate=_BACKBONE_LEARNING_RATE)
            outputs = len(self.task.classes)
            return transfer_all(self._load_backbone(), images, labels, outputs=outputs, config=again, **run), {}
        return train(build(self._classes(planned)), images, labels, config=config, **run), {}

    def measure(self, planned: Member, model: nn.Module) -> float:
        test = (self.public if planned.side == "public" else self.task).test
        return self.accuracy(model, test.pixels, test.labels)

    def label(self, planned: Member) -> tuple[Role, str, Architecture]:
        network = architecture(planned.architecture, self._classes(planned))
        if planned.method in ("source", "sibling"):
            return planned.method, planned.method, network
        if planned.truth == "derived":
            return "stolen", planned.method, network
        assert planned.kind is not None
        return "independent", planned.kind, network

    def run(self, member: ZooMember, model: Model, probes: ProbeSet) -> Fingerprint:
        made = super().run(member, model, probes)
        # Declared: the logits of a model that has learnt little may lie in -1 … 1, as similarities do.
        about = {"output_form": "logits", "output_form_declared": True}
        return Fingerprint(made.outputs, {**made.provenance, **about})

    def _classes(self, planned: Member) -> int:
        return len((self.public if planned.side == "public" else self.task).classes)

    def _load_backbone(self) -> nn.Module:
        network, weights = architecture("plain", len(self.public.classes)), self.zoo.weights_file(BACKBONE)
        return self.place(load_model(network.spec, weights=weights, kwargs=network.arguments))

    def _answer(self, job: Member, behind: str) -> ZooMember:
        """The fingerprint of an API: what it lets through of the outputs of the model behind it."""
        (name,) = self.zoo.probes
        made = self.zoo.load_fingerprint(name, behind)
        outputs = to_form(
            made.outputs, job.form, current="logits", decimals=DECIMALS if job.form == "probabilities" else None
        )
        about = {"name": job.name, "model_hash": None, "kind": None, "output_form": job.form}
        provenance = {**made.provenance, **about}
        Fingerprint(outputs, provenance).save(self.zoo.fingerprint_file(name, job.name))
        return ZooMember(job.name, "stolen", job.method, "recorded outputs", {}, job.seed)
