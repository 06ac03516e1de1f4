"""Output forms: what they are told by, how one becomes another, and outputs that are no evidence."""

import re

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, softmax

from sac_fast.models.output_form import (
    OUTPUT_FORMS,
    check_informative,
    check_output_form,
    decimals_of,
    detect_output_form,
    score_rows,
    to_form,
    weakest_form,
)

RNG = np.random.default_rng(0)
LOGITS = 3 * RNG.normal(size=(200, 10))
P = softmax(LOGITS, axis=1)
MANY = softmax(2 * RNG.normal(size=(50, 1000)), axis=1)
TOP5 = np.where(np.sort(P, axis=1)[:, -5:-4] <= P, P, 0.0)
UNIT = LOGITS / np.linalg.norm(LOGITS, axis=1, keepdims=True)
LABELS = LOGITS.argmax(axis=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("form", "outputs"),
    [
        ("logits", LOGITS),
        ("logits", LOGITS[:, :1]),
        ("logits", LOGITS.clip(min=0.0)),
        ("logits", [[1.0, 0.0], [0.0, 2.0]]),
        ("log-probabilities", log_softmax(LOGITS, axis=1)),
        ("log-probabilities", log_softmax(LOGITS, axis=1).astype(np.float16)),
        ("log-probabilities", log_softmax(LOGITS, axis=1).round(3)),
        ("probabilities", P),
        ("probabilities", P.astype(np.float16)),
        ("probabilities", P.round(2)),
        ("probabilities", P.round(3)),
        ("probabilities", (100 * P).round(1)),
        ("top-k", (100 * TOP5).round(1)),
        ("probabilities", MANY),
        ("probabilities", MANY.astype(np.float16)),
        ("probabilities", MANY.round(4)),
        ("probabilities", expit(LOGITS[:, 0])),
        ("probabilities", np.full((5, 4), 0.25)),
        ("top-k", MANY.round(3)),  # far fewer than half of the classes are left
        ("top-k", TOP5),
        ("top-k", TOP5 / TOP5.sum(axis=1, keepdims=True)),
        ("top-k", np.where(P.max(axis=1, keepdims=True) == P, P, 0.0)),
        ("labels", np.eye(10)[LABELS]),
        ("labels", LABELS),
        ("labels", LABELS[:, None]),
        ("labels", np.array([-1, 1, 1])),
        ("similarities", UNIT @ UNIT[:7].T),
        ("similarities", 0.9 * UNIT),
        ("embeddings", UNIT),
    ],
)
def test_forms_are_told_apart(form, outputs, dtype):
    assert detect_output_form(torch.tensor(outputs).to(dtype)) == form


def test_one_row_that_is_different_decides():
    outputs = torch.from_numpy(np.concatenate([P, [[2.0] + 9 * [0.0]]]))
    assert detect_output_form(outputs) == "logits"


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (torch.ones(2, 3, 4), r"must be real \(n, k\) or \(n,\), n and k at least 1, got torch.float32 \(2, 3, 4\)"),
        (torch.ones(0, 3), "n and k at least 1"),
        (torch.tensor([[1.0], [torch.nan]]), "must be finite, got NaN or Inf in row 1"),
    ],
)
def test_what_has_no_form(outputs, message):
    with pytest.raises(ValueError, match=message):
        detect_output_form(outputs)


def test_a_declared_form_must_be_possible():
    logits, p = torch.from_numpy(LOGITS), torch.from_numpy(P)
    assert check_output_form(logits, "embeddings") == "embeddings"
    assert check_output_form(p.round(decimals=3), "probabilities") == "probabilities"
    assert check_output_form(torch.from_numpy(UNIT), "logits") == "logits"
    assert check_output_form(torch.tensor([1.0, 3.0]), "logits") == "logits"
    with pytest.raises(ValueError, match="output_form must be probabilities for these outputs, got 'logits'"):
        check_output_form(p, "logits")
    with pytest.raises(ValueError, match=r"must be logits or similarities or embeddings .*, got 'labels'"):
        check_output_form(logits, "labels")
    with pytest.raises(ValueError, match=r"output_form must be one of logits, .*, got 'softmax'"):
        check_output_form(logits, "softmax")


def test_weakest_form():
    for i, form in enumerate(OUTPUT_FORMS[:5]):
        assert weakest_form(OUTPUT_FORMS[: i + 1]) == form
    assert weakest_form(["embeddings", "embeddings"]) == "embeddings"
    for forms in (["embeddings", "logits"], ["similarities", "embeddings"], ["labels", "similarities"]):
        with pytest.raises(ValueError, match="outputs must all be"):
            weakest_form(forms)
    with pytest.raises(ValueError, match="at least one output form, got none"):
        weakest_form([])
    with pytest.raises(ValueError, match="must be one of"):
        weakest_form(["softmax"])


def test_every_form_is_made_from_every_stronger_one():
    wanted = {
        "logits": LOGITS,
        "log-probabilities": log_softmax(LOGITS, axis=1),
        "probabilities": P,
        "top-k": TOP5,
        "labels": np.eye(10)[LABELS],
    }
    for i, (form, outputs) in enumerate(wanted.items()):
        for target, expected in list(wanted.items())[i:]:
            got = to_form(torch.from_numpy(outputs), target)
            np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-15, err_msg=f"{form} to {target}")
            assert to_form(torch.from_numpy(outputs).float(), target).dtype == torch.float32
    with pytest.raises(ValueError, match="form must be no stronger than the outputs' labels, got 'logits'"):
        to_form(torch.from_numpy(LABELS), "logits")
    with pytest.raises(ValueError, match="must all be embeddings"):
        to_form(torch.from_numpy(LOGITS), "labels", current="embeddings")


def test_logarithms_have_a_floor():
    p = torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.25, 0.25], [0.4, 0.3, 0.3]], dtype=torch.float64)
    got = to_form(p, "log-probabilities")
    np.testing.assert_allclose(got.exp().numpy(), [[1, 1e-6, 1e-6], [0.5, 0.25, 0.25], [0.4, 0.3, 0.3]], rtol=1e-12)
    assert to_form(p, "log-probabilities", decimals=3).exp()[0, 1].item() == pytest.approx(5e-4)


def test_rounding_and_percentages():
    p = torch.from_numpy(P)
    np.testing.assert_array_equal(to_form(torch.from_numpy(LOGITS), "probabilities", decimals=3), P.round(3))
    np.testing.assert_allclose(to_form(100 * p, "probabilities").numpy(), P, rtol=1e-12)
    assert [decimals_of(p.round(decimals=d).float()) for d in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert decimals_of((100 * p).round(decimals=1).float()) == 3
    assert decimals_of(p.float()) is None
    assert decimals_of(p.half()) is None


def test_class_numbers():
    numbers = torch.tensor([2, 0, 2])
    assert to_form(numbers, "labels").tolist() == [[0, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert to_form(numbers, "labels", classes=5).shape == (3, 5)
    # numbers beyond the classes still tell which probes have the same label
    assert to_form(torch.tensor([2.0**33, 1.0, 2.0**33]), "labels", classes=2).tolist() == [[0, 1], [1, 0], [0, 1]]
    assert to_form(torch.tensor([-1.0, 1.0]), "labels").tolist() == [[1, 0], [0, 1]]
    with pytest.raises(ValueError, match="class numbers must be below 100000, got 8589934592"):
        to_form(torch.tensor([2.0**33, 1.0]), "labels")
    with pytest.raises(ValueError, match=r"at most 268,435,456 one-hot numbers, got 3000 × 100000"):
        to_form(torch.zeros(3000), "labels", classes=100_000)


def test_two_classes_in_one_column():
    z = LOGITS[:, :1]
    both = np.concatenate([1 - expit(z), expit(z)], axis=1)
    for outputs in (z, expit(z)):
        np.testing.assert_allclose(to_form(torch.from_numpy(outputs), "probabilities").numpy(), both, rtol=1e-9)
        got = score_rows(to_form(torch.from_numpy(outputs), "probabilities"), "probabilities")
        np.testing.assert_allclose(got.numpy(), np.log(both.clip(min=1e-6)), rtol=1e-9)
    np.testing.assert_allclose(to_form(torch.from_numpy(z), "logits").numpy(), np.log(both), rtol=1e-9)


def test_score_rows_do_not_depend_on_the_form_a_model_gave():
    logs = log_softmax(LOGITS, axis=1)
    centred = logs - logs.mean(axis=1, keepdims=True)
    for outputs in (LOGITS, logs):
        got = score_rows(to_form(torch.from_numpy(outputs), "log-probabilities"), "log-probabilities")
        np.testing.assert_allclose(got.numpy(), centred, atol=1e-12)
    logits = torch.from_numpy(LOGITS)
    assert torch.equal(score_rows(logits, "logits"), logits)
    # with and without the rest of the sum
    scaled = torch.from_numpy(TOP5 / TOP5.sum(axis=1, keepdims=True))
    torch.testing.assert_close(score_rows(scaled, "top-k"), score_rows(torch.from_numpy(TOP5), "top-k"))


CONSTANT = torch.from_numpy(1e-3 * RNG.normal(size=(60, 10)) + RNG.normal(size=10))


@pytest.mark.parametrize(
    ("outputs", "form", "metric", "reason"),
    [
        (CONSTANT, "logits", None, "outputs hardly vary: effective rank 1.00 of the correlations, a test needs 1.01"),
        (CONSTANT, "logits", "cosine", "outputs hardly vary"),
        (CONSTANT.softmax(1), "probabilities", None, "outputs hardly vary"),
        (CONSTANT[:, :2], "logits", None, "outputs hardly vary"),
        (torch.from_numpy(LOGITS[:, :2]), "logits", "pearson", "centred correlations of two outputs are ±1"),
        (torch.from_numpy(LOGITS[:, :1]), "logits", "spearman", "centred correlations of two outputs are ±1"),
        (torch.ones(50, 4) * torch.arange(1.0, 51.0)[:, None], "logits", None, "all values are equal in 100% of"),
        (torch.eye(40), "similarities", "cosine", "the correlations of all pairs of probes are equal within 0.001"),
        (torch.tensor([3.0] * 97 + [1.0] * 3), "labels", None, "one label for 97% of the probes: .* 1.14, .* 1.25"),
        (torch.zeros(10), "labels", None, "one label for 100% of the probes"),
    ],
)
def test_outputs_that_are_no_evidence(outputs, form, metric, reason):
    assert re.match(reason, check_informative(outputs, form, metric=metric))


@pytest.mark.parametrize("metric", [None, "cosine", "pearson", "spearman", "rbf"])
def test_outputs_that_may_be_evidence(metric):
    for outputs in (LOGITS, P, P.round(3), TOP5, LABELS, UNIT, LOGITS @ RNG.normal(size=(10, 512)), MANY):
        of = torch.from_numpy(outputs)
        assert check_informative(of, detect_output_form(of), metric=metric) is None
    if metric in (None, "cosine", "rbf"):
        for outputs in (LOGITS[:, :1], expit(LOGITS[:, 0])):
            of = torch.from_numpy(outputs)
            assert check_informative(of, detect_output_form(of), metric=metric) is None
