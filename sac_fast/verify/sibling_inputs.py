"""Outputs of source, siblings and suspects, brought to one form for each suspect."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ..errors import FingerprintError
from ..fingerprint import Fingerprint
from ..models import OpenedModel
from ..models.output_form import check_output_form, decimals_of, detect_output_form, to_form, weakest_form
from .names import unique_name
from .sibling_p_values import MIN_SIBLINGS

Outputs = Fingerprint | OpenedModel | Tensor | ArrayLike
# Probability of a class that a top-k list leaves out.
_LEFT_OUT = 1e-3


@dataclass(frozen=True, eq=False)
class Member:
    """One model's outputs and what is known of it.

    Attributes:
        name: for reports.
        outputs: (n, k) or (n,), as given.
        form: one of `OUTPUT_FORMS`.
        provenance: of its fingerprint; empty for arrays.
        problem: why the outputs are no evidence; None where they can be used.
    """

    name: str
    outputs: Tensor
    form: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None


@dataclass(frozen=True)
class CommonForm:
    """To what members and one suspect are brought; suspects with the same one are treated together.

    Attributes:
        form: weakest form of members and suspect.
        decimals: to which probabilities are rounded; None: as they are.
        top: classes that top-k keeps; None for other forms.
        width: columns of the suspect's outputs.
    """

    form: str
    decimals: int | None
    top: int | None
    width: int


def read_member(name: str, given: Outputs, output_form: str, *, suspect: bool) -> Member:
    """Read outputs of one model.

    Args:
        name: for messages and reports.
        given: a fingerprint, recorded outputs, or an array.
        output_form: ``"auto"``, or the form that is declared for outputs that can have it.
        suspect: NaN, Inf and constant outputs are then a `problem` instead of an error.

    Raises:
        TypeError, ValueError: not outputs; the message says which model.
    """
    provenance: Mapping[str, Any] = {}
    if isinstance(given, Fingerprint):
        outputs, provenance = given.outputs, given.provenance
    elif isinstance(given, OpenedModel):
        if not given.recorded:
            raise TypeError(f"{name} must be outputs, got a model that has to be run: take its fingerprint first")
        outputs = given.run(None)
    else:
        outputs = _as_tensor(name, given)
    if outputs.ndim not in (1, 2) or 0 in outputs.shape or len(outputs) < 2:
        raise ValueError(f"{name} must be (n, k) or (n,), n at least 2, k at least 1, got {tuple(outputs.shape)}")
    # A finite sum has finite terms only, and is quicker than a look at each of them.
    if not (bool(outputs.sum().isfinite()) or bool(torch.isfinite(outputs).all())):
        if suspect:
            return Member(name, outputs, "logits", provenance, "outputs are not finite")
        raise ValueError(f"{name} must be finite, got NaN or Inf")
    if bool((outputs == outputs[0]).all()):
        if suspect:
            return Member(name, outputs, "logits", provenance, "outputs are the same for all probes")
        raise ValueError(f"{name} must vary, got the same outputs for all probes")
    declared = provenance.get("output_form")
    form = str(declared) if declared else detect_output_form(outputs)
    if output_form != "auto" and not declared:
        with contextlib.suppress(ValueError):  # else a stronger form, brought to the one that was asked for
            form = check_output_form(outputs, output_form)
    return Member(name, outputs, form, provenance)


def read_members(source: Outputs, siblings: Sequence[Outputs] | Mapping[str, Outputs], form: str) -> list[Member]:
    """Source and siblings, the source first.

    Args:
        source: outputs.
        siblings: outputs of several models, in a list or by name.
        form: see `read_member`.

    Raises:
        TypeError, ValueError: too few, or not outputs.
    """
    if isinstance(siblings, Mapping):
        named = dict(siblings)
    elif isinstance(siblings, (str, Fingerprint, OpenedModel)):
        raise TypeError(f"siblings must be several models' outputs, got {type(siblings).__name__}")
    else:
        named = {}
        for i, given in enumerate(siblings, start=1):
            name = given.name if isinstance(given, Fingerprint) else f"sibling {i}"
            named[unique_name(name, named)] = given
    if len(named) < MIN_SIBLINGS:
        raise ValueError(f"siblings must be at least {MIN_SIBLINGS} models, got {len(named)}")
    members = [read_member("source", source, form, suspect=False)]
    members += [read_member(name, given, form, suspect=False) for name, given in named.items()]
    if isinstance(source, Fingerprint):
        members[0] = dataclasses.replace(members[0], name=source.name)
    return members


def read_suspects(suspects: Mapping[str, Outputs] | Outputs, form: str) -> list[Member]:
    """Suspects by name; a single one is called after its fingerprint, or "suspect".

    Raises:
        TypeError, ValueError: none, names that are no text, or not outputs.
    """
    if not isinstance(suspects, Mapping):
        suspects = {suspects.name if isinstance(suspects, Fingerprint) else "suspect": suspects}
    if not suspects:
        raise ValueError("suspects must hold at least one model, got none")
    for name in suspects:
        if not isinstance(name, str):
            raise TypeError(f"suspects must have names as keys, got {name!r}")
    return [read_member(name, given, form, suspect=True) for name, given in suspects.items()]


def check_together(members: Sequence[Member], suspects: Sequence[Member]) -> None:
    """Raise unless all models answered the same probes, and members are models of their own.

    Raises:
        ValueError: another number of probes.
        FingerprintError: other probes, or a sibling with the source's or another sibling's weights.
    """
    source = members[0]
    hashes: dict[str, str] = {}
    for model in (*members, *suspects):
        if len(model.outputs) != len(source.outputs):
            raise ValueError(f"{model.name} must have {len(source.outputs)} rows, got {len(model.outputs)}")
        probes, expected = model.provenance.get("probe_hash"), source.provenance.get("probe_hash")
        if probes and expected and probes != expected:
            raise FingerprintError(f"{model.name} must be of the source's probes {expected}, got {probes}")
    for model in members:
        weights = model.provenance.get("model_hash")
        if weights in hashes:
            raise FingerprintError(f"{model.name} must be a model of its own, got the weights of {hashes[weights]}")
        if weights:
            hashes[weights] = model.name


def common_form(members: Sequence[Member], suspect: Member, output_form: str) -> CommonForm:
    """The form in which members and one suspect are compared.

    Raises:
        ValueError: their forms cannot be brought together.
    """
    forms = [member.form for member in (*members, suspect)]
    form = weakest_form(forms if output_form == "auto" else [*forms, output_form])
    width = suspect.outputs.shape[1] if suspect.outputs.ndim == 2 else 1
    if form == "labels":
        return CommonForm(form, None, None, class_count(members) if width == 1 else width)
    if form not in ("probabilities", "top-k"):
        return CommonForm(form, None, None, width)
    rounded = [decimals_of(model.outputs) for model in (*members, suspect) if model.form in ("probabilities", "top-k")]
    decimals = min((digits for digits in rounded if digits is not None), default=None)
    lists = [int((model.outputs > 0).sum(dim=1).max()) for model in (*members, suspect) if model.form == "top-k"]
    return CommonForm(form, decimals, min(lists) if form == "top-k" else None, width)


def class_count(members: Sequence[Member]) -> int:
    """Classes of the members: the columns of their outputs, or the largest class number + 1."""
    widths = [member.outputs.shape[1] for member in members if member.outputs.ndim == 2 and member.outputs.shape[1] > 1]
    return max(widths) if widths else max(int(member.outputs.max()) + 1 for member in members)


def bring_to(model: Member, common: CommonForm, classes: int) -> Tensor:
    """A model's outputs in the common form; probabilities and top-k as log-probabilities.

    Args:
        model: a member or the suspect.
        common: see `common_form`.
        classes: number of the members' classes.

    Returns:
        (n, k) float32 or float64.
    """
    outputs, form = model.outputs, common.form
    if form == model.form and form not in ("probabilities", "top-k", "labels") and common.width > 1:
        return outputs
    if form == "top-k":
        listed = to_form(outputs, form, current=model.form, top=common.top or classes, decimals=common.decimals)
        listed = listed / listed.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return listed.clamp(min=_LEFT_OUT).log()
    if form == "probabilities":
        rounded = to_form(outputs, form, current=model.form, decimals=common.decimals)
        return to_form(rounded, "log-probabilities", current=form, decimals=common.decimals)
    return to_form(outputs, form, current=model.form, classes=classes)


def _as_tensor(name: str, given: Tensor | ArrayLike) -> Tensor:
    if isinstance(given, Tensor):
        tensor = given.detach().cpu()
    else:
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{name} must hold real numbers, got {array.dtype}")
        tensor = torch.from_numpy(np.array(array, copy=True))
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {tensor.dtype}")
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.double()
