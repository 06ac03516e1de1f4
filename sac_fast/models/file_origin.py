"""Which file a model was read from: its plain SHA-256, and where a hub's cache says that it came from."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..io.files import StrPath
from ..io.hashing import sha256_file

# …/models--OWNER--NAME/snapshots/REVISION/FILE
_OWNER_NAME = re.compile(r"models--([A-Za-z0-9][A-Za-z0-9._-]*)--([A-Za-z0-9][A-Za-z0-9._-]*)")
_REVISION = re.compile(r"[0-9a-f]{40}")
_HUB = "https://huggingface.co"


def describe_origin(path: StrPath) -> dict[str, str]:
    """Name and SHA-256 of a file; of a file in a cache of the Hugging Face hub also its address and revision.

    The two are claims of whoever made the folders; the hash is not.

    Args:
        path: a regular file.

    Returns:
        ``name`` and ``sha256``, where known ``url`` and ``revision``.

    Raises:
        FileFormatError: missing, or no regular file.

    Example::

        >>> _ = Path("model.bin").write_bytes(b"weights")
        >>> describe_origin("model.bin")["sha256"][:19]
        'sha256:9a129038d9a0'
    """
    return {"name": Path(os.path.abspath(path)).name, "sha256": sha256_file(path), **hub_address(path)}


def hub_address(path: StrPath) -> dict[str, str]:
    """``url`` and ``revision`` of a file by its path, which is not opened; nothing outside of a cache of the hub."""
    for revision in Path(os.path.abspath(path)).parents:
        repository = _OWNER_NAME.fullmatch(revision.parent.parent.name)
        if repository and revision.parent.name == "snapshots" and _REVISION.fullmatch(revision.name):
            return {"url": f"{_HUB}/{repository[1]}/{repository[2]}", "revision": revision.name}
    return {}
