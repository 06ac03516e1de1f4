"""One verdict over the grounds: which is taken, what several suspects and several grounds cost, what is recorded."""

import pytest
import torch

from sac_fast import Fingerprint, sibling_test, verify_fingerprints, verify_suspects, weights_test
from sac_fast.verify.grounds import choose_ground

N, K = 120, 6
GENERATOR = torch.Generator().manual_seed(0)
NEW_WEIGHTS = ("same-data-same-architecture", "same-data", "other-data")


def noise():
    return torch.randn(N, K, generator=GENERATOR)


TASK = 2 * noise()


def made(outputs, name, kind=None):
    return Fingerprint(outputs, {"name": name, "probe_hash": "sha256:" + "a" * 64, "kind": kind})


SOURCE = made(TASK + noise(), "source")
SIBLINGS = [made(TASK + noise(), f"sibling {i}") for i in range(19)]
NULLS = [made(TASK + noise(), f"{kind} {i}", kind) for kind in NEW_WEIGHTS for i in range(19)]
THIEF = made(SOURCE.outputs + 0.5 * noise(), "thief")
HONEST = made(TASK + noise(), "honest")


@pytest.mark.parametrize(
    ("siblings", "nulls", "options", "expected", "why"),
    [
        (19, 0, {}, "siblings", "19 siblings are the strongest ground"),
        (4, 19, {}, "siblings", "4 siblings are the strongest ground, though few"),
        (3, 19, {}, "null pool", "19 nulls, and 3 siblings, fewer than 4"),
        (0, 0, {}, "null pool", "no nulls, and no siblings: 4 give a first answer, 19 an exact one"),
        (1, 9, {}, "null pool", "9 nulls, and 1 sibling, fewer than 4"),
        (19, 19, {"score": "sac-jc"}, "siblings", "19 siblings are the strongest ground"),
        (19, 19, {"score": "robust"}, "null pool", "the score 'robust' is one of null pools"),
        (19, 19, {"ground": "null pool"}, "null pool", "it was asked for"),
        (19, 19, {"calibrated": True}, "null pool", "a calibration was given"),
        (9, 9, {"ground": "both"}, "both", "it was asked for"),
    ],
)
def test_the_strongest_ground_is_taken(siblings, nulls, options, expected, why):
    settings = {"ground": "auto", "score": "default", "alpha": 0.05, **options}
    assert choose_ground(siblings, nulls, **settings) == (expected, why)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"ground": "siblings", "siblings": SIBLINGS[:3]},
            "at least 4 for the ground 'siblings', got 3",
        ),
        ({"ground": "siblings", "siblings": SIBLINGS, "score": "robust"}, "score must be one of default"),
        ({"score": "correlations"}, "score 'correlations' needs at least 4 siblings, got 0"),
        ({"score": "best"}, "score must be one of"),
        ({"ground": "weights"}, "ground must be one of auto"),
        ({"score": "contrast"}, "siblings must hold at least one fingerprint for the score 'contrast'"),
    ],
)
def test_a_ground_without_what_it_needs_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        verify_suspects(SOURCE, [HONEST], **options)


def test_suspects_need_names_of_their_own():
    with pytest.raises(ValueError, match="suspects must have different names"):
        verify_suspects(SOURCE, [HONEST, HONEST])
    with pytest.raises(ValueError, match="at least one fingerprint, got none"):
        verify_suspects(SOURCE, [])


def test_siblings_give_the_sibling_test_itself():
    result = verify_suspects(SOURCE, [THIEF, HONEST], siblings=SIBLINGS, nulls=NULLS)
    wanted = sibling_test(SOURCE, SIBLINGS, {"thief": THIEF, "honest": HONEST})
    assert (result.ground, result.pool) == ("siblings", {})
    assert result.p_value == wanted.p_exact
    assert result.adjusted == wanted.adjusted
    assert result.verdict == wanted.verdict == {"thief": "derived", "honest": "not distinguished"}
    assert (result.smallest_p, result.realised_rate) == (0.05, 0.05)
    assert (result.hypothesis, result.conditions) == (wanted.hypothesis, wanted.conditions)
    assert result.tried["thief"] == ({"ground": "siblings", "score": "default", "p_value": 0.05},)


def test_a_pool_gives_the_p_values_of_the_pool_and_holm_over_suspects():
    options = {"siblings": SIBLINGS[:2], "kinds": NEW_WEIGHTS}
    result = verify_suspects(SOURCE, [THIEF, HONEST], nulls=NULLS, alpha=0.1, **options)
    each = {fp.name: verify_fingerprints(SOURCE, fp, NULLS, alpha=0.1, **options) for fp in (THIEF, HONEST)}
    assert result.pool == each
    assert result.p_value == {name: found.verdict.p_value for name, found in each.items()}
    assert (result.p_value["thief"], result.adjusted["thief"]) == (0.05, 0.1)
    assert result.verdict == {"thief": "derived", "honest": "not distinguished"}
    assert result.tried["thief"][0]["score"] == "contrast with 2 siblings"
    # the smaller of two p-values counts twice: 0.1 is more than 0.05
    alone = verify_suspects(SOURCE, [THIEF], nulls=NULLS, **options)
    assert (alone.verdict["thief"], alone.adjusted["thief"]) == ("derived", 0.05)
    both = verify_suspects(SOURCE, [THIEF, HONEST], nulls=NULLS, **options)
    assert (both.verdict["thief"], "0.1 adjusted for 2 suspects" in both.reason["thief"]) == ("inconclusive", True)


def test_two_grounds_share_the_rate():
    options = {"siblings": SIBLINGS, "nulls": NULLS, "ground": "both"}
    result = verify_suspects(SOURCE, [THIEF, HONEST], alpha=0.1, **options)
    assert result.ground == "siblings and null pool"
    # each 1 / 20 at α / 2 = 0.05; by Bonferroni twice that
    assert (result.p_value["thief"], result.smallest_p, result.realised_rate) == (0.1, 0.1, 0.1)
    assert result.verdict == {"thief": "derived", "honest": "not distinguished"}
    assert [tried["ground"] for tried in result.tried["honest"]] == ["siblings", "null pool"]
    assert " Or: " in result.hypothesis
    too_few = verify_suspects(SOURCE, [THIEF], alpha=0.05, **options)
    assert too_few.verdict["thief"] != "derived"


def test_thefts_are_compared_with_too():
    thefts = {
        "copy": [made(SOURCE.outputs + 0.01 * noise(), f"copy {i}") for i in range(4)],
        "faint": [made(TASK + 0.5 * (SOURCE.outputs - TASK) + noise(), f"faint {i}") for i in range(4)],
    }
    for options in ({"siblings": SIBLINGS}, {"nulls": NULLS}):
        against = verify_suspects(SOURCE, [THIEF, HONEST], thefts=thefts, **options).thefts
        # less like the source than every copy; the thief more than every faint theft
        assert against["thief"] == {"copy": 0.2, "faint": 1.0}
        assert against["honest"]["copy"] == 0.2


def test_weights_stand_beside_the_verdict():
    sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
    arrays = {f"{i}.weight": torch.randn(size, generator=GENERATOR) for i, size in enumerate(sizes)}
    related = weights_test(arrays, {name: 1.5 * array for name, array in arrays.items()})
    assert related.verdict == "weights related"
    result = verify_suspects(SOURCE, [HONEST], siblings=SIBLINGS, weights={"honest": related})
    assert result.verdict["honest"] == "not distinguished"
    assert result.to_dict()["weights"]["honest"]["verdict"] == "weights related"


def test_without_siblings_the_strongest_score_of_a_pool_is_taken():
    """By the numbers of models; the published distance is one flag away."""
    options = {"nulls": NULLS, "kinds": NEW_WEIGHTS}
    result = verify_suspects(SOURCE, [THIEF], **options)
    wanted = verify_fingerprints(SOURCE, THIEF, NULLS, score="given-cohort", kinds=NEW_WEIGHTS)
    assert result.pool == {"thief": wanted}
    assert result.tried["thief"] == (
        {"ground": "null pool", "score": "similarity given the other nulls", "p_value": 0.05},
    )
    assert result.verdict == {"thief": "derived"}
    named = verify_suspects(SOURCE, [THIEF], metric="cosine", **options)
    assert named.tried["thief"][0]["score"] == "cosine, l1"
    assert verify_suspects(SOURCE, [THIEF], nulls=NULLS[:3]).tried["thief"][0]["score"] == "cosine, l1"
    assert verify_suspects(SOURCE, [THIEF], score="sac-jc", **options).tried["thief"][0]["score"].startswith("raw/cos")


def test_too_few_siblings_for_a_rank_state_what_students_t_can_say():
    result = verify_suspects(SOURCE, [THIEF], siblings=SIBLINGS[:4])
    assert result.verdict == {"thief": "derived (approximate)"}
    assert (result.smallest_p, result.realised_rate) == (0.001, 0.05)
    assert result.siblings.p_exact == {"thief": 0.2}
