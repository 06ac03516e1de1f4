"""Ask a model with probes, with the preprocessing that is named, or one of a list; and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ..probes import ProbeSet
from .opened_model import OpenedModel
from .preprocessing import Preprocessing
from .preprocessing_choice import candidates, choose_preprocessing, describe_outputs
from .runner import Model, run_model


@dataclass(frozen=True)
class Auto:
    """A list of usual preprocessings of which one is chosen; ``base`` names all but mean and std."""

    base: Preprocessing = field(default_factory=Preprocessing)


Named = Preprocessing | Auto | Literal["auto"]


@dataclass(frozen=True)
class Asked:
    """The outputs of a model, what its pixels went through, and what is to be said of both.

    Attributes:
        outputs: ``(n, k)``.
        preprocessing: that was used.
        notes: lines for people.
        tried: of `Choice`, with ``"by"``; empty where nothing was chosen.
    """

    outputs: Tensor
    preprocessing: Preprocessing
    notes: list[str] = field(default_factory=list)
    tried: dict[str, Any] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """What a fingerprint keeps of it."""
        said = {"preprocessing": self.preprocessing.to_dict(), "preprocessing_hash": self.preprocessing.hash}
        return said | ({"preprocessing_tried": self.tried} if self.tried else {})


def ask_model(
    model: Model | OpenedModel,
    probes: ProbeSet,
    preprocessing: Named,
    **options: Any,
) -> Asked:
    """`run_model`, with `choose_preprocessing` where the preprocessing is ``"auto"``.

    Args:
        model: a network, a callable, or one that is open and can be run.
        probes: the images, whose labels decide where there are some.
        preprocessing: what is named is believed; ``"auto"``: one of a list.
        options: of `run_model`.

    Raises:
        ModelError: see `run_model`.
    """
    labels = None if probes.labels is None else torch.tensor(probes.labels)
    size = probes.images.shape[1:3]

    def run(one: Preprocessing) -> Tensor:
        runnable = model.runnable() if isinstance(model, OpenedModel) else model
        return run_model(runnable, probes, preprocessing=one, **options)

    asked = adapt_and_run(model, preprocessing, (size[0], size[1]), run, labels)
    asked.notes.extend(describe_outputs(asked.outputs, labels))
    return asked


def adapt_and_run(
    model: Model | OpenedModel,
    preprocessing: Named,
    size: tuple[int, int],
    run: Callable[[Preprocessing], Tensor],
    labels: Tensor | None,
) -> Asked:
    """Run a model with what is named or chosen, and with what its file declares.

    Args:
        model, preprocessing: see `ask_model`.
        size: height and width of the probes.
        run: gives the outputs.
        labels: class numbers of the probes; None: there are none.
    """
    claim = model.claim if isinstance(model, OpenedModel) else None

    def adapted(one: Preprocessing) -> Preprocessing:
        return model.adapt(one, *size) if isinstance(model, OpenedModel) else one

    if isinstance(preprocessing, Preprocessing):
        used = adapted(preprocessing)
        notes = []
        if claim is not None and (preprocessing.mean, preprocessing.std) == (Preprocessing().mean, Preprocessing().std):
            said = f"{claim.source} claims mean {_shown(claim.mean)} and std {_shown(claim.std)}"
            notes.append(f"{said}, which were not used: name them, or give --preprocessing auto")
        return Asked(run(used), used, notes)
    base = preprocessing.base if isinstance(preprocessing, Auto) else Preprocessing()
    listed = {name: adapted(one) for name, one in candidates(base, claim).items()}
    choice = choose_preprocessing(run, listed, labels)
    used = choice.preprocessing
    said = f"mean {_shown(used.mean)} and std {_shown(used.std)} ({choice.tried['chosen']})"
    found = ", ".join(f"{name} {choice.tried[name].get(choice.by, 'failed')}" for name in listed)
    note = f"preprocessing chosen by {choice.by} ({found}): {said}"
    return Asked(choice.outputs, used, [note], {**choice.tried, "by": choice.by})


def _shown(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def default_name(model: object) -> str:
    """What a model is called that nobody has named: its function, else its class."""
    is_function = not isinstance(model, nn.Module) and hasattr(model, "__name__")
    return str(getattr(model, "__name__", "")) if is_function else type(model).__name__
