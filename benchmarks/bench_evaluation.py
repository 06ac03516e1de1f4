"""The evaluation of several sources and tasks, from the recorded outputs of their labelled zoos.

    sac-fast testbed sources --task fashion --out zoos/fashion     # and so on for each task: trains the zoos (hours)
    python benchmarks/bench_evaluation.py zoos

writes evaluation.json, evaluation.md and the figures evaluation_*.png to benchmarks/results/. The zoos' outputs are
made again by the first command; they are not part of the repository. One source with 39 siblings has a file of its own:

    sac-fast testbed sources --task fashion --out zoos39/fashion --siblings 39 --only vgg-a
    python benchmarks/bench_evaluation.py zoos39/fashion/vgg-a --no-rotate --no-weights --no-figures --name siblings_39
    python benchmarks/bench_evaluation.py --tables-only --alone siblings_39     # draws its curve beside the others
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.evaluation.protocol import Protocol, evaluate_sources
from sac_fast.evaluation.protocol_figures import write_protocol_figures
from sac_fast.evaluation.protocol_tables import protocol_markdown
from sac_fast.io.files import atomic_write

KIND = "sac_fast evaluation of several sources"
RESULTS = Path(__file__).resolve().parent / "results"
NAME = "evaluation"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*", help="labelled zoos, or folders of them (TASK/SOURCE)")
    parser.add_argument("--tables-only", action="store_true", help="only write Markdown and figures of the JSON again")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results (default: beside this file)")
    parser.add_argument("--probes", help="name of the probe set (default: plain)")
    parser.add_argument("--no-rotate", action="store_true", help="leave out the tests with siblings as the source")
    parser.add_argument("--no-weights", action="store_true", help="leave out the weights test")
    parser.add_argument("--name", default=NAME, help=f"of the files, without their ends (default: {NAME})")
    parser.add_argument("--no-figures", action="store_true", help="write JSON and Markdown alone")
    parser.add_argument("--alone", metavar="NAME", help="results of one source with more siblings, drawn beside")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    asked = parser.parse_args(arguments)
    if not asked.out.is_dir():
        parser.error(f"the folder of --out must exist, got {str(asked.out)!r}")
    if bool(asked.folders) == asked.tables_only:
        parser.error("folders must be given, or --tables-only and none")
    return asked


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Evaluate and write JSON, Markdown and figures."""
    if asked.tables_only:
        return write_tables(json.loads((asked.out / f"{asked.name}.json").read_text()), asked)
    start = time.perf_counter()
    result = start_result(KIND, torch.get_num_threads())
    protocol = Protocol(rotate=not asked.no_rotate, weights=not asked.no_weights)
    found = evaluate_sources(asked.folders, probes=asked.probes, protocol=protocol, progress=not asked.quiet).results
    results = found | result | {"seconds": round(time.perf_counter() - start, 1)}
    write_json(results, asked.out / f"{asked.name}.json", row_lines=True)
    return write_tables(results, asked)


def write_tables(results: dict[str, Any], asked: argparse.Namespace) -> dict[str, Any]:
    """Write Markdown and figures of results, which are given back."""
    with atomic_write(asked.out / f"{asked.name}.md") as handle:
        handle.write(protocol_markdown(results, f"python benchmarks/{results['command']}").encode())
    if not asked.no_figures:
        alone = None if asked.alone is None else json.loads((asked.out / f"{asked.alone}.json").read_text())
        if alone is not None and len(alone["sources"]) != 1:
            raise ValueError(f"--alone must be of one source, got {len(alone['sources'])}")
        write_protocol_figures(results, asked.out, prefix=f"{asked.name}_", alone=alone)
    return results


def main() -> None:
    asked = parse()
    try:
        run(asked)
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_evaluation: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
