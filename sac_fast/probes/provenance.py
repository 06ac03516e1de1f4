"""The recipe that a probe set's provenance is: one entry an image, so that each image can be remade alone.

``provenance["source"]["images"][i]`` says which file image i comes from; each step of
``provenance["augmentation"]`` says what was done to all images, and under ``"each"``, where images differ, what was
done to image i.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..io.version import package_version

# Lists with one entry an image (or more): what a summary leaves out.
_LONG = frozenset({"images", "each", "dropped", "skipped"})


def step_versions(**engine: str) -> dict[str, str]:
    """Versions that a step records: of sac_fast, of NumPy and of the engine's own parts."""
    return {"sac_fast": package_version(), "numpy": np.__version__, **engine}


def take(provenance: dict[str, Any], count: int, indices: Sequence[int]) -> dict[str, Any]:
    """The provenance of the images at ``indices`` (they may repeat) of a set of ``count`` images."""
    result = dict(provenance)
    source = provenance.get("source", {})
    if len(source.get("images", ())) == count:
        result["source"] = {**source, "images": [source["images"][index] for index in indices]}
    result["augmentation"] = [
        {**step, "each": [step["each"][index] for index in indices]} if len(step.get("each", ())) == count else step
        for step in provenance.get("augmentation", [])
    ]
    return result


def without_image_lists(provenance: Any) -> Any:
    """The same without the lists that have an entry for every image: what a fingerprint records."""
    if isinstance(provenance, dict):
        return {key: without_image_lists(value) for key, value in provenance.items() if key not in _LONG}
    return [without_image_lists(value) for value in provenance] if isinstance(provenance, list) else provenance


def entries(provenance: dict[str, Any], count: int, indices: Sequence[int]) -> list[dict[str, Any]]:
    """For each index the image's source entry, and under ``"steps"`` what each step did to this image alone."""
    images = provenance.get("source", {}).get("images", ())
    each = [step.get("each", ()) for step in provenance.get("augmentation", [])]
    result = []
    for index in indices:
        entry = dict(images[index]) if len(images) == count else {"name": str(index), "sha256": None}
        if any(each):
            entry["steps"] = [own[index] if len(own) == count else None for own in each]
        result.append(entry)
    return result


def unchanged(source: dict[str, Any], versions: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """The provenance of images as they came: SAC-normal."""
    return {
        "kind": "normal",
        "source": source,
        **more,
        "augmentation": [],
        "versions": step_versions(**(versions or {})),
    }
