"""Probes decoded and resized by DALI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ProbeError
from ..io.files import StrPath
from .dali import DaliLoader, version
from .integers import check_integer
from .probe_set import ProbeSet
from .provenance import unchanged


def load_dali(source: StrPath | Sequence[StrPath], *, limit: int | None = None, **options: Any) -> ProbeSet:
    """A probe set of a folder, a file list or WebDataset tars, decoded and resized by DALI.

    Args:
        source: see `sac_fast.probes.items.list_items`.
        limit: at most so many images of this rank, the first ones.
        options: of `sac_fast.probes.dali.DaliLoader`, without ``quality``: compress with `ProbeSet.jpeg`, so that
            the step is in the recipe.

    Returns:
        The probes; the provenance says that DALI decoded and resized, on which device.

    Raises:
        ProbeError: DALI is not installed, an image that cannot be decoded (by name, unless ``skip_bad``), none that
            can, or a wrong argument.
    """
    if "quality" in options:
        raise ProbeError("quality must be given to ProbeSet.jpeg, which records the step, got it for load_dali")
    limit = None if limit is None else check_integer("limit", limit, 1)
    loader = DaliLoader(source, **options)
    found = len(loader.items)
    loader.items = loader.items[:limit]
    images, entries, labels = [], [], []
    for batch in loader:
        images.append(batch.images.cpu().numpy())
        entries += [{"name": n, "sha256": digest} for n, digest in zip(batch.names, batch.hashes, strict=True)]
        labels += batch.labels
    if not images:
        raise ProbeError(f"at least one image must be readable, got none of {len(loader.items)}")
    on = "cuda" if loader.device.startswith("cuda") else "cpu"
    record: dict[str, Any] = {"type": loader.type, "images": entries}
    record["decoder"] = {"engine": "dali", "device": on, "exact": on == "cpu", "version": version()}
    if loader.skip_bad:
        record["skipped"] = loader.skipped
    if loader.classes is not None:
        record["classes"] = loader.classes
    if len(loader.items) < loader.total:
        shard = {key: options.get(key, default) for key, default in (("rank", 0), ("world_size", 1))}
        record["drawn"] = {"of": loader.total, "in_shard": found, **shard, "limit": limit}
    resize = {"size": list(loader.size), "fit": loader.fit, "resample": loader.resample, "engine": "dali"}
    known = [label for label in labels if label is not None]
    numbers = np.array(known, np.int64) if len(known) == len(labels) else None
    return ProbeSet(np.concatenate(images), numbers, unchanged(record, {"dali": version()}, resize=resize))
