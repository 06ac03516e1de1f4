"""False claims: how often an owner who may choose gets *derived* against honest models, and what a commitment changes.

    python benchmarks/simulate_false_claims.py zoos --json benchmarks/results/false_claims.json

The models are those of labelled zoos (`sac-fast testbed sources`), their outputs as recorded; every honest model of a
source is a victim. The owner has 19 siblings and wants p ≤ 5 %.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import Any

import torch
from simulation_arguments import parse_zoo_arguments
from torch import Tensor

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.evaluation.accusation_matrix import is_below
from sac_fast.evaluation.loaded_zoo import FORM
from sac_fast.evaluation.rates import Share
from sac_fast.evaluation.sources import SourceZoo, disputed_order, limited, load_sources
from sac_fast.verify.siblings import sibling_test

KIND = "sac_fast simulation of false claims"
ALPHA, SIBLINGS, PROBES, DRAWS = 0.05, 19, 400, 5
SCORES = ("default", "correlations", "regression")
COUNTS = (50, 100, 200, 400, 1000)
#: Share of the victim's outputs in those of a source that was trained toward it.
TOWARD = (0.05, 0.2)


def p_values(outputs: Mapping[str, Tensor], members: list[str], victims: list[str], **options: Any) -> dict[str, float]:
    """Exact p of each victim alone, the first member as the source."""
    source, *siblings = (outputs[name] for name in members)
    return sibling_test(source, siblings, {v: outputs[v] for v in victims}, output_form=FORM, **options).p_exact


def claims_of(source: SourceZoo, seed: int) -> dict[str, tuple[int, int]]:
    """(successful claims, victims) by what the owner may do."""
    loaded, everything = source.loaded, source.outputs
    members = [loaded.source, *(m.name for m in loaded.siblings[:SIBLINGS])]
    victims = [m.name for m in loaded.independents]
    order = disputed_order([everything[name] for name in members])
    most = {count: limited(everything, order[:count].sort().values) for count in COUNTS if count <= source.count}
    usual = most[PROBES]
    committed = p_values(usual, members, victims)
    tried: dict[str, list[dict[str, float]]] = {"committed: one source, score and set of probes": [committed]}
    tried[f"best of {len(SCORES)} scores"] = [p_values(usual, members, victims, score=score) for score in SCORES]
    tried[f"best of {len(most)} numbers of probes"] = [p_values(some, members, victims) for some in most.values()]
    generator = torch.Generator().manual_seed(seed)
    draws = [limited(everything, torch.randperm(source.count, generator=generator)[:PROBES]) for _ in range(DRAWS)]
    tried[f"best of {DRAWS} draws of {PROBES} probes"] = [p_values(some, members, victims) for some in draws]
    turned = [[members[i], *members[:i], *members[i + 1 :]] for i in range(len(members))]
    tried[f"best of {len(members)} trainings as the source"] = [p_values(usual, some, victims) for some in turned]
    found = {
        name: (sum(is_below(min(p[victim] for p in each), ALPHA) for victim in victims), len(victims))
        for name, each in tried.items()
    }
    same = [name for name in victims if usual[name].shape == usual[loaded.source].shape]
    for share in TOWARD:
        hits = 0
        for victim in same:
            mixed = (1 - share) * usual[loaded.source] + share * usual[victim]
            hits += is_below(p_values({**usual, loaded.source: mixed}, members, [victim])[victim], ALPHA)
        found[f"source with {share:.0%} of the victim's outputs"] = (hits, len(same))
    return found


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    return parse_zoo_arguments("simulate_false_claims", __doc__, 20_000, "probes", arguments)


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Judge and write the JSON."""
    result = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    sources, left_out = load_sources(asked.folders)
    usable = [s for s in sources if len(s.loaded.siblings) >= SIBLINGS and s.count >= PROBES]
    if not usable:
        raise ValueError(f"folders must hold a source with {SIBLINGS} siblings and {PROBES} probes, got {left_out}")
    by_source = [claims_of(source, asked.seed + i) for i, source in enumerate(usable)]
    claims = {name: Share(tuple(found[name] for found in by_source)).to_dict() for name in by_source[0]}
    results = {
        **result,
        "seconds": time.perf_counter() - start,
        "alpha": ALPHA,
        "siblings": SIBLINGS,
        "probes": PROBES,
        "sources": [source.key for source in usable],
        "claims": claims,
    }
    write_json(results, asked.json)
    return results


def main() -> int:
    try:
        results = run(parse())
    except (SacFastError, ValueError, OSError) as error:
        print(f"simulate_false_claims: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for name, share in results["claims"].items():
        print(f"{name}: {share['hits']} of {share['models']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
