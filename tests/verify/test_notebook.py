"""What results show in notebooks: tables with escaped names, and plots."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

import sac_fast
from sac_fast.io.figure import FigureError
from sac_fast.io.html import html_pairs, html_table
from sac_fast.lineage.result import Lineage, Relative

HOSTILE = "<b onclick=x>\x1b[31m$\\frac"


def made(name, outputs, **provenance):
    return sac_fast.Fingerprint(outputs, {"name": name, "probe_hash": "sha256:" + "0" * 64, **provenance})


@pytest.fixture(scope="module")
def outputs():
    return torch.randn(21, 60, 5, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def verification(outputs):
    nulls = [made(f"n{i}", o, kind="same-data") for i, o in enumerate(outputs[2:12])]
    return sac_fast.verify_fingerprints(made("source", outputs[0]), made(HOSTILE, outputs[1]), nulls)


@pytest.fixture(scope="module")
def siblings(outputs):
    source, *others = outputs[:20] + 2 * outputs[20]
    return sac_fast.sibling_test(source, others, {HOSTILE: 2 * source})


@pytest.fixture(scope="module")
def verdicts(outputs):
    source, *others = (made(f"m{i}", o) for i, o in enumerate(outputs[:20] + 2 * outputs[20]))
    return sac_fast.verify_suspects(source, [made(HOSTILE, 2 * source.outputs)], siblings=others)


def test_tables_are_escaped():
    table = html_table(("a", "b"), [(HOSTILE, 1.5)], "c & d", ["n<"])
    escaped = "&lt;b onclick=x&gt;\\x1b[31m$\\frac"
    assert table == (
        "<table><caption>c &amp; d</caption><tr><th>a</th><th>b</th></tr>"
        f"<tr><td>{escaped}</td><td>1.5</td></tr></table><ul><li>n&lt;</li></ul>"
    )
    assert html_pairs("", {"x": None, "y": 2}) == "<table><tr><td>y</td><td>2</td></tr></table>"


def test_results_have_tables(verification, siblings, verdicts):
    rng = np.random.default_rng(0)
    weights = {HOSTILE: rng.normal(size=(16, 27)), "b": rng.normal(size=(32, 16)), "c": rng.normal(size=(10, 32))}
    related = Lineage(("a",), {HOSTILE: (Relative("b", 0.5, 0.1, 0.1),)}, None, 0.05, (), None, (), (), "cosine", ())
    images = np.zeros((2, 8, 8, 3), dtype=np.uint8)
    for result, words in (
        (verification, ("p by kind", "hypothesis", verification.verdict.verdict)),
        (siblings, ("derived", "Hypothesis: ", "0.05", "Source among its siblings: agreement ", "rank ")),
        (sac_fast.weights_test(weights, weights), ("identical", "units matched")),
        (related, ("nearest", "0.5")),
        (sac_fast.ProbeSet.from_arrays(images), ("probe hash", "sha256:")),
        (made(HOSTILE, torch.eye(3), notes=[HOSTILE]), ("probe hash", "3 probes × 3 outputs", "&lt;b onclick")),
        (verdicts, ("by siblings", "derived", "Hypothesis: ")),
    ):
        text = result._repr_html_()
        assert text.startswith("<table>")
        assert "<b " not in text
        assert "\x1b" not in text
        assert all(word in text for word in words)


@pytest.mark.parametrize("name", ["verification", "siblings"])
def test_suspects_are_drawn_on_a_strip(tmp_path, request, name):
    pytest.importorskip("matplotlib")
    result = request.getfixturevalue(name)
    figure = result.plot(tmp_path / "plot.png")
    (axes,) = figure.axes
    dots, line = axes.lines
    if name == "siblings":
        own, *others = result.profiles[HOSTILE]
    else:
        own, others = result.verdict.distance, list(result.null_distances.values())
    assert list(dots.get_xdata()) == pytest.approx(others)
    assert list(line.get_xdata()) == pytest.approx([own, own])
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size[0] > 800


def test_verdicts_are_drawn_as_their_ground(verdicts, verification):
    pytest.importorskip("matplotlib")
    dots, line = verdicts.plot().axes[0].lines
    assert len(dots.get_xdata()) == 19
    assert list(line.get_xdata()) == list(verdicts.siblings.plot().axes[0].lines[1].get_xdata())
    by_pool = dataclasses.replace(verdicts, siblings=None, pool={HOSTILE: verification})
    assert len(by_pool.plot().axes[0].lines[0].get_xdata()) == 10
    with pytest.raises(FigureError, match="at least one suspect"):
        dataclasses.replace(verdicts, siblings=None).plot()


def test_a_fingerprint_is_drawn_as_its_correlations(tmp_path):
    pytest.importorskip("matplotlib")
    rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]])
    figure = made(HOSTILE, rows).plot(tmp_path / "plot.png")
    image = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(image, [[1, 0, 0.6], [0, 1, 0.8], [0.6, 0.8, 1]], atol=1e-6)
    assert (tmp_path / "plot.png").stat().st_size > 1000
    assert figure._repr_png_().startswith(b"\x89PNG")  # what a notebook shows
    many = made("many", torch.randn(500, 3, generator=torch.Generator().manual_seed(0))).plot()
    assert many.axes[0].images[0].get_array().shape == (400, 400)
    assert "the first 400 of 500" in many.axes[0].get_xlabel()


def test_probes_are_drawn_on_one_sheet(tmp_path):
    pytest.importorskip("matplotlib")
    pixels = np.random.default_rng(0).integers(0, 256, (100, 8, 8, 3), dtype=np.uint8)
    figure = sac_fast.ProbeSet.from_arrays(pixels, labels=np.arange(100)).plot(tmp_path / "plot.png")
    drawn = [axes for axes in figure.axes if axes.images]
    assert len(drawn) == 48
    assert (drawn[0].get_title(), drawn[-1].get_title()) == ("0: 0", "99: 99")
    np.testing.assert_array_equal(np.asarray(drawn[-1].images[0].get_array()), pixels[99])
    assert len([axes for axes in sac_fast.ProbeSet.from_arrays(pixels[:3]).plot().axes if axes.images]) == 3


def test_relatives_are_drawn_by_distance(tmp_path):
    pytest.importorskip("matplotlib")
    near, far = Relative("b", 0.25, None, None), Relative("c", 0.5, None, None)
    related = Lineage(("a", "b"), {"far": (far,), HOSTILE: (near, far)}, 0.3, 0.05, (), None, (), (), "cosine", ())
    axes = related.plot(tmp_path / "plot.png").axes[0]
    first, second, line = axes.lines
    assert (list(first.get_xdata()), list(second.get_xdata())) == ([0.25, 0.5], [0.5])
    assert list(line.get_xdata()) == [0.3, 0.3]
    assert "\x1b" not in axes.get_yticklabels()[0].get_text()
