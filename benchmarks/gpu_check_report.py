"""What gpu_check.py prints of its record."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def text_of(value: Any) -> str:
    """A number in four digits; what is none, as it is: NaN and infinities are texts in the record."""
    return f"{value:.4g}" if isinstance(value, (int, float)) else str(value)


def reason(row: Row) -> str:
    """Why a result is not right."""
    return row.get("missing") or f"error {text_of(row['error'])}, allowed {text_of(row['tolerance'])}"


def report(record: Row) -> bool:
    """Print what stands in the record; True if nothing is wrong."""
    good = True
    if not record["ran_on_gpu"]:
        print("REHEARSAL ON A CPU: none of these is a figure of a GPU")
    if "checks" in record:
        checks = record["checks"]
        wrong = [row for row in checks if not row["ok"]]
        good &= not wrong
        print(f"{len(checks) - len(wrong)} of {len(checks)} results right")
        for row in wrong[:40]:
            print(f"  WRONG {row['case']}: {reason(row)}")
    for row in record.get("ceilings", []):
        for name, value in row.items():
            print(f"{name:20} {text_of(value)}")
    for row in record.get("times", []):
        time_text = row.get("missing") or f"{row['seconds'] * 1e3:12.4f} ms"
        good &= not (row["engine"].startswith("sac_fast") and "missing" in row)
        rates = "".join(f"  {row[key]:.4g} {key}" for key in row if key.endswith("_per_s"))
        error = f"  error {text_of(row['error'])}" if "error" in row else ""
        print(f"{row['case']:44} {row['engine']:26} {time_text}{rates}{error}")
    for row in record.get("targets", []):
        bound = f"≥ {row['at_least']:g}" if "at_least" in row else f"≤ {row['at_most']:g}"
        got = "not measured" if row["got"] is None else f"{row['got']:.4g}"
        print(
            f"{'ok    ' if row['ok'] else 'open  ' if row['ok'] is None else 'MISSED'} {row['target']}: {got} ({bound})"
        )
        good &= row["ok"] is not False
    for name, answer in record.get("sanitizer", {}).items():
        if isinstance(answer, dict):
            print(f"{name}: exit code {answer['rc']}", *(answer["end"] if answer["rc"] else []), sep="\n  ")
            good &= answer["rc"] == 0
    if "tests" in record:
        print("tests:", *record["tests"]["end"][-5:], sep="\n  ")
        good &= record["tests"]["rc"] == 0
    return good
