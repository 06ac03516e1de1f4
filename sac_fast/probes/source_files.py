"""What probes are made again from: a folder of images, or an HDF5 file that is read once however often it is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .arrays import AnyArray, Layout, read_hdf5
from .image_file import ImageBudget


@dataclass
class SourceFiles:
    """The source images of a probe set that is verified.

    Attributes:
        place: the folder, or the HDF5 file.
        budget: what is read of the images.
    """

    place: Path
    budget: ImageBudget = field(init=False)
    _arrays: dict[Layout | None, tuple[AnyArray, str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        self.budget = ImageBudget(str(self.place))

    def read_hdf5(self, layout: Layout | None) -> tuple[AnyArray, str]:
        """All images of the file, as they are stored, and its SHA-256.

        Raises:
            FileFormatError, ProbeError: see `sac_fast.probes.arrays.read_hdf5`.
        """
        if layout not in self._arrays:
            array, _, found = read_hdf5(self.place, layout, None)
            self._arrays[layout] = array, found["sha256"]
        return self._arrays[layout]
