"""Verify draws by a committed seed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .arrays import image_hashes, read_hdf5
from .committed_draw import commitment, committed_order, dataset_hash
from .folder import draw_names, hash_files, list_images


def check_draws(provenance: dict[str, Any], place: Path, progress: bool) -> tuple[list[str], list[str]]:
    """Verify the committed draws in a provenance by drawing again.

    Args:
        provenance: provenance of the probes; for a mixture every part is checked.
        place: the folder or HDF5 file of the source images.
        progress: show a progress bar on stderr.

    Returns:
        Errors, and notes on draws that could not be verified.
    """
    source = provenance.get("source", {})
    wrong: list[str] = []
    notes: list[str] = []
    for part in source.get("parts", ()):
        found = check_draws(part["provenance"], place, progress)
        wrong, notes = wrong + found[0], notes + found[1]
    selection = provenance.get("selection", [])
    for number, how in enumerate(selection):
        if how["kind"] != "committed":
            continue
        if commitment(how["seed"]) != how["commitment"]:
            wrong.append(f"the seed's commitment is {commitment(how['seed'])}, not {how['commitment']}")
        origins = _origins(source)
        if not how["whole"] or len(origins) > 1 or origins.keys() & {"webdataset", "file list"}:
            notes.append("the committed draw was not from a whole folder or HDF5 file and was not drawn again")
            continue
        hashes = _hashes(next(iter(origins.values())), place, progress)
        if dataset_hash(hashes.values()) != how["dataset_hash"]:
            wrong.append(f"the images' dataset hash is {dataset_hash(hashes.values())}, not {how['dataset_hash']}")
            continue
        names = list(hashes)
        order = [names[index] for index in committed_order(how["seed"], list(hashes.values()))]
        per_class = how.get("per_class")
        drawn = {hashes[name] for name in draw_names(order, None if per_class else how["count"], None, per_class)}
        used = {entry["sha256"] for entry in source["images"]}
        unread = {hashes.get(entry["name"]) for entry in source.get("skipped", ())}
        if used - drawn:
            wrong.append(f"{len(used - drawn)} images are not of the committed draw of {len(drawn)}")
        missing = drawn - used - unread
        # An arbitrary subset does not justify that images of the draw are missing.
        later = ", ".join(step["kind"] for step in selection[number + 1 :] if step["kind"] != "subset")
        if missing and not later:
            wrong.append(f"{len(missing)} images of the committed draw of {len(drawn)} are left out")
        elif missing:
            notes.append(f"{len(missing)} images of the committed draw of {len(drawn)} were left out later: {later}")
    return wrong, notes


def _origins(source: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """One source of each type; for a mixture, those of its parts."""
    if source["type"] != "mixture":
        return {source["type"]: source}
    return {kind: one for part in source["parts"] for kind, one in _origins(part["provenance"]["source"]).items()}


def _hashes(source: dict[str, Any], place: Path, progress: bool) -> dict[str, str]:
    if source["type"] == "hdf5":
        array, _, _ = read_hdf5(place, source["layout"], None)
        return {str(index): digest for index, digest in enumerate(image_hashes(array))}
    return hash_files(place, list_images(place)[0], True, progress)
