"""report.html: one file without scripts, made from report.json alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import FileFormatError
from ..io.text import escape_text
from ..verify.names import list_names
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
    from jinja2 import ChainableUndefined, Environment, FileSystemLoader, TemplateError
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=ChainableUndefined)
    environment.filters["text"] = escape_text
    environment.filters |= {"number": _number, "queries": _queries}
    try:
        ordered = sorted(report["suspects"], key=lambda suspect: (suspect["p_value"], suspect["name"]))
        of_test = {name: test for test in report["tests"] for name in test["suspects"]}
        shown = [_suspect(suspect, of_test[suspect["name"]]) for suspect in ordered[:MAX_SUSPECTS]]
        return environment.get_template("page.html.jinja").render(
            style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),  # ours, the only text that is not escaped
            title=_title(report),
            summary=_summary(report),
            report=report,
            shown=shown,
            hidden=len(ordered) - len(shown),
            tests=[_test(test) for test in report["tests"]],
            weights=[_weights(suspect) for suspect in shown if suspect["weights"] is not None],
            claims=[(suspect["name"], claim) for suspect in shown for claim in suspect["claims"]],
            about=_about(report),
            models=[row for row in report["evidence"] if row["model"]],
        )
    except (KeyError, TypeError, ValueError, AttributeError, TemplateError) as error:
        raise FileFormatError(f"the report must be one of sac_fast, got {error!r}") from error


def _title(report: dict[str, Any]) -> str:
    source, names = escape_text(report["source"], 80), [suspect["name"] for suspect in report["suspects"]]
    if len(names) == 1:
        return f"Was “{escape_text(names[0], 80)}” made from “{source}”?"
    return f"{len(names)} suspects: which were made from “{source}”?"


def _summary(report: dict[str, Any]) -> str:
    words = [suspect["verdict"] for suspect in report["suspects"]]
    counts = ", ".join(f"{words.count(word)} {escape_text(word)}" for word in dict.fromkeys(words))
    version = escape_text(report["versions"].get("sac_fast"))
    return f"{escape_text(report['created'])}, sac_fast {version}, {report['probes']['count']} probes: {counts}"


def _test(test: dict[str, Any]) -> dict[str, Any]:
    settings = {"α": test["alpha"], **{name: value for name, value in test["settings"].items() if value is not None}}
    return {
        **test,
        "text": _GROUNDS.get(test["ground"], ""),
        "settings": ", ".join(f"{name} {_listed(value)}" for name, value in settings.items()),
        "of": list_names(test["suspects"]),
    }


def _suspect(suspect: dict[str, Any], test: dict[str, Any]) -> dict[str, Any]:
    return {
        **suspect,
        "several": len(test["suspects"]) > 1,
        "smallest_p": test["smallest_p"],
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
    probes, seconds = report["probes"], report["seconds"]
    size = "×".join(map(str, probes["size"] or ()))
    nulls = ", ".join(f"{count} {kind}" for kind, count in report["nulls"].items())
    roles = [row["role"] for row in report["evidence"]]
    rows = {
        "case": report["name"],
        "date (a claim)": report["created"],
        "duration": None if seconds is None else f"{seconds:.1f} s",
        "versions": ", ".join(f"{name} {version}" for name, version in report["versions"].items()),
        "probes": f"{probes['count']}, {probes['kind'] or 'unknown kind'}{f', {size} pixels' if size else ''}",
        "hash of the probes": probes["probe_hash"],
        "hash of the protocol": report["protocol_hash"],
        "siblings": str(roles.count("siblings")) if "siblings" in roles else None,
        "independents": nulls or None,
    }
    return [(name, str(value)) for name, value in rows.items() if value is not None]


def _queries(value: Any) -> str:
    """A number of queries, or what a service's fingerprint says of them."""
    if not isinstance(value, dict):
        return f"{value} queries"
    counts = value.get("queries")
    more = [f"{count} {state}" for state, count in counts.items() if count] if isinstance(counts, dict) else []
    text = f"queries: {', '.join(more)}"
    return f"{text}; {value.get('changed')} of {value['repeated']} answers changed" if value.get("repeated") else text


def _listed(value: Any) -> str:
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else escape_text(value)
