"""Published fingerprints and sac_fast's statistics on the same models, at 100, 200, 400 and 2,000 queries.

    python benchmarks/bench_baselines.py ZOOS/TASK/SOURCE --budget 100 --budget 200 --json SCORES/TASK-SOURCE.json
    python benchmarks/bench_peers.py ZOOS --scores SCORES

The first command scores the peers that craft their queries, and needs the models of one zoo; the second one adds what
recorded outputs say for all zoos, and writes peers.json and baselines.md to benchmarks/results/. With --work a run that
was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Collection
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
    parser.add_argument("--budget", type=int, action="append", help=f"queries, repeatable; default: {BUDGETS}")
    parser.add_argument("--work", type=Path, help="file in which records are kept as they come")
    parser.add_argument("--only-kept", action="store_true", help="compute nothing, report what is kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default: beside this file)")
    parser.add_argument("--tables-only", action="store_true", help="only write the tables of the JSON again")
    asked = parser.parse_args(arguments)
    if not asked.out.is_dir():
        parser.error(f"the folder of --out must exist, got {str(asked.out)!r}")
    if bool(asked.folders) == asked.tables_only:
        parser.error("folders must be given, or --tables-only and none")
    return asked


class _Kept:
    """What was computed of each source and budget, kept line by line in a file where there is one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._made: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._broken = False
        if path is not None and path.exists():
            text = path.read_text()
            self._broken = bool(text) and not text.endswith("\n")
            for line in text.splitlines():
                with contextlib.suppress(ValueError):  # a line that a stopped run left unfinished
                    key, budget, rows = json.loads(line)
                    self._made[key, budget] = rows

    def has(self, key: str, budget: int) -> bool:
        """Whether they were computed."""
        return (key, budget) in self._made

    def add(self, key: str, budget: int, rows: list[dict[str, Any]]) -> None:
        """Keep the records of a source and budget."""
        self._made[key, budget] = rows
        if self._path is not None:
            with open(self._path, "a", encoding="utf-8") as handle:
                handle.write(("\n" if self._broken else "") + json.dumps([key, budget, rows]) + "\n")
            self._broken = False

    def records(self, keys: Collection[str]) -> list[dict[str, Any]]:
        """All records of some sources, by source and budget."""
        return [row for (key, _), rows in sorted(self._made.items()) if key in keys for row in rows]


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Compare everything; returns what peers.json holds."""
    start = time.perf_counter()
    result = start_result(KIND, torch.get_num_threads())
    sources, left_out = load_sources(asked.folders)
    kept = _Kept(asked.work)
    for budget in asked.budget or BUDGETS:
        for source in sources:
            if not kept.has(source.key, budget) and not asked.only_kept:
                kept.add(source.key, budget, [one.to_dict() for one in from_outputs(source, budget)])
                print(time.strftime("%T"), source.key, budget, file=sys.stderr)
    records = kept.records({source.key for source in sources})
    for source in sources if asked.scores is not None else ():
        # AKH is known from the outputs of all sources already.
        more = [one for one in read_scores(asked.scores, source) if one.measured.statistic not in RECORDED]
        records += [one.to_dict() for one in more]
    titles = {**OWN, **{name: of[0] for name, of in RECORDED.items()}, **{n: m.title for n, m in METHODS.items()}}
    return result | {
        "left_out": left_out,
        "titles": titles,
        "papers": {**{name: of[1] for name, of in RECORDED.items()}, **{n: m.paper for n, m in METHODS.items()}},
        "published": [list(row) for row in PUBLISHED],
        "records": records,
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
