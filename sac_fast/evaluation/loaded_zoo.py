"""All that an evaluation reads of a labelled zoo: who is who, and everybody's outputs to every probe set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import FileFormatError, FingerprintError
from ..io.container import StrPath
from ..io.progress import track
from ..labelled_zoo.folder import ROLES, LabelledZoo, ZooMember


def is_adaptive(origin: str) -> bool:
    """Whether an attack knows the method and works against it; the goals are about the others."""
    return origin.startswith("adaptive-")


@dataclass(frozen=True)
class LoadedZoo:
    """Members of a zoo whose outputs are there, and the loaded.

    Attributes:
        zoo: the folder.
        members: those with an answer to every probe set, the source among them.
        outputs: by probe set, by member: (n, k) on the CPU.
        labels: by probe set: (n,) int64 true labels, where the probes have them.
        skipped: members without (all) outputs, as of a zoo that is still being made.
    """

    zoo: LabelledZoo
    members: tuple[ZooMember, ...]
    outputs: dict[str, dict[str, Tensor]]
    labels: dict[str, Tensor | None]
    skipped: tuple[str, ...] = field(default=())

    @classmethod
    def load(cls, folder: StrPath, *, probes: Sequence[str] | None = None, progress: bool = False) -> LoadedZoo:
        """Read zoo.json and the fingerprints.

        Args:
            folder: of the zoo.
            probes: names of the probe sets wanted; None: all.
            progress: a bar on stderr.

        Returns:
            The loaded. Members without an answer to one of the sets are left out and named in ``skipped``.

        Raises:
            FileFormatError: a damaged file, or no probe set, source, thief or independent with loaded.
            FingerprintError: outputs to different probes under one name.
            ValueError: a probe set that the zoo does not have.
        """
        zoo = LabelledZoo.load(folder)
        for name in probes or ():
            if name not in zoo.probes:
                raise ValueError(f"probes must be of {', '.join(zoo.probes)}, got {name!r}")
        wanted = tuple(zoo.probes if probes is None else probes)
        if not wanted:
            raise FileFormatError(f"{str(folder)!r} must have probe sets, got none")
        present = [m for m in zoo.members if all(zoo.fingerprint_file(name, m).is_file() for name in wanted)]
        skipped = tuple(m.name for m in zoo.members if m not in present)
        for role in ROLES:
            if not any(m.role == role for m in present):
                raise FileFormatError(f"{str(folder)!r} must hold a {role} model's outputs to all probe sets, got none")
        outputs: dict[str, dict[str, Tensor]] = {}
        pairs = [(name, member) for name in wanted for member in present]
        hashes: dict[str, str] = {}
        for name, member in track(pairs, "reading outputs", enabled=progress):
            fp = zoo.load_fingerprint(name, member)
            if hashes.setdefault(name, fp.probe_hash) != fp.probe_hash:
                raise FingerprintError(
                    f"outputs of {member.name!r} to {name!r} must be to the probes {hashes[name]}, got {fp.probe_hash}"
                )
            outputs.setdefault(name, {})[member.name] = fp.outputs
        labels = {name: true_labels(zoo, name, hashes[name]) for name in wanted}
        return cls(zoo, tuple(present), outputs, labels, skipped)

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.zoo.source.name

    @property
    def stolen(self) -> tuple[ZooMember, ...]:
        """The stolen members with loaded."""
        return tuple(m for m in self.members if m.role == "stolen")

    @property
    def independents(self) -> tuple[ZooMember, ...]:
        """The independent members with loaded."""
        return tuple(m for m in self.members if m.role == "independent")

    @property
    def suspects(self) -> tuple[ZooMember, ...]:
        """All but the source."""
        return tuple(m for m in self.members if m.role != "source")

    def attacks(self) -> Iterator[tuple[str, list[ZooMember]]]:
        """Each attack with its members, in the order of the zoo; adaptive ones last."""
        origins = list(dict.fromkeys(m.origin for m in self.stolen))
        for origin in sorted(origins, key=is_adaptive):
            yield origin, [m for m in self.stolen if m.origin == origin]

    def count(self, probes: str) -> int:
        """Number of probes of a set."""
        return len(self.outputs[probes][self.source])


def true_labels(zoo: LabelledZoo, name: str, probe_hash: str) -> Tensor | None:
    """The true labels; None where the probe file is not there: most scores need none."""
    if not zoo.probes_file(name).is_file():
        return None
    probes = zoo.load_probes(name)
    if probes.content_hash != probe_hash:
        raise FingerprintError(f"outputs to {name!r} must be to the probes {probes.content_hash}, got {probe_hash}")
    return None if probes.labels is None else torch.from_numpy(probes.labels.copy()).long()
