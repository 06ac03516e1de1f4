"""What results show in notebooks: tables with escaped names, and plots."""

import numpy as np
import pytest
import torch
from PIL import Image

import sac_fast
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


def test_tables_are_escaped():
    table = html_table(("a", "b"), [(HOSTILE, 1.5)], "c & d", ["n<"])
    escaped = "&lt;b onclick=x&gt;\\x1b[31m$\\frac"
    assert table == (
        "<table><caption>c &amp; d</caption><tr><th>a</th><th>b</th></tr>"
        f"<tr><td>{escaped}</td><td>1.5</td></tr></table><ul><li>n&lt;</li></ul>"
    )
    assert html_pairs("", {"x": None, "y": 2}) == "<table><tr><td>y</td><td>2</td></tr></table>"


def test_results_have_tables(verification, siblings):
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
