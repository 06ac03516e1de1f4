"""Looks at services: how α is spread, which probes are asked first, when a look ends the questions."""

import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.verify.rows import restrict_fingerprint
from sac_fast.verify.stages import judge_in_looks, plan_looks, query_order

N, K, SIBLINGS = 120, 5, 19


@pytest.fixture(scope="module")
def probes():
    pixels = np.arange(N * 4 * 4 * 3, dtype=np.int64).reshape(N, 4, 4, 3) % 251
    return sac_fast.ProbeSet.from_arrays(pixels.astype(np.uint8))


def members(probes, seed=0, siblings=SIBLINGS):
    generator = torch.Generator().manual_seed(seed)
    task = 2 * torch.randn(N, K, generator=generator)
    outputs = task + torch.randn(siblings + 1, N, K, generator=generator)
    return [of(probes, f"member {i}", o) for i, o in enumerate(outputs)], task, generator


def of(probes, name, outputs, form="logits"):
    return sac_fast.Fingerprint(outputs, {"name": name, "probe_hash": probes.content_hash, "output_form": form})


def judged(probes, suspects, looks, seed=0, siblings=SIBLINGS):
    """The looks at suspects, functions of source and task, and how many probes each was asked for."""
    (source, *rest), task, generator = members(probes, seed, siblings)
    outputs = {name: make(source.outputs, task, generator) for name, make in suspects.items()}
    asked = dict.fromkeys(suspects, 0)

    def ask(rows, names):
        for name in names:
            asked[name] = len(rows)
        return {name: of(probes, name, outputs[name][list(rows)]) for name in names}

    made = judge_in_looks(ask, list(suspects), looks, source=source, siblings=rest)
    return made, asked


def thief(source, task, generator):
    return source + 0.3 * torch.randn(N, K, generator=generator)


def honest(source, task, generator):
    return task + torch.randn(N, K, generator=generator)


@pytest.mark.parametrize(
    ("siblings", "looks", "spending", "expected"),
    [
        (19, 2, "exact", (0.0, 0.05)),
        (39, 2, "exact", (0.025, 0.025)),
        (38, 2, "exact", (0.0, 0.05)),
        (39, 3, "exact", (0.0, 0.025, 0.025)),
        (4, 2, "exact", (0.025, 0.025)),
        (19, 2, "equal", (0.025, 0.025)),
        (19, 1, "exact", (0.05,)),
    ],
)
def test_alpha_is_spent_where_it_can_be_reached(siblings, looks, spending, expected):
    planned = plan_looks([100 * (i + 1) for i in range(looks)], 1 / (siblings + 1), 0.05, spending=spending)
    assert planned.alphas == pytest.approx(expected)
    assert sum(planned.alphas) == pytest.approx(0.05)


@pytest.mark.parametrize("queries", [(), (1,), (100, 100), (200, 100), (10.0,)])
def test_looks_must_rise(queries):
    with pytest.raises(ValueError, match="queries must be"):
        plan_looks(queries, 0.05)


def test_disputed_probes_come_first(probes):
    outputs = torch.zeros(4, N, 3)
    outputs[:, :, 0] = 5
    outputs[:2, 7, 1] = 9  # two of four say another class
    outputs[0, 3, 1] = 9  # one of four
    outputs[0, 5, 1] = 4.9  # nearly
    order = query_order([of(probes, str(i), o) for i, o in enumerate(outputs)])
    assert order[:4].tolist() == [7, 3, 5, 0]
    assert sorted(order.tolist()) == list(range(N))


def test_the_order_does_not_know_which_member_is_the_source(probes):
    models, _, _ = members(probes)
    for form in ("logits", "labels"):
        given = [
            m if form == "logits" else of(probes, m.name, m.outputs.argmax(1).float()[:, None], form) for m in models
        ]
        assert query_order(given).tolist() == query_order(given[7:] + given[:7]).tolist()


def test_a_fingerprint_is_restricted_to_rows(probes):
    fp = members(probes)[0][0]
    part = restrict_fingerprint(fp, [3, 1])
    assert torch.equal(part.outputs, fp.outputs[[3, 1]])
    assert (part.name, part.output_form, part.provenance["probe_rows"]) == (fp.name, "logits", [3, 1])


def test_a_thief_is_asked_to_the_end_and_derived(probes):
    made, asked = judged(probes, {"thief": thief}, plan_looks((60, 100), 1 / 20))
    assert [look.alpha for look in made] == [0.0, 0.05]
    assert [look.decided for look in made] == [(), ("thief",)]
    assert made[1].verdicts.verdict["thief"] == "derived"
    assert asked["thief"] == 100


def test_with_more_siblings_a_thief_is_derived_early(probes):
    made, asked = judged(probes, {"thief": thief}, plan_looks((60, 100), 1 / 40), siblings=39)
    assert len(made) == 1
    assert (made[0].verdicts.verdict["thief"], made[0].verdicts.p_value["thief"], asked["thief"]) == (
        "derived",
        1 / 40,
        60,
    )


def test_a_hopeless_suspect_is_asked_no_more(probes):
    for seed in range(8):
        made, asked = judged(probes, {"honest": honest}, plan_looks((60, 100), 1 / 20), seed)
        hopeless = made[0].verdicts.p_value["honest"] > 0.5
        assert asked["honest"] == (60 if hopeless else 100)
        assert made[-1].decided == ("honest",)
    # both kinds occur among the seeds, so that either branch was seen
    ends = {len(judged(probes, {"honest": honest}, plan_looks((60, 100), 1 / 20), seed)[0]) for seed in range(8)}
    assert ends == {1, 2}


def test_outputs_that_are_no_evidence_yet_are_asked_on(probes):
    def noise(source, task, generator):
        return torch.randn(N, K, generator=generator)

    made, asked = judged(probes, {"noise": noise}, plan_looks((60, 100), 1 / 20))
    assert [look.verdicts.verdict["noise"] for look in made] == ["inconclusive"] * 2
    assert asked["noise"] == 100


def test_suspects_stay_together_until_all_are_hopeless_or_derived(probes):
    made, asked = judged(probes, {"thief": thief, "honest": honest}, plan_looks((60, 100), 1 / 20))
    assert asked == {"thief": 100, "honest": 100}
    assert made[-1].verdicts.verdict == {"thief": "derived", "honest": "not distinguished"}
    assert set(made[-1].verdicts.verdict) == set(made[-1].decided)


def test_an_early_derived_suspect_is_reported_for_itself(probes):
    made, asked = judged(probes, {"thief": thief, "honest": honest}, plan_looks((60, 100), 1 / 40), seed=2, siblings=39)
    assert [look.decided for look in made] == [("thief",), ("honest",)]
    assert list(made[0].verdicts.verdict) == ["thief"]
    assert asked == {"thief": 60, "honest": 100}


def test_a_suspect_that_cannot_be_asked_is_left_out(probes):
    (source, *rest), _, _ = members(probes)

    def ask(rows, names):
        return {"a": of(probes, "a", source.outputs[list(rows)])}

    made = judge_in_looks(ask, ["a", "b"], plan_looks((60, 100), 1 / 20), source=source, siblings=rest)
    assert made[-1].decided == ("a",)
    assert judge_in_looks(lambda *_: {}, ["b"], plan_looks((60,), 0.05), source=source, siblings=rest) == []


def test_a_null_pool_is_looked_at_too(probes):
    (source, *_), task, generator = members(probes)
    nulls = [of(probes, f"null {i}", honest(None, task, generator)) for i in range(39)]

    def ask(rows, names):
        return {"a": of(probes, "a", source.outputs[list(rows)])}

    made = judge_in_looks(ask, ["a"], plan_looks((60, 100), 1 / 40), source=source, nulls=nulls)
    assert (len(made), made[0].verdicts.ground, made[0].verdicts.verdict["a"]) == (1, "null pool", "derived")
