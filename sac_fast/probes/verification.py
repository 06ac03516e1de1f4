"""Verify a probe set: make every image again from the provenance and compare the pixels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ProbeError, SacFastError
from ..io.files import StrPath, leads_into
from ..io.progress import track
from .arrays import TRUNCATED, to_pixels
from .compare import pixel_difference
from .corruptions import apply_corruption
from .cutmix import paste
from .dali import DaliLoader
from .engines import available_engines, compress
from .image import fit_image, read_image
from .image_file import TooMuchError
from .items import Item, list_items
from .jpeg import Pixels, engine_versions, pillow_is_exact, require_exact_pillow
from .probe_set import ProbeSet
from .provenance import image_entries
from .redraw import DrawCheck
from .source_files import SourceFiles

_CHUNK = 256

Made = list[Pixels | str]  # the pixels, or the reason why they could not be made


@dataclass(frozen=True)
class ImageCheck:
    """Result for one probe.

    Attributes:
        name: name of the source image.
        equal: whether all pixels are equal.
        reason: why not: a missing file, another file, or the difference of the pixels.

    Example::

        >>> ImageCheck("cat.png", equal=False, reason="another file").equal
        False
    """

    name: str
    equal: bool
    reason: str | None = None


@dataclass(frozen=True)
class ProbeVerification:
    """Result of `verify_probes`.

    Attributes:
        images: one check per probe.
        selection: findings on committed draws: what is not as committed, or not covered by the commitment.
        notes: remarks for the reader, such as versions that differ from the recorded ones.

    Example::

        >>> ProbeVerification([ImageCheck("cat.png", equal=True)]).equal
        True
    """

    images: list[ImageCheck]
    selection: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether every image is equal, and every committed draw correct and all that chose the images."""
        return all(image.equal for image in self.images) and not self.selection


def verify_probes(probes: ProbeSet, images: StrPath, *, progress: bool = False) -> ProbeVerification:
    """Make every probe again from the source images and compare the pixels.

    Exact JPEG engines are interchangeable; an engine that is not exact must be installed itself. A committed draw is
    drawn again from all images of the folder; what else decided which images there are is a finding.

    Args:
        probes: the probes to verify, usually from `ProbeSet.load`.
        images: the folder with the source images (for file lists and tars: the folder that contains them), or the HDF5
            file.
        progress: show a progress bar on stderr.

    Returns:
        For each probe whether it is equal, and if not the reason.

    Raises:
        ProbeError: the source images have no files (arrays), or something that the provenance needs is missing: an
            engine, an extra, or a Pillow on libjpeg-turbo.

    Example::

        >>> import tempfile, numpy as np
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save(f"{folder}/grey.png")
        ...     verify_probes(ProbeSet.from_folder(folder).jpeg(quality=15), folder).equal
        True
    """
    place = Path(images)
    try:
        return _verify(probes, place, progress)
    except (SacFastError, OSError, MemoryError):
        raise
    except Exception as error:  # what untrusted provenance raises has no end
        raise ProbeError(f"provenance must be complete, got {type(error).__name__}: {error}") from error


def _verify(probes: ProbeSet, place: Path, progress: bool) -> ProbeVerification:
    provenance = probes.provenance
    _check_provenance(provenance, len(probes), probes.images[0, ..., 0].size)
    checks: list[ImageCheck] = []
    files = SourceFiles(place)
    for start in track(range(0, len(probes), _CHUNK), "remaking probes", enabled=progress):
        indices = list(range(start, min(start + _CHUNK, len(probes))))
        wanted = image_entries(provenance, len(probes), indices)
        for entry, made, index in zip(wanted, _replay(provenance, wanted, files), indices, strict=True):
            reason = made if isinstance(made, str) else _difference(probes.images[index], made)
            checks.append(ImageCheck(entry["name"], reason is None, reason))
    draws = DrawCheck(files, progress)
    draws.check(provenance, len(probes))
    return ProbeVerification(checks, draws.findings, draws.notes + _notes(provenance))


def _check_provenance(provenance: dict[str, Any], count: int, area: int) -> None:
    source = provenance.get("source", {})
    if source.get("type") == "mixture":
        for part in source["parts"]:
            _check_provenance(part["provenance"], part["count"], area)
    elif source.get("type") not in ("folder", "file list", "webdataset", "hdf5"):
        raise ProbeError(f"source must be a folder, a file list, tars or HDF5 to be remade, got {source.get('type')!r}")
    if len(source.get("images", ())) != count:
        named = len(source.get("images", ()))
        raise ProbeError(f"provenance must name the source of each of {count} images, got {named}")
    # No step changes the number of pixels; untrusted provenance could ask for images that exhaust the memory.
    height, width = provenance["resize"]["size"] if "resize" in provenance else (1, area)
    if height * width != area:
        raise ProbeError(f"resize must be to the probes' {area} pixels, got {height}×{width}")
    for step in provenance.get("augmentation", []):
        if step["kind"] == "jpeg" and _exact(step):
            require_exact_pillow()
        elif step["kind"] == "jpeg" and step["engine"] == "pillow" and pillow_is_exact():
            raise ProbeError(
                f"these probes were compressed by a Pillow that was not on libjpeg-turbo ({step['versions']}); this "
                "one is, so unequal pixels would prove nothing"
            )


def _exact(step: dict[str, Any]) -> bool:
    return bool(step.get("exact", "libjpeg-turbo" in step["versions"]))  # absent in older files


def _difference(old: Pixels, new: Pixels) -> str | None:
    if old.shape != new.shape:
        return f"size {new.shape[0]}×{new.shape[1]}, not {old.shape[0]}×{old.shape[1]}"
    share, _, largest, _ = pixel_difference(old[None], new[None])
    return f"{share:.2%} of the values differ, by at most {largest}" if share else None


def _replay(
    provenance: dict[str, Any],
    wanted: list[dict[str, Any]],
    files: SourceFiles,
    steps: int | None = None,
) -> Made:
    """Make the wanted images up to the first ``steps`` steps (None: all)."""
    if not wanted:
        return []  # else k steps would call themselves 2^k times for nothing
    made = _sources(provenance, wanted, files)
    for number, step in enumerate(provenance.get("augmentation", [])[:steps]):
        good = [index for index, image in enumerate(made) if not isinstance(image, str)]
        own = [(wanted[index].get("steps") or [])[number : number + 1] or [None] for index in good]
        partners: Made = []
        if step["kind"] == "cutmix":
            partners = _replay(provenance, [mine[0]["partner"] for mine in own], files, number)
            for index, partner in zip(good, partners, strict=True):
                if isinstance(partner, str):
                    made[index] = f"its partner: {partner}"
        ready = [
            (i, mine[0], p) for i, mine, p in zip(good, own, partners or good, strict=True) if not isinstance(p, str)
        ]
        for size in {made[index].shape for index, _, _ in ready}:  # type: ignore[union-attr]  # no reasons here
            same = [entry for entry in ready if made[entry[0]].shape == size]  # type: ignore[union-attr]
            new = _apply(step, np.stack([made[i] for i, _, _ in same]), [e for _, e, _ in same], [p for *_, p in same])
            for (index, _, _), image in zip(same, new, strict=True):
                made[index] = image
    return made


def _apply(step: dict[str, Any], images: Pixels, each: list[Any], partners: list[Any]) -> Pixels:
    kind = step["kind"]
    if kind == "transpose":
        return images.transpose(0, 2, 1, 3)
    if kind == "cutmix":
        return paste(images, np.stack(partners), [own["box"] for own in each])
    if kind == "corruption":
        return apply_corruption(images, step["name"], step["severity"], [own["seed"] for own in each])
    if kind == "jpeg":
        qualities = [own["quality"] if own else step["quality"] for own in each]
        engine, device = step["engine"], step.get("device", "cpu")
        if _exact(step):
            device, engine = "cpu", "pillow" if available_engines()[engine] is not None else engine
        return compress(images, qualities, step["subsampling"], engine, device)[0]
    raise ProbeError(f"augmentation must be jpeg, transpose, cutmix or corruption to be remade, got {kind!r}")


def _sources(provenance: dict[str, Any], wanted: list[dict[str, Any]], files: SourceFiles) -> Made:
    source = provenance["source"]
    result: Made = []
    if source["type"] == "mixture":
        result = [""] * len(wanted)
        by_part: dict[int, list[int]] = {}
        for position, entry in enumerate(wanted):
            by_part.setdefault(entry["part"], []).append(position)
        for number, mine in by_part.items():
            if not 0 <= number < len(source["parts"]):
                raise ProbeError(f"part must be one of {len(source['parts'])}, got {number}")
            part = source["parts"][number]
            inner = image_entries(part["provenance"], part["count"], [wanted[index]["index"] for index in mine])
            for index, image in zip(mine, _replay(part["provenance"], inner, files), strict=True):
                result[index] = image
        return result
    if source["type"] == "hdf5":
        return _from_hdf5(source, wanted, files)
    if source.get("decoder", {}).get("engine") == "dali":
        return _from_dali(provenance, wanted, files.place)
    resize = provenance.get("resize")
    for entry in wanted:
        try:
            picture, digest = read_image(_path_inside(files.place, entry["name"]), files.budget)
            _check_hash(digest, entry)
        except TooMuchError:
            raise
        except ProbeError as error:
            result.append(str(error))
            continue
        if resize is not None:
            picture = fit_image(picture, tuple(resize["size"]), resize["fit"], resize["resample"])
        result.append(np.asarray(picture))
    return result


def _check_hash(digest: str, entry: dict[str, Any]) -> None:
    if digest != entry["sha256"]:
        raise ProbeError(f"another file: {digest}, not {entry['sha256']}")


def _path_inside(place: Path, name: str) -> Path:
    path = place / name
    if not leads_into(path, place):
        raise ProbeError(f"image must lie in {str(place)!r}, got {name!r}")  # untrusted provenance
    return path


def _from_hdf5(source: dict[str, Any], wanted: list[dict[str, Any]], files: SourceFiles) -> Made:
    array, digest = files.read_hdf5(source["layout"])
    if digest != source["sha256"]:
        return [f"another file: {digest}, not {source['sha256']}"] * len(wanted)
    indices = [int(entry["name"]) for entry in wanted]
    if min(indices) < 0 or max(indices) >= len(array):
        raise ProbeError(f"provenance must name images 0..{len(array) - 1}, got {min(indices)}..{max(indices)}")
    truncate = source.get("float_conversion") == TRUNCATED
    return list(to_pixels(array[indices], source["layout"], "/data", truncate=truncate)[0])


def _from_dali(provenance: dict[str, Any], wanted: list[dict[str, Any]], place: Path) -> Made:
    items: dict[str, Item] = {}
    if provenance["source"]["type"] == "webdataset":
        tars = sorted({entry["name"].split("/")[0] for entry in wanted})
        items = {item.name: item for item in list_items([_path_inside(place, name) for name in tars])[1]}
    else:
        items = {entry["name"]: Item(entry["name"], place / entry["name"]) for entry in wanted}
    made: dict[str, Pixels | str] = {}
    for entry in wanted:
        name = entry["name"]
        try:
            _path_inside(place, name)
            if name not in items:
                raise ProbeError(f"image {name!r} is not in its tar")
            _check_hash(items[name].read()[1], entry)
        except ProbeError as error:
            made[name] = str(error)
    resize, device = provenance["resize"], provenance["source"]["decoder"]["device"]
    good = [items[name] for name in dict.fromkeys(entry["name"] for entry in wanted) if name not in made]
    if good:
        options = {key: resize[key] for key in ("fit", "resample")}
        loader = DaliLoader(good, size=tuple(resize["size"]), device=device, skip_bad=True, **options)
        for batch in loader:
            made.update(zip(batch.names, batch.images.cpu().numpy(), strict=True))
        made.update((bad["name"], bad["reason"]) for bad in loader.skipped)
    return [made[entry["name"]] for entry in wanted]


def _notes(provenance: dict[str, Any]) -> list[str]:
    here, recorded = engine_versions(), provenance.get("versions", {})
    names = [name for name in ("pillow", "pillow-simd", "libjpeg-turbo", "libjpeg") if name in here or name in recorded]
    if "pillow" not in recorded:
        return []  # HDF5, read without Pillow
    notes = [
        f"made with {name} {recorded.get(name, 'not there')}, remade with {here.get(name, 'not there')}"
        for name in names
        if recorded.get(name) != here.get(name)
    ]
    if ("pillow-simd" in here) != ("pillow-simd" in recorded) and "resize" in provenance:
        notes.append("Pillow and pillow-simd round the resize differently: single values differ by 1")
    return notes
