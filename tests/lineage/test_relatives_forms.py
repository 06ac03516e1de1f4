"""Relatives of models that answer in different forms, and of models that answer nothing."""

import torch
from support.output_forms import GIVE, classifiers

from sac_fast.lineage.forms import group_by_form
from sac_fast.lineage.relatives import find_relatives

MINE, *OTHERS = classifiers(25)
INDEPENDENTS = [f"independent {i}" for i in range(24)]


def search(**more):
    names = [*INDEPENDENTS, "mine", *more]
    return find_relatives(
        names, [*OTHERS, MINE, *more.values()], independents=INDEPENDENTS, metric="pearson", alpha=0.05
    )


def test_a_copy_is_found_in_every_form():
    copies = {form: give(MINE) for form, give in GIVE.items() if form != "logits"}
    found = search(**copies)
    for form in copies:
        nearest = [relative for relative in found.relatives[form] if relative.name == "mine"]
        assert nearest[0].distance < 2e-3, form
        assert nearest[0].p_value == 1 / 25, form
    assert "models answer in different forms (logits 25, probabilities 2, " in found.notes[0]


def test_a_model_of_a_weaker_form_does_not_weaken_the_others():
    before, after = search(), search(labels=GIVE["one-hot"](MINE))
    assert {name: after.relatives[name] for name in before.names} == before.relatives
    assert (after.groups, after.forest, after.threshold) == (before.groups, before.forest, before.threshold)
    assert {relative.name for relative in after.relatives["labels"]} <= set(before.names)


def test_models_that_are_no_evidence_get_no_p_value():
    rng = torch.Generator().manual_seed(0)
    dead = torch.randn(10, generator=rng) + 1e-3 * torch.randn(120, 10, generator=rng)
    found = search(dead=dead)
    assert all(relative.p_value is None for relative in found.relatives["dead"])
    assert all((r.p_value is None) == (r.name == "dead") for r in found.relatives["mine"])
    assert "no p-values for models whose outputs are no evidence: dead" in found.notes
    found = find_relatives([*INDEPENDENTS, "dead", "mine"], [*OTHERS, dead, MINE], independents=[*INDEPENDENTS, "dead"])
    assert len(found.independents) == 24


def test_small_logits_are_logits():
    groups = group_by_form([MINE, MINE / 100, torch.nn.functional.normalize(MINE), MINE.softmax(1)])
    assert [(group.form.form, group.own) for group in groups] == [("logits", (0, 1, 2)), ("probabilities", (3,))]
    assert groups[0].outputs[0] is MINE
    assert groups[1].members == (0, 1, 2, 3)
