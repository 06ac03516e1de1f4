"""Verdicts and failed models as SARIF 2.1.0, which code hosts show beside a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from ..io.text import escape_text
from ..io.version import package_version

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
#: Rule, kind and level of each verdict: only *derived* is a finding.
_VERDICTS = {
    "derived": ("derived", "fail", "error"),
    "derived (approximate)": ("derived", "fail", "warning"),
    "not distinguished": ("not-distinguished", "pass", "none"),
    "inconclusive": ("inconclusive", "open", "none"),
}
_RULES = {
    "derived": "The hypothesis that the suspect was made without the source is rejected at the stated rate.",
    "not-distinguished": "The suspect is not told from independent models. This does not say that it is one.",
    "inconclusive": "The evidence decides nothing.",
    "not-judged": "The suspect could not be judged.",
    "model-failed": "A model of the scan failed: it was refused, or could not be run.",
}


def verdict_results(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Results of a report's suspects.

    Args:
        report: contents of report.json.
    """
    rows = {row["name"]: row for row in report["evidence"] if row["role"] == "suspects"}
    results = []
    for suspect in report["suspects"]:
        rule, kind, level = _VERDICTS[suspect["verdict"]]
        row = rows[suspect["name"]]
        text = f"{suspect['verdict']} (source {report['source']}, p = {suspect['p_value']:.4g}): {suspect['reason']}"
        properties = {name: suspect[name] for name in ("p_value", "adjusted")}
        place = row["model"].get("path", row["fingerprint"])
        results.append(_result(rule, kind, level, text, suspect["name"], place, properties))
    for name, reason in report["failed"].items():
        results.append(_result("not-judged", "open", "none", reason, name, name, {}))
    return results


def failure_results(models: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Results of models that failed in a scan.

    Args:
        models: with ``name``, ``path`` (None: not known), ``reason`` and ``message``.
    """
    return [
        _result(
            "model-failed", "fail", "warning", f"{model['reason']}: {model['message']}", model["name"],
            model["path"] or model["name"], {"reason": model["reason"]},
        )
        for model in models
    ]  # fmt: skip


def sarif_log(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A SARIF log with one run."""
    used = [rule for rule in _RULES if any(result["ruleId"] == rule for result in results)]
    driver = {
        "name": "sac_fast",
        "semanticVersion": package_version(),
        "rules": [{"id": rule, "shortDescription": {"text": _RULES[rule]}} for rule in used],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": list(results)}]}


def _result(
    rule: str, kind: str, level: str, text: str, name: str, path: str, properties: Mapping[str, Any]
) -> dict[str, Any]:
    # names and reasons are untrusted; a relative reference may hold no character that is not escaped
    place = {"physicalLocation": {"artifactLocation": {"uri": quote(path, errors="surrogatepass")}}}
    return {
        "ruleId": rule,
        "kind": kind,
        "level": level,
        "message": {"text": escape_text(f"{name}: {text}")},
        "locations": [place],
        "properties": dict(properties),
    }
