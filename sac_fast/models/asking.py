"""Ask a model with probes, with the preprocessing that is named, or one of a list; and what is to be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..probes import Probes, ProbeSet
from .batch_statistics import watch_statistics
from .opened_model import OpenedModel
from .preprocessing import REMEDY, Auto, Named, Preprocessing, check_unprocessed
from .preprocessing_choice import candidates, choose_preprocessing, describe_outputs, suggest_other
from .runner import Model, run_model

#: Probes that are asked once more with each usual preprocessing where none was named.
TRIED = 16
#: From fewer probes than this nothing follows.
MIN_TRIED = 8


@dataclass(frozen=True)
class Asked:
    """The outputs of a model, what its pixels went through, and what is to be said of both.

    Attributes:
        outputs: ``(n, k)``.
        preprocessing: that was used; None: recorded inputs, which are given as they are.
        notes: lines for people.
        tried: of `Choice`, with ``"by"``; empty where nothing was chosen.
    """

    outputs: Tensor
    preprocessing: Preprocessing | None
    notes: list[str] = field(default_factory=list)
    tried: dict[str, Any] = field(default_factory=dict)

    def provenance(self) -> dict[str, Any]:
        """What a fingerprint keeps of it."""
        if self.preprocessing is None:
            return {}
        return self.preprocessing.provenance() | ({"preprocessing_tried": self.tried} if self.tried else {})


def ask_model(
    model: Model | OpenedModel,
    probes: Probes,
    preprocessing: Named,
    **options: Any,
) -> Asked:
    """`run_model`, with `choose_preprocessing` where the preprocessing is ``"auto"``.

    Args:
        model: a network, a callable, or one that is open and can be run.
        probes: the images, whose labels decide where there are some; or recorded inputs.
        preprocessing: what is named is believed; ``"auto"``: one of a list.
        options: of `run_model`.

    Raises:
        ModelError: see `run_model`; or a preprocessing for recorded inputs.
    """
    labels = None if probes.labels is None else torch.tensor(probes.labels)
    runnable = model.runnable() if isinstance(model, OpenedModel) else model
    if not isinstance(probes, ProbeSet):
        check_unprocessed(preprocessing)
        return ask_recorded(model, lambda: run_model(runnable, probes, **options), labels)
    images = probes

    def run(one: Preprocessing, count: int | None = None) -> Tensor:
        some = images if count is None else images.subset(range(count))
        return run_model(runnable, some, preprocessing=one, **options)

    size = images.images.shape[1:3]
    return adapt_and_run(model, preprocessing, (size[0], size[1]), run, labels, rows=len(images))


def ask_outputs(model: OpenedModel, probes: Probes, named: Preprocessing) -> Asked:
    """Recorded outputs.

    Args:
        model: with outputs.
        probes: that they are of.
        named: what the inputs are said to have gone through.
    """
    outputs = model.recorded_outputs(probes)
    labels = None if probes.labels is None else torch.tensor(probes.labels)
    said = describe_outputs(outputs, labels)
    if isinstance(probes, ProbeSet):
        return Asked(outputs, model.adapt(named, *probes.images.shape[1:3]), said)
    check_unprocessed(named)
    return Asked(outputs, None, said)


def ask_recorded(model: Model | OpenedModel, run: Callable[[], Tensor], labels: Tensor | None) -> Asked:
    """Run a model on recorded inputs.

    Args:
        model: see `ask_model`.
        run: gives the outputs.
        labels: class numbers of the probes; None: there are none.
    """
    with watch_statistics(model) as seen:
        outputs = run()
    return Asked(outputs, None, [*seen.notes(), *describe_outputs(outputs, labels)])


def adapt_and_run(
    model: Model | OpenedModel,
    preprocessing: Named,
    size: tuple[int, int],
    run: Callable[..., Tensor],
    labels: Tensor | None,
    *,
    rows: int,
) -> Asked:
    """Run a model with what is named or chosen, and with what its file declares.

    Args:
        model, preprocessing: see `ask_model`.
        size: height and width of the probes.
        run: gives the outputs with a preprocessing, for all probes or for the first few.
        labels: class numbers of the probes; None: there are none.
        rows: number of probes.
    """
    claim = model.claim if isinstance(model, OpenedModel) else None

    def adapted(one: Preprocessing) -> Preprocessing:
        return model.adapt(one, *size) if isinstance(model, OpenedModel) else one

    def adapted_list(base: Preprocessing) -> dict[str, Preprocessing]:
        said = model.notes if isinstance(model, OpenedModel) else ()
        listed = {name: adapted(one) for name, one in candidates(base, claim).items()}
        if isinstance(model, OpenedModel):
            model.notes = said  # what is taken of the file is said once, of the one that is used
        return listed

    if isinstance(preprocessing, Preprocessing):
        used = adapted(preprocessing)
        notes = []
        with watch_statistics(model) as seen:
            outputs = run(used)
        if (preprocessing.mean, preprocessing.std) == (Preprocessing().mean, Preprocessing().std):
            if claim is not None:
                said = f"{claim.source} claims mean {_shown(claim.mean)} and std {_shown(claim.std)}"
                notes.append(f"{said}, which were not used: name them, or give {REMEDY}")
            few = min(TRIED, rows)
            first = None if labels is None else labels[:few]
            listed = adapted_list(preprocessing) if few >= MIN_TRIED else {}
            notes += suggest_other(lambda one: run(one, few), listed, used, outputs[:few], first)
        return Asked(outputs, used, [*notes, *seen.notes(), *describe_outputs(outputs, labels)])
    base = preprocessing.base if isinstance(preprocessing, Auto) else Preprocessing()
    listed = adapted_list(base)
    choice = choose_preprocessing(run, listed, labels)
    used = choice.preprocessing
    adapted(candidates(base, claim)[choice.tried["chosen"]])
    said = f"mean {_shown(used.mean)} and std {_shown(used.std)} ({choice.tried['chosen']})"
    found = ", ".join(f"{name} {choice.tried[name].get(choice.by, 'failed')}" for name in listed)
    notes = [f"preprocessing chosen by {choice.by} ({found}): {said}", *describe_outputs(choice.outputs, labels)]
    return Asked(choice.outputs, used, notes, {**choice.tried, "by": choice.by})


def _shown(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def default_name(model: object) -> str:
    """What a model is called that nobody has named: its function, else its class."""
    is_function = not isinstance(model, nn.Module) and hasattr(model, "__name__")
    return str(getattr(model, "__name__", "")) if is_function else type(model).__name__
