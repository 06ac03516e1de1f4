"""Related weights among many models: sketches, candidates, exact tests, groups."""

import dataclasses
import itertools
import json
import sqlite3

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.lineage.weights_cache import open_cache
from sac_fast.lineage.weights_files import list_weights
from sac_fast.lineage.weights_result import WeightsPair, WeightsRelatives, find_leaf
from sac_fast.lineage.weights_sketch import VALUES, sketch_weights
from sac_fast.lineage.weights_sweep import find_candidates
from sac_fast.verify.weights.arrays import open_any

SHAPES = {
    "conv1.weight": (24, 3, 3, 3),
    "conv2.weight": (32, 24, 3, 3),
    "fc1.weight": (48, 32),
    "fc2.weight": (64, 48),
    "head.weight": (10, 64),
}


def make(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}


def change(state, how):
    return {name: how(array) if name != "head.weight" else array for name, array in state.items()}


def quantise(array):
    step = np.abs(array).max() / 7
    return np.round(array / step) * step


COPIES = {
    "noise": lambda array: array + 0.1 * make(99, {"x": array.shape})["x"],
    "pruned": lambda array: np.where(np.abs(array) >= np.quantile(np.abs(array), 0.9), array, 0),
    "4 bits": quantise,
    "float16": lambda array: array.astype(np.float16),
    "signs and gains": lambda array: array * np.linspace(-2, 1.9, len(array)).reshape(-1, *[1] * (array.ndim - 1)),
    "transposed": lambda array: array.T if array.ndim == 2 else array,
    "turned": lambda array: array[:, :, ::-1, ::-1] if array.ndim == 4 else array,
    "exchanged": lambda array: np.swapaxes(array, 2, 3) if array.ndim == 4 else array,
}


def sketch(state):
    with open_any(state, "state") as opened:
        return sketch_weights(opened)


@pytest.fixture(scope="module")
def sketches():
    """One of an original, of each copy, of the layers in another order, and of 30 strangers."""
    original = make(0)
    copies = [change(original, how) for how in COPIES.values()]
    copies.append({f"onnx::{i}": original[name] for i, name in enumerate(reversed(SHAPES))})
    return [sketch(state) for state in (original, *copies, *map(make, range(1, 31)))]


def test_candidates_are_the_copies_alone(sketches):
    family = range(len(COPIES) + 2)
    found = find_candidates(sketches)
    assert [pair for pair in found if pair[0] == 0] == [(0, copy) for copy in family[1:]]
    assert set(found) <= set(itertools.combinations(family, 2))


def test_candidates_of_many_blocks_are_those_of_one(sketches, monkeypatch):
    shuffled = [*sketches[::2], sketch(make(5, {"other.weight": (40, 40, 3, 3)})), *sketches[1::2]]
    whole = find_candidates(shuffled)
    monkeypatch.setattr("sac_fast.lineage.weights_sweep._BLOCK", 7)
    assert len(whole) > 10
    assert find_candidates(shuffled) == whole


def test_a_sketch_is_small_and_does_not_depend_on_scale(sketches):
    original = sketches[0]
    assert sum(original.layers.values()) == 4
    assert all(vector.dtype == np.int8 and len(vector) <= VALUES for vector in original.vectors.values())
    for scale in (1e-30, 1e30):
        scaled = sketch(change(make(0), lambda array, scale=scale: array * np.float32(scale)))
        assert all(
            np.abs(scaled.vectors[key].astype(int) - vector).max() <= 1 for key, vector in original.vectors.items()
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 0, 1])
def test_layers_without_evidence_have_no_sketch(value):
    made = sketch({name: np.full(shape, value, np.float32) for name, shape in SHAPES.items()})
    assert made.vectors == {}
    assert find_candidates([made, made]) == []


def test_traits_say_what_was_lost(sketches):
    of = dict(zip(["original", *COPIES], sketches, strict=False))
    assert of["pruned"].zeros == pytest.approx(0.9, abs=0.05)
    assert of["original"].zeros == 0
    assert of["4 bits"].distinct < 0.6 < of["original"].distinct == 1
    assert of["float16"].short == 1 > 0.01 > of["original"].short


def test_pairs_groups_copies_and_direction():
    original, other = make(0), make(1)
    models = {
        "short": change(original, COPIES["float16"]),
        "original": original,
        "again": dict(original),
        "pruned": change(original, COPIES["pruned"]),
        "other": other,
        "other, head trained": {**other, "head.weight": make(7)["head.weight"]},
        "stranger": lambda: make(2),
        "small": {"fc.weight": np.ones((16, 16))},
        "broken": "no such file",
    }
    found = sac_fast.weights_relatives(models)
    assert found.groups == (("again", "original", "pruned", "short"), ("other", "other, head trained"))
    assert found.duplicates == (("original", "again"),)
    assert (found.models, found.tests, list(found.failures), found.not_comparable) == (8, 28, ["broken"], ("small",))
    by_names = {frozenset((pair.a, pair.b)): pair for pair in found.pairs}
    assert len(by_names) == 4  # "again" is judged by "original"
    assert by_names[frozenset(("original", "short"))].leaf == "short"
    pair = by_names[frozenset(("original", "pruned"))]
    assert (pair.leaf, pair.leaf_because) == ("pruned", "pruned")
    frozen = by_names[frozenset(("other", "other, head trained"))]
    head, rest = 10 * 64, 24 * 27 + 32 * 216 + 48 * 32 + 64 * 48
    assert frozen.shares == {"equal": pytest.approx(rest / (rest + head))}
    assert frozen.leaf is None
    assert json.loads(json.dumps(found.to_dict()))["groups"][1] == ["other", "other, head trained"]


def test_p_is_corrected_for_all_pairs():
    small = {"1.weight": (9, 3, 3, 3), "2.weight": (10, 9, 3, 3), "3.weight": (11, 10, 3, 3), "4.weight": (5, 11)}
    original = make(0, small)
    strangers = {str(seed): make(seed, small) for seed in range(1, 7)}
    models = {"a": original, "b": change(original, COPIES["float16"]), **strangers}
    exact = sac_fast.weights_test(models["a"], models["b"])
    assert 1e-8 < exact.p_value < 1e-3
    found = sac_fast.weights_relatives(models, alpha=29 * exact.p_value)
    assert [(pair.a, pair.b, pair.log10_p) for pair in found.pairs] == [("a", "b", exact.log10_p)]
    assert found.pairs[0].p_holm == pytest.approx(28 * exact.p_value)
    # 28 pairs: what α allows for one pair alone is not enough
    assert sac_fast.weights_relatives(models, alpha=27 * exact.p_value).pairs == ()


def test_a_leaf_needs_a_relation_of_the_whole_model(sketches):
    full = dataclasses.replace(sketches[0], zeros=0.0, distinct=1.0, short=0.0)
    few = dataclasses.replace(full, zeros=0.5)
    assert find_leaf({"equal where not pruned": 0.8, "equal": 0.2}, few, full) == (0, "pruned")
    assert find_leaf({"equal where not pruned": 0.5}, few, full) is None
    assert find_leaf({"equal where not pruned": 1.0}, few, few) is None
    levels = dataclasses.replace(full, distinct=0.2)
    assert find_leaf({"equal after dequantisation": 1.0}, full, levels) == (1, "quantised")
    assert find_leaf({"equal": 1.0}, full, levels) is None


def test_a_search_that_was_stopped_goes_on(tmp_path, monkeypatch):
    paths = {}
    for seed in range(4):
        paths[str(seed)] = tmp_path / f"{seed}.npz"
        np.savez(paths[str(seed)], **make(seed % 2))
    read = []
    real = sketch_weights

    def stop(opened):
        read.append(opened.name)
        if len(read) == 3:
            raise KeyboardInterrupt
        return real(opened)

    monkeypatch.setattr("sac_fast.lineage.weights_relatives.sketch_weights", stop)
    with pytest.raises(KeyboardInterrupt):
        sac_fast.weights_relatives(paths, cache=tmp_path / "kept")
    found = sac_fast.weights_relatives(paths, cache=tmp_path / "kept")
    assert found.duplicates == (("0", "2"), ("1", "3"))
    assert len(read) == 5  # the third one twice
    np.savez(paths["3"], **make(3))
    assert sac_fast.weights_relatives(paths, cache=tmp_path / "kept").duplicates == (("0", "2"),)


def test_a_cache_of_another_kind_is_refused_and_damaged_rows_are_made_again(tmp_path, sketches):
    (tmp_path / "text").write_text("no database, " * 100)
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE models (name TEXT)")
    for name in ("text", "other"):
        with pytest.raises(FileFormatError, match="as a cache of sketches"):
            sac_fast.weights_relatives({}, cache=tmp_path / name)
    (tmp_path / "model").write_text("x")
    with open_cache(tmp_path / "kept") as cache:
        cache.put_sketch(tmp_path / "model", sketches[0])
    with open_cache(tmp_path / "kept") as cache:
        kept = cache.get_sketch(tmp_path / "model")
        assert (kept.content_hash, kept.layers, kept.short) == (
            sketches[0].content_hash,
            sketches[0].layers,
            sketches[0].short,
        )
        assert all(np.array_equal(kept.vectors[key], vector) for key, vector in sketches[0].vectors.items())
    for damage in ("sketch = '[]'", "sketch = 'x'", "vectors = x'00'"):
        with sqlite3.connect(tmp_path / "kept") as connection:
            connection.execute(f"UPDATE sketches SET {damage}")
        with open_cache(tmp_path / "kept") as cache:
            assert cache.get_sketch(tmp_path / "model") is None


def test_shards_are_listed_as_their_index(tmp_path):
    for name in ("a/model-00001-of-00002.safetensors", "a/model-00002-of-00002.safetensors", "b.onnx", "c/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert list(list_weights(tmp_path)) == [
        *("a/model-00001-of-00002.safetensors", "a/model-00002-of-00002.safetensors", "b.onnx"),
    ]
    (tmp_path / "a" / "model.safetensors.index.json").write_text("{}")
    assert list(list_weights(tmp_path)) == ["a/model.safetensors.index.json", "b.onnx"]
    with pytest.raises(ModelError):
        list_weights(tmp_path / "none")


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1"):
        sac_fast.weights_relatives({}, alpha=1)
    with pytest.raises(TypeError, match="models must be a folder or a mapping"):
        sac_fast.weights_relatives([])
    assert sac_fast.weights_relatives({}).pairs == ()


def test_pairs_are_drawn_with_their_p_for_all_pairs(tmp_path):
    pytest.importorskip("matplotlib")
    pairs = (
        WeightsPair("a", "b\x1b[31m", "weights related", -300.5, 1e-300, 1e-300, {}),
        WeightsPair("c", "d", "weights related", -4, 1e-4, 1e-2, {}),
        WeightsPair("e", "f", "identical", 0, 1, 1, {"equal": 1.0}),
    )
    found = WeightsRelatives(6, pairs, (), (), {}, (), tests=100, candidates=3, alpha=0.05)
    (axes,) = found.plot(tmp_path / "plot.png").axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([298.5, 2, 0])  # p times 100 pairs, 1 at most
    assert list(axes.lines[0].get_xdata()) == pytest.approx([1.30103, 1.30103])
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[1:] == ["c – d", "e – f"]
    assert "\x1b" not in labels[0]
    assert (tmp_path / "plot.png").stat().st_size > 1000
    many = dataclasses.replace(found, pairs=pairs * 30).plot()
    assert len(many.axes[0].patches) == 60
    assert "60 of 90 pairs" in many.axes[0].get_xlabel()
