"""Probes decoded and resized by DALI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProbeError
from ..io.files import StrPath
from .arguments import check_integer
from .dali import DaliLoader, version
from .folder import list_images
from .probe_set import ProbeSet
from .provenance import normal_provenance


def load_dali(source: StrPath | Sequence[StrPath], *, limit: int | None = None, **options: Any) -> ProbeSet:
    """Probe set from a folder, a file list or WebDataset tars, decoded and resized by DALI.

    Args:
        source: see `sac_fast.probes.items.list_items`.
        limit: largest number of images of this rank, the first ones.
        options: options of `sac_fast.probes.dali.DaliLoader` except ``quality``: compress with `ProbeSet.jpeg`, which
            records the step in the provenance.

    Returns:
        The probes. The provenance has DALI as decoder, with its device.

    Raises:
        ProbeError: DALI is not installed, an image cannot be decoded (unless ``skip_bad``), no image can be decoded, or
            a wrong argument.

    Example::

        >>> import os
        >>> from PIL import Image
        >>> os.makedirs("images/cats")
        >>> Image.new("RGB", (300, 300)).save("images/cats/1.png")
        >>> probes = load_dali("images", size=224, labels="folder")
        >>> probes.images.shape
        (1, 224, 224, 3)
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
    if loader.type == "folder":
        record["ignored"] = dict(list_images(Path(str(source)))[1])
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
    return ProbeSet(np.concatenate(images), numbers, normal_provenance(record, {"dali": version()}, resize=resize))
