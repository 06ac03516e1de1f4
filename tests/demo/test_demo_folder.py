"""The demo's output folder: an earlier demo is replaced, and nothing else is touched."""

from dataclasses import replace

import pytest

from sac_fast.demo import folder, plan, run_demo
from sac_fast.labelled_zoo.engine import OutputFolderError


def test_foreign_folder_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputFolderError, match="out must be a new or empty folder"):
        run_demo(tmp_path, quick=True)
    (tmp_path / "results.json").write_text('{"kind": "something else"}')
    with pytest.raises(OutputFolderError, match="which holds something else"):
        run_demo(tmp_path, quick=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "thesis.txt"]
    with pytest.raises(OutputFolderError, match="out must be a folder, got the file"):
        run_demo(tmp_path / "thesis.txt", quick=True)


def test_earlier_demo_is_replaced_and_the_users_files_stay(tmp_path):
    larger, smaller = plan.plan(replace(plan.QUICK, siblings=12), 0), plan.plan(plan.QUICK, 0)
    folder.prepare(tmp_path, larger)
    for name in folder.planned_files(larger):
        (tmp_path / name).write_text("old")
    (tmp_path / "models" / "mine.safetensors").write_text("mine")
    (tmp_path / "notes.txt").write_text("mine")
    folder.prepare(tmp_path, smaller)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["models/mine.safetensors", "notes.txt", "results.json"]


def test_users_file_under_a_name_of_the_demo_is_not_overwritten(tmp_path):
    folder.write_results(tmp_path, {"kind": folder.KIND, "files": []})
    (tmp_path / "probes.safetensors").write_text("mine")
    with pytest.raises(OutputFolderError, match=r"out must not hold files .*probes\.safetensors"):
        folder.prepare(tmp_path, plan.plan(plan.QUICK, 0))
    assert (tmp_path / "probes.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    "name",
    ["../precious.safetensors", "models/../../precious.safetensors", "notes.txt", "models/a.safetensors\n", 7],
)
def test_results_json_of_a_stranger_removes_nothing_else(tmp_path, name):
    out = tmp_path / "out"
    (out / "models").mkdir(parents=True)
    for path in (tmp_path / "precious.safetensors", out / "notes.txt", out / "models" / "a.safetensors"):
        path.write_text("precious")
    folder.write_results(out, {"kind": folder.KIND, "files": [name]})
    folder.prepare(out, plan.plan(plan.QUICK, 0))
    for path in (tmp_path / "precious.safetensors", out / "notes.txt", out / "models" / "a.safetensors"):
        assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed must be an integer in 0…281474976710655, got -1"),
        ({"seed": 0.5}, "seed must be an integer in 0…281474976710655, got 0.5"),
        ({"seed": 2**48}, "seed must be an integer in 0…281474976710655, got 281474976710656"),
        ({"workers": 0}, "workers must be an integer of at least 1, got 0"),
        ({"metric": "pearsn"}, "metric must .*pearsn"),
        ({"comparison": "l3"}, "comparison must .*l3"),
    ],
)
def test_wrong_arguments_cost_no_training(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        run_demo(tmp_path / "out", quick=True, **options)
    assert not (tmp_path / "out").exists()
