"""The form in which two models are compared."""

import numpy as np
import pytest
import torch

from sac_fast.models.common_form import CommonForm, FormedOutputs, common_form
from sac_fast.models.output_form import detect_output_form

LOGITS = torch.from_numpy(3 * np.random.default_rng(1).normal(size=(80, 10)))
P = LOGITS.softmax(1)
TOP5 = torch.where(P.sort(dim=1).values[:, -5:-4] <= P, P, 0.0)
SMALL = LOGITS / LOGITS.abs().max()


def formed(outputs, form=None):
    return FormedOutputs(outputs, form or detect_output_form(outputs), declared=form is not None)


@pytest.mark.parametrize(
    ("suspect", "wanted"),
    [
        (LOGITS.float(), CommonForm("logits")),
        (LOGITS.log_softmax(1), CommonForm("log-probabilities")),
        (P, CommonForm("probabilities")),
        (P.round(decimals=3), CommonForm("probabilities", decimals=3)),
        (100 * P.round(decimals=2), CommonForm("probabilities", decimals=2)),
        (TOP5, CommonForm("top-k", top=5)),
        (TOP5 / TOP5.sum(1, keepdim=True), CommonForm("top-k", top=5)),
        (torch.eye(10)[LOGITS.argmax(1)], CommonForm("labels", classes=10)),
        (LOGITS.argmax(1).double(), CommonForm("labels", classes=10)),
    ],
)
def test_a_copy_in_any_form_has_the_rows_of_the_source(suspect, wanted):
    source, theirs = formed(LOGITS), formed(suspect)
    shared = common_form([source, theirs])
    assert shared == wanted
    # rounding to 3 decimals moves a logarithm by at most half a unit of half a unit
    torch.testing.assert_close(shared.rows(source), shared.rows(theirs).double(), rtol=1e-6, atol=1e-6)


def test_the_weaker_model_may_be_the_source():
    source, suspect = formed(LOGITS.argmax(1)), formed(LOGITS)
    shared = common_form([source, suspect])
    assert shared == CommonForm("labels", classes=10)
    assert torch.equal(shared.rows(source).double(), shared.rows(suspect))
    assert shared.accepts(formed(P))
    assert not CommonForm("probabilities").accepts(source)
    with pytest.raises(ValueError, match="no stronger than the outputs' labels"):
        CommonForm("probabilities").rows(source)


def test_logits_of_two_classes_in_one_column_and_in_two():
    one, two = formed(LOGITS[:, 1:2] - LOGITS[:, :1]), formed(LOGITS[:, :2])
    shared = common_form([one, two])
    assert shared == CommonForm("log-probabilities")
    torch.testing.assert_close(shared.rows(one), shared.rows(two))
    # two columns are left as they are
    assert common_form([two, two]) == CommonForm("logits")


def test_small_logits_are_no_similarities():
    small = formed(SMALL)
    assert small.form == "similarities"
    assert common_form([formed(LOGITS), small]) == CommonForm("logits")
    assert common_form([small, formed(P)]) == CommonForm("probabilities")
    torch.testing.assert_close(CommonForm("probabilities").rows(small), SMALL - SMALL.mean(1, keepdim=True))
    assert common_form([small, small]) == CommonForm("similarities")
    unit = formed(torch.nn.functional.normalize(LOGITS))
    assert (unit.form, common_form([unit, small])) == ("embeddings", CommonForm("logits"))
    assert common_form([formed(SMALL, "embeddings"), small]) == CommonForm("embeddings")
    assert not CommonForm("logits").accepts(formed(SMALL, "similarities"))


def test_what_cannot_be_brought_together():
    for other in (LOGITS, P, LOGITS.argmax(1)):
        with pytest.raises(ValueError, match="outputs must all be embeddings to be compared with embeddings, got"):
            common_form([formed(LOGITS, "embeddings"), formed(other)])


def test_large_class_numbers_stand_for_their_order():
    numbers = formed(2.0**40 + LOGITS.argmax(1).double())
    shared = common_form([numbers, numbers])
    assert shared.rows(numbers).shape == (80, int(LOGITS.argmax(1).unique().numel()))
