"""The protocols of the literature: attacks under the names of each paper, at its number of queries.

    python benchmarks/bench_literature.py train irisfp cifar-10-batches-py OUT --seed N     # a labelled zoo: hours
    python benchmarks/bench_literature.py tables ZOOS --scores SCORES                       # of zoos that are there

`train` takes images from disk (CIFAR-10/100, Tiny-ImageNet, KDEF, folders of images: see `sac-fast testbed train`) and
ResNet-18 and MobileNetV2; literature/NAME.toml says how many models of which kind. `tables` writes literature.json and
literature.md to benchmarks/results/: for every protocol and task the AUC by the paper's attack names, of the working
thefts against all honest models, at its number of queries, for sac_fast's statistics and for the peers whose scores
`bench_baselines.py` wrote to SCORES.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from baselines import METHODS
from baselines.peers import OWN, RECORDED, Compared, from_outputs, read_scores

from sac_fast.attacks import TrainingConfig
from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.evaluation.sources import SourceZoo, load_sources
from sac_fast.io.files import atomic_write
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.testbed.disk import disk_task
from sac_fast.testbed.plan import Size
from sac_fast.testbed.run import run_testbed
from sac_fast.testbed.sources import PROBE_SETS
from sac_fast.testbed.task import Task

KIND = "sac_fast protocols of the literature"
HERE = Path(__file__).resolve().parent
PROTOCOLS = tuple(sorted(path.stem for path in (HERE / "literature").glob("*.toml")))


@dataclasses.dataclass(frozen=True)
class Protocol:
    """One paper's protocol.

    Attributes:
        title, paper: whose.
        queries: that a suspect is asked.
        architectures: names in `sac_fast.testbed.architectures`, the source's first.
        siblings: that sac_fast's statistics take; the paper has none.
        training: epochs, tuning_epochs, batch_size, learning_rate, weight_decay.
        honest: number of honest models by kind.
        attack: name in the paper, origin here and number of models of each attack.
        data: the paper's data sets.
        assumptions: details of the recipe that were chosen here, not read off the paper's text or code.
    """

    title: str
    paper: str
    data: tuple[str, ...]
    queries: int
    architectures: tuple[str, ...]
    siblings: int
    training: Mapping[str, Any]
    honest: Mapping[str, int]
    attack: Sequence[Mapping[str, Any]]
    assumptions: tuple[str, ...]

    @classmethod
    def read(cls, name: str) -> Protocol:
        """The protocol of literature/NAME.toml."""
        given = tomllib.loads((HERE / "literature" / f"{name}.toml").read_text(encoding="utf-8"))
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})

    @property
    def names(self) -> dict[str, str]:
        """The paper's name of each attack by its origin here."""
        return {row["origin"]: row["name"] for row in self.attack}

    def size(self, task: Task) -> Size:
        """The test bed of this protocol on a task."""
        rows, how = len(task.defender), self.training
        kinds: dict[Any, tuple[int, tuple[str, ...]]] = {"sibling": (self.siblings, self.architectures[:1])}
        for kind, count in self.honest.items():
            one = kind == "same-data-same-architecture"
            kinds[kind] = (count, self.architectures[:1] if one else tuple(reversed(self.architectures)))
        return Size(
            images=how["epochs"] * rows,
            tuning=how["tuning_epochs"] * rows,
            independents=kinds,
            stolen={row["origin"]: (row["count"], self.architectures) for row in self.attack},
            probes=2000,
            jpeg_probes=1000,
            probe_sets=PROBE_SETS,
            config=TrainingConfig(
                batch_size=how["batch_size"], learning_rate=how["learning_rate"], weight_decay=how["weight_decay"]
            ),
        )


def train(asked: argparse.Namespace) -> LabelledZoo:
    """Train the zoo of a protocol; a stopped run goes on."""
    protocol = Protocol.read(asked.protocol)
    task = disk_task(asked.images, size=asked.image_size, per_class=asked.per_class)
    return run_testbed(
        asked.out, task, size=protocol.size(task), seed=asked.seed, workers=asked.workers, device=asked.device,
        architectures={name: {} for name in protocol.architectures},
    )  # fmt: skip


def compare(source: SourceZoo, names: Sequence[str], scores: Path | None) -> list[dict[str, Any]]:
    """One record a protocol and statistic: AUCs by the paper's names of the attacks."""
    protocols = {name: Protocol.read(name) for name in names}
    by_queries = {queries: from_outputs(source, queries) for queries in {of.queries for of in protocols.values()}}
    if scores is not None:
        for one in read_scores(scores, source):
            if one.budget in by_queries and one.measured.statistic not in RECORDED:
                by_queries[one.budget].append(one)
    return [row for name, of in protocols.items() for row in _records(source, name, of, by_queries[of.queries])]


def _records(source: SourceZoo, name: str, protocol: Protocol, compared: Sequence[Compared]) -> list[dict[str, Any]]:
    records = []
    for one in compared:
        aucs = one.measured.aucs()
        by_name = {paper: aucs[origin] for origin, paper in protocol.names.items() if origin in aucs}
        records.append(
            {
                "protocol": name,
                "task": source.task,
                "source": source.name,
                "statistic": one.measured.statistic,
                "queries": one.measured.queries,
                "auc_by_attack": by_name,
                "mean_auc": float(np.mean(list(by_name.values()))) if by_name else None,
                "without_models": [paper for origin, paper in protocol.names.items() if origin not in aucs],
            }
        )
    return records


def tables(asked: argparse.Namespace) -> None:
    """Write literature.json and literature.md; with --tables-only of the records that are there."""
    if asked.tables_only:
        kept = json.loads((asked.out / "literature.json").read_text())
        for name, of in kept["protocols"].items():
            of["assumptions"] = list(Protocol.read(name).assumptions)
        return _write(kept, asked.out)
    start = time.perf_counter()
    result = start_result(KIND, torch.get_num_threads())
    sources, left_out = load_sources(asked.zoos)
    records = [row for source in sources for row in compare(source, PROTOCOLS, asked.scores)]
    titles = {**OWN, **{n: of[0] for n, of in RECORDED.items()}, **{n: m.title for n, m in METHODS.items()}}
    results = result | {
        "left_out": left_out,
        "protocols": {name: dataclasses.asdict(Protocol.read(name)) for name in PROTOCOLS},
        "titles": titles,
        "records": records,
        "seconds": time.perf_counter() - start,
    }
    return _write(results, asked.out)


def _write(results: Mapping[str, Any], folder: Path) -> None:
    write_json(results, folder / "literature.json", row_lines=True)
    with atomic_write(folder / "literature.md") as handle:
        handle.write(markdown(json.loads((folder / "literature.json").read_text())).encode())


def markdown(results: Mapping[str, Any]) -> str:
    """One table a protocol and task."""
    lines = [
        "# The literature's protocols",
        "",
        f"Made by `python benchmarks/{results['command']}`. AUC of each attack's working thefts against all honest "
        "models, mean over sources, at the protocol's number of queries. The models are the test bed's small ones, not "
        "those of the papers: figures are comparable within a table only. Assumptions are details of a protocol that "
        "were chosen here, not read off the paper's text or code.",
    ]
    for name, protocol in results["protocols"].items():
        rows = [row for row in results["records"] if row["protocol"] == name]
        for task in sorted({row["task"] for row in rows}):
            of = [row for row in rows if row["task"] == task]
            lines += ["", f"## {protocol['title']} on {task}, {protocol['queries']} queries ({protocol['paper']})", ""]
            attacks = [row["name"] for row in protocol["attack"] if any(row["name"] in r["auc_by_attack"] for r in of)]
            lines += [
                "| statistic | mean | " + " | ".join(attacks) + " |",
                "| --- | ---: |" + " ---: |" * len(attacks),
            ]
            for statistic, title in results["titles"].items():
                if found := [row for row in of if row["statistic"] == statistic]:
                    cells = [_mean([row["auc_by_attack"].get(attack) for row in found]) for attack in attacks]
                    lines.append(f"| {title} | {_mean([r['mean_auc'] for r in found])} | " + " | ".join(cells) + " |")
            lines += _missing(of)
        lines += ["", f"Assumptions for {protocol['title']}:", "", *(f"* {text}" for text in protocol["assumptions"])]
    return "\n".join(lines) + "\n"


def _missing(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """By attack the sources that have no working model of it."""
    sources: dict[str, set[str]] = {}
    for row in rows:
        for attack in row["without_models"]:
            sources.setdefault(attack, set()).add(row["source"])
    said = "; ".join(f"{attack} of {', '.join(sorted(of))}" for attack, of in sorted(sources.items()))
    return ["", f"Without working models: {said}."] if said else []


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.3f}" if known else "–"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_literature", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    of = commands.add_parser("train", help="train the zoo of a protocol")
    of.add_argument("protocol", choices=PROTOCOLS)
    of.add_argument("images", type=Path, help="labelled images on disk")
    of.add_argument("out", type=Path, help="folder of the labelled zoo, OUT/TASK/SOURCE say; resumed")
    of.add_argument("--image-size", type=int, default=32, help="32 for CIFAR, 64 for Tiny-ImageNet (default: 32)")
    of.add_argument("--per-class", type=int, help="at most so many images a class and side")
    of.add_argument("--seed", type=int, required=True, help="of all models; nobody else's, so drawn at random")
    of.add_argument("--workers", type=int)
    of.add_argument("--device")
    of = commands.add_parser("tables", help="tables of zoos that are there")
    of.add_argument("zoos", type=Path, nargs="*", help="labelled zoos, or folders of them (TASK/SOURCE)")
    of.add_argument("--tables-only", action="store_true", help="only write assumptions and tables of the JSON again")
    of.add_argument("--scores", type=Path, help="folder with TASK-SOURCE.json of bench_baselines.py")
    of.add_argument("--out", type=Path, default=HERE / "results", help="folder for the results")
    asked = parser.parse_args(arguments)
    if asked.command == "tables" and bool(asked.zoos) == asked.tables_only:
        parser.error("zoos must be given, or --tables-only and none")
    return asked


def main() -> None:
    asked = parse()
    try:
        {"train": train, "tables": tables}[asked.command](asked)
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_literature: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
