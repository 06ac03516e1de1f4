"""`sac-fast bench`, the scripts in benchmarks/ that time one op, and the files that both write."""

import csv
import importlib.util
import json
import pathlib
import subprocess
import sys

import pytest

from sac_fast.bench import OPS
from sac_fast.bench.plot import write_plot
from sac_fast.bench.results import write_csv, write_json
from sac_fast.cli import main as cli
from sac_fast.io.figure import FigureError

ROOT = pathlib.Path(__file__).parents[2]


def test_csv_has_a_line_for_every_implementation(results, tmp_path):
    write_csv(results, tmp_path / "r.csv")
    with open(tmp_path / "r.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == sum(len(record["implementations"]) for record in results["records"])
    keops = [row for row in rows if row["implementation"] == "pykeops"]
    assert keops
    assert all("not installed" in row["not_timed_because"] and row["seconds"] == "" for row in keops)
    assert float(rows[0]["seconds"]) == results["records"][0]["implementations"]["sac_fast"]["seconds"]


def test_plot_is_a_picture(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'bench')")
    write_plot(results, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_sweeps_is_an_error(results, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'bench')")
    table = [record for record in results["records"] if record["sweep"] is None]
    with pytest.raises(FigureError, match="run with sweeps"):
        write_plot(results | {"records": table}, tmp_path / "plot.png")


@pytest.fixture
def call(monkeypatch, capsys, results):
    """Run `sac-fast` with the results of the tiny run: (exit code, stdout, stderr)."""
    monkeypatch.setattr("sac_fast.bench.report.run_bench", lambda *_, **__: results)

    def run_command(*arguments):
        monkeypatch.setattr(sys, "argv", ["sac-fast", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            sys.exit(cli.main())
        captured = capsys.readouterr()
        return caught.value.code or 0, captured.out, captured.err

    return run_command


def test_command_without_matplotlib_keeps_the_numbers(call, tmp_path, monkeypatch):
    for name in ("matplotlib", "matplotlib.backends.backend_agg"):  # what was imported before is found without it
        monkeypatch.setitem(sys.modules, name, None)
    code, out, err = call("bench", "--quick", "--out", tmp_path / "new", "--json")
    assert code == 1
    assert "FigureError: figures need matplotlib" in err
    assert "pip install 'sac-fast[plots]'" in err
    assert json.loads(out)["kind"] == "sac_fast benchmark"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["results.csv", "results.json"]


def test_command_prints_tables_and_replaces_only_when_forced(call, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra 'bench')")
    code, out, _ = call("bench", "--out", tmp_path)
    assert code == 0
    for words in ("missing peer: pykeops", "limit: float32 matrix product", "time against n", "target: ", "met"):
        assert words in out
    assert {path.name for path in tmp_path.iterdir()} == {"results.csv", "results.json", "plot.png"}
    code, _, err = call("bench", "--out", tmp_path)
    assert code == 1
    assert "--out must hold no results yet" in err
    assert call("bench", "--out", tmp_path, "--force")[0] == 0


def test_command_asked_wrongly(call, tmp_path):
    assert call("bench", "--threads", "0")[0] == 2
    assert call("bench", "--out", tmp_path / "no" / "folder")[0] == 1


@pytest.mark.parametrize("op", OPS)
def test_scripts(op, results, tmp_path, monkeypatch, capsys):
    asked = []

    def one_op(ops, **options):
        asked.append((ops, options["quick"], options["threads"]))
        return results | {"records": [record for record in results["records"] if record["op"] in ops]}

    monkeypatch.setattr("sac_fast.bench.script.run_bench", one_op)
    name = f"bench_{op}"
    spec = importlib.util.spec_from_file_location("__main__", ROOT / "benchmarks" / f"{name}.py")
    monkeypatch.setattr(sys, "argv", [name, "--quick", "--threads", "3", "--json", str(tmp_path / "r.json")])
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert asked == [([op], True, 3)]
    assert {record["op"] for record in json.loads((tmp_path / "r.json").read_text())["records"]} == {op}
    assert "missing peer: pykeops" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", [name, "--json", str(tmp_path / "no" / "r.json")])
    with pytest.raises(SystemExit) as caught:
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert caught.value.code == 2


def test_json_is_replaced_in_one_piece(results, tmp_path):
    write_json(results, tmp_path / "r.json")
    write_json(results, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads(json.dumps(results))


def test_importing_the_package_imports_no_benchmark():
    code = "import sys, sac_fast, sac_fast.cli; print([m for m in sys.modules if 'bench' in m or m == 'matplotlib'])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sac_fast.bench" not in found.stdout
