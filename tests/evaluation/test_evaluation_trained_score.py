"""The trained score: who is judged by what, folds, and the grid of scores."""

import pytest
from support.labelled_zoos import members

from sac_fast.evaluation.crossfit import cross_fit, make_folds
from sac_fast.evaluation.curves import grid, limited
from sac_fast.evaluation.loaded_zoo import LoadedZoo
from sac_fast.evaluation.methods import calibrated_method, score_method
from sac_fast.evaluation.summary import mean_auc
from sac_fast.fingerprint import Fingerprint
from sac_fast.scores import CALIBRATED, CohortStatistic, Score

STATISTICS = (CohortStatistic(0.1, "softmax(1)", "pearson", "misclassified"),)


def test_folds_keep_architectures_and_seeds_apart():
    source, *suspects = members()
    folds = list(make_folds(source, suspects))
    tested = [m.name for fold in folds for m in fold.tested]
    assert sorted(tested) == sorted(m.name for m in suspects)

    def network(member):
        return member.architecture_args.get("model", member.architecture)

    assert {network(m) for fold in folds for m in fold.tested} == {"nets:a", "nets:b", "nets:c"}
    for fold in folds:
        networks = {network(m) for m in fold.tested}
        assert len(networks) == 1
        # no theft of the same architecture, models with a new head among them
        assert networks.isdisjoint({network(m) for m in fold.thefts})
        assert {m.name for m in fold.tested}.isdisjoint(m.name for m in fold.cohort)
        if networks != {"nets:a"}:
            assert networks.isdisjoint({network(m) for m in fold.cohort})
    # the source's own architecture: each independent of it is left out once
    own = [m for m in suspects if m.role == "independent" and m.architecture == "nets:a"]
    assert sum(m in fold.tested for m in own for fold in folds) == len(own)
    assert sum(fold.name.startswith("nets:a") for fold in folds) == 4


def test_no_suspect_is_judged_by_a_score_that_has_seen_the_like(loaded, monkeypatch):
    """Every fit is recorded; nothing of the fit of a judgement may be of its attack, architecture or fold."""
    from sac_fast.evaluation import crossfit

    seen = []
    real = crossfit.fit_weights

    def recording(thefts, origins, independents, **options):
        seen.append((set(origins), len(independents)))
        return real(thefts, origins, independents, **options)

    monkeypatch.setattr(crossfit, "fit_weights", recording)
    found = cross_fit(loaded, STATISTICS, regularisation=0.1)
    attacks = [attack for attack, _ in loaded.attacks()]
    for number, (origins, _) in enumerate(seen):
        assert attacks[number % len(attacks)] not in origins
        assert "adaptive-correlation" not in origins
    # other networks than a: extraction only was done with them; so a fold of a's can only be fitted on that
    assert set(found.distances) == {m.name for m in loaded.suspects}


def test_a_changed_suspect_changes_no_other_judgement(tmp_path, loaded):
    """The strongest form of 'no leak': what is tested influences nothing but its own distance, in its own fold."""
    before = cross_fit(loaded, STATISTICS, regularisation=0.1).distances
    outputs = {name: dict(of) for name, of in loaded.outputs.items()}
    changed = "transfer-all-0"
    outputs["misclassified"][changed] = outputs["misclassified"][changed].flip(0)
    moved = LoadedZoo(loaded.zoo, loaded.members, outputs, loaded.labels)
    after = cross_fit(moved, STATISTICS, regularisation=0.1).distances
    fold = next(f for f in make_folds(loaded.zoo.source, loaded.suspects) if changed in {m.name for m in f.tested})
    for member in fold.tested:
        # judged by a fit without transfer-all and without network a: nobody of the same fold notices
        if member.name != changed and member.role == "stolen":
            assert after[member.name] == before[member.name]
    assert after[changed] != before[changed]


def test_the_trained_score_finds_thieves(loaded):
    method = calibrated_method(loaded, STATISTICS)
    assert mean_auc(method.distances, loaded.suspects) > 0.95
    assert method.queries == 80
    few = [m for m in loaded.members if m.role != "independent" or m.name in {"independent-0", "independent-1"}]
    small = LoadedZoo(loaded.zoo, tuple(few), loaded.outputs, loaded.labels)
    with pytest.raises(ValueError, match="cohort of 'nets:"):
        calibrated_method(small, STATISTICS)


def test_the_grid_is_sorted(loaded, monkeypatch):
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_TRANSFORMS", ("raw", "softmax(1)"))
    monkeypatch.setattr("sac_fast.evaluation.curves.GRID_METRICS", ("pearson",))
    few = LoadedZoo.load(loaded.zoo.folder, probes=["plain", "misclassified"])
    rows = grid(few)
    # 2 probe sets × (2 × 1 × 4 correlations, 2 regressions, 3 of outputs)
    assert len(rows) == 2 * (8 + 2 + 3)
    assert [r["mean_auc"] for r in rows] == sorted((r["mean_auc"] for r in rows), reverse=True)
    row = next(r for r in rows if r["score"] == "raw/pearson/l1@plain")
    distances = score_method(loaded, Score.parse("raw/pearson/l1@plain")).distances
    assert row["mean_auc"] == mean_auc(distances, loaded.suspects)
    near = ["same-data", "same-data-same-architecture"]
    assert row["mean_auc_same_data"] == mean_auc(distances, loaded.suspects, near)


def test_fewer_probes_for_the_trained_score(loaded):
    assert {s.count for s in limited(CALIBRATED, 40, loaded)} == {40}
    assert {s.count for s in limited(CALIBRATED, 4000, loaded)} == {80}
    assert isinstance(loaded.zoo.load_fingerprint("plain", "source"), Fingerprint)
