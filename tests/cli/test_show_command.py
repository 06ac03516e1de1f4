"""`sac-fast show`, and help in groups."""

import json
import re

import pytest
from support.report_cases import pool_case

from sac_fast.cli.help import COMMAND_GROUPS


def shown(run, path):
    code, out, err = run("show", path, "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["schema"] == "sac_fast.show/1"
    return found


def test_files_of_ours(made, run):
    found = shown(run, "probes.safetensors")
    assert (found["what"], found["probes"], found["size"], found["steps"]) == ("probes", 6, [8, 8, 3], ["jpeg"])
    found = shown(run, "0.safetensors")
    assert (found["what"], found["name"], found["probes"], found["outputs"]) == ("fingerprint", "0", 6, 5)
    assert found["probe_hash"] == shown(run, "probes.safetensors")["probe_hash"]
    found = shown(run, "weights0.safetensors")
    assert (found["what"], found["format"]) == ("no file of sac_fast", "safetensors")


def test_folders_of_ours(made, run):
    assert run("scan", "images", "--probes", "probes.safetensors", "--store", "store", "-q")[0] == 0
    assert shown(run, "store")["what"] == "store"
    pool_case(made / "case", name="\x1b[31m")
    found = shown(run, "case")
    assert (found["what"], list(found["verdicts"]), found["report"]) == ("case", ["\x1b[31m"], [])
    assert shown(run, "case/verdicts.json")["verdicts"] == found["verdicts"]
    code, out, _ = run("show", "case")
    assert code == 0
    assert "\x1b" not in out
    code, _, err = run("show", "images")
    assert code == 1
    assert "must be a store, a labelled zoo, siblings or a case" in err


@pytest.mark.parametrize("command", ["verify", "scan", "fingerprint"])
def test_options_stand_under_what_they_are_for(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    headings = re.findall(r"^(\w[^\n]*):$", out, re.MULTILINE)
    assert headings[:2] == ["Arguments", "Options"]
    assert len(headings) >= 5


def test_commands_stand_under_what_they_are_for(run):
    code, out, _ = run("--help")
    assert code == 0
    assert "Others:" not in out
    for heading in COMMAND_GROUPS:
        assert f"\n{heading}:\n" in out
