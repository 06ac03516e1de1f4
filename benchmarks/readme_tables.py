"""Write the tables of README and docs/ from benchmarks/results/*.json, between `<!-- table: NAME -->`, `<!-- end -->`.

    python benchmarks/readme_tables.py [--check]

--check changes nothing; exit code 1 says that a table differs from its results.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = tuple(ROOT / page for page in ("README.md", "docs/measured.md", "docs/verdicts.md", "docs/speed.md"))
PRESETS = {
    "sac-jc": "cosine and l1 on JPEG probes, as published",
    "robust": "share of the suspect's log-softmax outputs (T = 4, misclassified probes) that no linear function of the "
    "source's explains",
    "calibrated": "correlations less the mean of your own independents, weighted by their covariance; trained on "
    "simulated thefts",
}
#: Smallest p-value by Student's t that is shown.
MIN_STUDENT_P = 0.001
#: Ground and number of siblings of each row.
GROUNDS = (
    ("siblings, Student's t", 4), ("siblings, Student's t", 9), ("siblings, exact", 19),
    ("siblings, exact, sac-jc", 19), ("null pool, kinds mixed, sac-jc", 0), ("null pool, kinds mixed, robust", 0),
    ("null pool, kinds mixed, calibrated", 0),
)  # fmt: skip
#: Attacks of the table of thefts that siblings find, by its rows.
ATTACKS = {
    "fine-tuning (all layers, last layer)": ("finetune-all", "finetune-last"),
    "pruning (fine-pruning, Taylor, magnitude)": ("fine-prune", "prune-taylor", "prune-magnitude"),
    "extraction by probabilities (T = 1, T = 4)": ("extract-soft-t1", "extract-soft-t4"),
    "distillation (90 % the source's labels, T = 20)": ("extract-distill",),
    "extraction by labels": ("extract-labels",),
    "transfer to other classes (last layer, all layers)": ("transfer-last", "transfer-all"),
    "Knockoff": ("extract-knockoff",),
    "adversarial extraction": ("extract-adversarial",),
    "second-hand extraction, pruned and distilled": ("extract-second-hand", "prune-distill"),
    "semi-supervised extraction (few labels)": ("extract-jagielski",),
    "adaptive (correlation, RemovalNet, siblings, mixture)": (
        "adaptive-correlation", "adaptive-removalnet", "adaptive-siblings", "adaptive-mixture",
    ),
    "8 bits, noise on the weights": ("quantize-int8", "weight-noise"),
}  # fmt: skip
#: How many of these rows are attacks of the paper.
PAPER_ROWS = 6
_TABLE = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def read(name: str) -> Any:
    """A result, by its file's name."""
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Markdown, without alignment."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def format_seconds(seconds: float) -> str:
    """At least two digits and a unit."""
    unit, size = ("s", 1.0) if seconds >= 1 else ("ms", 1e-3) if seconds >= 1e-3 else ("µs", 1e-6)
    value = seconds / size
    return f"{value:.0f} {unit}" if value >= 9.95 else f"{value:.1f} {unit}"


def format_ratio(ratio: float) -> str:
    """At least two digits."""
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:.1f}×"


def speed_table() -> str:
    """Every case of the pair and batch benchmarks that is no part of a sweep."""
    rows = []
    for record in read("correlation_distance.json")["records"] + read("pairwise.json")["records"]:
        if record["sweep"] is not None:
            continue
        ours = record["implementations"]["sac_fast"]
        peers = [
            f"{name} {format_ratio(entry['ratio'])}"
            for name, entry in record["implementations"].items()
            if "ratio" in entry and not name.startswith("sac_fast")
        ]
        if "peak_bytes_above_inputs" in record.get("agreement", {}):
            peers.append(f"{record['agreement']['peak_bytes_above_inputs'] / 1e6:.0f} MB above the inputs")
        limit = f"{100 * ours['fraction']:.0f} % of {ours['limit']}" if "fraction" in ours else ""
        case = record["case"].removeprefix("memory, ")
        rows.append([case, format_seconds(ours["seconds"]), ", ".join(peers), limit.replace("|", "\\|")])
    return format_table(["case", "time", "times of others over ours", "of the measured limit"], rows)


def demo_table() -> str:
    """The demo's suspects by the way they came about, stolen ones first."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for model in sorted(read("demo.json")["models"], key=lambda model: model["truth"] != "derived"):
        groups.setdefault(model["origin"], []).append(model)
    rows = []
    for origin, models in groups.items():
        weights = dict.fromkeys(model["weights"]["verdict"] if model["weights"] else "no file" for model in models)
        derived = sum(model["verdict"].startswith("derived") for model in models)
        rows.append(
            [
                origin,
                format_span([model["p_exact"] for model in models], 0.0),
                format_span([model["p_student"] for model in models], MIN_STUDENT_P),
                ", ".join(weights),
                f"{derived} of {len(models)}",
            ]
        )
    return format_table(["suspect", "p, exact", "p, Student's t", "weights", "called derived"], rows)


def format_span(values: list[float], smallest: float) -> str:
    """Smallest and largest of some p-values; at the smallest that can be shown, as a bound."""
    shown = [f"< {smallest:g}" if value <= smallest else f"{value:.2g}" for value in (min(values), max(values))]
    return shown[0] if shown[0] == shown[1] else " … ".join(shown)


def presets_table() -> str:
    """The presets over all sources: means over the attacks that do not know the method, and the range over sources."""
    found = {row["statistic"]: row for row in read("evaluation.json")["statistics"] if row["queries"] is None}
    rows = []
    for name in (name for name in PRESETS if name in found):
        judged = found[name]
        by_source = [value for value in judged["mean_auc_by_source"].values() if value is not None]
        auc = f"{judged['mean_auc']:.2f} [{min(by_source):.2f}, {max(by_source):.2f}]"
        labels = judged["auc_by_attack"]["extract-labels"]["mean"]
        rows.append([f"`{name}`", PRESETS[name], auc, f"{labels:.2f}", f"{judged['mean_tpr_5']:.2f}"])
    return format_table(["preset", "what it is", "mean AUC", "AUC, label extraction", "TPR at 5 % FPR"], rows)


def grounds_table() -> str:
    """Thefts found and honest models accused at α = 5 %, with 95 % intervals over sources."""
    result = read("evaluation.json")
    families = ("fine-tuning", "pruning", "extraction", "transfer")
    rows = []
    for ground, siblings in GROUNDS:

        def share(row: dict[str, Any]) -> str:
            return f"{row['hits']} of {row['models']}"

        def is_of(row: dict[str, Any], ground: str = ground, siblings: int = siblings) -> bool:
            known = (row["ground"], row["siblings"], row["alpha"], row["probes"])
            return known == (ground, siblings, 0.05, None)

        accused = next(row for row in result["accusations"] if is_of(row) and row["of"] == "all")
        found = {row["of"]: row for row in result["found"] if is_of(row) and row["working"]}
        low, high = accused["clustered"] or accused["exact"]
        interval = f"{100 * accused['share']:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
        name = f"{ground}, {siblings} siblings" if siblings else ground
        rows.append([name, f"{share(accused)}, {interval}", *(share(found[family]) for family in families)])
    return format_table(["verdict", "honest models accused", *families], rows)


def thefts_table() -> str:
    """Thefts within 5 points of the source's accuracy that the exact sibling test finds, by task."""
    result = read("evaluation.json")
    tasks = [source["task"] for source in result["sources"]]
    known = {
        row["of"]: row["by_source"]
        for row in result["found"]
        if (row["ground"], row["siblings"], row["alpha"], row["probes"]) == ("siblings, exact", 19, 0.05, None)
        if row["working"]
    }
    order = sorted(dict.fromkeys(tasks), key=tasks.index)

    def count(attacks: Sequence[str], task: str | None) -> str:
        pairs = [pair for name in attacks for of, pair in zip(tasks, known[name], strict=True) if task in (None, of)]
        return f"{sum(hits for hits, _ in pairs)} of {sum(models for _, models in pairs)}"

    paper = sum(list(ATTACKS.values())[:PAPER_ROWS], ())
    named = [*list(ATTACKS.items())[:PAPER_ROWS], ("**all of these, the paper's attacks**", paper)]
    named += [*list(ATTACKS.items())[PAPER_ROWS:], ("**all**", ("all",))]
    rows = [[name, *(count(attacks, task) for task in (*order, None))] for name, attacks in named]
    return format_table(["theft", *order, "all"], rows)


def percent(share: float | None) -> str:
    """A share in percent, to one decimal."""
    return "–" if share is None else f"{100 * share:.1f}".removesuffix(".0")


def simulated_table() -> str:
    """False accusations of the sibling test on invented models, in percent."""
    rows = []
    for cell in read("sibling_simulation.json")["cells"]:
        rates = {(rate["test"], rate["alpha"]): rate["rate"] for rate in cell["rates"]}

        def shown(test: str, *alphas: float, rates: dict[tuple[str, float], float] = rates) -> str:
            return ", ".join(percent(rates.get((test, alpha))) for alpha in alphas)

        what = f"{cell['form']}, other classes" if cell["other_classes"] else cell["form"]
        source = {"fresh": "", "best": ", source the best of K + 1", "other recipe": ", siblings of a changed recipe"}
        tests = [shown(test, 0.01, 0.05, 0.1) for test in ("rank", "max 10", "max 100")]
        tests.append(shown("max 1000", 0.01, 0.05, 0.1) if not cell["other_classes"] else "–")
        sources = f"{cell['repetitions']:,}"
        what += source[cell["source"]]
        student = shown("student", 0.01, 0.05)
        rows.append([str(cell["siblings"]), what, sources, percent(cell["tied"]), *tests, student])
    header = ["K", "outputs", "sources", "tied", "rank", "max-T of 10", "of 100", "of 1,000", "Student's t (1, 5 %)"]
    return format_table(header, rows)


def rotation_table() -> str:
    """False accusations by Student's t on trained models, every member of a family the source once."""
    found = {(row["siblings"], row["of"], row["alpha"]): row for row in read("rotation_simulation.json")["rows"]}
    rows = []
    for siblings in sorted({key[0] for key in found}):

        def shown(of: str, alpha: float, siblings: int = siblings) -> str:
            row = found[siblings, of, alpha]
            return f"{percent(row['share'])} %" if of == "all" else f"{row['hits']} of {row['models']}"

        tests = f"{found[siblings, 'all', 0.05]['models']:,}"
        low, high = found[siblings, "all", 0.05]["clustered"]
        at_five = f"{shown('all', 0.05)} [{percent(low)}, {percent(high)}]"
        others = [shown("all", alpha) for alpha in (0.01, 0.001)]
        nearest = [shown("nearest", alpha) for alpha in (0.05, 0.01)]
        rows.append([str(siblings), tests, at_five, *others, *nearest])
    header = ["K", "tests", "at 5 %", "at 1 %", "at 0.1 %", "nearest, at 5 %", "at 1 %"]
    return format_table(header, rows)


TABLES: dict[str, Callable[[], str]] = {
    "demo": demo_table,
    "grounds": grounds_table,
    "presets": presets_table,
    "rotation": rotation_table,
    "simulated-siblings": simulated_table,
    "speed": speed_table,
    "thefts": thefts_table,
}


def fill(texts: Sequence[str]) -> list[str]:
    """The pages with every table made anew.

    Raises:
        ValueError: a table is not known, or one of `TABLES` does not stand in the pages exactly once.
    """
    found = [match[2] for text in texts for match in _TABLE.finditer(text)]
    if sorted(found) != sorted(TABLES) or sum(text.count("<!-- table:") for text in texts) != len(found):
        raise ValueError(f"the tables {', '.join(TABLES)} must stand once each between their marks, got {found}")
    return [_TABLE.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text) for text in texts]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, compare")
    check = parser.parse_args().check
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    changed = {page: new for page, old, new in zip(PAGES, texts, fill(texts), strict=True) if new != old}
    for page, new in changed.items():
        if check:
            print(f"{page.name}: a table differs from its results; run benchmarks/readme_tables.py", file=sys.stderr)
        else:
            page.write_text(new, encoding="utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
