"""How many label-only queries decide: labelled zoos of several sources, judged in looks by the code that users run.

    python benchmarks/bench_few_queries.py ZOO... --json benchmarks/results/few_queries.json

ZOO are folders of `sac-fast testbed`, one a source, with 19 siblings or more. Every suspect stands behind a service
that gives labels alone and is judged by itself, in looks at 100 and 200 of 2,000 probes that each seed draws; α = 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sac_fast import Fingerprint
from sac_fast.bench.results import start_result, write_json
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.verify.stages import judge_in_looks, plan_looks, query_order

KIND = "sac_fast label-only queries"
ALPHA, LOOKS, DRAWN = 0.05, (100, 200), 2000
ATTACKS = ("finetune-all", "finetune-last", "extract-labels")
#: Of each source's independents, evenly spaced.
HONEST = 4


def judge(members: Sequence[Fingerprint], suspect: Fingerprint) -> tuple[bool, int]:
    """Whether a suspect is called derived by its labels, and how many were asked."""
    labels = suspect.outputs.argmax(1).float()[:, None]

    def ask(rows: Sequence[int], names: Sequence[str]) -> dict[str, Fingerprint]:
        about = {**suspect.provenance, "output_form": "labels", "output_form_declared": True}
        return {name: Fingerprint(labels[list(rows)], about) for name in names}

    looks = plan_looks(LOOKS, 1 / len(members), ALPHA)
    made = judge_in_looks(ask, ["suspect"], looks, source=members[0], siblings=members[1:], alpha=ALPHA)
    return made[-1].verdicts.verdict["suspect"] == "derived", len(made[-1].rows)


def judge_source(folder: Path, seeds: int) -> dict[str, list[dict[str, Any]]]:
    """Outcomes by what a suspect is: the source itself, an attack, or ``"independent"``."""
    zoo = LabelledZoo.load(folder)
    probes = zoo.probes[0]
    members = [zoo.load_fingerprint(probes, member) for member in (zoo.source, *zoo.of_role("sibling"))]
    honest = [m for m in zoo.of_role("independent") if m.origin != "other-classes"]
    honest = [honest[i] for i in np.linspace(0, len(honest) - 1, HONEST).round().astype(int)]
    suspects = [zoo.source, *(m for m in zoo.of_role("stolen") if m.origin in ATTACKS), *honest]
    prints = {member.name: zoo.load_fingerprint(probes, member) for member in suspects}
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        rows = torch.randperm(len(members[0]), generator=generator)[:DRAWN].sort().values
        # those of the last look, found once for all suspects
        drawn = [Fingerprint(fp.outputs[rows], fp.provenance) for fp in members]
        rows = rows[np.sort(query_order(drawn)[: LOOKS[-1]])]
        few = [Fingerprint(fp.outputs[rows], fp.provenance) for fp in members]
        for member in suspects:
            fp = prints[member.name]
            what = member.origin if member.role == "stolen" else member.role
            derived, asked = judge(few, Fingerprint(fp.outputs[rows], fp.provenance))
            row = {"source": folder.name, "suspect": member.name, "seed": seed, "derived": derived, "asked": asked}
            found.setdefault(what, []).append(row)
    return found


def summarise(outcomes: Mapping[str, Sequence[Mapping[str, Any]]], seeds: int) -> list[dict[str, Any]]:
    """One row for each kind of suspect."""
    rows = []
    for what, some in sorted(outcomes.items()):
        by_seed = [np.mean([one["derived"] for one in some if one["seed"] == seed]) for seed in range(seeds)]
        rows.append(
            {
                "suspect": what,
                "judged": len(some),
                "derived": int(sum(one["derived"] for one in some)),
                "worst_seed": float(min(by_seed)),
                "queries": float(np.mean([one["asked"] for one in some])),
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("zoos", nargs="+", type=Path, help="folders of `sac-fast testbed`")
    parser.add_argument("--seeds", type=int, default=10, help="draws of probes")
    parser.add_argument("--json", type=Path, help="file to write")
    asked = parser.parse_args()
    result = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    outcomes: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for folder in asked.zoos:
        task = str(LabelledZoo.load(folder).task.get("name"))
        for what, some in judge_source(folder, asked.seeds).items():
            outcomes.setdefault(task, {}).setdefault(what, []).extend(some)
        tasks = {task: summarise(found, asked.seeds) for task, found in outcomes.items()}
        counts = {"alpha": ALPHA, "looks": list(LOOKS), "drawn": DRAWN, "seeds": asked.seeds}
        if asked.json is not None:  # after every source: a long run that is stopped has a result
            write_json({**result, **counts, "seconds": time.perf_counter() - start, "tasks": tasks}, asked.json)
    for task, rows in tasks.items():
        print(f"{task}: label-only, at most {LOOKS[-1]} queries, {asked.seeds} draws of {DRAWN} probes")
        for row in rows:
            print(f"  {row['suspect']:24} {row['derived']:4} of {row['judged']:4}  {row['queries']:.0f} queries")
    return 0


if __name__ == "__main__":
    sys.exit(main())
