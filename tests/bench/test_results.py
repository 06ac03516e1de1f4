"""The results of benchmarks: what each must state, and that those in benchmarks/results/ do."""

import json
import pathlib
import subprocess
import sys

import jsonschema
import pytest

from sac_fast.bench import results

ROOT = pathlib.Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "benchmarks" / "results.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
FILES = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
# From before there was a schema. A new run takes its file off this list; nothing comes onto it.
RECORDED_BEFORE_SCHEMA = {
    "baselines.json",
    "correlation_distance.json",
    "correlation_distance_weighted.json",
    "dropin_epyc_2_cores.json",
    "jpeg_cpu.json",
    "jpeg_cpu_avx2.json",
    "pairwise.json",
    "resize.json",
    "scan.json",
}


def make_checkout(folder):
    """A repository that looks like this one, with one commit."""
    for name, text in (("csrc/a.h", "int a;\n"), ("sac_fast/bench/results.py", ""), ("README.md", "\n")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-qm", "m")
    return folder


def git(folder, *arguments):
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout whose package is the one that runs."""
    root = make_checkout(tmp_path / "checkout")
    monkeypatch.setattr(results, "__file__", str(root / "sac_fast" / "bench" / "results.py"))
    return root


def test_a_result_names_code_command_and_hardware(checkout, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bench_op.py", "--json", "a b.json"])
    result = results.start_result("sac_fast benchmark", 2)
    assert result["commit"] == git(checkout, "rev-parse", "HEAD")
    assert result["dirty"] is False
    assert result["installed"] is False
    # sha256sum of "a.h", NUL, "7", NUL, "int a;\n"
    assert result["csrc_hash"] == "sha256:88bc883abcf9d40605e5e00f8a0da36ff9f110d8147c157a23588a1960b49cbf"
    assert result["command"] == "bench_op.py --json 'a b.json'"
    assert result["hardware"]["threads"] == 2
    VALIDATOR.validate(result | {"seconds": 1.5})
    results.check_result(result | {"seconds": 1.5})


@pytest.mark.parametrize("name", ["README.md", "csrc/new.h"])
def test_changed_and_new_files_make_the_checkout_dirty(checkout, name):
    clean = results.start_result("sac_fast benchmark", 1)["csrc_hash"]
    (checkout / name).write_text("int b;\n")
    result = results.start_result("sac_fast benchmark", 1)
    assert result["dirty"] is True
    assert (result["csrc_hash"] == clean) is (name == "README.md")
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(result | {"seconds": 1.5})


def test_a_result_of_the_run_before_does_not(checkout):
    path = checkout / "benchmarks" / "results" / "op.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    assert results.start_result("sac_fast benchmark", 1)["dirty"] is False


def test_a_package_from_elsewhere_is_said_to_be_installed(checkout, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "site-packages" / "sac_fast" / "bench" / "results.py"))
    monkeypatch.setattr(sys, "argv", [str(checkout / "benchmarks" / "bench_op.py")])
    result = results.start_result("sac_fast benchmark", 1)
    assert result["installed"] is True
    assert result["commit"] == git(checkout, "rev-parse", "HEAD")


def test_without_a_checkout_nothing_is_claimed(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "__file__", str(tmp_path / "sac_fast" / "bench" / "results.py"))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "sac-fast"), "bench"])
    result = results.start_result("sac_fast benchmark", 1)
    assert (result["commit"], result["dirty"], result["csrc_hash"]) == (None, None, None)
    results.check_result(result | {"seconds": 1})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": None}, "seconds must be int or float, got None"),
        ({"seconds": True}, "seconds must be int or float, got True"),
        ({"commit": 3}, "commit must be str or null, got 3"),
        ({"schema": "another"}, "schema must be 'sac_fast result 1', got 'another'"),
    ],
)
def test_a_result_that_lacks_something_is_not_written(checkout, tmp_path, change, message):
    result = results.start_result("sac_fast benchmark", 1) | {"seconds": 1.0}
    with pytest.raises(ValueError, match=message):
        results.write_json(result | change, tmp_path / "result.json")
    assert not (tmp_path / "result.json").exists()


def test_rows_on_lines_are_the_same_result(checkout, tmp_path):
    rows = [{"a": 1, "b": [1.5, None]}, {"a": 2, "b": []}]
    result = results.start_result("sac_fast benchmark", 1) | {"seconds": 1.0, "rows": rows, "none": [], "of": {"x": 1}}
    results.write_json(result, tmp_path / "result.json", row_lines=True)
    text = (tmp_path / "result.json").read_text()
    assert json.loads(text) == result
    assert '\n  {"a": 1, "b": [1.5, null]},\n' in text


def test_the_writer_and_the_schema_ask_for_the_same():
    asked = SCHEMA["$defs"]["result"]
    assert sorted(asked["required"]) == sorted(asked["properties"]) == sorted(results._FIELDS)
    assert asked["properties"]["schema"]["const"] == results.SCHEMA


def test_there_are_results():
    assert {path.name for path in FILES} >= RECORDED_BEFORE_SCHEMA


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_committed_results_follow_the_schema(path):
    result = json.loads(path.read_text())
    VALIDATOR.validate(result)
    assert result.get("recorded_before_schema", False) is (path.name in RECORDED_BEFORE_SCHEMA)
