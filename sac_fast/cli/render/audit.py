"""What `sac-fast audit` prints."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from ...io.console import console, print_json
from ...io.text import escape_text
from .common import STYLES, describe_service, make_table, print_pairs


def show_plan(plan: dict[str, Any], as_json: bool) -> None:
    """Print what a case would do."""
    if as_json:
        print_json(plan, "audit.plan")
        return
    siblings = plan["siblings"]
    rows = {"results": plan["folder"]}
    rows |= {f"runs {spec}": purpose for spec, purpose in plan["code"].items()}
    for host, secrets in plan["hosts"].items():
        rows[f"asks {host}"] = f"with the secrets {', '.join(secrets)}" if secrets else "without secrets"
    rows["probes"] = "all images" if plan["probes"] is None else str(plan["probes"])
    if siblings["wanted"]:
        left = siblings["wanted"] - siblings["there"]
        minutes = (
            "time not known before the first one" if siblings["minutes"] is None else _minutes(siblings["minutes"])
        )
        rows["siblings"] = f"{siblings['there']} of {siblings['wanted']} are there" + (f"; {minutes}" if left else "")
    for service in plan["services"]:
        known = f", {service['asked']} of them asked" if service["asked"] else ""
        rows[f"queries to {service['name']}"] = (
            f"at most {service['queries']} and attempts again{known}; {_minutes(service['minutes'])}"
        )
    rows["ground"] = f"{plan['ground'] or 'none'}: {plan['why']}"
    reach = "" if plan["reaches_alpha"] else ": too large for an exact verdict"
    rows["smallest p"] = f"{plan['smallest_p']:.3g} (α = {plan['alpha']:g}){reach}"
    family = plan["family"]
    if family is not None and family["together"]:
        rows["α of the case"] = "files and services are judged together, after the last query"
    elif family is not None and family["files"] and family["services"]:
        rows["α of the case"] = f"{family['files']:g} for files, {family['services']:g} for services"
    if plan["looks"]:
        looks = [f"{look['queries']} probes (α {look['alpha']:.3g})" for look in plan["looks"]]
        rows["looks at services"] = ", ".join(looks)
    if plan["missing"]:
        rows["not there"] = ", ".join(plan["missing"])
    print_pairs(rows)


def show_audit(result: dict[str, Any], as_json: bool) -> None:
    """Print verdicts, or how far a case has come."""
    if as_json:
        print_json(result, "audit")
        return
    if "tests" not in result:
        print_pairs({name.replace("_", " "): str(value) for name, value in result.items()})
        return
    table = make_table(("suspect", "verdict", "why"), ("p", "adjusted"))
    for name, verdict in result["verdict"].items():
        word = Text(verdict, style=STYLES.get(verdict, ""))
        numbers = [f"{result[field][name]:.3g}" for field in ("p_value", "adjusted")]
        table.add_row(escape_text(name), word, escape_text(result["reason"][name]), *numbers)
    for name, reason in result["failed"].items():
        table.add_row(escape_text(name), Text("not judged", style="yellow"), escape_text(reason), "", "")
    console().print(table)
    tests = result["tests"]
    rows = {"protocol": result["protocol_hash"]}
    if tests:
        found = tests[0]["verdicts"]
        rows |= {"ground": found["ground"], "derived rejects": found["hypothesis"]}
    for model in result["models"]:
        if model["queries"] is not None:
            rows[f"queries to {model['name']}"] = describe_service(model["queries"])
    rows |= {f"note {number}": text for number, text in enumerate(result["warnings"], 1)}
    rows["results"] = result["folder"]
    if "files" in result:
        rows["report"] = ", ".join(result["files"])
    print_pairs(rows)


def _minutes(minutes: float) -> str:
    return "under a minute" if minutes < 1 else f"about {minutes:.0f} minutes"
