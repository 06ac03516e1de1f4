"""A file of probes of which only the hash may be needed: a scan with nothing to do needs no more, and no torch."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import FileFormatError
from ..io.container import load_container
from ..io.files import StrPath
from ..io.hashing import content_hash

if TYPE_CHECKING:
    from ..probes import Probes


class ProbeFile:
    """A file that `sac_fast.probes.load_probes` reads.

    Args:
        path: the file.
    """

    def __init__(self, path: StrPath) -> None:
        self._path = path

    @cached_property
    def _images(self) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Arrays and metadata of saved images; None for what has to be loaded as a whole."""
        try:
            return load_container(self._path, "probes")
        except FileFormatError:
            return None

    @cached_property
    def content_hash(self) -> str:
        """The hash of the probes.

        Raises:
            FileFormatError: damaged, truncated, or not a file of probes.
        """
        if self._images is None:
            return self._loaded.content_hash
        arrays, metadata = self._images
        found = content_hash(arrays)
        if found != metadata.get("content_hash"):
            wanted = metadata.get("content_hash")
            raise FileFormatError(f"{str(self._path)!r} must hold probes with the hash {wanted}, got {found}")
        return found

    @property
    def has_labels(self) -> bool:
        """Whether classes of the probes are known."""
        return self._loaded.labels is not None if self._images is None else "labels" in self._images[0]

    @property
    def has_images(self) -> bool:
        """Whether the probes are images, not other inputs."""
        return self._images is not None

    @cached_property
    def _loaded(self) -> Probes:
        from ..probes import load_probes

        return load_probes(self._path)

    def load(self) -> Probes:
        """The probes.

        Raises:
            FileFormatError: the file is none of probes, or another one than before.
        """
        if self._loaded.content_hash != self.content_hash:
            raise FileFormatError(f"{str(self._path)!r} must stay the same while it is scanned with")
        return self._loaded
