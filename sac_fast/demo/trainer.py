"""How a worker process of the demo trains one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ..attacks import SCRATCH, TrainingConfig, extract_labels, extract_probabilities, finetune_all, finetune_last, train
from ..attacks.training import RunOptions
from ..labelled_zoo.folder import LabelledZoo, Role
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import Trainer
from .data import Task
from .plan import PREPROCESSING, TEMPERATURE, Member, Size, architecture_of

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
        if planned.method == "finetune-all":
            return finetune_all(self.load_source(), images, labels, config=tuning, **run), {}
        if planned.method == "finetune-last":
            return finetune_last(self.load_source(), images, labels, config=tuning, **run), {}
        new = self.build(architecture_of(planned, len(self.task.classes)), planned.seed)
        if planned.method == "extract-labels":
            return extract_labels(self.load_source(), new, images, config=config, **run), {}
        if planned.method == "extract-probabilities":
            source = self.load_source()
            return extract_probabilities(source, new, images, temperature=TEMPERATURE, config=config, **run), {}
        return train(new, images, labels, config=config, **run), {}

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
