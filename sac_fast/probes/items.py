"""Encoded images of a folder, a file list or WebDataset tars."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import FileFormatError, ProbeError
from ..io.choices import FolderLabels
from ..io.files import StrPath, check_holes, file_size, leads_into, open_regular, read_regular
from .folder import class_names, list_images
from .image_file import check_file_size, image_extensions

_MAX_LIST_BYTES = 256 << 20


@dataclass(frozen=True)
class Item:
    """One encoded image: a file, or a member of a tar.

    Attributes:
        name: name in the provenance, relative to the source; ``"shard.tar/member"`` in tars.
        path: the file.
        label: the label; None if the source has none.
        offset, size: position of the image in the file; size None: the whole file.
    """

    name: str
    path: Path
    label: int | None = None
    offset: int = 0
    size: int | None = None

    def read(self) -> tuple[bytes, str]:
        """The bytes and their SHA-256, ``"sha256:..."``.

        Raises:
            ProbeError: the file cannot be read, or is larger than 1 GiB.
        """
        try:
            with open_regular(self.path) as handle:
                size = os.fstat(handle.fileno()).st_size if self.size is None else self.size
                check_file_size(self.name, size)
                handle.seek(self.offset)
                data = handle.read(size)
        except (FileFormatError, OSError) as error:
            raise ProbeError(f"image {self.name!r} cannot be read: {error}") from error
        return data, "sha256:" + hashlib.sha256(data).hexdigest()


def list_items(
    source: StrPath | Sequence[StrPath], labels: FolderLabels = "none"
) -> tuple[str, list[Item], list[str] | None]:
    """The encoded images of a source, in a stated order.

    Args:
        source: a folder (its image files, in the order of their names); a ``.txt`` or ``.lst`` file list with one path
            per line, relative to the list's folder, and an integer label after a blank on every line or on none; a
            ``.tar`` in the WebDataset layout, or a list of them (in the order of the archive; labels from the members
            ``<key>.cls``).
        labels: for folders, ``"folder"``: the index of the first sub-folder's name; ``"none"``.

    Returns:
        ``"folder"``, ``"file list"`` or ``"webdataset"``; the images; the names of the classes for folders with labels.

    Raises:
        ProbeError: no image, a path that leads out of the folder, a damaged tar or list.
    """
    classes: list[str] | None = None
    if isinstance(source, (list, tuple)):
        kind, found = "webdataset", [item for tar in source for item in _tar_items(Path(tar))]
    elif (path := Path(source)).is_dir():  # type: ignore[arg-type]  # not a sequence of paths here
        names, _ = list_images(path)
        classes = class_names(path, names) if labels == "folder" else None
        kind, found = "folder", [Item(n, path / n, classes.index(n.split("/")[0]) if classes else None) for n in names]
    elif path.suffix.lower() == ".tar":
        kind, found = "webdataset", list(_tar_items(path))
    elif path.suffix.lower() in (".txt", ".lst"):
        kind, found = "file list", _listed(path)
    else:
        raise ProbeError(f"source must be a folder, a .txt or .lst file list, or .tar files, got {os.fspath(path)!r}")
    if not found:
        raise ProbeError(f"source must hold at least one image, got none in {source!s}")
    return kind, found, classes


def _listed(path: Path) -> list[Item]:
    try:
        text = read_regular(path, _MAX_LIST_BYTES, "as a list of images").decode()
    except (FileFormatError, UnicodeDecodeError) as error:
        raise ProbeError(f"file list {str(path)!r} cannot be read: {error}") from error
    root = path.parent
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    parts = [line.rsplit(None, 1) for line in lines]
    labelled = [len(part) == 2 and part[1].lstrip("-").isdecimal() for part in parts]
    if any(labelled) and not all(labelled):
        wrong = lines[labelled.index(False)]
        raise ProbeError(f"file list {str(path)!r} must have a label on every line or on none, got none in {wrong!r}")
    items = []
    for line, part, is_labelled in zip(lines, parts, labelled, strict=True):
        name, label = (part[0], _label(part[1])) if is_labelled else (line, None)
        if not leads_into(root / name, root):
            raise ProbeError(f"file list {str(path)!r} must name files of its own folder, got {name!r}")
        items.append(Item(Path(name).as_posix(), root / name, label))
    return items


class _WithinFile:
    """A file of which no more is read than there is: headers may state terabytes, which Python allocates first."""

    def __init__(self, handle: BinaryIO) -> None:
        self._handle, self._size = handle, file_size(handle)
        self.seek, self.tell = handle.seek, handle.tell

    def read(self, count: int) -> bytes:
        return self._handle.read(max(0, min(count, self._size - self.tell())))


def _label(text: str | bytes) -> int:
    label = int(text)
    if abs(label) >= 1 << 31:
        raise ProbeError(f"labels must be class numbers below 2^31, got {label}")
    return label


def _tar_items(path: Path) -> Iterator[Item]:
    extensions = image_extensions()
    images: dict[str, Item] = {}
    labels: dict[str, int] = {}
    try:
        # Uncompressed only, so that a member can be read in place and cannot expand.
        with contextlib.ExitStack() as stack:
            handle = stack.enter_context(open_regular(path))
            check_holes(repr(str(path)), handle)
            bounded: Any = _WithinFile(handle)
            archive = stack.enter_context(tarfile.open(fileobj=bounded, mode="r:"))
            for member in archive:
                if member.size < 0 or member.offset_data < member.offset:
                    raise ProbeError(f"tar {str(path)!r} must hold members of natural sizes, got {member.size}")
                folder, _, base = member.name.rpartition("/")
                key, _, ending = base.partition(".")
                key = f"{folder}/{key}"
                if not member.isreg() or member.issparse():
                    continue
                if "." + ending.lower() in extensions:
                    if key in images:
                        raise ProbeError(f"tar {str(path)!r} must hold one image a key, got two for {member.name!r}")
                    name = f"{path.name}/{member.name}"
                    images[key] = Item(name, path, None, member.offset_data, member.size)
                elif ending == "cls":
                    found = archive.extractfile(member)
                    labels[key] = _label(found.read(32)) if found else 0
    except (tarfile.TarError, FileFormatError, ValueError, OSError, RecursionError) as error:
        if isinstance(error, ProbeError):
            raise
        raise ProbeError(f"tar {str(path)!r} must be a sound, uncompressed tar, got {error}") from error
    if labels and labels.keys() < images.keys():
        wrong = next(item.name for key, item in images.items() if key not in labels)
        raise ProbeError(f"tar {str(path)!r} must have a label for every image or for none, got none for {wrong!r}")
    for key, item in images.items():
        yield Item(item.name, item.path, labels.get(key), item.offset, item.size)
