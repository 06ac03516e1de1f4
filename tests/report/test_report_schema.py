"""The check of a report's form against what the published schema says of it, by another validator."""

import functools
import json
import tempfile
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.report_cases import pool_case, sibling_case

from sac_fast.errors import FileFormatError
from sac_fast.report import load_case
from sac_fast.report.document import SCHEMA_FILE, make_document
from sac_fast.report.files import to_text
from sac_fast.report.schema import check_schema

SCHEMA = json.loads(SCHEMA_FILE.read_text())
VALUES = st.sampled_from([None, True, -1, 0, 1, 2, 0.5, -0.5, 1e-300, "", "x", "sha256:" + "0" * 64, "derived", [], {}])
LAYER = {"name": "a", "left_out": None, "units": 3, "matches": 2, "cosine": 0.5, "log10_p": -3.0}
WEIGHTS = {
    **{"verdict": "weights related", "reason": "r", "log10_p": -9, "layers": [LAYER], "coverage": {"a": 1.0}},
    **{"a": "x", "b": "y", "conditions": [], "warnings": ["w"]},
}


@functools.cache  # no fixture: a failure would print all of it
def documents():
    with tempfile.TemporaryDirectory() as folder:
        made = [make_document(load_case(make(Path(folder, make.__name__)))) for make in (pool_case, sibling_case)]
    made[0]["suspects"][0]["weights"] = WEIGHTS
    return [json.dumps(one) for one in made]


def places(value):
    """Every container of a document with every key of it."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield value, key
        yield from places(item)


@settings(max_examples=75, deadline=None)
@given(st.data())
def test_it_says_what_another_validator_says(data):
    document = json.loads(documents()[data.draw(st.integers(0, 1))])
    for _ in range(data.draw(st.integers(0, 2))):
        everywhere = list(places(document))  # the change before may have removed some
        container, key = everywhere[data.draw(st.integers(0, len(everywhere) - 1))]
        how = data.draw(st.sampled_from(["set", "set", "remove", "add"]))
        if how == "set":
            container[key] = data.draw(VALUES)
        elif how == "remove":
            container.pop(key, None) if isinstance(container, dict) else container.clear()
        elif isinstance(container, dict):
            container["more"] = data.draw(VALUES)
    expected = jsonschema.Draft202012Validator(SCHEMA).is_valid(document)
    try:
        check_schema(document, SCHEMA, "report")
        found = True
    except ValueError:
        found = False
    assert found == expected


@pytest.mark.parametrize(
    ("value", "schema", "message"),
    [
        ([1, "x"], {"type": "array", "items": {"type": "integer"}}, r"^v\[1\] must be integer, got str$"),
        (True, {"type": ["number", "null"]}, "^v must be number or null, got bool$"),
        (10**400, {"type": "number"}, "^v must be a number of at most 64 bits, got a larger one$"),
        ("sha256\n", {"type": "string", "pattern": "^sha256$"}, r"^v must match \^sha256\$, got 'sha256\\n'$"),
        ({"a": 1}, {"type": "object", "additionalProperties": False}, "^v must have no 'a', got one$"),
        ({None: 1}, {"type": "object", "additionalProperties": True}, "^v must have names that are texts, got None$"),
        ({}, {"required": ["a"]}, "^v must have a, got none$"),
        ("z", {"enum": ["x", "y"]}, "^v must be one of x, y, got 'z'$"),
        (2, {"anyOf": [{"type": "integer", "maximum": 1}, {"type": "null"}]}, "^v must be from -inf to 1, got 2$"),
    ],
)
def test_messages(value, schema, message):
    with pytest.raises(ValueError, match=message):
        check_schema(value, schema, "v")


def test_words_that_are_not_checked_are_no_silent_yes():
    with pytest.raises(NotImplementedError, match="uniqueItems"):
        check_schema([], {"uniqueItems": True}, "v")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda case, verdicts: case["models"][1].update(path=1e-308), r"evidence\[1\]\.model\.path must be string"),
        (lambda case, verdicts: case["models"][0].update(file_sha256="x"), "file_sha256 must match"),
        (lambda case, verdicts: case.update(name=[]), r"report\.name must be string, got list"),
        (lambda case, verdicts: case.update(created=None), r"report\.created must be string"),
        (lambda case, verdicts: case.update(created="2026-02-30T10:00:00"), "day is out of range for month"),
        (
            lambda case, verdicts: verdicts["pool"]["suspect"]["null_kinds"].update({"null 1": 3}),
            r"strips\[0\]\.groups must have names that are texts, got 3",
        ),
        (lambda case, verdicts: case.update(seconds=10**400), "report.seconds must be a number of at most 64 bits"),
        (lambda case, verdicts: case.update(failed={"a": {}}), r"failed\['a'\] must be string"),
        (lambda case, verdicts: verdicts.update(ground="\x1b[2J"), "ground must be one of siblings"),
        # 10**log10_p would have a hundred million digits
        (
            lambda case, verdicts: verdicts.update(weights={"suspect": {**WEIGHTS, "log10_p": 10**8}}),
            r"weights\.log10_p must be from -inf to 0, got 100000000",
        ),
    ],
)
def test_verdicts_of_another_form_give_no_report(tmp_path, change, message):
    folder = pool_case(tmp_path / "case")
    case = json.loads((folder / "verdicts.json").read_text())
    change(case, case["tests"][0]["verdicts"])
    (folder / "verdicts.json").write_text(to_text(case))
    with pytest.raises(FileFormatError, match="verdicts.json must hold verdicts of sac_fast, got: .*" + message):
        make_document(load_case(folder))
