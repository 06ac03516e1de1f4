"""A folder of siblings: models of one training code, and the seeds that were drawn for them.

siblings.json                         how they were made, seeds, members, the draw
models/NAME.safetensors               weights (`save_weights`), where there are any
probes/PROBES.safetensors             probe sets
fingerprints/PROBES/NAME.safetensors  outputs, of kind "sibling"
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from ..errors import FileFormatError, require
from ..fingerprint import Fingerprint
from ..formats.identify import identify
from ..io.files import StrPath
from ..verify.usual_seeds import is_usual_seed
from .folder import INDEX, LabelledZoo

#: What NumPy, too, takes as a seed.
SEED_BITS = 32


class SiblingFolder(LabelledZoo):
    """A labelled zoo of siblings: no source yet, or the member that `draw_source` picked.

    ``task`` holds ``train`` (name and hash of the training code, hash of the checkpoint from which the last phase was
    trained again; None where nothing was trained), ``seeds`` (in the order of the members that were trained) and
    ``draw`` (see `sac_fast.labelled_zoo.siblings_draw`).
    """

    index_name: ClassVar[str] = "siblings.json"
    index_kind: ClassVar[str] = "sac_fast folder of siblings"
    source_counts: ClassVar[tuple[int, ...]] = (0, 1)

    def __post_init__(self) -> None:
        super().__post_init__()
        seeds = self.task.get("seeds")
        require(isinstance(seeds, list) and isinstance(self.task.get("draw"), dict), "task must have seeds and draw", 0)
        check_seeds(seeds or [])

    @property
    def seeds(self) -> list[int]:
        """Seeds of the trainings, drawn when the folder was made."""
        return list(self.task["seeds"])

    @property
    def draw(self) -> dict[str, Any]:
        """Seed and commitment of the draw; after it also what was drawn."""
        return dict(self.task["draw"])


def draw_seeds(count: int, taken: Iterable[int] = ()) -> list[int]:
    """Different seeds from the system's entropy, none of them a usual one.

    Args:
        count: how many.
        taken: seeds that are not drawn again.
    """
    seeds: list[int] = []
    used = set(taken)
    while len(seeds) < count:
        seed = secrets.randbelow(1 << SEED_BITS)
        if not is_usual_seed(seed) and seed not in used:
            seeds.append(seed)
            used.add(seed)
    return seeds


def check_seeds(seeds: Iterable[Any]) -> None:
    """Refuse seeds that were not drawn by `draw_seeds`.

    Raises:
        ValueError: a usual seed, one that occurs twice, or no integer.
    """
    seen = set()
    for seed in seeds:
        number = isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 1 << SEED_BITS
        require(number, f"seeds must be integers below 2**{SEED_BITS}", seed)
        require(not is_usual_seed(seed), "seeds must come from the system's entropy, not be ones that people use", seed)
        require(seed not in seen, "seeds must differ", seed)
        seen.add(seed)


def sibling_fingerprints(folder: StrPath, probe_hash: str) -> list[Fingerprint]:
    """The siblings' fingerprints on a probe set, without the source's.

    Args:
        folder: of `make_siblings`, a `LabelledZoo` with siblings, or one that simply holds fingerprint files.
        probe_hash: `ProbeSet.content_hash` of the probes.

    Returns:
        In the order of the members, or of the file names.

    Raises:
        FileFormatError: no such folder, a damaged file, or no fingerprint of a sibling on these probes.
    """
    folder = Path(folder)
    zoo = open_siblings(folder)
    if zoo is None:
        found = [
            Fingerprint.load(path) for path in sorted(folder.glob("*.safetensors")) if identify(path) == "fingerprint"
        ]
        return _on_probes(found, probe_hash, folder)
    names = [member.name for member in zoo.of_role("sibling")]
    prints: list[Fingerprint] = []
    for probes in zoo.probes:
        files = [path for path in (zoo.fingerprint_file(probes, name) for name in names) if path.exists()]
        if files and Fingerprint.load(files[0]).probe_hash == probe_hash:
            return [Fingerprint.load(path) for path in files]
        prints += [Fingerprint.load(path) for path in files[:1]]
    return _on_probes(prints, probe_hash, folder)


def open_siblings(folder: Path) -> LabelledZoo | None:
    """A folder of siblings, or a labelled zoo that may have some; None where there is no index.

    Raises:
        FileFormatError: a damaged index.
    """
    if (folder / SiblingFolder.index_name).exists():
        return SiblingFolder.load(folder)
    if not (folder / INDEX).exists():
        return None
    return LabelledZoo.load(folder)


def _on_probes(prints: list[Fingerprint], probe_hash: str, folder: Path) -> list[Fingerprint]:
    found = [print_ for print_ in prints if print_.probe_hash == probe_hash]
    if not found:
        others = ", ".join(sorted({print_.probe_hash[:19] for print_ in prints})) or "none at all"
        raise FileFormatError(
            f"{str(folder)!r} must hold fingerprints of siblings on the probes {probe_hash[:19]}…, got {others}"
        )
    return found
