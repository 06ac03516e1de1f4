"""The tables of README and docs/ are those of the results in benchmarks/results/."""

import importlib.util
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def tables():
    spec = importlib.util.spec_from_file_location("readme_tables", ROOT / "benchmarks" / "readme_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def main(tables, monkeypatch):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["readme_tables.py", *arguments])
        return tables.main()

    return run


def test_the_readme_has_the_tables_of_the_results(main, capsys):
    assert main("--check") == 0, capsys.readouterr().err


def test_rows_by_hand(tables, monkeypatch):
    record = {
        "case": "memory, pair, n = 9",
        "sweep": None,
        "implementations": {
            "sac_fast": {"seconds": 0.0123, "ratio": 1.0, "fraction": 0.824, "limit": "|a − b|"},
            "sac_fast, 1 thread": {"seconds": 0.02, "ratio": 1.6},
            "naive": {"seconds": 1.0, "ratio": 81.3},
            "tiled": {"seconds": 1.0, "ratio": 1.26},
            "absent": {"missing": "not installed"},
        },
        "agreement": {"peak_bytes_above_inputs": 104_312_832},
    }
    swept = record | {"sweep": "n"}
    files = {"correlation_distance.json": {"records": [record]}, "pairwise.json": {"records": [swept]}}
    monkeypatch.setattr(tables, "read", files.__getitem__)
    assert tables.speed_table().splitlines()[2:] == [
        "| pair, n = 9 | 12 ms | naive 81×, tiled 1.3×, 104 MB above the inputs | 82 % of \\|a − b\\| |"
    ]


@pytest.mark.parametrize(("seconds", "text"), [(24.7, "25 s"), (6.61, "6.6 s"), (0.516, "516 ms"), (2.3e-5, "23 µs")])
def test_seconds(tables, seconds, text):
    assert tables.format_seconds(seconds) == text


def test_a_changed_number_is_found_and_put_right(tables, main, tmp_path, monkeypatch, capsys):
    right = tables.PAGES[-1].read_text()
    start = right.index("×", right.index("<!-- table: speed -->"))
    changed = tmp_path / "speed.md"
    changed.write_text(right[:start] + "9" + right[start:])
    monkeypatch.setattr(tables, "PAGES", (*tables.PAGES[:-1], changed))
    assert main("--check") == 1
    assert "differs from its results" in capsys.readouterr().err
    assert changed.read_text() != right
    assert main() == 0
    assert changed.read_text() == right


@pytest.mark.parametrize("mark", ["<!-- table: speed -->", "<!-- end -->"])
def test_a_table_that_lost_a_mark_is_an_error(tables, mark):
    texts = [page.read_text() for page in tables.PAGES]
    with pytest.raises(ValueError, match="must stand once each between their marks"):
        tables.fill([*texts[:-1], texts[-1].replace(mark, "")])


def test_a_span_of_p_values_shows_bounds(tables):
    assert tables.format_span([0.001, 0.001], 0.001) == "< 0.001"
    assert tables.format_span([0.4512, 0.05, 0.2], 0.0) == "0.05 … 0.45"
    assert tables.format_span([0.3, 0.001], 0.001) == "< 0.001 … 0.3"
