"""`sac-fast evaluate`, its figures, and presets of `sac-fast verify`, as a user types them."""

import builtins
import json
import re

import numpy as np
import pytest
from PIL import Image
from support.labelled_zoos import make_zoo

from sac_fast.evaluation.figures import write_figures
from sac_fast.evaluation.run import evaluate
from sac_fast.io.figure import FigureError

FIGURES = ("roc", "distances", "probes", "quality", "heatmap", "time")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    return make_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture
def no_matplotlib(monkeypatch):
    real = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)


def test_every_figure_is_drawn(tmp_path, zoo):
    pytest.importorskip("matplotlib")
    results, loaded = evaluate(zoo.folder, resamples=20)
    written = write_figures(results, loaded, tmp_path)
    assert [path.stem for path in written] == list(FIGURES)
    for path in written:
        pixels = np.asarray(Image.open(path).convert("L"))
        # something was drawn in black on white
        assert pixels.min() < 60
        assert np.mean(pixels > 250) > 0.2


def test_from_a_zoo_to_tables_and_a_verdict(tmp_path, zoo, run):
    out, fit = tmp_path / "out", tmp_path / "source.calibration"
    code, text, err = run("evaluate", zoo.folder, "--out", out, "--fit", fit, "--no-figures", "-q", "--alpha", "0.1")
    assert code == 0
    assert re.fullmatch(
        r"sac-fast: nulls of this calibration: .* \(smallest p [0-9.]+\).*; α = 0.1 needs 9 of .*\n", err
    )
    assert text.startswith("# Evaluation")
    results = json.loads((out / "results.json").read_text())
    assert results["command"].startswith("sac-fast evaluate")
    assert results["alpha"] == 0.1
    assert text == (out / "results.md").read_text()
    assert (out / "results.csv").read_text().startswith("method,queries,member")
    files = [zoo.fingerprint_file("misclassified", name) for name in ("source", "adaptive-correlation-0")]
    code, text, err = run("verify", *files, "--preset", "calibrated", "--calibration", fit, "--alpha", "0.2", "--json")
    assert (code, err) == (0, "")
    (found,) = json.loads(text)["pool"].values()
    assert (found["score"], found["null_count"]) == ("calibrated, −log P", 15)
    nulls = [x for i in range(9) for x in ("--null", zoo.fingerprint_file("misclassified", f"independent-{i}"))]
    code, text, _ = run("verify", *files, *nulls, "--preset", "robust", "--alpha", "0.2", "--json")
    assert code == 0
    (found,) = json.loads(text)["pool"].values()
    assert (found["verdict"], found["score"]) == ("derived", "log-softmax(4)/regression@misclassified")
    # with all that a labelled zoo holds: nulls with their kinds, and thefts
    code, text, _ = run("verify", *files, "--zoo", zoo.folder, "--alpha", "0.2", "--json")
    assert code == 0
    assert set(json.loads(text)["thefts"]["adaptive-correlation-0"]) == {
        *("finetune-all", "extract-labels", "transfer-all", "adaptive-correlation"),
    }


def test_one_json_document(tmp_path, zoo, run):
    code, text, _ = run("evaluate", zoo.folder, "--out", tmp_path / "out", "--preset", "robust", "--no-figures",
                        "-q", "--json", "--quick")  # fmt: skip
    assert code == 0
    assert [m["name"] for m in json.loads(text)["methods"]] == ["robust"]


def test_without_matplotlib_the_results_are_written(tmp_path, zoo, run, no_matplotlib):
    code, _, err = run("evaluate", zoo.folder, "--out", tmp_path / "out", "--preset", "robust", "-q")
    assert code == 0
    assert "no figures: figures need matplotlib (pip install 'sac-fast[plots]')" in err
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["figures"] == []
    assert "matplotlib" in results["figures_note"]
    with pytest.raises(FigureError, match="matplotlib"):
        write_figures(results, None, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 2, "--quick to train a small one"),
        (("nowhere",), 1, "must hold labelled zoos (zoo.json), got none"),
        (("ZOO", "ZOO", "--preset", "robust"), 2, "--preset"),
        (("ZOO", "--alpha", "1"), 2, "must be between 0 and 1"),
        (("ZOO", "--preset", "best"), 1, "preset must be one of sac-jc, robust, calibrated, got 'best'"),
        (("ZOO", "--score", "best"), 1, "score must be TRANSFORM"),
        (("ZOO", "--score", "raw/cosine/l1@cutmix"), 1, "needs a probe set of plain"),
        (("ZOO", "--peers", "ZOO/zoo.json"), 1, "must hold the results of bench_baselines"),
        (("ZOO", "--fit", "ZOO/zoo.json"), 1, "must not exist yet"),
    ],
)
def test_nonsense_is_refused(tmp_path, zoo, run, arguments, code, message):
    filled = [a.replace("ZOO", str(zoo.folder)).replace("OUT", str(tmp_path / "c")) for a in arguments]
    found, text, err = run("evaluate", *filled, "--out", tmp_path / "out", "--no-figures", "-q")
    assert found == code
    assert message in " ".join(err.split()).replace("│ ", "")
    assert text == ""
    assert not (tmp_path / "out/results.json").exists()


def test_a_fit_that_cannot_be_is_refused_before_the_work(tmp_path, run, monkeypatch):
    def evaluated(*arguments, **keywords):
        raise AssertionError("the evaluation was begun")

    monkeypatch.setattr("sac_fast.evaluation.run.evaluate", evaluated)
    zoo = make_zoo(tmp_path / "zoo", independents=3)
    code, text, err = run("evaluate", zoo.folder, "--out", tmp_path / "out", "--fit", tmp_path / "c", "-q")
    assert (code, text) == (1, "")
    assert "a fit needs at least 4 independents and 1 stolen model" in err


def test_an_evaluation_of_nothing_fails(tmp_path, run):
    zoo = make_zoo(tmp_path / "zoo", independents=3)
    code, _, err = run(
        "evaluate", zoo.folder, "--out", tmp_path / "out", "--preset", "calibrated", "--no-figures", "-q"
    )
    assert code == 1
    assert "at least one score must be evaluated, got none (calibrated: " in err
    assert (tmp_path / "out" / "results.json").is_file()


@pytest.mark.parametrize("step", ["sac_fast.evaluation.figures.write_figures", "sac_fast.scores.Calibration.save"])
def test_what_fails_after_the_evaluation_leaves_its_results(tmp_path, zoo, run, monkeypatch, step):
    def failing(*arguments, **keywords):
        raise OSError("no space left")

    monkeypatch.setattr(step, failing)
    code, _, err = run("evaluate", zoo.folder, "--out", tmp_path / "out", "--preset", "sac-jc", "--fit", tmp_path / "c",
                       "--quick", "-q")  # fmt: skip
    assert code == 1
    assert "no space left" in err
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [m["name"] for m in results["methods"]] == ["sac-jc"]
    assert (tmp_path / "out/results.md").is_file()
    assert (tmp_path / "out/results.csv").is_file()


def test_results_are_not_replaced_unasked(tmp_path, zoo, run):
    arguments = ("evaluate", zoo.folder, "--out", tmp_path, "--preset", "robust", "--no-figures", "-q", "--quick")
    assert run(*arguments)[0] == 0
    code, _, err = run(*arguments)
    assert code == 1
    assert "--force replaces it" in err
    assert run(*arguments, "--force")[0] == 0


def test_a_calibration_that_cannot_be_written_is_refused_first(tmp_path, zoo, run):
    (tmp_path / "old").write_bytes(b"")
    for fit, message in ((tmp_path, "--fit must name a file"), (tmp_path / "old", "--fit must not exist yet")):
        code, out, err = run("evaluate", zoo.folder, "--out", tmp_path / "out", "--fit", fit)
        assert (code, out) == (1, "")
        assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--preset", "best"), "must be one of sac-jc, robust, calibrated"),
        (("--preset", "calibrated"), "goes with --preset calibrated"),
        (("--calibration", "FILE"), "--calibration: goes with --preset calibrated, got no --preset"),
        (("--preset", "robust", "--calibration", "FILE"), "goes with --preset calibrated"),
    ],
)
def test_presets_of_verify_that_are_none(zoo, run, options, message):
    file = zoo.fingerprint_file("plain", "source")
    filled = [file if option == "FILE" else option for option in options]
    code, _, err = run("verify", file, zoo.fingerprint_file("plain", "finetune-all-0"), *filled)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())
