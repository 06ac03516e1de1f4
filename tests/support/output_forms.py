"""Synthetic classifiers of one task, and the forms in which they may answer."""

import torch

from sac_fast import Fingerprint

PROBES = "sha256:" + "a" * 64

#: What each form makes of logits (n, k).
GIVE = {
    "logits": lambda o: o,
    "log-probabilities": lambda o: o.log_softmax(1),
    "probabilities": lambda o: o.softmax(1),
    "float16": lambda o: o.softmax(1).half().float(),
    "3 decimals": lambda o: o.softmax(1).round(decimals=3),
    "percent": lambda o: (100 * o.softmax(1)).round(decimals=1),
    "top-5": lambda o: _top(o.softmax(1), 5),
    "one-hot": lambda o: torch.nn.functional.one_hot(o.argmax(1), o.shape[1]).float(),
    "class numbers": lambda o: o.argmax(1).float()[:, None],
}


def _top(p, count):
    kept = p.topk(count, dim=1)
    return torch.zeros_like(p).scatter_(1, kept.indices, kept.values)


def classifiers(count, n=120, k=10, seed=0):
    """Logits (count, n, k) of exchangeable models: what the task gives to all of them, and what each has of its own."""
    rng = torch.Generator().manual_seed(seed)
    truth = torch.nn.functional.one_hot(torch.arange(n) % k, k)
    task = 3.0 * truth + torch.randn(n, k, generator=rng)
    return task + 1.5 * torch.randn(count, n, k, generator=rng)


def fingerprint_of(outputs, name="m", **provenance):
    return Fingerprint(outputs, {"name": name, "probe_hash": PROBES, **provenance})
