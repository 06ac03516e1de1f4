"""Relations of two arrays that need no statistic."""

import numpy as np
import pytest
import torch

from sac_fast.verify.weights.facts import DTYPE, EQUAL, PRUNED, QUANTISED, SCALED, Facts, find_coarser, find_relation

ARRAY = np.random.default_rng(0).normal(size=(24, 40)).astype(np.float32)
STEP = np.abs(ARRAY).max(1, keepdims=True) / 127


@pytest.mark.parametrize(
    ("other", "relation"),
    [
        (ARRAY.copy(), EQUAL),
        (ARRAY.astype(np.float16), DTYPE),
        (ARRAY.astype(np.float16).astype(np.float32), DTYPE),
        (torch.from_numpy(ARRAY).bfloat16().float().numpy(), DTYPE),
        (-ARRAY, SCALED),
        (ARRAY * np.linspace(-2, 3, 24, dtype=np.float32)[:, None], SCALED),
        ((np.round(ARRAY / STEP) * STEP).astype(np.float32), QUANTISED),
        (np.where(np.abs(ARRAY) > 1, ARRAY, 0), PRUNED),
        (ARRAY + np.float32(0.01), None),
        (np.random.default_rng(1).normal(size=(24, 40)).astype(np.float32), None),
        (np.zeros_like(ARRAY), None),
        (np.full_like(ARRAY, np.nan), None),
        (ARRAY[:, :39], None),
    ],
)
def test_the_relation_is_the_strongest_that_holds(other, relation):
    assert find_relation(ARRAY, other) == relation
    if other.shape == ARRAY.shape:
        assert find_relation(other, ARRAY) == relation


def test_one_value_of_another_kind_is_enough_against_a_fact():
    for other in (ARRAY.astype(np.float16).astype(np.float32), -ARRAY, np.where(np.abs(ARRAY) > 1, ARRAY, 0)):
        changed = other.copy()
        changed[-1, np.flatnonzero(changed[-1])[-1]] += 0.5
        assert find_relation(ARRAY, changed) is None


def test_facts_count_arrays_and_values():
    facts = Facts()
    facts.add(ARRAY, ARRAY, ("float32", "float32"))
    facts.add(ARRAY[:6], -ARRAY[:6], ("float32", "float32"))
    facts.add(np.array([0, 1.0]), np.array([0, 2.0]), ("float32", "float32"))
    shown = facts.to_dict()
    assert shown["pairs_of_arrays"] == 3
    assert shown[EQUAL] == {"arrays": 1, "values": 960 / 1202}
    assert shown[SCALED] == {"arrays": 1, "values": 240 / 1202}
    assert shown["coarser"] == {"a": 0, "b": 0}
    assert shown["zeros"] == {"a": 1 / 1202, "b": 1 / 1202}


@pytest.mark.parametrize(
    ("other", "coarser"),
    [
        (ARRAY.astype(np.float16).astype(np.float32), "b"),
        (torch.from_numpy(ARRAY).bfloat16().float().numpy(), "b"),
        ((np.round(ARRAY / STEP) * STEP).astype(np.float32), "b"),
        (np.where(np.abs(ARRAY) > 1, ARRAY, 0), "b"),
        (-ARRAY, None),
        (ARRAY.astype(np.float64), None),
    ],
)
def test_the_coarser_side_lost_values(other, coarser):
    relation = find_relation(ARRAY, other)
    assert find_coarser(ARRAY, other, relation) == coarser
    assert find_coarser(other, ARRAY, relation) == {"b": "a", None: None}[coarser]
    facts = Facts()
    facts.add(ARRAY, other, ("float32", "float32"))
    assert facts.to_dict()["coarser"] == {"a": 0, "b": int(coarser == "b")}
