"""Published fingerprints and sac_fast's statistics on the same models, at 100, 200, 400 and 2,000 queries.

    python benchmarks/bench_baselines.py ZOOS/TASK/SOURCE --budget 100 --budget 200 --json SCORES/TASK-SOURCE.json
    python benchmarks/bench_peers.py ZOOS --scores SCORES

The first command scores the peers that craft their queries, and needs the models of one zoo; the second one adds what
recorded outputs say for all zoos, and writes peers.json and baselines.md to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from baselines import METHODS
from baselines.peers import BUDGETS, OWN, PUBLISHED, RECORDED, from_outputs, markdown, read_scores

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.evaluation.sources import load_sources
from sac_fast.io.files import atomic_write

KIND = "sac_fast peers"
RESULTS = Path(__file__).resolve().parent / "results"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="labelled zoos, or folders of them (TASK/SOURCE)")
    parser.add_argument("--scores", type=Path, help="folder with TASK-SOURCE.json of bench_baselines.py")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default: beside this file)")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of the JSON again")
    asked = parser.parse_args(arguments)
    if not asked.out.is_dir():
        parser.error(f"the folder of --out must exist, got {str(asked.out)!r}")
    if bool(asked.folders) == asked.tables_only:
        parser.error("folders must be given, or --tables-only and none")
    return asked


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Compare everything; returns what peers.json holds."""
    start = time.perf_counter()
    result = start_result(KIND, torch.get_num_threads())
    sources, left_out = load_sources(asked.folders)
    compared = []
    for source in sources:
        for budget in BUDGETS:
            compared += from_outputs(source, budget)
        if asked.scores is not None:
            # AKH is known from the outputs of all sources already.
            compared += [one for one in read_scores(asked.scores, source) if one.measured.statistic not in RECORDED]
        print(time.strftime("%T"), source.key, file=sys.stderr)
    titles = {**OWN, **{name: of[0] for name, of in RECORDED.items()}, **{n: m.title for n, m in METHODS.items()}}
    return result | {
        "left_out": left_out,
        "titles": titles,
        "papers": {**{name: of[1] for name, of in RECORDED.items()}, **{n: m.paper for n, m in METHODS.items()}},
        "published": [list(row) for row in PUBLISHED],
        "records": [one.to_dict() for one in compared],
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    asked = parse()
    path = asked.out / "peers.json"
    try:
        if not asked.tables_only:
            write_json(run(asked), path, row_lines=True)
        with atomic_write(asked.out / "baselines.md") as handle:
            handle.write(markdown(json.loads(path.read_text())).encode())
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_peers: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
