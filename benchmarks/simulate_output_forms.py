"""False-accusation rates of null pools where suspects answer in other forms than the source, on simulated models.

    python benchmarks/simulate_output_forms.py --json benchmarks/results/output_forms_simulation.json

Every repetition has a fresh source, 24 nulls and 20 honest suspects, all made alike, and a bit-for-bit copy of the
source. The suspects answer in one form; a tenth of all models is nearly constant, and in the setting "mixed nulls" each
null answers in a form of its own. Rates are over suspects; their limits are three standard errors of as many
independent outcomes as there are sources, since the outcomes of one source hang together. A suspect that is no evidence
counts as not accused, as in a verdict. The command ends with exit code 1 where a rate is above its limit or a copy is
not found.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from simulation_arguments import parse_arguments
from simulation_rates import print_rates, rate_rows, write_rates
from torch import Tensor

from sac_fast import Fingerprint
from sac_fast.bench.results import start_result
from sac_fast.models.output_form import check_informative
from sac_fast.scores import FIXED
from sac_fast.verdict import conformal_p_value
from sac_fast.verify.comparable import comparable_outputs
from sac_fast.verify.preset import verify_fixed

KIND = "sac_fast simulation of output forms"
ALPHAS = (0.05, 0.1)
NULLS, SUSPECTS = 24, 20
PROBES, CLASSES = 60, 10
CONSTANT_SHARE = 0.1
FORMS = ("probabilities", "3 decimals", "top-5", "one-hot", "class numbers")
_ABOUT = {"probe_hash": "sha256:" + "0" * 64, "probes": {"kind": "jpeg"}}


def give(form: str, logits: Tensor) -> Tensor:
    """Logits (n, k) in the form that a suspect answers in."""
    p = logits.softmax(1)
    if form == "3 decimals":
        return p.round(decimals=3)
    if form == "top-5":
        kept = p.topk(5, dim=1)
        return torch.zeros_like(p).scatter_(1, kept.indices, kept.values)
    if form == "one-hot":
        return torch.nn.functional.one_hot(logits.argmax(1), logits.shape[1]).float()
    if form == "class numbers":
        return logits.argmax(1).float()[:, None]
    return p if form == "probabilities" else logits


def make_models(generator: torch.Generator) -> Tensor:
    """Logits (1 + NULLS + SUSPECTS, n, k), the source first: what the task gives, and what each has of its own."""
    count = 1 + NULLS + SUSPECTS

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, PROBES, CLASSES, generator=generator)

    truth = torch.randint(CLASSES, (PROBES,), generator=generator)
    models = 3.0 * torch.nn.functional.one_hot(truth, CLASSES) + noise() + 1.5 * noise(count)
    constant = torch.rand(count, generator=generator) < CONSTANT_SHARE
    constant[0] = False
    models[constant] = noise(int(constant.sum()))[:, :1] + 1e-3 * noise(int(constant.sum()))
    return models


def run_repetition(form: str, mixed: bool, generator: torch.Generator, *, check: bool) -> dict[str, Any]:
    """Outcomes of one source: by preset, shares of accused suspects by α and whether the copy was found."""
    models = make_models(generator)
    own = [str(FORMS[int(i)]) if mixed else "" for i in torch.randint(len(FORMS), (NULLS,), generator=generator)]
    given = [give(of, o) for of, o in zip(own, models[1 : 1 + NULLS], strict=True)]
    nulls = [fingerprint_of(outputs, f"null {i}") for i, outputs in enumerate(given)]
    source, copy = fingerprint_of(models[0], "source"), fingerprint_of(give(form, models[0]), "copy")
    suspects = [fingerprint_of(give(form, o), f"suspect {i}") for i, o in enumerate(models[1 + NULLS :])]
    found = {}
    for preset, score in FIXED.items():
        # All suspects answer in one form: nulls and suspects are brought to it at once.
        compared = comparable_outputs(source, copy, [*nulls, *suspects], metric=score.metric)
        distances = score.distances(compared.source.outputs, [fp.outputs for fp in (compared.suspect, *compared.nulls)])
        by_name = dict(zip([fp.name for fp in compared.nulls], distances[1:].tolist(), strict=True))
        pool = [by_name[fp.name] for fp in nulls if fp.name in by_name]
        p = [conformal_p_value(by_name[fp.name], pool) if fp.name in by_name and pool else 1.0 for fp in suspects]
        lowest = conformal_p_value(float(distances[0]), pool) if pool else 1.0
        attainable = 1 / (1 + len(pool))
        found[preset] = [*(float(np.mean([x <= a for x in p])) for a in ALPHAS), float(lowest == attainable)]
        if check:
            verdict = verify_fixed(preset, source, suspects[0], nulls, alpha=0.5).verdict
            evidence = check_informative(suspects[0].outputs, suspects[0].output_form, metric=score.metric) is None
            assert verdict.p_value >= p[0], (verdict, p[0])  # near-duplicates may make it larger
            assert (verdict.p_value == 1.0) or evidence
    return found


def fingerprint_of(outputs: Tensor, name: str) -> Fingerprint:
    """A fingerprint on the invented probes."""
    return Fingerprint(outputs, {"name": name, **_ABOUT})


def run_cell(form: str, mixed: bool, repetitions: int, seed: int) -> list[dict[str, Any]]:
    """Rates of one form, by preset and α."""
    generator = torch.Generator().manual_seed(seed)
    outcomes = [run_repetition(form, mixed, generator, check=i < 3) for i in range(repetitions)]
    return rate_rows(outcomes, FIXED, ALPHAS, "preset", {"form": form, "mixed_nulls": mixed})


def main() -> int:
    parser, asked = parse_arguments(__doc__, 40_000, "sources of each form")
    result = start_result(KIND, torch.get_num_threads())
    start, rows = time.perf_counter(), []
    for i, (form, mixed) in enumerate([*((form, False) for form in FORMS), ("class numbers", True)]):
        found = run_cell(form, mixed, asked.repetitions, asked.seed + i)
        print_rates(found, f"{form}{', mixed nulls' if mixed else ''}", "preset")
        rows += found
    about = {
        **result,
        "seconds": time.perf_counter() - start,
        "repetitions": asked.repetitions,
        "nulls": NULLS,
        "suspects": SUSPECTS,
        "probes": PROBES,
        "classes": CLASSES,
    }
    return write_rates(about, rows, asked.json, parser)


if __name__ == "__main__":
    sys.exit(main())
