"""Quarantine: whatever a repair takes out of a store is kept in its folder ``quarantine/``, which nothing reads.

Earlier stores have a folder ``aside/`` for this, which is left as it is.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence

from ..io.files import sync_folder
from .durable import open_folder

FOLDER = "quarantine"


def quarantine(root: int, parts: Sequence[str]) -> str:
    """Rename a file, a link or a folder into ``quarantine/``; no link is followed on the way.

    Args:
        root: descriptor of the store's folder.
        parts: folders and name, relative to it.

    Returns:
        Its new name, ``"quarantine/..."``; a number is added where the name is taken.

    Raises:
        OSError: it is not there, or the disk fails.
    """
    if any("\0" in part for part in parts):  # from a database: no file has such a name
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/".join(parts))
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(FileExistsError):
            os.mkdir(FOLDER, dir_fd=root)
            sync_folder(root)
        target = stack.enter_context(open_folder(FOLDER, root))
        folder = root
        for part in parts[:-1]:
            folder = stack.enter_context(open_folder(part, folder))
        taken = set(os.listdir(target))
        name = parts[-1]
        count = 0
        while name in taken:
            count += 1
            name = f"{parts[-1]}.{count}"
        os.rename(parts[-1], name, src_dir_fd=folder, dst_dir_fd=target)
        sync_folder(target)
        sync_folder(folder)
    return f"{FOLDER}/{name}"
