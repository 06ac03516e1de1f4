"""`sac-fast verify --report`, `--fail-on`, `sac-fast report`, and the table of exit codes."""

import json
import pathlib
import re

import pytest

from sac_fast.cli import exit_codes
from sac_fast.report import check_report

ROOT = pathlib.Path(__file__).parents[2]
ARGUMENTS = ("verify", "0.safetensors", "1.safetensors", "--null", "null")


def test_verify_writes_a_report_that_holds(made, run, monkeypatch):
    code, out, err = run(
        *ARGUMENTS, "--alpha", "0.2", "--metric", "pearson", "--report", "out",
        "--source-weights", "weights0.safetensors", "--suspect-weights", "weights1.safetensors",
    )  # fmt: skip
    assert code == 0
    assert "verdict: derived" in out
    assert err.startswith("report: out/report.json, out/report.html")
    report = json.loads((made / "out" / "report.json").read_text())
    assert report["tests"][0]["settings"]["metric"] == "pearson"
    (suspect,) = report["suspects"]
    assert (suspect["verdict"], suspect["p_value"]) == ("derived", pytest.approx(1 / 6))
    assert suspect["weights"]["verdict"]
    source = report["evidence"][0]["model"]
    assert source["path"] == "weights0.safetensors"
    assert source["file_sha256"].startswith("sha256:")
    assert check_report("out").findings == ()

    code, out, err = run("report", "check", "out")
    assert (code, err) == (0, "")
    assert out.splitlines()[0].strip() == "sound"
    assert "self-consistent only" in out
    code, out, _ = run("report", "make", "out", "--no-pdf", "--json")
    assert (code, json.loads(out)["files"]) == (
        0,
        [f"out/{name}" for name in ("report.json", "report.html", "SHA256SUMS")],
    )

    with monkeypatch.context() as patched:
        patched.setattr("sac_fast.report.check.count_products", lambda case: 1e20)  # as if it had millions of probes
        code, out, _ = run("report", "check", "out")
        assert (code, "its distances take 1.0e+20 products" in " ".join(out.split())) == (5, True)
        assert run("report", "check", "out", "--no-limit")[0] == 0

    (made / "out" / "report.html").write_text("nothing")
    code, out, _ = run("report", "check", "out", "--json")
    found = json.loads(out)
    assert (code, found["sound"], found["schema"]) == (5, False, "sac_fast.report.check/1")
    assert "report.html has changed" in found["findings"][0]


def test_a_report_replaces_nothing(made, run):
    (made / "full").mkdir()
    (made / "full" / "x").touch()
    code, _, err = run(*ARGUMENTS, "--report", "full")
    assert code == 2
    assert "must name a new folder" in err
    assert run(*ARGUMENTS, "--fail-on", "x")[0] == 2
    assert run(*ARGUMENTS, "--sign", "0.safetensors")[0] == 2


@pytest.mark.parametrize(
    ("alpha", "asked", "code"),
    [
        ("0.2", [], 0),
        ("0.2", ["derived"], 3),
        ("0.2", ["undecided"], 0),
        ("0.05", ["undecided"], 4),  # five nulls are too few
        ("0.05", ["derived"], 0),
        ("0.05", ["derived", "undecided"], 4),
    ],
)
def test_exit_codes_on_demand(made, run, alpha, asked, code):
    options = [word for name in asked for word in ("--fail-on", name)]
    assert run(*ARGUMENTS, "--alpha", alpha, "--metric", "pearson", *options)[0] == code


def test_the_documented_exit_codes_are_those_of_the_code():
    text = (ROOT / "docs" / "commands.md").read_text()
    table = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert {int(code): meaning for code, meaning in table} == exit_codes.MEANINGS


def test_no_command_has_an_exit_code_of_its_own():
    for path in (ROOT / "sac_fast" / "cli").glob("*.py"):
        numbers = re.findall(r"(?:typer\.Exit|sys\.exit)\((\d+)\)", path.read_text())
        assert numbers == [], path


def test_documented_schemas_are_those_that_are_printed():
    text = (ROOT / "docs" / "commands.md").read_text()
    documented = set(re.findall(r"`sac_fast\.([a-z.]+)/1`", text)) - {"report"}
    package = [path.read_text() for path in (ROOT / "sac_fast").rglob("*.py")]
    called = r'(?:print_json|print_result|_show)\([^\n]*"([a-z.]+)"(?:, is_large=[^\n]*)?\)'
    printed = {name for source in package for name in re.findall(called, source)}
    assert documented == printed | {"scan"}
