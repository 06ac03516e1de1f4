"""How a worker process of a simulation trains one model."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..attacks import train
from ..attacks.registry import ATTACKS, AttackContext
from ..labelled_zoo.folder import LabelledZoo, Role
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import Trainer
from ..probes import ProbeSet
from .plan import Images, Planned, Setting


class SimulationTrainer(Trainer[Planned]):
    """Trains a `Planned` model, see `Trainer`."""

    def __init__(self, setting: Setting, zoo: LabelledZoo) -> None:
        super().__init__(zoo, setting.preprocessing, setting.device)
        self.setting = setting

    def train(self, planned: Planned) -> tuple[nn.Module, dict[str, Any]]:
        model = self._train(planned)
        # The keys "recipe" and "recipe_hash" are part of the file format.
        return model, {
            "options": dict(planned.options), "recipe": dict(planned.provenance), "recipe_hash": planned.plan_hash,
        }  # fmt: skip

    def measure(self, planned: Planned, model: nn.Module) -> float | None:
        return self.measure_on(self._images(planned).test, model)

    def measure_on(self, test: ProbeSet | None, model: nn.Module) -> float | None:
        """The accuracy on test images; None without labelled ones."""
        return None if test is None or test.labels is None else self.accuracy(model, test.images, test.labels)

    def label(self, planned: Planned) -> tuple[Role, str, Architecture]:
        return planned.role, planned.origin, planned.architecture

    def _images(self, planned: Planned) -> Images:
        """The images whose labels the model is trained on, and the test images for its accuracy."""
        if planned.origin.startswith("transfer-"):
            return self.setting.other_task[0]
        if planned.role == "independent" and planned.origin != "other-data":
            assert self.setting.owner is not None
            return self.setting.owner
        return self.setting.thief

    def _train(self, planned: Planned) -> nn.Module:
        setting, seed = self.setting, planned.seed
        images, labels = self._tensors(self._images(planned).train)
        if planned.role == "independent":
            assert labels is not None
            model = self.build(planned.trained, seed)
            return train(model, images, labels, config=setting.config, seed=seed, progress=self.check_stop)
        attack = ATTACKS[planned.origin]
        own, own_labels = self._tensors(setting.thief.train)
        transfer = (images, labels) if planned.origin.startswith("transfer-") and labels is not None else None
        surrogate = self._tensors(setting.surrogate)[0] if attack.needs_surrogate and setting.surrogate else None
        # A transfer's head has an output for every class, also for one without training images.
        options = {**planned.options, "outputs": setting.other_task[1]} if transfer else planned.options
        return attack.make(
            self.load_source(),
            (lambda _: self.build(planned.trained, seed)) if attack.starts_from == "student" else None,
            own,
            own_labels,
            context=AttackContext(
                setting.config, setting.tuning, surrogate, transfer, setting.preprocessing, options
            ),
            seed=seed,
            progress=self.check_stop,
        )  # fmt: skip

    def _tensors(self, images: ProbeSet) -> tuple[Tensor, Tensor | None]:
        labels = None if images.labels is None else torch.from_numpy(images.labels.copy())
        return self.inputs(images.content_hash, images.images), labels
