import json

import numpy as np
import pytest
import torch

from sac_fast import Fingerprint, FingerprintError, ModelEntry, open_model, sibling_test
from sac_fast.scores.siblings_channels import SIBLING_SCORES

PROBES = "sha256:" + "a" * 64
N, CLASSES = 300, 6


def models(count, *, n=N, k=CLASSES, seed=0, noise=1.0):
    """Outputs of models of one task that differ by what each has of its own."""
    task = 2 * torch.randn(n, k, generator=torch.Generator().manual_seed(99))
    generator = torch.Generator().manual_seed(seed)
    return [task + noise * torch.randn(n, k, generator=generator) for _ in range(count)]


def stolen(source, seed=50, noise=0.5):
    return source + noise * torch.randn(source.shape, generator=torch.Generator().manual_seed(seed))


def top(outputs, count):
    p = torch.softmax(outputs, 1)
    kept = p.topk(count, 1)
    return torch.zeros_like(p).scatter_(1, kept.indices, kept.values)


def declared(outputs, form):
    return Fingerprint(outputs, {"name": "m", "probe_hash": PROBES, "output_form": form})


FORMS = {
    "logits": lambda o: 3 * o,
    "log-probabilities": lambda o: torch.log_softmax(o, 1),
    "probabilities": lambda o: torch.softmax(o, 1),
    "3 decimals": lambda o: torch.softmax(o, 1).round(decimals=3),
    "percentages": lambda o: 100 * torch.softmax(o, 1),
    "top 2": lambda o: top(o, 2),
    "one-hot": lambda o: torch.nn.functional.one_hot(o.argmax(1), o.shape[1]),
    "class numbers": lambda o: o.argmax(1),
    "other classes": lambda o: o @ torch.randn(o.shape[1], 9, generator=torch.Generator().manual_seed(7)),
    "half": lambda o: o.half(),
}


def by_definition(source, siblings, suspect):
    """T of the default score in float64, written as docs/verdicts.md has it."""
    members = [m.double().numpy() for m in (source, *siblings)]
    b, count = suspect.double().numpy(), len(siblings) + 1

    def softmax(o, t):
        e = np.exp((o - o.max(1, keepdims=True)) / t)
        return e / e.sum(1, keepdims=True)

    def vector(rows):
        rows = (rows - rows.mean(0)).ravel()
        return rows / np.linalg.norm(rows)

    def similarity(s, x, rest, tau):
        mean = np.mean(rest, axis=0)
        spread = np.array(rest) - mean
        inverse = np.linalg.inv(tau * np.eye(len(s)) + spread.T @ spread)
        s, x = s - mean, x - mean
        return (s @ inverse @ x) / np.sqrt((s @ inverse @ s) * (x @ inverse @ x))

    scaled = []
    for transform in (lambda o: softmax(o, 1), lambda o: np.log(softmax(o, 4))):
        rows, suspect_row = [vector(transform(m)) for m in members], vector(transform(b))
        tau = 0.1 * np.square(np.array(rows) - np.mean(rows, 0)).sum() / count
        values = np.empty(count)
        for j in range(count):
            others = [i for i in range(count) if i != j]
            values[j] = similarity(rows[j], suspect_row, [rows[i] for i in others], tau)
            if count > 9:
                pairs = [similarity(rows[j], rows[i], [rows[c] for c in others if c != i], tau) for i in others]
                values[j] = (values[j] - np.mean(pairs)) / np.std(pairs)
        low, middle, high = np.percentile(values, [25, 50, 75])
        scaled.append((values - middle) / (high - low))
    return np.max(scaled, axis=0)


@pytest.mark.parametrize("siblings", [5, 9])
def test_statistic_and_rank_by_their_definition(siblings):
    source, *rest = models(siblings + 1, n=25, k=3)
    suspects = {"stolen": stolen(source, noise=1.0), "honest": models(1, n=25, k=3, seed=3)[0]}
    result = sibling_test(source, rest, suspects, alpha=0.2)
    profiles = {name: by_definition(source, rest, suspect) for name, suspect in suspects.items()}
    highest = np.max(list(profiles.values()), axis=0)
    for name, expected in profiles.items():
        np.testing.assert_allclose(result.profiles[name], expected, rtol=1e-7)
        assert result.statistic[name] == result.profiles[name][0]
        rank = (1 + sum(expected[1:] >= expected[0])) / (siblings + 1)
        assert result.p_exact[name] == result.p_value[name] == pytest.approx(rank)
        assert result.adjusted[name] == pytest.approx((1 + sum(highest[1:] >= expected[0])) / (siblings + 1))


@pytest.mark.parametrize("score", SIBLING_SCORES)
def test_p_permutes_with_the_roles(score):
    members = models(10)
    suspect = stolen(members[3])
    straight = sibling_test(members[0], members[1:], suspect, score=score).profiles["suspect"]
    for i in range(10):
        rest = [m for j, m in enumerate(members) if j != i][::-1]
        result = sibling_test(members[i], rest, suspect, score=score)
        assert result.statistic["suspect"] == pytest.approx(straight[i], rel=1e-8, abs=1e-8)
        assert result.p_exact["suspect"] == pytest.approx(sum(t >= straight[i] - 1e-9 for t in straight) / 10)
    assert np.argmax(straight) == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_is_derived_in_every_form_and_honest_models_are_not(form):
    source, *siblings = models(20)
    honest = {f"honest {i}": FORMS[form](o) for i, o in enumerate(models(24, seed=8))}
    result = sibling_test(source, siblings, {"copy": FORMS[form](source), **honest})
    assert result.p_value["copy"] == 1 / 20
    assert result.verdict["copy"] == "derived"
    assert [name for name in honest if result.verdict[name] == "derived"] == []
    # 1.2 expected of 24
    assert sum(result.p_exact[name] <= 0.05 for name in honest) <= 4


def test_one_suspect_of_labels_does_not_weaken_the_others():
    source, *siblings = models(20)
    soft, hard = stolen(source), FORMS["class numbers"](source)
    both = sibling_test(source, siblings, {"soft": soft, "hard": hard})
    assert both.output_form == {"soft": "logits", "hard": "labels"}
    assert both.profiles["soft"] == sibling_test(source, siblings, {"soft": soft}).profiles["soft"]
    assert both.channels["hard"] == ("label-cohort", "weighted-agreement")


@pytest.mark.parametrize("width", [1, 24])
def test_embeddings_and_similarities(width):
    generator = torch.Generator().manual_seed(4)
    shared = torch.randn(N, 24, generator=generator)

    def embed(own, seed):
        mixing = torch.randn(24, width, generator=torch.Generator().manual_seed(seed if width > 1 else 1))
        return torch.nn.functional.normalize((shared + own) @ mixing, dim=0 if width == 1 else 1)

    owns = [0.7 * torch.randn(N, 24, generator=generator) for _ in range(21)]
    members = [embed(own, i) for i, own in enumerate(owns[:20])]
    suspects = {"stolen": embed(owns[0] + 0.2 * owns[20], 77), "honest": embed(owns[20], 78)}
    result = sibling_test(members[0], members[1:], suspects)
    assert set(result.output_form.values()) == {"similarities" if width == 1 else "embeddings"}
    assert result.verdict == {"stolen": "derived", "honest": "not distinguished"}


def test_a_declared_form():
    members = models(10)
    result = sibling_test(members[0], members[1:], members[0], output_form="embeddings", alpha=0.1)
    assert result.channels["suspect"] == ("correlations",)
    as_labels = sibling_test(members[0], members[1:], members[0], output_form="labels", alpha=0.1)
    assert as_labels.output_form["suspect"] == "labels"
    assert as_labels.verdict["suspect"] == "derived"


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (torch.randn(N, CLASSES, generator=torch.Generator().manual_seed(5)), "no better than chance"),
        (torch.randint(0, CLASSES, (N,), generator=torch.Generator().manual_seed(5)), "no better than chance"),
        (torch.ones(N, CLASSES), "the same for all probes"),
        (torch.full((N, CLASSES), torch.nan), "not finite"),
        (torch.randn(N, 8, generator=torch.Generator().manual_seed(5)), "no better than chance"),
        (declared(torch.randn(N, 8, generator=torch.Generator().manual_seed(5)), "embeddings"), "embeddings"),
    ],
    ids=["noise", "random labels", "constant", "NaN", "noise of other classes", "embeddings beside logits"],
)
def test_what_is_no_evidence_is_inconclusive(outputs, reason):
    source, *siblings = models(20)
    result = sibling_test(source, siblings, {"odd": outputs, "copy": source})
    assert result.verdict == {"odd": "inconclusive", "copy": "derived"}
    assert reason in result.reason["odd"]
    assert result.p_value["odd"] == result.adjusted["odd"] == result.p_student["odd"] == 1.0


def test_few_siblings_give_an_approximate_verdict():
    source, *siblings = models(5, n=1000)
    suspects = {"stolen": stolen(source), "honest": models(1, n=1000, seed=9)[0]}
    result = sibling_test(source, siblings, suspects)
    assert result.verdict == {"stolen": "derived (approximate)", "honest": "not distinguished"}
    assert not result.exact
    assert result.p_exact["stolen"] == result.smallest_p == 0.2
    assert result.realised_rate == 0.05
    assert any("approximate" in condition for condition in result.conditions)
    assert sibling_test(source, siblings, suspects, alpha=1e-4).verdict["stolen"] == "inconclusive"


def test_exact_rank_decides_where_it_can():
    # Student's t is far below 5 % here, but one sibling ties with the source
    source, *siblings = models(20)
    siblings[4] = source.clone()
    result = sibling_test(source, siblings, source)
    assert result.exact
    assert result.realised_rate == 0.05
    assert sibling_test(source, siblings, source, alpha=0.12).realised_rate == 0.1  # 2 of 20
    assert result.p_exact["suspect"] == pytest.approx(0.1)
    assert result.verdict["suspect"] == "not distinguished"
    assert any("sibling 5" in warning for warning in result.warnings)


def test_fingerprints_recorded_outputs_and_arrays_are_the_same(tmp_path):
    members = models(10)
    suspect = stolen(members[0])
    expected = sibling_test(members[0], members[1:], {"x": suspect}, alpha=0.1)
    prints = [Fingerprint(o, {"name": f"m{i}", "probe_hash": PROBES}) for i, o in enumerate(members)]
    np.save(tmp_path / "x.npy", suspect.numpy())
    with open_model(ModelEntry("x", tmp_path / "x.npy")) as recorded:
        result = sibling_test(prints[0], prints[1:], {"x": recorded}, alpha=0.1)
    assert result.profiles == expected.profiles
    assert (result.source, result.siblings[0]) == ("m0", "m1")
    arrays = sibling_test(members[0].numpy(), [m.numpy() for m in members[1:]], {"x": suspect.tolist()}, alpha=0.1)
    assert arrays.profiles["x"] == pytest.approx(expected.profiles["x"])
    named = sibling_test(prints[0], {"a": prints[1], **{f"s{i}": p for i, p in enumerate(prints[2:])}}, prints[3])
    assert named.siblings[0] == "a"
    assert list(named.verdict) == ["m3"]


def test_result_as_json_and_html():
    source, *siblings = models(20)
    bad = "<script>alert(1)</script>"
    result = sibling_test(source, siblings, {bad: source, "flat": torch.ones(N, CLASSES)})
    told = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert told["ground"] == "siblings"
    assert told["p_value"][bad] == 0.05
    assert told["statistic"]["flat"] is None
    assert told["diagnostics"][0]["name"] == "agreement"
    html = result._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt; 0.001" in html  # Student's t, never shown below


def test_nonsense_is_refused_by_name():
    source, *siblings = models(6)
    cases = [
        ({"siblings": siblings[:3]}, ValueError, "siblings must be at least 4 models, got 3"),
        ({"siblings": "abcd"}, TypeError, "siblings must be several"),
        ({"suspects": {}}, ValueError, "suspects must hold at least one"),
        ({"suspects": {3: source}}, TypeError, "suspects must have names"),
        ({"suspects": {"x": source[:9]}}, ValueError, "x must have 300 rows, got 9"),
        ({"suspects": {"x": "file"}}, TypeError, "x must hold real numbers"),
        ({"suspects": {"x": torch.zeros(N, 2, 2)}}, ValueError, "x must be"),
        ({"source": source * torch.nan}, ValueError, "source must be finite and vary, but its outputs are not finite"),
        ({"siblings": [*siblings, torch.ones(N, CLASSES)]}, ValueError, "sibling 6 must be finite and vary"),
        ({"score": "best"}, ValueError, "score"),
        ({"output_form": "words"}, ValueError, "output_form"),
        ({"alpha": 1.5}, ValueError, "alpha"),
        ({"labels": [0, 1]}, ValueError, "labels must be 300 integers"),
    ]
    for wrong, error, message in cases:
        given = {"source": source, "siblings": siblings, "suspects": {"x": source}, **wrong}
        with pytest.raises(error, match=message):
            sibling_test(given.pop("source"), given.pop("siblings"), given.pop("suspects"), **given)


def test_fingerprints_that_do_not_belong_together():
    members = models(6)
    one, two = ("sha256:" + digit * 64 for digit in "12")

    def prints(**changes):
        about = [{"name": f"m{i}", "probe_hash": PROBES, **changes.get(f"m{i}", {})} for i in range(6)]
        return [Fingerprint(o, a) for o, a in zip(members, about, strict=True)]

    made = prints(m5={"probe_hash": one})
    with pytest.raises(FingerprintError, match="m5 must be of the source's probes"):
        sibling_test(made[0], made[1:], {"x": members[0]})
    made = prints(m0={"model_hash": two}, m2={"model_hash": two})
    with pytest.raises(FingerprintError, match="m2 must be a model of its own, got the weights of m0"):
        sibling_test(made[0], made[1:], {"x": members[0]})


@pytest.mark.parametrize(
    "form", ["log-probabilities", "probabilities", "3 decimals", "top 2", "one-hot", "class numbers"]
)
def test_members_of_every_form(form):
    source, *siblings = models(20)
    # siblings in one form, the source in another
    result = sibling_test(
        source, [FORMS[form](o) for o in siblings], {"copy": 3 * source, "honest": models(1, seed=9)[0]}
    )
    assert result.verdict == {"copy": "derived", "honest": "not distinguished"}
    expected = {"3 decimals": "probabilities", "top 2": "top-k", "one-hot": "labels", "class numbers": "labels"}
    assert result.output_form["copy"] == expected.get(form, form)


def test_models_of_other_classes_and_reordered_ones_are_compared_by_regression():
    """Moved to other classes, or the source's own classes in another order: the outputs mean something else."""
    generator = torch.Generator().manual_seed(5)
    task = 2 * torch.randn(600, 6, generator=generator)
    source, *siblings = (task + torch.randn(600, 6, generator=generator) for _ in range(20))
    honest = task + torch.randn(600, 6, generator=generator)
    head = torch.randn(6, 3, generator=generator)
    suspects = {
        "moved": torch.tanh(source / 2) @ head,
        "reordered": source[:, [3, 0, 4, 5, 1, 2]] + 0.3 * torch.randn(600, 6, generator=generator),
        "honest, moved": torch.tanh(honest / 2) @ head,
        "honest, reordered": honest[:, [3, 0, 4, 5, 1, 2]],
        "honest": honest,
        "noise": torch.randn(600, 6, generator=generator),
    }
    result = sibling_test(source, siblings, suspects)
    for name in ("moved", "reordered", "honest, moved", "honest, reordered"):
        assert result.channels[name] == ("regression",)
    assert result.channels["honest"] == ("softmax(1)", "log-softmax(4)")
    assert {name for name, word in result.verdict.items() if word == "derived"} == {"moved", "reordered"}
    assert result.verdict["noise"] == "inconclusive"
    few = sibling_test(source[:400], [each[:400] for each in siblings], {"moved": suspects["moved"][:400]})
    assert few.channels["moved"] == ("correlations",)
    alone = sibling_test(source, siblings, {"reordered": suspects["reordered"]}, score="weighted-agreement")
    assert alone.verdict["reordered"] == "inconclusive"
