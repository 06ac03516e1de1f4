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
from ..models.common_form import CommonForm, FormedOutputs, common_form
from ..models.output_form import check_output_form, decimals_of, detect_output_form, weakest_form
from .names import unique_name
from .rows import positions_in
from .sibling_p_values import MIN_SIBLINGS

Outputs = Fingerprint | OpenedModel | Tensor | ArrayLike


@dataclass(frozen=True, eq=False)
class Member:
    """One model's outputs and what is known of it.

    Attributes:
        name: for reports.
        formed: its outputs, (n, k) or (n,), with their form.
        provenance: of its fingerprint; empty for arrays.
        problem: why the outputs are no evidence; None where they can be used.
    """

    name: str
    formed: FormedOutputs
    provenance: Mapping[str, Any] = field(default_factory=dict)
    problem: str | None = None

    @property
    def outputs(self) -> Tensor:
        """The outputs as they were given."""
        return self.formed.outputs


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
    problem = None
    # A finite sum has finite terms only, and is quicker than a look at each of them.
    if not (bool(outputs.sum().isfinite()) or bool(torch.isfinite(outputs).all())):
        problem = "outputs are not finite"
    elif bool((outputs == outputs[0]).all()):
        problem = "outputs are the same for all probes"
    elif outputs.ndim == 2 and outputs.shape[1] > 1 and bool((outputs == outputs[:, :1]).all()):
        problem = "outputs are the same for all classes"
    if problem:
        if suspect:
            return Member(name, FormedOutputs(outputs, "logits"), provenance, problem)
        raise ValueError(f"{name} must be finite and vary, but its {problem}")
    formed = given.formed if isinstance(given, Fingerprint) else FormedOutputs(outputs, detect_output_form(outputs))
    if output_form != "auto" and not formed.declared:
        with contextlib.suppress(ValueError):  # else a stronger form, brought to the one that was asked for
            formed = FormedOutputs(outputs, check_output_form(outputs, output_form), declared=True)
    return Member(name, formed, provenance)


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
        partial = positions_of(model, source) is not None and model not in members
        if len(model.outputs) != len(source.outputs) and not partial:
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


def positions_of(model: Member, source: Member) -> tuple[int, ...] | None:
    """Where the rows of a model that answered some of the probes are among the source's; None: all of them.

    Raises:
        FingerprintError: rows that the source does not have.
    """
    return positions_in(model.provenance, len(model.outputs), source.provenance, len(source.outputs), model.name)


def representatives(members: Sequence[Member]) -> list[FormedOutputs]:
    """Members that decide a common form with a suspect as all of them would: the coarsest one of each form.

    Forms are looked for once for each suspect, and the decimals of 20 members take longer than the test.
    """
    found: dict[tuple[str, bool], tuple[tuple[int, ...], FormedOutputs]] = {}
    for member in members:
        outputs, form = member.outputs, member.formed.form
        coarse: tuple[int, ...] = (0,)
        if form in ("probabilities", "top-k"):
            listed = int((outputs > 0).sum(dim=1).max()) if form == "top-k" and outputs.ndim == 2 else 0
            coarse = (decimals_of(outputs) or 99, listed)
        elif form == "labels":
            coarse = (-int(outputs.max()),)
        key = (form, member.formed.declared)
        if key not in found or coarse < found[key][0]:
            found[key] = (coarse, member.formed)
    return [formed for _, formed in found.values()]


def shared_form(members: Sequence[FormedOutputs], suspect: FormedOutputs, output_form: str) -> CommonForm:
    """The form in which members and one suspect are compared.

    Raises:
        ValueError: their forms cannot be brought together, or not to the one that was asked for.
    """
    shared = common_form([*members, suspect])
    if output_form in ("auto", shared.form):
        return shared
    form = weakest_form([shared.form, output_form])
    return shared if form == shared.form else CommonForm(form)


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
