"""How a worker process of the test bed trains one member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..attacks import TrainingConfig, replace_head, train
from ..attacks import transfer as transfer_attacks
from ..attacks.attack import Attack, AttackContext
from ..attacks.registry import ATTACKS
from ..labelled_zoo.folder import LabelledZoo, Role
from ..labelled_zoo.images import Images
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.trainer import Trainer
from ..models import ReferenceSimilarity
from ..models.runner import Model
from .backbones import load_backbone
from .plan import Planned, Size, model_spec, training_config, tuning_config
from .probes import references
from .task import Task
from .verification import VERIFIER_ATTACKS, embedder, verification_accuracy

_OTHER_DATA = 0.6  # of the attacker's images: each such independent has data of its own


class TestbedTrainer(Trainer[Planned]):
    """Trains a member of a test bed, see `Trainer`.

    Args:
        zoo: see `Trainer`.
        task: the pool is not used.
        size: of the test bed.
        arguments: keyword arguments of each architecture's callable, the number of classes apart.
        device: where models are trained and run.
        backbones: folder of the public models; None where none is planned.
    """

    __test__ = False  # not a test, whatever its name begins with

    def __init__(
        self,
        zoo: LabelledZoo,
        task: Task,
        size: Size,
        arguments: Mapping[str, Mapping[str, Any]],
        device: str,
        backbones: Path | None = None,
    ) -> None:
        super().__init__(zoo, task.preprocessing, device)
        self.task, self.size, self.arguments, self.backbones = task, size, arguments, backbones

    def train(self, planned: Planned) -> tuple[nn.Module, dict[str, Any]]:
        model, facts = self._train_new(planned) if planned.role != "stolen" else self._steal(planned)
        backbone = {} if planned.backbone is None else {"backbone": planned.backbone}
        return model, {**facts, **backbone, "kind": planned.architecture, "options": dict(planned.options)}

    def measure(self, planned: Planned, model: nn.Module) -> float:
        if self.task.references is not None:
            return verification_accuracy(
                self.outputs(embedder(model), self.task.test.pixels), torch.from_numpy(self.task.test.labels)
            )
        test = self.task.transfer_test if self._is_transferred(planned) else self.task.test
        return self.accuracy(model, test.pixels, test.labels)

    def label(self, planned: Planned) -> tuple[Role, str, Architecture]:
        architecture, outputs = self._architecture(planned.architecture), self._classes(planned)
        if planned.origin.startswith("transfer-"):
            arguments = {"model": architecture.spec, "outputs": outputs, "model_args": architecture.arguments}
            architecture = Architecture(f"{transfer_attacks.__name__}:with_head", arguments)
        else:
            architecture = self._architecture(planned.architecture, outputs)
        return planned.role, planned.origin, architecture

    def serve(self, model: nn.Module) -> Model:
        model = self.place(model)
        if self.task.references is None:
            return model
        known = references(self.task.references)
        return ReferenceSimilarity(embedder(model), known, preprocessing=self.preprocessing, batch_size=256)

    def _train_new(self, planned: Planned) -> tuple[nn.Module, dict[str, Any]]:
        """The source or an independent."""
        side = self._side(planned)
        images, labels = self._images(side), torch.from_numpy(getattr(self.task, side).labels)
        facts: dict[str, Any] = {"data": side}
        if planned.origin == "other-data":
            order = np.random.default_rng(planned.seed).permutation(len(labels))
            rows = torch.from_numpy(np.sort(order[: round(_OTHER_DATA * len(labels))]))
            images, labels = images[rows], labels[rows]
            facts["rows"] = len(rows)
        config = self._config(planned, len(labels))
        model = self._student(planned)(self._classes(planned))
        model = train(model, images, labels, config=config, seed=planned.seed, progress=self.check_stop)
        return model, {**facts, "recipe": asdict(config)}

    def _steal(self, planned: Planned) -> tuple[nn.Module, dict[str, Any]]:
        attack, context = attacks_on(self.task)[planned.origin], self._context(planned)
        stolen = attack.make(
            self.load_source(),
            self._student(planned) if attack.starts_from == "student" else None,
            self._images("attacker"),
            None if self.task.references is not None else torch.from_numpy(self.task.attacker.labels),
            context=context,
            seed=planned.seed,
            progress=self.check_stop,
        )
        return stolen, {"recipe": asdict(context.config), "tuning": asdict(context.tuning)}

    def _context(self, planned: Planned) -> AttackContext:
        task, size, kind = self.task, self.size, planned.architecture
        # The number of epochs follows from the images that this attack is trained on.
        sides = {"extract-knockoff": len(task.surrogate), "transfer-all": len(task.transfer),
                 "transfer-last": len(task.transfer)}  # fmt: skip
        rows = sides.get(planned.origin, len(task.attacker))
        started = attacks_on(task)[planned.origin].starts_from
        pruning = planned.origin in ("fine-prune", "prune-taylor", "prune-magnitude", "prune-distill")
        return AttackContext(
            config=self._config(planned, rows, size.extraction if started == "student" else 1.0),
            tuning=tuning_config(kind, size.tuning // 2 if pruning else size.tuning, rows, size.config),
            surrogate=self._images("surrogate") if planned.origin == "extract-knockoff" else None,
            transfer=(self._images("transfer"), torch.from_numpy(task.transfer.labels)),
            preprocessing=task.preprocessing,
            options=planned.options,
        )

    def _config(self, planned: Planned, rows: int, times: float = 1.0) -> TrainingConfig:
        """Of a training that starts from new weights or from a backbone's, and sees so many times the usual images."""
        make = training_config if planned.backbone is None else tuning_config
        return make(planned.architecture, times * self.size.images, rows, self.size.config)

    def _architecture(self, name: str, classes: int | None = None) -> Architecture:
        arguments = {"classes": len(self.task.classes), **self.arguments[name]}
        return Architecture(model_spec(name), arguments if classes is None else {**arguments, "classes": classes})

    def _student(self, planned: Planned) -> Callable[[int], nn.Module]:
        if planned.backbone is None or self.backbones is None:
            return lambda outputs: self.build(self._architecture(planned.architecture, outputs), planned.seed)
        public = load_backbone(self.backbones, planned.backbone, self._architecture(planned.architecture))
        return lambda outputs: self.place(replace_head(public, outputs, seed=planned.seed))

    def _images(self, side: str) -> Tensor:
        images: Images | np.ndarray[Any, Any] = getattr(self.task, side)
        return self.inputs(side, images.pixels if isinstance(images, Images) else images)

    def _side(self, planned: Planned) -> str:
        """What an independent, a sibling or the source is trained on."""
        if planned.data is not None:
            return planned.data
        if planned.origin == "other-classes":
            return "transfer"
        if planned.origin != "other-data":
            return "defender"
        return "attacker" if self.task.references is None else "transfer"

    def _classes(self, planned: Planned) -> int:
        """The number of outputs of the finished model."""
        return len(self.task.transfer_classes if self._is_transferred(planned) else self.task.classes)

    def _is_transferred(self, planned: Planned) -> bool:
        """Whether the finished model is of the other task."""
        if planned.role == "stolen":
            return planned.origin.startswith("transfer-")
        return self._side(planned) == "transfer"


def attacks_on(task: Task) -> Mapping[str, Attack]:
    """The attacks of a task, by origin."""
    return ATTACKS if task.references is None else VERIFIER_ATTACKS
