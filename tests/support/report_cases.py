"""Cases for reports, small enough for every test."""

import torch

from sac_fast import Fingerprint, verify_suspects
from sac_fast.report import save_case

PROBES = "sha256:" + "a" * 64


def made(name, outputs, **provenance):
    return Fingerprint(outputs, {"name": name, "probe_hash": PROBES, **provenance})


def random_outputs(count, seed=0, probes=60, classes=5):
    return torch.randn(count, probes, classes, generator=torch.Generator().manual_seed(seed))


def sibling_case(folder, *, names=("copy", "honest"), **options):
    """19 siblings, a copy and an honest suspect."""
    outputs = random_outputs(22)
    task = 2 * outputs[21]
    source, *siblings = (made(f"model {i}", o + task) for i, o in enumerate(outputs[:20]))
    copy = made(names[0], 2 * source.outputs)
    honest = made(names[1], outputs[20] + task)
    return save(folder, source, {fp.name: fp for fp in (copy, honest)}, siblings=siblings, **options)


def pool_case(folder, *, name="suspect", kinds=("same-data", "other-data"), **options):
    """10 independents of two kinds, one suspect that was made from the source."""
    outputs = random_outputs(12)
    source = made("model 0", outputs[0])
    suspect = made(name, outputs[0] + 0.1 * outputs[1])
    nulls = [made(f"null {i}", o, kind=kinds[i % 2]) for i, o in enumerate(outputs[2:])]
    how = {"metric": "pearson", "kinds": list(kinds)}
    return save(folder, source, {name: suspect}, nulls=nulls, settings=how, alpha=0.2, **options)


def save(folder, source, suspects, *, siblings=(), nulls=(), settings=None, alpha=0.05, weights=None, **options):
    how = settings or {}
    verdicts = verify_suspects(source, suspects, siblings=siblings, nulls=nulls, weights=weights, alpha=alpha, **how)
    given = {"siblings": siblings, "nulls": nulls, "settings": settings}
    save_case(folder, verdicts, source=source, suspects=suspects, seconds=1.5, **given, **options)
    return folder
