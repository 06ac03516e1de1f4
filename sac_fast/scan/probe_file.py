"""The hash of a probe file, without what it takes to make probes: a scan with nothing to do needs no more of it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ..errors import FileFormatError
from ..io.container import load_container
from ..io.files import StrPath
from ..io.hashing import content_hash

if TYPE_CHECKING:
    from ..probes import ProbeSet


class ProbeFile:
    """A file that `ProbeSet.save` has written.

    Args:
        path: the file.
    """

    def __init__(self, path: StrPath) -> None:
        self._path = path

    @cached_property
    def content_hash(self) -> str:
        """`ProbeSet.content_hash` of the probes.

        Raises:
            FileFormatError: damaged, truncated, or not a probe file.
        """
        arrays, metadata = load_container(self._path, "probes")
        found = content_hash(arrays)
        if found != metadata.get("content_hash"):
            wanted = metadata.get("content_hash")
            raise FileFormatError(f"{str(self._path)!r} must hold probes with the hash {wanted}, got {found}")
        return found

    def load(self) -> ProbeSet:
        """The probes.

        Raises:
            FileFormatError: the file is no probe file, or another one than before.
        """
        from ..probes import ProbeSet

        probes = ProbeSet.load(self._path)
        if probes.content_hash != self.content_hash:
            raise FileFormatError(f"{str(self._path)!r} must stay the same while it is scanned with")
        return probes
