"""report.html: one file without scripts, made from report.json alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..io.text import escape_text
from ..verify.weights.result import format_log10_p
from .figures import layer_rows, place_strip

_FOLDER = Path(__file__).parent
# The page of a large store stays readable; report.json has everything.
MAX_SUSPECTS, MAX_LAYERS = 60, 60
_CSS = {"derived": "derived", "derived (approximate)": "derived", "not distinguished": "not"}
_MEANINGS = {
    "derived": "Were the hypothesis true, a p-value as small as this would come up with at most this probability.",
    "derived (approximate)": "As “derived”, by Student's t: the probability is approximate.",
    "not distinguished": "This does not say that the suspect is independent: some thefts leave no such trace.",
    "inconclusive": "The evidence decides nothing, in either direction.",
}
_GROUNDS = {
    "siblings": "The suspect was compared with the source and with its siblings: models that the owner trained by the "
    "same recipe from other seeds. Who never had the source cannot tell it from its siblings.",
    "null pool": "The suspect's distance to the source was compared with the distances of models known to be "
    "independent.",
}
_GROUNDS["siblings and null pool"] = " ".join(_GROUNDS.values())


def make_page(report: dict[str, Any]) -> str:
    """HTML of a report.

    Args:
        report: see `sac_fast.report.document.make_document`. Every text in it is untrusted.

    Raises:
        FileFormatError: the report lacks something.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)
    environment.filters["text"] = escape_text
    environment.filters["number"] = _number
    try:
        ordered = sorted(report["suspects"], key=lambda suspect: (suspect["p_value"], suspect["name"]))
        shown = [_suspect(suspect) for suspect in ordered[:MAX_SUSPECTS]]
        return environment.get_template("page.html.jinja").render(
            style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # ours, the only text that is not escaped
            title=_title(report),
            summary=_summary(report),
            report=report,
            shown=shown,
            hidden=len(ordered) - len(shown),
            several=len(ordered) > 1,
            ground_text=_GROUNDS.get(report["ground"], ""),
            weights=[_weights(suspect) for suspect in shown if suspect["weights"] is not None],
            claims=[(suspect["name"], claim) for suspect in shown for claim in suspect["claims"]],
            about=_about(report),
            models=_models(report),
        )
    except (KeyError, TypeError, ValueError, AttributeError, TemplateError) as error:
        raise FileFormatError(f"the report must be one of sac_fast, got {error!r}") from error


def _title(report: dict[str, Any]) -> str:
    source, names = escape_text(report["source"]["name"], 80), [suspect["name"] for suspect in report["suspects"]]
    if len(names) == 1:
        return f"Was “{escape_text(names[0], 80)}” made from “{source}”?"
    return f"{len(names)} suspects: which were made from “{source}”?"


def _summary(report: dict[str, Any]) -> str:
    words = [suspect["verdict"] for suspect in report["suspects"]]
    counts = ", ".join(f"{words.count(word)} {escape_text(word)}" for word in dict.fromkeys(words))
    date = f"{escape_text(report['created'])}, " if report["created"] else ""
    return f"{date}sac_fast {escape_text(report['sac_fast'])}, {report['probes']['count']} probes: {counts}"


def _suspect(suspect: dict[str, Any]) -> dict[str, Any]:
    return {
        **suspect,
        "css": _CSS.get(suspect["verdict"], "open"),
        "meaning": _MEANINGS.get(suspect["verdict"], ""),
        "strips": [place_strip(strip) for strip in suspect["strips"]],
    }


def _weights(suspect: dict[str, Any]) -> dict[str, Any]:
    weights = suspect["weights"]
    rows, compared = layer_rows(weights, MAX_LAYERS), sum(layer["left_out"] is None for layer in weights["layers"])
    left_out = sum(layer["left_out"] is not None for layer in weights["layers"])
    shares = {escape_text(weights[name]): share for name, share in weights["coverage"].items()}
    coverage = ", ".join(f"{share:.1%} of the values of {name}" for name, share in shares.items())
    shown = f"{len(rows)} of {compared} compared layers are shown"
    return {
        "name": suspect["name"],
        "verdict": weights["verdict"],
        "reason": weights["reason"],
        "p": format_log10_p(weights["log10_p"]),
        "layers": rows,
        "conditions": [*weights["conditions"], *weights["warnings"]],
        "counted": f"{shown}; {left_out} arrays were left out; compared: {coverage}.",
    }


def _about(report: dict[str, Any]) -> list[tuple[str, str]]:
    probes, protocol, duration = report["probes"], report["protocol"], report["duration_seconds"]
    versions = {"sac_fast": report["sac_fast"], **report["versions"]}
    size = "×".join(map(str, probes["size"] or ()))
    nulls = ", ".join(f"{count} {kind}" for kind, count in report["nulls"].items())
    rows = {
        "date (a claim)": report["created"],
        "duration": None if duration is None else f"{duration:.1f} s",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
        "probes": f"{probes['count']}, {probes['kind'] or 'unknown kind'}{f', {size} pixels' if size else ''}",
        "hash of the probes": probes["probe_hash"],
        "hash of the protocol": None if protocol is None else protocol.get("hash"),
        "settings": ", ".join(f"{name} {value}" for name, value in report["settings"].items() if value is not None),
        "siblings": None if report["siblings"] is None else str(len(report["siblings"])),
        "independents": nulls or None,
        **report["facts"],
    }
    return [(name, str(value)) for name, value in rows.items() if value is not None]


def _models(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    rows = [(of["name"], of["model"]) for of in (report["source"], *report["suspects"]) if of["model"] is not None]
    empty = {"file": None, "sha256": None, "url": None, "revision": None}
    return [(name, empty | model) for name, model in rows]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else escape_text(value)
