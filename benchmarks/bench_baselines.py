"""Published fingerprints beside sac_fast's, on the models of a labelled zoo.

    python benchmarks/bench_baselines.py ZOO [--methods akh,zest] [--budget N] [--json FILE]

Every member of ZOO is loaded and scored by every method (`baselines`), at every number of queries; the table gives
AUCs for all, the mean over the non-adaptive attacks, and those of each kind of independent model and of each
attack. The defender has the images that the source was trained on (those of the test bed's own task are made again;
of another one --images names a probe set with labels), the zoo's probe set "plain" as held-out images, and
"misclassified" for AKH. Scores are kept in --work as they come: a run that was stopped goes on where it was, and a
zoo that has grown costs its new members only.

Times are processor seconds on one thread: machines that measure many things at once have no wall time worth the name.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from baselines import METHODS, OwnModels, Task, to_pixels
from baselines.own_models import architectures, train_own_models
from baselines.run import Kept, load_member, run_methods
from baselines.summary import table

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.probes import ProbeSet

HELD_OUT, ERRORS = "plain", "misclassified"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench_baselines", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("zoo", type=Path, help="folder of a labelled zoo, with its weights")
    parser.add_argument("--images", type=Path, help="probe set with labels: the images the source was trained on")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"default: {','.join(METHODS)}")
    parser.add_argument("--budget", type=int, action="append", help="queries, repeatable; default: each method's own")
    parser.add_argument("--own", type=int, default=5, help="own stolen and as many independent models (default: 5)")
    parser.add_argument("--own-images", type=int, default=36_000, help="seen in training one (default: 36000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--work", type=Path, help="where own models and scores are kept (default: ZOO/baselines)")
    parser.add_argument("--only-kept", action="store_true", help="score nothing, report what is kept for all models")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results to FILE")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.methods.split(",") if name not in METHODS]:
        parser.error(f"--methods must be among {', '.join(METHODS)}, got {unknown[0]!r}")
    if asked.json is not None and not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    for name in ("own", "own_images", "threads"):
        if getattr(asked, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1, got {getattr(asked, name)}")
    return asked


def _labelled(probes: ProbeSet, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    if probes.labels is None:
        raise SacFastError(f"{name} must be images with labels, got none")
    return to_pixels(probes.images), torch.tensor(probes.labels)


def training_images(zoo: LabelledZoo, images: Path | None) -> tuple[torch.Tensor, torch.Tensor]:
    """What the source was trained on: from a file, or the test bed's own task made again."""
    if images is not None:
        return _labelled(ProbeSet.load(images), str(images))
    for task in _own_tasks(zoo):
        if task.describe()["hash"] == zoo.task.get("hash"):
            return to_pixels(task.defender.pixels), torch.tensor(task.defender.labels)
    raise SacFastError("--images must name the source's training images: the zoo's task cannot be made again here")


def _own_tasks(zoo: LabelledZoo) -> Iterator[Any]:
    """The test bed's tasks of this name: of one source, or the half of one of several sources."""
    from sac_fast.testbed.tasks import make_sources_task, make_task

    name, half = zoo.task.get("name"), zoo.task.get("half")
    if name not in ("patches", "fashion"):
        return
    for quick in (False, True):
        if half is None:
            yield make_task(name, quick=quick, seed=zoo.task.get("seed", 0))[0]
            continue
        for task in (name, "backbone"):  # that one is cut from the images of patches
            yield make_sources_task(task, quick=quick).task.on_half(half)


def read_task(zoo: LabelledZoo, images: Path | None) -> Task:
    """The defender's images, with the zoo's probes as held-out ones and as errors where it has them.

    Without a probe set of errors, AKH takes those of the held-out images.
    """
    more: list[torch.Tensor | None] = []
    for name in (HELD_OUT, ERRORS if ERRORS in zoo.probes else HELD_OUT):
        more += _labelled(zoo.load_probes(name), f"the zoo's {name!r}") if name in zoo.probes else (None, None)
    return Task(*training_images(zoo, images), *more)


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns what --json writes."""
    start = time.perf_counter()
    torch.set_num_threads(asked.threads)
    result = start_result("sac_fast baselines", asked.threads)
    zoo = LabelledZoo.load(asked.zoo)
    names = asked.methods.split(",")
    if not {ERRORS, HELD_OUT} & set(zoo.probes) and "akh" in names:
        raise SacFastError(
            f"the zoo must have the probes {ERRORS!r} or {HELD_OUT!r} for akh, got {', '.join(zoo.probes) or 'none'}"
        )
    task = read_task(zoo, asked.images)
    work = asked.work or asked.zoo / "baselines"
    own = OwnModels()
    if any(METHODS[name].own_models for name in names):
        own = train_own_models(
            load_member(zoo, zoo.source), task, architectures(zoo), work / "own",
            count=asked.own, seen=asked.own_images, progress=not asked.quiet,
        )  # fmt: skip
    wanted = [(name, budget) for name in names for budget in (asked.budget or METHODS[name].budgets)]
    kept = Kept(work / "scores.jsonl")
    results = run_methods(
        zoo, task, own, wanted, kept, seed=asked.seed, only_kept=asked.only_kept, progress=not asked.quiet
    )
    return result | {
        "options": {"own": asked.own, "own_images": asked.own_images, "seed": asked.seed, "threads": asked.threads},
        "nice": os.nice(0) if hasattr(os, "nice") else None,
        "task": dict(zoo.task),
        "images": {
            name: 0 if images is None else len(images)
            for name, images in (("training", task.images), ("held_out", task.held_out), ("errors", task.errors))
        },
        "own_models": {
            "stolen": len(own.stolen),
            "independent": len(own.independent),
            "cpu_seconds": own.seconds,
        },
        "members": {
            m.name: {"role": m.role, "origin": m.origin, "architecture": m.architecture, "accuracy": m.accuracy}
            for m in zoo.members
        },
        "results": results,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    asked = parse()
    try:
        results = run(asked)
        if asked.json is not None:
            write_json(results, asked.json)
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_baselines: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    own = results["own_models"]
    print(table(results["results"]))
    print(
        f"\n{len(results['members'])} models, this run {results['seconds']:.0f} s; "
        f"{own['stolen']} + {own['independent']} own models {own['cpu_seconds']:.0f} CPU s"
    )


if __name__ == "__main__":
    main()
