"""The form in which two models' outputs are compared, and their rows in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from .output_form import (
    CLASSIFIER_FORMS,
    MAX_ONE_HOT,
    OUTPUT_FORMS,
    decimals_of,
    detect_output_form,
    score_rows,
    to_form,
    weakest_form,
)

#: Forms that small logits are taken for. Where the other model is a classifier, they are logits unless declared.
_LOOK_LIKE_LOGITS = ("similarities", "embeddings")


@dataclass(frozen=True)
class FormedOutputs:
    """Outputs with their form.

    Attributes:
        outputs: (n, k), finite.
        form: one of `OUTPUT_FORMS`.
        declared: whether somebody said so; else the values were looked at.
    """

    outputs: Tensor
    form: str
    declared: bool = False


def formed(outputs: Tensor) -> FormedOutputs:
    """Outputs with the form that they have by their values."""
    return FormedOutputs(outputs, detect_output_form(outputs))


@dataclass(frozen=True)
class CommonForm:
    """A form that outputs are brought to before they are compared.

    Attributes:
        form: one of `OUTPUT_FORMS`.
        classes: number of classes that class numbers are of; None for other forms.
        top: number of classes that are kept, for ``top-k``; else None.
        decimals: of the probabilities; None where they were not rounded.

    Example::

        >>> import torch
        >>> logits = torch.tensor([[4.0, 1.0, -2.0], [0.0, 3.0, 1.0]])
        >>> source = FormedOutputs(logits, "logits")
        >>> suspect = FormedOutputs(logits.softmax(1).round(decimals=2), "probabilities")
        >>> shared = common_form([source, suspect])
        >>> shared.form, shared.decimals, torch.equal(shared.rows(source), shared.rows(suspect))
        ('probabilities', 2, True)
    """

    form: str
    classes: int | None = None
    top: int | None = None
    decimals: int | None = None

    def accepts(self, given: FormedOutputs) -> bool:
        """Whether outputs can be brought to this form."""
        form = self._read(given)
        if self.form in CLASSIFIER_FORMS:
            return form in CLASSIFIER_FORMS and OUTPUT_FORMS.index(form) <= OUTPUT_FORMS.index(self.form)
        return form == self.form

    def convert(self, given: FormedOutputs) -> Tensor:
        """Outputs in this form, see `to_form`; the outputs themselves where nothing needs to be done.

        Raises:
            ValueError: a form that cannot be brought to this one.
        """
        form = self._read(given)
        columns = given.outputs.shape[1] if given.outputs.ndim == 2 else 0
        if form == self.form and (form in _LOOK_LIKE_LOGITS or (form == "logits" and columns > 1)) and columns:
            return given.outputs
        top = {} if self.top is None else {"top": self.top}
        return to_form(given.outputs, self.form, current=form, classes=self.classes, decimals=self.decimals, **top)

    def rows(self, given: FormedOutputs) -> Tensor:
        """The rows that scores take: `score_rows` of `convert`."""
        return score_rows(self.convert(given), self.form, decimals=self.decimals)

    def describe(self) -> str:
        """The form in a few words."""
        decimals = "" if self.decimals is None else f" of {self.decimals} decimals"
        return f"top-{self.top}{decimals}" if self.form == "top-k" else f"{self.form}{decimals}"

    def _read(self, given: FormedOutputs) -> str:
        if given.declared or given.form not in _LOOK_LIKE_LOGITS:
            return given.form
        return "logits" if self.form in CLASSIFIER_FORMS else self.form


def common_form(models: Sequence[FormedOutputs]) -> CommonForm:
    """The strongest form that the outputs of all models can be brought to.

    It is the weakest of their forms. Logits of one column (two classes) become log-probabilities. Probabilities get
    the fewest decimals that one of the models has, top-k the fewest classes. Outputs that merely look like
    similarities or embeddings are logits where another model is a classifier.

    Args:
        models: outputs on the same probes, the source first.

    Returns:
        The form.

    Raises:
        ValueError: forms that cannot be brought together.
    """
    forms = _read_forms(models)
    form = weakest_form(forms)
    if form == "logits" and any(_width(model) == 1 for model in models):
        return CommonForm("log-probabilities")
    if form == "labels":
        return CommonForm(form, classes=_classes(models))
    if form not in ("probabilities", "top-k"):
        return CommonForm(form)
    given = [model.outputs for model, of in zip(models, forms, strict=True) if of in ("probabilities", "top-k")]
    decimals = min((found for outputs in given if (found := decimals_of(outputs)) is not None), default=None)
    if form == "probabilities":
        return CommonForm(form, decimals=decimals)
    listed = [int((m.outputs > 0).sum(dim=1).max()) for m, of in zip(models, forms, strict=True) if of == "top-k"]
    return CommonForm(form, top=min(listed), decimals=decimals)


def _read_forms(models: Sequence[FormedOutputs]) -> list[str]:
    """Their forms, where outputs that merely look like similarities or embeddings are what the others are."""
    sure = [m.form for m in models if m.declared or m.form not in _LOOK_LIKE_LOGITS]
    forms = {model.form for model in models}
    if any(form in CLASSIFIER_FORMS for form in sure) or (not sure and len(forms) > 1):
        other = "logits"
    else:
        other = sure[0] if sure else models[0].form
    return [m.form if m.declared or m.form not in _LOOK_LIKE_LOGITS else other for m in models]


def _width(model: FormedOutputs) -> int:
    return 1 if model.outputs.ndim == 1 else int(model.outputs.shape[1])


def _classes(models: Sequence[FormedOutputs]) -> int | None:
    """The classes of the first model, unless it gives class numbers; then all that appear."""
    if (width := _width(models[0])) > 1:
        return width
    if models[0].form != "labels":  # one sigmoid
        return 2
    numbers = [int(model.outputs.max()) for model in models if model.form == "labels" and _width(model) == 1]
    classes = max(2, *(number + 1 for number in numbers))
    # Larger numbers stand for their order only, see `to_form`.
    return classes if classes * len(models[0].outputs) <= MAX_ONE_HOT else 2
