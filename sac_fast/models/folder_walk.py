"""A walk through folders from others: as deep as paths can be, without recursion; what cannot be listed is named."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import ModelError

Level = tuple[Path, list[str], list[str]]


def walk_folder(root: Path, unlisted: list[Path], links: set[Path] | None = None) -> Iterator[Level]:
    """Like `os.walk` from the top: folder, names of its folders, names of everything else.

    Remove names from the second list to keep the walk out of them. Folders behind links are not entered.

    Args:
        root: where the walk begins.
        unlisted: gets the folders that cannot be listed, for want of a right or because their path is too long.
        links: gets the paths that are links.

    Raises:
        ModelError: the root cannot be listed.
    """
    waiting = [root]
    while waiting:
        here = waiting.pop()
        try:
            folders, files, linked = _names(here)
        except OSError as error:
            if here is root:
                raise ModelError(f"cannot list {os.fspath(here)!r}: {error.strerror}") from error
            unlisted.append(here)
            continue
        if links is not None:
            links.update(here / name for name in linked)
        yield here, folders, files
        waiting += [here / name for name in reversed(folders) if not os.path.islink(here / name)]


def _names(folder: Path) -> tuple[list[str], list[str], list[str]]:
    folders: list[str] = []
    files: list[str] = []
    links: list[str] = []
    with os.scandir(folder) as found:
        for entry in found:
            try:
                is_folder = entry.is_dir()
            except OSError:  # links that lead nowhere, in circles, or too far
                is_folder = False
            (folders if is_folder else files).append(entry.name)
            if entry.is_symlink():
                links.append(entry.name)
    return folders, files, links
