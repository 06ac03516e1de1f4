"""Models of a store by output form: each is searched for among those that can be brought to its form."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..io.choices import Metric
from ..models.common_form import CommonForm, common_form, formed
from ..models.output_form import CLASSIFIER_FORMS, check_informative


@dataclass(frozen=True, eq=False)
class FormGroup:
    """Models of one form, and all that can be compared with them.

    Attributes:
        form: the form.
        own: rows of the models that have it.
        members: rows of all models that can be brought to it, ascending; those of `own` among them.
        outputs: (len(members),) their outputs in this form.
    """

    form: CommonForm
    own: tuple[int, ...]
    members: tuple[int, ...]
    outputs: tuple[Tensor, ...]


def group_by_form(outputs: Sequence[Tensor]) -> list[FormGroup]:
    """Group models by form, the largest group first.

    A model that answers labels is compared with all others by their labels. The others are not compared with it by more
    than that, so it is no candidate of theirs: distances in different forms have no common scale.

    Args:
        outputs: m tensors (n, k_i).

    Returns:
        The groups; one that holds all models as they are, where all give logits.
    """
    models = [formed(one) for one in outputs]
    alone = [common_form([model]) for model in models]
    if any(form.form in CLASSIFIER_FORMS for form in alone):
        # Small logits look like similarities or embeddings.
        alone = [form if form.form in CLASSIFIER_FORMS else CommonForm("logits") for form in alone]
    elif len({form.form for form in alone}) > 1:
        alone = [CommonForm("logits")] * len(alone)
    classes = max((form.classes or 0 for form in alone), default=0)
    alone = [dataclasses.replace(form, classes=classes) if form.classes else form for form in alone]
    groups = []
    for form in dict.fromkeys(alone):
        members = tuple(row for row, model in enumerate(models) if form.accepts(model))
        own = tuple(row for row, of in enumerate(alone) if of == form)
        groups.append(FormGroup(form, own, members, tuple(form.rows(models[row]) for row in members)))
    return sorted(groups, key=lambda group: -len(group.own))


class Evidence:
    """Which models' outputs are no evidence, each looked at once (`check_informative`)."""

    def __init__(self, group: FormGroup, metric: Metric) -> None:
        self._group, self._metric = group, metric
        self._found: dict[int, bool] = {}

    def is_empty(self, index: int) -> bool:
        """Whether the outputs of the group's member at this index are no evidence."""
        if index not in self._found:
            outputs = self._group.outputs[index]
            # Of the rows, which are what is compared: one column of them is not one logit of two classes.
            form = "labels" if self._group.form.form == "labels" else "similarities"
            self._found[index] = check_informative(outputs, form, metric=self._metric) is not None
        return self._found[index]

    def empty(self) -> list[int]:
        """Indices of the members that were looked at and are none."""
        return sorted(index for index, is_empty in self._found.items() if is_empty)
