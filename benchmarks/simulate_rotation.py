"""False-accusation rates of Student's t on trained models, every member of a source's family in the role of the source.

    python benchmarks/simulate_rotation.py zoos --json benchmarks/results/rotation_simulation.json

The models are those of labelled zoos (`sac-fast testbed sources`), their outputs as recorded. Source and siblings are
divided into groups of K + 1; in each group every member is the source once and the others are its siblings. An honest
model knows none of them better than another, so that whatever is accused is accused falsely. By the exact rank each
model is nearest to one member in K + 1 by construction, so that nothing is learnt of it here; Student's t can fail.

The nearest honest model: max-T over those with the source's classes, 100 at most, drawn by a seed where there are more;
accused is a role in which the nearest one is. The exact max-T is given beside it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from simulation_arguments import parse_zoo_arguments
from torch import Tensor

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.evaluation.accusation_matrix import is_below
from sac_fast.evaluation.loaded_zoo import FORM
from sac_fast.evaluation.rates import ALL, Share
from sac_fast.evaluation.sources import SourceZoo, load_sources
from sac_fast.scores.siblings_chance import agreement_with_members, correlation_agreement
from sac_fast.scores.siblings_channels import sibling_similarities
from sac_fast.scores.weights import Floats
from sac_fast.verify.sibling_p_values import combined_profiles, max_p_values, standardise, student_p_values
from sac_fast.verify.siblings import sibling_test

KIND = "sac_fast simulation of rotated sources"
SIBLINGS = (4, 9, 19)
ALPHAS = (0.001, 0.01, 0.05, 0.1)
NEAREST_OF = 100
_MIN_AGREEMENT = 3.09  # of the test: one-sided 0.1 % of the normal distribution

#: (accused, judged) by number of siblings, α and kind; ``"nearest"`` and ``"nearest, exact"`` are of roles.
Counts = dict[tuple[int, float, str], tuple[int, int]]


def channels_of(members: Sequence[Tensor], suspects: Sequence[Tensor]) -> list[Floats]:
    """The channels of `sibling_test` for suspects with one number of outputs: (S, J) values, NaN where no evidence."""
    if suspects[0].shape == members[0].shape:
        agreement = agreement_with_members(members, suspects, soft=True)
    else:
        agreement = correlation_agreement(members, suspects, "pearson")
    similarities = sibling_similarities(list(members), list(suspects), FORM, "default")
    channels = [standardise(values) for values in similarities.values()]
    for values in channels:
        values[agreement < _MIN_AGREEMENT] = np.nan
    return channels


def rotations(count: int) -> list[list[int]]:
    """For each role the order of the members, the one in the role of the source first."""
    return [[role, *(j for j in range(count) if j != role)] for role in range(count)]


def count_source(source: SourceZoo, siblings: int, seed: int) -> Counts:
    """Accusations with K siblings, in all groups and roles of one source."""
    loaded = source.loaded
    family = [loaded.source, *(member.name for member in loaded.siblings[:19])]
    honest = [member for member in loaded.independents if member.name in source.outputs]
    width = source.outputs[loaded.source].shape[1]
    by_width = {w: [m for m in honest if source.outputs[m.name].shape[1] == w]
                for w in sorted({source.outputs[m.name].shape[1] for m in honest})}  # fmt: skip
    same = by_width.get(width, [])
    drawn = torch.randperm(len(same), generator=torch.Generator().manual_seed(seed))[:NEAREST_OF].numpy()
    found: Counts = {}

    def add(alpha: float, kind: str, accused: bool) -> None:
        before, judged = found.get((siblings, alpha, kind), (0, 0))
        found[siblings, alpha, kind] = (before + int(accused), judged + 1)

    for start in range(0, len(family) - siblings, siblings + 1):
        names = family[start : start + siblings + 1]
        members = [source.outputs[name] for name in names]
        for models in by_width.values():
            channels = channels_of(members, [source.outputs[m.name] for m in models])
            for at, order in enumerate(rotations(len(members))):
                turned = [values[:, order] for values in channels]
                p_values = student_p_values(turned, over_suspects=False)
                if at == 0 and start == 0:
                    check_against_test(source, names, [m.name for m in models], p_values)
                for alpha in ALPHAS:
                    for model, p in zip(models, p_values, strict=True):
                        for kind in (ALL, model.origin):
                            add(alpha, kind, is_below(float(p), alpha))
                if models is same:
                    few = [values[drawn] for values in turned]
                    nearest = float(student_p_values(few, over_suspects=True).min())
                    exact = float(max_p_values(combined_profiles(few)).min())
                    for alpha in ALPHAS:
                        add(alpha, "nearest", is_below(nearest, alpha))
                        add(alpha, "nearest, exact", is_below(exact, alpha))
    return found


def check_against_test(source: SourceZoo, members: Sequence[str], suspects: Sequence[str], p_values: Floats) -> None:
    """The steps above are those of `sibling_test`: the same p-values for suspects that agree with the members.

    Raises:
        AssertionError: they are not.
    """
    own, *siblings = (source.outputs[name] for name in members)
    result = sibling_test(own, siblings, {name: source.outputs[name] for name in suspects}, output_form=FORM)
    for name, p in zip(suspects, p_values, strict=True):
        # the same number of outputs with another meaning is compared by regression there, and left out here
        if result.verdict[name] != "inconclusive" and not np.isnan(p) and result.channels[name] != ("regression",):
            np.testing.assert_allclose(p, result.p_student[name], rtol=1e-9)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    return parse_zoo_arguments("simulate_rotation", __doc__, 20_000, "100 honest models", arguments)


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """Judge and write the JSON."""
    result = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    sources, left_out = load_sources(asked.folders)
    usable = [source for source in sources if len(source.loaded.siblings) >= max(SIBLINGS)]
    if not usable:
        raise ValueError(f"folders must hold a source with {max(SIBLINGS)} siblings, got {left_out or 'fewer'}")
    counted: list[Counts] = []
    for i, source in enumerate(usable):
        counts: Counts = {}
        for siblings in SIBLINGS:
            counts |= count_source(source, siblings, asked.seed + i)
        counted.append(counts)
        print(f"{source.key}: {time.perf_counter() - start:.0f} s", flush=True)
    rows = [
        {"siblings": key[0], "alpha": key[1], "of": key[2],
         **Share(tuple(counts[key] for counts in counted if key in counts)).to_dict()}
        for key in dict.fromkeys(key for counts in counted for key in counts)
    ]  # fmt: skip
    results = {
        **result,
        "seconds": time.perf_counter() - start,
        "sources": [source.key for source in usable],
        "nearest_of": NEAREST_OF,
        "rows": rows,
    }
    write_json(results, asked.json)
    return results


def main() -> int:
    try:
        results = run(parse())
    except (SacFastError, ValueError, OSError) as error:
        print(f"simulate_rotation: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    for row in results["rows"]:
        if row["of"] in (ALL, "nearest", "nearest, exact"):
            share = f"{row['hits']} of {row['models']} ({row['share']:.2%})"
            print(f"K = {row['siblings']}, α = {row['alpha']}, {row['of']}: {share}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
