"""How a worker process of the demo trains one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..attacks import ATTACKS, SCRATCH, AttackContext, TrainingConfig, train
from ..attacks.training import RunOptions
from ..labelled_zoo.folder import LabelledZoo, Role
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import Trainer
from .data import Task
from .plan import PREPROCESSING, TEMPERATURE, THEFTS, Member, Size, architecture_of

_FINETUNE_LEARNING_RATE = SCRATCH.learning_rate / 5


class DemoTrainer(Trainer[Member]):
    """Trains a `Member`, see `Trainer`."""

    def __init__(self, zoo: LabelledZoo, task: Task, size: Size) -> None:
        super().__init__(zoo, PREPROCESSING)
        self.task, self.size = task, size

    def train(self, planned: Member) -> tuple[nn.Module, dict[str, Any]]:
        patches = getattr(self.task, planned.side)
        images, labels = self.inputs(planned.side, patches.pixels), torch.from_numpy(patches.labels)
        config = TrainingConfig(epochs=self.size.epochs)
        tuning = TrainingConfig(epochs=max(1, self.size.epochs // 2), learning_rate=_FINETUNE_LEARNING_RATE)
        run: RunOptions = {"seed": planned.seed, "progress": self.check_stop}

        def build(classes: int) -> nn.Module:
            return self.build(architecture_of(planned, classes), planned.seed)

        if planned.method not in THEFTS:
            return train(build(len(self.task.classes)), images, labels, config=config, **run), {}
        by_probabilities = planned.method == "extract-probabilities"
        attack = ATTACKS["extract-soft-t4" if by_probabilities else planned.method]
        context = AttackContext(config, tuning, options={"temperature": TEMPERATURE} if by_probabilities else {})
        return attack.make(self.load_source(), build, images, labels, context=context, **run), {}

    def measure(self, planned: Member, model: nn.Module) -> float:
        return self.accuracy(model, self.task.test.pixels, self.task.test.labels)

    def label(self, planned: Member) -> tuple[Role, str, Architecture]:
        architecture = architecture_of(planned, len(self.task.classes))
        if planned.role == "source":
            return "source", "source", architecture
        if planned.role == "suspect":
            return "stolen", planned.method, architecture
        if planned.side == "attacker":
            return "independent", "other-data", architecture
        same = planned.architecture == self.size.architectures[0]
        return "independent", "same-data-same-architecture" if same else "same-data", architecture
