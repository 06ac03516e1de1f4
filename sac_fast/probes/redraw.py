"""Verify draws by a committed seed.

The commitment covers which images are drawn, once the seed, the dataset's hash and the number of images are public.
What else decides which images the probes hold is not covered by it, and is a finding: a draw from a part of the
dataset, images that were left out after it, that are said to be unreadable and are not, or that are there several
times, and parts of a mixture that were not drawn at all.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..errors import ProbeError
from .arrays import image_hashes
from .committed_draw import commitment, committed_order, dataset_hash
from .folder import draw_names, hash_files, list_images
from .image import read_image
from .image_file import ImageBudget
from .provenance import image_entries
from .source_files import SourceFiles

_MAX_NAMES = 3


@dataclass
class DrawCheck:
    """What verifying the committed draws of a provenance has found.

    Attributes:
        files: the source images.
        progress: show a progress bar on stderr.
        findings: what is not as committed, or not covered by the commitment.
        notes: what must have been published before.
    """

    files: SourceFiles
    progress: bool
    findings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    _hashes: dict[str, str] | None = field(default=None, repr=False)

    def check(self, provenance: dict[str, Any], count: int) -> bool:
        """Verify the committed draws of `count` probes by drawing again; whether there are any."""
        source = provenance.get("source", {})
        selection = provenance.get("selection", [])
        committed = [number for number, how in enumerate(selection) if how["kind"] == "committed"]
        for number in committed:
            self._check_draw(source, selection[number], selection[number + 1 :])
        inside = self._check_parts(source, drawn_here=bool(committed))
        if committed or inside:
            self._check_repeated(provenance, count)
        return bool(committed) or inside

    def _check_parts(self, source: dict[str, Any], drawn_here: bool) -> bool:
        """Verify the draws inside a mixture, and that all that was drawn is still there; whether there are any."""
        parts = source.get("parts", ())
        drawn = [self.check(part["provenance"], part["count"]) for part in parts]
        if not any(drawn) or drawn_here:
            return any(drawn)
        kept = collections.Counter(part for part, _ in {(entry["part"], entry["index"]) for entry in source["images"]})
        for number, (part, is_drawn) in enumerate(zip(parts, drawn, strict=True)):
            if not is_drawn:
                self.findings.append(f"part {number} of the mixture is not of a committed draw, other parts are")
            elif missing := part["count"] - kept[number]:
                self.findings.append(f"{missing} images of part {number} of the mixture are left out, after their draw")
        return True

    def _check_repeated(self, provenance: dict[str, Any], count: int) -> None:
        """Every image once, or once in each of the forms that a step makes of all of them."""
        forms = collections.Counter()  # type: collections.Counter[str]
        images: dict[str, str] = {}
        for entry in image_entries(provenance, count, range(count)):
            where = (entry.get("part"), entry.get("index")) if "part" in entry else entry["sha256"]
            forms[json.dumps([where, entry.get("steps")], sort_keys=True)] += 1
            images[json.dumps(where)] = entry["name"]
        if again := [form for form, times in forms.items() if times > 1]:
            names = list(dict.fromkeys(images[json.dumps(json.loads(form)[0])] for form in again))
            times = max(forms.values())
            self.findings.append(f"{_listed(names)}: there {times} times in the same form, a draw takes an image once")
        per_image = collections.Counter(json.dumps(json.loads(form)[0]) for form in forms)
        if len(set(per_image.values())) > 1:
            most = images[max(per_image, key=lambda key: per_image[key])]
            low, high = min(per_image.values()), max(per_image.values())
            self.findings.append(f"images are there in {low} to {high} forms, most often {most!r}, not all in as many")

    def _check_draw(self, source: dict[str, Any], how: dict[str, Any], later: list[dict[str, Any]]) -> None:
        """Draw again, and compare."""
        if commitment(how["seed"]) != how["commitment"]:
            self.findings.append(f"the seed's commitment is {commitment(how['seed'])}, not {how['commitment']}")
        origins = dict(_origins(source))
        if not how["whole"] or len(origins) > 1 or origins.keys() & {"webdataset", "file list"}:
            self.findings.append(
                "the committed draw was not from a whole folder or HDF5 file: which images it was drawn from is not "
                "covered by the commitment"
            )
            return
        hashes = self._all_hashes(next(iter(origins.values())))
        if dataset_hash(hashes.values()) != how["dataset_hash"]:
            self.findings.append(
                f"the images' dataset hash is {dataset_hash(hashes.values())}, not {how['dataset_hash']}"
            )
            return
        names = list(hashes)
        order = [names[index] for index in committed_order(how["seed"], list(hashes.values()))]
        per_class = how.get("per_class")
        drawn = {hashes[name] for name in draw_names(order, None if per_class else how["count"], None, per_class)}
        used = {entry["sha256"] for entry in source["images"]}
        if used - drawn:
            self.findings.append(f"{len(used - drawn)} images are not of the committed draw of {len(drawn)}")
        skipped = {hashes.get(entry["name"]): entry["name"] for entry in source.get("skipped", ())}
        missing = drawn - used
        unread = missing & skipped.keys()
        if missing - unread:
            kinds = dict.fromkeys(step["kind"] for step in later)
            by = f", by {', '.join(kinds)}: the commitment does not cover that" if kinds else ""
            number = len(missing - unread)
            self.findings.append(f"{number} images of the committed draw of {len(drawn)} are left out{by}")
        self._check_skipped([skipped[digest] for digest in sorted(unread, key=str)])
        size = f"{per_class} images of each class" if per_class else f"the number of images {how['count']}"
        self.notes.append(
            f"published before the suspect was known must be: the commitment {how['commitment']}, the dataset hash "
            f"{how['dataset_hash']}, {size}"
        )

    def _check_skipped(self, names: list[str]) -> None:
        """Images of the draw that are said to be unreadable must be so."""
        budget = ImageBudget(str(self.files.place))
        readable = []
        for name in names:
            try:
                read_image(self.files.place / name, budget)
            except ProbeError:
                continue
            readable.append(name)
        if readable:
            self.findings.append(f"{_listed(readable)}: of the committed draw, listed as skipped, and can be read")

    def _all_hashes(self, source: dict[str, Any]) -> dict[str, str]:
        if self._hashes is None:
            if source["type"] == "hdf5":
                array, _ = self.files.read_hdf5(source["layout"])
                self._hashes = {str(index): digest for index, digest in enumerate(image_hashes(array))}
            else:
                self._hashes = hash_files(self.files.place, list_images(self.files.place)[0], True, self.progress)
        return self._hashes


def _origins(source: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The types of the sources with one of each; for a mixture, those of its parts."""
    if source["type"] != "mixture":
        yield source["type"], source
    for part in source.get("parts", ()):
        yield from _origins(part["provenance"]["source"])


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return ", ".join(map(repr, names[:_MAX_NAMES])) + more
