"""SARIF and CycloneDX of a report, and SARIF of a scan's failures."""

import json

import jsonschema
import pytest
from support.report_cases import sibling_case

from sac_fast.report import load_case, write_report
from sac_fast.report.document import make_document
from sac_fast.report.sarif import failure_results, sarif_log, verdict_results

TEXT = {"type": "string", "minLength": 1}
PLACE = {
    "type": "object",
    "properties": {
        "physicalLocation": {
            "properties": {"artifactLocation": {"properties": {"uri": {"type": "string", "format": "uri-reference"}}}}
        }
    },
}
# The parts of SARIF 2.1.0 that are used, written from the standard (sections 3.13, 3.18, 3.27).
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "$schema": {"type": "string", "format": "uri"},
        "runs": {
            "items": {
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "required": ["name"],
                                "properties": {
                                    "name": TEXT,
                                    "semanticVersion": TEXT,
                                    "rules": {"uniqueItems": True, "items": {"required": ["id"]}},
                                },
                            }
                        },
                    },
                    "results": {
                        "items": {
                            "required": ["message"],
                            "additionalProperties": False,
                            "properties": {
                                "ruleId": TEXT,
                                "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": {"required": ["text"], "properties": {"text": TEXT}},
                                "locations": {"items": PLACE},
                                "properties": {"type": "object"},
                            },
                        }
                    },
                },
            }
        },
    },
}


@pytest.fixture
def report(tmp_path):
    folder = sibling_case(tmp_path, names=("a copy\x1b.pt", "honest"), files={"honest": __file__})
    write_report(folder, pdf=False)
    return make_document(load_case(folder))


def check_sarif(log):
    jsonschema.validate(log, SARIF, format_checker=jsonschema.FormatChecker())
    (run,) = log["runs"]
    rules = {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    for result in run["results"]:
        assert result["ruleId"] in rules
        # section 3.27.10: any other kind than fail has the level none
        assert (result["kind"] == "fail") == (result["level"] != "none")


def test_verdicts_as_sarif(report):
    report["failed"] = {"broken": "it could not be read"}
    log = sarif_log(verdict_results(report))
    check_sarif(log)
    found = [(row["ruleId"], row["kind"], row["level"]) for row in log["runs"][0]["results"]]
    assert found == [
        ("derived", "fail", "error"),
        ("not-distinguished", "pass", "none"),
        ("not-judged", "open", "none"),
    ]
    first, second, _ = log["runs"][0]["results"]
    assert first["message"]["text"].startswith("a copy\\x1b.pt: derived (source model 0, p = 0.05)")
    places = [row["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for row in (first, second)]
    assert places == ["fingerprints/suspects/0000-a%2520copy%251B%252Ept.safetensors", "test_report_exchange.py"]


def test_failures_as_sarif():
    failed = {"name": "x", "path": "a folder/x<y>.pt", "reason": "not-finite", "message": "NaN\nin row 0"}
    log = sarif_log(failure_results([failed, {**failed, "path": None}]))
    check_sarif(log)
    first, second = log["runs"][0]["results"]
    assert first["message"]["text"] == "x: not-finite: NaN\\nin row 0"
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20folder/x%3Cy%3E.pt"
    assert second["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "x"
    assert sarif_log([])["runs"][0]["results"] == []


def test_derived_suspects_have_the_source_as_ancestor(report):
    pytest.importorskip("cyclonedx")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    from sac_fast.report.cyclonedx import cyclonedx_text

    text = cyclonedx_text(report)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert cyclonedx_text(report) == text
    components = {row["bom-ref"]: row for row in json.loads(text)["components"]}
    assert set(components) == {"source", "suspect-0", "suspect-1"}
    assert {row["type"] for row in components.values()} == {"machine-learning-model"}
    assert [row["name"] for row in components["suspect-0"]["pedigree"]["ancestors"]] == ["model 0"]
    assert "ancestors" not in components["suspect-1"]["pedigree"]
    assert components["suspect-1"]["hashes"][0]["alg"] == "SHA-256"
    assert components["suspect-1"]["pedigree"]["notes"].startswith("not distinguished by siblings, p = 0.9")
