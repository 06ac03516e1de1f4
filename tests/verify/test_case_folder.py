"""The folder of a case and its verdicts.json."""

import json

import pytest

from sac_fast.errors import FileFormatError
from sac_fast.verify.case_folder import CaseFolder, read_verdicts, write_verdicts

RESULTS = {
    **dict.fromkeys(("name", "protocol_hash", "created", "command"), "text"),
    **{key: [] for key in ("models", "tests", "warnings")},
    **{key: {} for key in ("versions", "verdict", "p_value", "adjusted", "reason", "failed")},
    "seconds": 1.5,
}


def test_verdicts_are_read_as_they_were_written(tmp_path):
    case = CaseFolder(tmp_path)
    write_verdicts(case, RESULTS)
    assert read_verdicts(case) == {"kind": "sac_fast verdicts", "format": 1, **RESULTS}


@pytest.mark.parametrize("change", ["kind", "format", "tests", "cut"])
def test_other_files_are_refused(tmp_path, change):
    case = CaseFolder(tmp_path)
    write_verdicts(case, RESULTS)
    found = read_verdicts(case)
    found.pop("tests") if change == "tests" else found.update({change: 2})
    case.verdicts.write_text(json.dumps(found)[: -10 if change == "cut" else None])
    with pytest.raises(FileFormatError, match="must"):
        read_verdicts(case)


def test_numbers_that_are_not_finite_become_null(tmp_path):
    case = CaseFolder(tmp_path)
    write_verdicts(case, {**RESULTS, "p_value": {"a": float("nan")}, "tests": [{"looks": (float("inf"), 0.5)}]})
    found = read_verdicts(case)
    assert (found["p_value"], found["tests"]) == ({"a": None}, [{"looks": [None, 0.5]}])


def test_results_with_a_missing_field_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="fields"):
        write_verdicts(CaseFolder(tmp_path), {"name": "a"})
    assert list(tmp_path.iterdir()) == []


def test_names_become_names_of_files(tmp_path):
    names = ("a/b", "a%2Fb", "..", "ä", "a b", "A-b_1")
    files = [CaseFolder(tmp_path).fingerprint("suspects", name) for name in names]
    assert len({file.name for file in files}) == len(names)
    assert {file.parent for file in files} == {tmp_path / "fingerprints" / "suspects"}
    assert files[0].name == "a%2Fb.safetensors"
    assert files[5].name == "A-b_1.safetensors"
