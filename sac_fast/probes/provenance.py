"""The provenance of a probe set, with one entry per image, from which each image can be made again.

``provenance["source"]["images"][i]`` names the file of image i. Each step in ``provenance["augmentation"]`` describes
what was done to all images and, under ``"each"``, the parameters that differ between images.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..io.schema import check_depth, check_types
from ..io.version import package_version

# Lists with one entry per image, which a summary leaves out.
_IMAGE_LISTS = frozenset({"images", "each", "dropped", "skipped"})


#: Steps in `augmentation`; each can need every earlier one again, for the partners of its images.
MAX_STEPS = 64

_OPTIONAL_TEXT = (str, type(None))
_IMAGE = {"name": str, "sha256": _OPTIONAL_TEXT, "part": int, "index": int, "steps": [(dict, type(None))]}
_SCHEMA: dict[str, Any] = {
    "kind": str,
    "source": {
        "type": str,
        "name": str,
        "sha256": str,
        "images": [_IMAGE],
        "skipped": [{"name": str}],
        "drawn": dict,
        "parts": [{"count": int, "hash": str, "provenance": dict}],
    },
    "augmentation": [{"kind": str, "engine": str, "device": str, "versions": dict, "each": [(dict, type(None))]}],
    "selection": [{"kind": str}],
    "resize": {"size": [int], "fit": str, "resample": str},
    "versions": dict,
}


def check_provenance(provenance: Any) -> None:
    """Check the types in the provenance of a probe set from a file, those of its parts included.

    Raises:
        ValueError: another type, more than `MAX_STEPS` steps, or nested too deeply.
    """
    check_depth(provenance, "provenance")
    waiting = [provenance]
    while waiting:
        found = waiting.pop()
        check_types(found, _SCHEMA, "provenance")
        if (steps := len(found.get("augmentation", ()))) > MAX_STEPS:
            raise ValueError(f"augmentation must have at most {MAX_STEPS} steps, got {steps:,}")
        waiting += [part["provenance"] for part in found.get("source", {}).get("parts", ()) if "provenance" in part]


def step_versions(**engine: str) -> dict[str, str]:
    """Versions recorded with a step: of sac_fast, NumPy and the engine."""
    return {"sac_fast": package_version(), "numpy": np.__version__, **engine}


def select_images(provenance: dict[str, Any], count: int, indices: Sequence[int]) -> dict[str, Any]:
    """Provenance of the images at ``indices``, which may repeat, of a set of ``count`` images."""
    result = dict(provenance)
    source = provenance.get("source", {})
    if len(source.get("images", ())) == count:
        result["source"] = {**source, "images": [source["images"][index] for index in indices]}
    result["augmentation"] = [
        {**step, "each": [step["each"][index] for index in indices]} if len(step.get("each", ())) == count else step
        for step in provenance.get("augmentation", [])
    ]
    return result


def json_copy(provenance: Any, refusal: type[Exception]) -> Any:
    """The provenance through JSON and back: a private copy, equal before saving and after loading."""
    try:
        return json.loads(json.dumps(provenance, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise refusal(f"provenance must be what JSON can hold, got {error}") from error


def without_image_lists(provenance: Any) -> Any:
    """The provenance without lists of images, as recorded in fingerprints."""
    if isinstance(provenance, dict):
        return {key: without_image_lists(value) for key, value in provenance.items() if key not in _IMAGE_LISTS}
    return [without_image_lists(value) for value in provenance] if isinstance(provenance, list) else provenance


def image_entries(provenance: dict[str, Any], count: int, indices: Sequence[int]) -> list[dict[str, Any]]:
    """For each index the source entry of the image, with its parameters of each step under ``"steps"``."""
    images = provenance.get("source", {}).get("images", ())
    each = [step.get("each", ()) for step in provenance.get("augmentation", [])]
    result = []
    for index in indices:
        entry = dict(images[index]) if len(images) == count else {"name": str(index), "sha256": None}
        if any(each):
            entry["steps"] = [own[index] if len(own) == count else None for own in each]
        result.append(entry)
    return result


def normal_provenance(source: dict[str, Any], versions: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """Provenance of unchanged images: SAC-normal."""
    return {
        "kind": "normal",
        "source": source,
        **more,
        "augmentation": [],
        "versions": step_versions(**(versions or {})),
    }
