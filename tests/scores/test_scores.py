"""Row transforms, scores of outputs, and the names of fixed scores."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from sklearn.preprocessing import StandardScaler
from support.definition import distance as definition

from sac_fast.scores import FIXED, PRESETS, Score, evenly_spaced, output_distance, preset_probes, transform_rows

RNG = np.random.default_rng(0)
OUTPUTS = RNG.normal(size=(40, 6)) * 5
SUSPECT = OUTPUTS + RNG.normal(size=(40, 6))


def transformed(outputs, name):
    """The transforms by SciPy and scikit-learn."""
    if name == "raw":
        return outputs
    if name == "softmax(4)":
        return softmax(outputs / 4, axis=1)
    if name == "log-softmax(1)":
        return log_softmax(outputs, axis=1)
    if name == "hellinger(2)":
        return np.sqrt(softmax(outputs / 2, axis=1))
    if name == "standardize":
        return StandardScaler().fit_transform(outputs - outputs.mean(axis=1, keepdims=True))
    if name == "softmax(1)+standardize":
        return transformed(softmax(outputs, axis=1), "standardize")
    if name == "labels":
        hard = np.full_like(outputs, 0.01)
        hard[np.arange(len(outputs)), outputs.argmax(axis=1)] = 1.0
        return softmax(hard, axis=1)
    answers = outputs.argmax(axis=1)
    return outputs - np.stack([outputs[answers == answer].mean(axis=0) for answer in answers])


NAMES = ("raw", "softmax(4)", "log-softmax(1)", "hellinger(2)", "standardize", "softmax(1)+standardize", "labels",
         "within-classes")  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_transforms_are_those_of_scipy_and_scikit_learn(name):
    found = transform_rows(torch.from_numpy(OUTPUTS), name)
    assert found.dtype == torch.float64
    np.testing.assert_allclose(found.numpy(), transformed(OUTPUTS, name), rtol=0, atol=1e-12)
    single = transform_rows(torch.from_numpy(OUTPUTS).float(), name)
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single.numpy(), transformed(OUTPUTS, name), rtol=0, atol=1e-5)


def test_a_temperature_of_one_may_be_left_out():
    outputs = torch.from_numpy(OUTPUTS)
    assert torch.equal(transform_rows(outputs, "softmax"), transform_rows(outputs, "softmax(1)"))


def test_a_constant_column_standardises_to_zero():
    # rows of mean 0, so that centring the rows leaves the column constant
    outputs = torch.tensor([[0.1, 1.0, -1.1], [0.1, -3.0, 2.9], [0.1, 0.5, -0.6]], dtype=torch.float64)
    assert transform_rows(outputs, "standardize")[:, 0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("soft", "transform must be made of raw, standardize"),
        ("", "transform must be made of"),
        ("softmax(0)", "temperature of 'softmax' must be positive"),
        ("softmax(nan)", "temperature of 'softmax' must be positive"),
        ("softmax(inf)", "temperature of 'softmax' must be positive"),
        ("softmax(x)", "temperature of 'softmax' must be positive"),
        ("raw(1)", "'raw' must come without a parameter"),
        ("raw+", "got ''"),
    ],
)
def test_an_unknown_transform_is_refused(name, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        transform_rows(torch.ones(3, 2), name)


def test_the_row_with_nan_is_named():
    with pytest.raises(ValueError, match="NaN or Inf in row 1"):
        transform_rows(torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), "softmax")


SOURCE = torch.tensor([[5.0, 0, 0], [0, 5.0, 0], [0, 0, 5.0], [5.0, 0, 0]])
OTHER = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0], [0, 1.0, 0]])


def test_scores_of_outputs_by_hand():
    assert output_distance("agreement", SOURCE, OTHER) == 0.5
    # the source is wrong on probes 2 and 3, the other on 1, 2 and 3; on 2 they share the wrong answer, on 3 not
    truth = torch.tensor([0, 1, 1, 2])
    assert output_distance("shared-errors", SOURCE, OTHER, truth) == 0.5
    assert output_distance("shared-errors", SOURCE, SOURCE, SOURCE.argmax(dim=1)) == 1.0
    expected = -log_softmax(OTHER.double().numpy(), axis=1)[np.arange(4), [0, 1, 2, 0]].mean()
    assert output_distance("likelihood", SOURCE, OTHER) == pytest.approx(expected, abs=1e-7)


def test_outputs_of_other_classes_cannot_be_compared():
    assert np.isnan(output_distance("agreement", SOURCE, OTHER[:, :2]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("consent", SOURCE, OTHER), "kind must be one of agreement, shared-errors, likelihood, got 'consent'"),
        (("agreement", SOURCE, OTHER[:3]), "suspect must have 4 rows like source, got 3"),
        (("shared-errors", SOURCE, OTHER), "needs the true labels of all 4 probes, got none"),
        (("shared-errors", SOURCE, OTHER, torch.tensor([1])), "needs the true labels of all 4 probes, got 1"),
    ],
)
def test_wrong_arguments_of_answer_scores(arguments, message):
    with pytest.raises(ValueError, match=message):
        output_distance(*arguments)


@pytest.mark.parametrize(
    "name",
    [
        "raw/cosine/l1@jpeg-q15",
        "softmax(4)/pearson/rsa@misclassified:400",
        "softmax(1)+standardize/spearman/cka@plain:2",
        "agreement@misclassified:100",
    ],
)
def test_names_are_read_back(name):
    assert Score.parse(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("raw/cosine/l1", "score must be TRANSFORM"),
        ("raw/cosine/l1@", "score must be TRANSFORM"),
        ("raw/cosine/l1@../up", "score must be TRANSFORM"),
        ("raw/cosine/l1@plain:0", "score must be TRANSFORM"),
        ("raw/cosine/l1@plain:1", "count must be an integer of at least 2, got 1"),
        ("raw/cosine@plain", "must name transform/metric/comparison"),
        ("raw/cosine/l1/x@plain", "must name transform/metric/comparison"),
        ("raw/euclid/l1@plain", "metric must be one of"),
        ("raw/cosine/l3@plain", "comparison must be one of"),
        ("agreement/cosine/l1@plain", "must come without metric"),
        ("rah/cosine/l1@plain", "transform must be made of"),
    ],
)
def test_names_that_are_none(name, message):
    with pytest.raises(ValueError, match=message):
        Score.parse(name)


@pytest.mark.parametrize("comparison", ["l1", "rsa", "cka"])
@pytest.mark.parametrize("name", ["raw", "softmax(4)", "standardize"])
def test_a_score_is_transform_correlation_and_comparison(name, comparison):
    score = Score(name, "pearson", comparison, "plain", 25)
    rows = [i * 40 // 25 for i in range(25)]
    found = score.distances(torch.from_numpy(OUTPUTS), [torch.from_numpy(SUSPECT), torch.from_numpy(OUTPUTS)])
    a, b = (transformed(o[rows], name) for o in (OUTPUTS, SUSPECT))
    assert found[0] == pytest.approx(definition(a, b, "pearson", comparison), abs=1e-6)
    assert found[1] == 0.0


def test_suspects_of_any_number_of_outputs():
    found = Score.parse("labels/pearson/l1@plain").distances(SOURCE, [OTHER, OTHER[:, :2]])
    assert np.isfinite(found).all()
    found = Score.parse("agreement@plain").distances(SOURCE, [OTHER, OTHER[:, :2]])
    assert found[0] == 0.5
    assert np.isnan(found[1])


def test_an_answer_score_takes_the_labels_of_its_rows():
    truth = torch.tensor([0, 1, 1, 2])
    score = Score.parse("shared-errors@plain:2")  # rows 0 and 2
    assert score.needs_labels
    assert score.distances(SOURCE, [OTHER], truth).tolist() == [0.0]


def test_the_rows_that_are_taken():
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 7).tolist() == [0, 1, 2]
    assert evenly_spaced(3, None).tolist() == [0, 1, 2]


def test_presets():
    assert PRESETS == ("sac-jc", "robust", "calibrated")
    # the published score
    assert FIXED["sac-jc"].name == "raw/cosine/l1@jpeg-q15"
    assert preset_probes("sac-jc") == ("jpeg-q15",)
    assert preset_probes("robust") == ("misclassified",)
    with pytest.raises(ValueError, match="preset must be one of sac-jc, robust, calibrated, got 'best'"):
        preset_probes("best")
