"""Shares with intervals, the accusation matrix, and the choice of a statistic without a leak."""

import numpy as np
import pytest
from scipy.stats import beta, t

from sac_fast.evaluation.accusation_matrix import accusation_matrix, p_by_kind
from sac_fast.evaluation.choice import choose_for, nested_choices
from sac_fast.evaluation.rates import Share
from sac_fast.labelled_zoo.folder import ZooMember


def test_intervals_of_a_share():
    share = Share(((1, 10), (3, 10), (0, 20)))
    assert (share.hits, share.models, share.value) == (4, 40, 0.1)
    # Clopper and Pearson by quantiles of the beta distribution
    assert share.exact() == pytest.approx((beta.ppf(0.025, 4, 37), beta.ppf(0.975, 5, 36)))
    shares = np.array([0.1, 0.3, 0.0])
    half = t.ppf(0.975, 2) * shares.std(ddof=1) / np.sqrt(3)
    assert share.clustered() == pytest.approx((0.0, shares.mean() + half))


def test_shares_without_models_or_spread():
    assert Share(()).value is None
    assert Share(((0, 0),)).exact() is None
    assert Share(((1, 2),)).clustered() is None
    assert Share(((1, 2), (2, 4))).clustered() is None
    # a source without such models does not count as one with none accused
    assert Share(((1, 2), (0, 0), (0, 2))).clustered() == (0.0, 1.0)


def honest(kinds):
    return [ZooMember(f"{kind}-{i}", "independent", kind, "nets:a") for kind, count in kinds for i in range(count)]


def test_the_matrix_accuses_by_the_nulls_of_the_row():
    models = honest([("same-data", 10), ("other-data", 9)])
    # those of the source's data are all nearer than those of other data
    distances = {m.name: (0.1 if m.origin == "same-data" else 0.8) + 0.01 * i for i, m in enumerate(models)}
    cells = accusation_matrix(distances, models, 0.1)
    assert cells == {
        ("same-data", "same-data"): (1, 10),  # nine others each, and the nearest has p = 1/10
        ("other-data", "same-data"): (10, 10),
        ("same-data", "other-data"): (0, 9),
    }  # eight others of other-data are too few for 10 %
    assert p_by_kind(models[0], distances, models) == {"same-data": 0.1, "other-data": 0.1}
    far = ZooMember("strange", "stolen", "transfer-all", "nets:a")
    assert p_by_kind(far, distances | {"strange": float("nan")}, models) == {"same-data": 1.0, "other-data": 1.0}


FIGURES = {
    "steady": {"a": {"x": 0.8, "y": 0.8}, "b": {"x": 0.8, "y": 0.8}, "c": {"x": 0.8, "y": 0.8}},
    "lucky": {"a": {"x": 1.0, "y": 1.0}, "b": {"x": 0.7, "y": 0.7}, "c": {"x": 0.7, "y": 0.7}},
    "of x": {"a": {"x": 1.0, "y": 0.1}, "b": {"x": 1.0, "y": 0.1}, "c": {"x": 1.0, "y": 0.1}},
}


def test_a_statistic_is_not_chosen_by_the_task_it_is_reported_on():
    # "lucky" is best on task a, and loses there because the other tasks decide
    assert choose_for(FIGURES, "a") == "steady"
    assert {(c.task, c.statistic) for c in nested_choices(FIGURES) if c.task == "a"} == {("a", "steady")}
    cell = next(c for c in nested_choices(FIGURES) if (c.task, c.family) == ("a", "x"))
    assert (cell.figure, cell.best) == (0.8, 1.0)


@pytest.mark.parametrize("leave_family_out", [False, True])
def test_no_figure_of_a_cell_has_a_part_in_its_choice(leave_family_out):
    generator = np.random.default_rng(4)
    tasks, families = ("a", "b", "c"), ("x", "y", "z")
    figures = {
        f"s{i}": {task: {name: float(generator.uniform(0.5, 1)) for name in families} for task in tasks}
        for i in range(6)
    }
    before = {(c.task, c.family): c.statistic for c in nested_choices(figures, leave_family_out=leave_family_out)}
    assert len(before) == 9
    for task, name in before:

        def flipped(of_task, of_family, value, task=task, name=name):
            hidden = of_task == task or (leave_family_out and of_family == name)
            return 1 - value if hidden else value

        changed = {
            s: {t: {f: flipped(t, f, value) for f, value in of.items()} for t, of in by_task.items()}
            for s, by_task in figures.items()
        }
        after = nested_choices(changed, leave_family_out=leave_family_out)
        assert next(c.statistic for c in after if (c.task, c.family) == (task, name)) == before[task, name]
    # the test can fail: what other tasks show does decide
    other = {s: {t: {f: 1 - v for f, v in of.items()} for t, of in by.items()} for s, by in figures.items()}
    assert [c.statistic for c in nested_choices(other)] != list(before.values())


def test_one_task_alone_leaves_the_family_out():
    one = {name: {"a": of["a"]} for name, of in FIGURES.items()}
    assert choose_for(one, "a", "y") == "lucky"
    with pytest.raises(ValueError, match="must have figures of tasks other than 'a'"):
        choose_for({"s": {"a": {"x": 0.5}}}, "a", "x")
