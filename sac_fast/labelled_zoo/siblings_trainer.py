"""What a worker process does for a folder of siblings: call the owner's training code, or run a model that is there."""

from __future__ import annotations

import inspect
import os
import platform
import random
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..errors import ModelError, describe_error, require
from ..fingerprint import Fingerprint, fingerprint
from ..formats.identify import identify
from ..io.files import open_regular
from ..io.hashing import sha256_stream
from ..io.version import package_version
from ..models import ModelEntry, OpenedModel, Preprocessing, open_model, save_weights
from ..models.architectures import import_callable
from ..models.runner import Model
from ..probes import ProbeSet
from ..verify.usual_seeds import is_usual_seed
from .folder import LabelledZoo, Role, ZooMember
from .plan import Architecture, PlannedModel
from .trainer import Trainer

#: What trains one sibling: a function, or ``"package.module:function"``.
TrainFunction = Callable[..., Any] | str


@dataclass(frozen=True, kw_only=True)
class OwnedModel(PlannedModel):
    """A model that the owner already has.

    Attributes:
        entry: its file, and how it is opened.
    """

    entry: ModelEntry


@dataclass(frozen=True, kw_only=True)
class SiblingOptions:
    """How siblings are trained and run.

    Attributes:
        train: see `make_siblings`; None: nothing is trained.
        checkpoint: file from which the last phase is trained again; None: trained from the start.
        model: builds the network, so that weights can be loaded again; None: not known.
        output, batch_size, output_form: see `fingerprint`.
        training: `describe_training` of the code.
    """

    train: TrainFunction | None = None
    checkpoint: Path | None = None
    model: Architecture | None = None
    output: int | str | None = None
    output_form: str | None = None
    batch_size: int = 64
    training: dict[str, Any] | None = None


def resolve(train: TrainFunction) -> Callable[..., Any]:
    """The function that is meant; a text is imported, which runs its module's code."""
    return import_callable(train) if isinstance(train, str) else train


def describe_training(train: TrainFunction) -> dict[str, Any]:
    """Name and code of a training function: ``train``, ``code_hash`` (SHA-256 of its source file, or None)."""
    function = inspect.unwrap(resolve(train))
    name = train if isinstance(train, str) else f"{function.__module__}:{getattr(function, '__qualname__', 'train')}"
    try:
        file = inspect.getsourcefile(function)
    except TypeError:  # an object with __call__
        file = inspect.getsourcefile(type(function))
    if file is None or not os.path.isfile(file):
        return {"train": name, "code_hash": None}
    with open_regular(file) as handle:
        return {"train": name, "code_hash": sha256_stream(handle)}


def describe_versions() -> dict[str, str]:
    """Versions of what a training depends on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "sac_fast": package_version(),
    }


def takes_device(train: TrainFunction) -> bool:
    """Whether a training function has an argument ``device``."""
    return "device" in inspect.signature(resolve(train)).parameters


class SiblingTrainer(Trainer[PlannedModel]):
    """Trains or opens siblings, see `Trainer`."""

    def __init__(self, options: SiblingOptions, device: str, zoo: LabelledZoo) -> None:
        super().__init__(zoo, Preprocessing.from_dict(zoo.preprocessing), device)
        self.options = options
        self._made: tuple[str, nn.Module] | None = None
        self._accuracy: float | None = None

    def make(self, job: PlannedModel | ZooMember) -> ZooMember:
        if isinstance(job, OwnedModel):
            return self._adopt(job)
        try:
            return super().make(job)
        finally:
            self._made = None

    def train(self, planned: PlannedModel) -> tuple[nn.Module, dict[str, Any]]:
        seed, options = planned.seed, self.options
        assert options.train is not None
        # Where the code draws from a global state, that is the sibling's own, too.
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - the state that older code draws from
        torch.manual_seed(seed)
        arguments = [seed] if options.checkpoint is None else [seed, str(options.checkpoint)]
        keywords = {"device": self.device} if takes_device(options.train) else {}
        try:
            with self._ended_by_stop():
                returned = resolve(options.train)(*arguments, **keywords)
        except (Exception, SystemExit) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}:{frame.lineno}"
            raise ModelError(f"train failed at {where}: {describe_error(error)}") from error
        model, self._accuracy = check_trained(returned)
        self._made = planned.name, model
        details: dict[str, Any] = {"options": dict(planned.options), **self._provenance()}
        last = torch.initial_seed()
        if last != seed and is_usual_seed(last):
            details["reseeded"] = last
        return model, {**details, "loadable": options.model is not None}

    def measure(self, planned: PlannedModel, model: nn.Module) -> float | None:
        return self._accuracy

    def label(self, planned: PlannedModel) -> tuple[Role, str, Architecture]:
        if self.options.model is not None:
            return "sibling", "sibling", self.options.model
        assert self._made is not None
        kind = type(self._made[1])
        return "sibling", "sibling", Architecture(f"{kind.__module__}:{kind.__qualname__}")

    def load(self, member: ZooMember) -> nn.Module:
        if self._made is not None and self._made[0] == member.name:
            return self._made[1]
        if not member.details.get("loadable"):
            raise ModelError(f"model must be given to run {member.name!r} again, whose weights alone are in the folder")
        return super().load(member)

    def run(self, member: ZooMember, model: Model | OpenedModel, probes: ProbeSet) -> Fingerprint:
        made = fingerprint(
            model, probes,
            preprocessing=self.preprocessing, batch_size=self.options.batch_size, device=self.device,
            output=self.options.output, output_form=self.options.output_form, name=member.name,
        )  # fmt: skip
        return self._describe(member, made)

    def _describe(self, member: ZooMember, made: Fingerprint) -> Fingerprint:
        """The fingerprint as a sibling's, which says how the model was made."""
        keys = ("how", "train", "code_hash", "fork", "versions")
        training = {key: member.details.get(key) for key in keys} | {"accuracy": member.accuracy}
        kind = "sibling" if member.role == "sibling" else None
        provenance = {**made.provenance, "name": member.name, "kind": kind, "training": training}
        return Fingerprint(made.outputs, provenance)

    def _provenance(self) -> dict[str, Any]:
        training = self.options.training or {}
        how = "trained" if self.options.checkpoint is None else "forked"
        return {"how": how, **training, "versions": describe_versions(), "device": self.device}

    def _adopt(self, job: OwnedModel) -> ZooMember:
        """Fingerprint a model that the owner has; a copy of its weights is kept where it is a network."""
        details: dict[str, Any] = {"options": dict(job.options), "how": "owned", "loadable": False}
        member = ZooMember(job.name, "sibling", "sibling", "owned", {}, job.seed, details=details)
        if identify(job.entry.path) == "fingerprint":
            made = Fingerprint.load(job.entry.path)
            for name in self.zoo.probes:
                if (wanted := self.probes(name).content_hash) != made.probe_hash:
                    raise ModelError(f"fingerprint must be of the probes {name!r} ({wanted}), got {made.probe_hash}")
                self._describe(member, made).save(self.zoo.fingerprint_file(name, member))
            details["model_hash"] = made.model_hash
            return member
        with open_model(job.entry) as opened:
            details["model_hash"] = opened.model_hash
            if opened.architecture is not None:
                details["weights"] = save_weights(self.zoo.weights_file(member), opened.runnable())  # type: ignore[arg-type]
            for name in self.zoo.probes:
                self.run(member, opened, self.probes(name)).save(self.zoo.fingerprint_file(name, member))
        return member

    @contextmanager
    def _ended_by_stop(self) -> Iterator[None]:
        """End this process when the run ends early: the owner's code cannot be asked to stop."""
        done = threading.Event()
        stop = self.stop

        def watch() -> None:
            while stop is not None and not done.is_set():
                if stop.wait(0.2) and not done.is_set():
                    os._exit(1)  # files are written whole or not at all

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            done.set()


def check_trained(returned: Any) -> tuple[nn.Module, float | None]:
    """What a training function returned: a model, or a model and its accuracy.

    Raises:
        ModelError: something else.
    """
    model, accuracy = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    wanted = "train must return an nn.Module, or a pair of it and its accuracy (0 … 1)"
    require(isinstance(model, nn.Module), wanted, type(model).__name__, ModelError)
    if accuracy is None:
        return model, None
    number = isinstance(accuracy, (int, float, np.number, torch.Tensor)) and not isinstance(accuracy, bool)
    require(number and 0 <= float(accuracy) <= 1, wanted, accuracy, ModelError)
    return model, float(accuracy)
