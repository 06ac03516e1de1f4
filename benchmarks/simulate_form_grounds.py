"""False-accusation rates of siblings, contrast and the default null pool where suspects answer in weaker forms.

    python benchmarks/simulate_form_grounds.py --json benchmarks/results/form_grounds_simulation.json

Every repetition has a fresh source with 19 siblings, 24 nulls and 24 honest suspects, all made alike, and a bit-for-bit
copy of the source. The suspects answer in one form; a tenth of nulls and suspects is nearly constant. Models and forms
are those of `simulate_output_forms.py`, which does the same for the fixed scores of a null pool. Grounds:

* ``siblings``: `sac_fast.sibling_test` of each suspect alone, exact p; ``siblings, max-T``: of all honest at once;
* ``contrast``: null pool with two siblings; ``given cohort``: null pool without siblings.

Rates are over suspects; their limits are three standard errors of as many independent outcomes as there are sources.
The command ends with exit code 1 where a rate is above its limit or a copy is not found at the smallest p.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from simulate_output_forms import CLASSES, CONSTANT_SHARE, FORMS, PROBES, fingerprint_of, give
from simulation_arguments import parse_arguments
from simulation_rates import print_rates, rate_rows, write_rates
from torch import Tensor

from sac_fast import Fingerprint, sibling_test
from sac_fast.bench.results import start_result
from sac_fast.scores.weights import Floats
from sac_fast.verdict import conformal_p_value
from sac_fast.verify.comparable import comparable_outputs
from sac_fast.verify.contrast import cohort_products, contrast_channels, distances_given_others, largest_channel
from sac_fast.verify.fingerprints import verify_fingerprints

KIND = "sac_fast simulation of grounds by output form"
ALPHAS = (0.05, 0.1)
SIBLINGS, NULLS, SUSPECTS, OF_CONTRAST = 19, 24, 24, 2
SIBLING_GROUNDS, POOLS = ("siblings", "siblings, max-T"), ("contrast", "given cohort")


def make_models(generator: torch.Generator) -> Tensor:
    """Logits (1 + SIBLINGS + NULLS + SUSPECTS, n, k), source and siblings first, of which none is constant."""
    count = 1 + SIBLINGS + NULLS + SUSPECTS

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, PROBES, CLASSES, generator=generator)

    truth = torch.randint(CLASSES, (PROBES,), generator=generator)
    models = 3.0 * torch.nn.functional.one_hot(truth, CLASSES) + noise() + 1.5 * noise(count)
    constant = torch.rand(count, generator=generator) < CONSTANT_SHARE
    constant[: 1 + SIBLINGS] = False
    models[constant] = noise(int(constant.sum()))[:, :1] + 1e-3 * noise(int(constant.sum()))
    return models


def run_repetition(form: str, generator: torch.Generator, *, check: bool) -> dict[str, list[float]]:
    """Outcomes of one source: by ground, shares of accused suspects by α and whether the copy was found."""
    models = make_models(generator)
    source, *siblings = (fingerprint_of(o, f"member {i}") for i, o in enumerate(models[: 1 + SIBLINGS]))
    rest = models[1 + SIBLINGS :]
    nulls = [fingerprint_of(o, f"null {i}") for i, o in enumerate(rest[:NULLS])]
    suspects = [fingerprint_of(give(form, o), f"suspect {i}") for i, o in enumerate(rest[NULLS:])]
    copy = fingerprint_of(give(form, models[0]), "copy")
    found = {}
    result = sibling_test(source, siblings, {fp.name: fp for fp in (*suspects, copy)}, alpha=ALPHAS[0])
    honest = sibling_test(source, siblings, {fp.name: fp for fp in suspects}, alpha=ALPHAS[0])
    alone, together = ([p[fp.name] for fp in suspects] for p in (result.p_exact, honest.adjusted))
    copied = float(result.p_exact["copy"] <= result.smallest_p + 1e-12)
    found["siblings"] = [*share_below(alone), copied]
    found["siblings, max-T"] = [*(float(min(together) <= alpha + 1e-12) for alpha in ALPHAS), copied]
    compared = comparable_outputs(source, copy, [*nulls, *suspects])
    kept = [compared.suspect, *compared.nulls]
    rows = [fp.outputs for fp in kept]
    own, shared = compared.source.outputs, compared.form
    members = [shared.rows(fp.formed) for fp in siblings[:OF_CONTRAST]]
    channels = contrast_channels(own, members, rows, shared.form)
    products = cohort_products(own, rows, shared.form)
    of_pools: dict[str, Callable[[list[int]], Floats]] = {
        "contrast": lambda places: largest_channel([values[places] for values in channels]),
        "given cohort": lambda places: distances_given_others(products, places),
    }
    at = {fp.name: i for i, fp in enumerate(kept)}
    pool = [at[fp.name] for fp in nulls if fp.name in at]
    for name, distances in of_pools.items():

        def p_value(fp: Fingerprint, distances: Callable[[list[int]], Floats] = distances) -> float:
            if fp.name not in at or not pool:
                return 1.0  # no evidence
            suspect, *others = distances([at[fp.name], *pool]).tolist()
            return float(conformal_p_value(suspect, others))

        p = [p_value(fp) for fp in suspects]
        found[name] = [*share_below(p), float(p_value(copy) <= 1 / (1 + len(pool)) + 1e-12)]
        if check:
            score = {"contrast": "contrast", "given cohort": "given-cohort"}[name]
            given = siblings[:OF_CONTRAST] if name == "contrast" else []
            verdict = verify_fingerprints(source, suspects[0], nulls, siblings=given, score=score, alpha=0.5).verdict
            assert verdict.p_value >= p[0] - 1e-9, (name, verdict, p[0])  # near-duplicates may make it larger
    return found


def share_below(p: list[float]) -> list[float]:
    """Share of p-values at most α, for each α."""
    return [float(np.mean([value <= alpha + 1e-12 for value in p])) for alpha in ALPHAS]


def run_cell(form: str, repetitions: int, seed: int) -> list[dict[str, Any]]:
    """Rates of one form, by ground and α."""
    generator = torch.Generator().manual_seed(seed)
    outcomes = [run_repetition(form, generator, check=i < 3) for i in range(repetitions)]
    return rate_rows(outcomes, (*SIBLING_GROUNDS, *POOLS), ALPHAS, "ground", {"form": form})


def main() -> int:
    parser, asked = parse_arguments(__doc__, 50_000, "sources of each form")
    result = start_result(KIND, torch.get_num_threads())
    start, rows = time.perf_counter(), []
    for i, form in enumerate(FORMS):
        found = run_cell(form, asked.repetitions, asked.seed + i)
        print_rates(found, form, "ground")
        rows += found
    about = {
        **result,
        "seconds": time.perf_counter() - start,
        "repetitions": asked.repetitions,
        "siblings": SIBLINGS,
        "siblings_of_contrast": OF_CONTRAST,
        "nulls": NULLS,
        "suspects": SUSPECTS,
        "probes": PROBES,
        "classes": CLASSES,
    }
    return write_rates(about, rows, asked.json, parser)


if __name__ == "__main__":
    sys.exit(main())
