"""Members of a labelled zoo and their outputs on every probe set, loaded for an evaluation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import FileFormatError, FingerprintError
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..io.progress import track
from ..labelled_zoo.folder import ROLES, LabelledZoo, ZooMember
from ..verify.contrast import UNCLASSIFIED

#: Of the outputs that zoos keep; other forms follow from it.
FORM = "logits"


def is_adaptive(origin: str) -> bool:
    """Whether an attack is adaptive, that is, optimised against the method; reported means exclude these."""
    return origin.startswith("adaptive-")


@dataclass(frozen=True)
class LoadedZoo:
    """A labelled zoo with the outputs of its members.

    Attributes:
        zoo: the zoo's folder.
        members: the members with outputs on every probe set, the source included.
        outputs: by probe set, by member: (n, k) on the CPU.
        labels: by probe set: (n,) int64 true labels; None if the probes have none.
        skipped: names of the members without complete outputs, for example of a zoo that is not finished.
        form: in which outputs are compared: "logits", or "similarities" and "embeddings" where the source's are such.
    """

    zoo: LabelledZoo
    members: tuple[ZooMember, ...]
    outputs: dict[str, dict[str, Tensor]]
    labels: dict[str, Tensor | None]
    skipped: tuple[str, ...] = field(default=())
    form: str = FORM

    @classmethod
    def load(cls, folder: StrPath, *, probes: Sequence[str] | None = None, progress: bool = False) -> LoadedZoo:
        """Read zoo.json and the fingerprints.

        Args:
            folder: folder of the zoo.
            probes: names of the probe sets. Default: all.
            progress: show a progress bar on stderr.

        Returns:
            The members with outputs on all these probe sets; the others are listed in ``skipped``.

        Raises:
            FileFormatError: a damaged file, no probe set, or no source, stolen or independent model with outputs.
            FingerprintError: fingerprints on different probes under one name.
            ValueError: a probe set that the zoo does not have.
        """
        zoo = LabelledZoo.load(folder)
        for name in probes or ():
            if name not in zoo.probes:
                raise ValueError(f"probes must be of {', '.join(zoo.probes)}, got {name!r}")
        wanted = tuple(zoo.probes if probes is None else probes)
        if not wanted:
            raise FileFormatError(f"{str(folder)!r} must have probe sets, got none")
        present = members_with_outputs(zoo, wanted)
        skipped = tuple(m.name for m in zoo.members if m not in present)
        for role in ROLES:
            if role == "sibling":  # a zoo can be evaluated without
                continue
            if not any(m.role == role for m in present):
                raise FileFormatError(f"{str(folder)!r} must hold a {role} model's outputs on all probe sets, got none")
        prints = read_fingerprints(zoo, wanted, present, progress=progress)
        outputs = {name: {member: fp.outputs for member, fp in group.items()} for name, group in prints.items()}
        labels = {name: true_labels(zoo, name, prints[name][zoo.source.name].probe_hash) for name in wanted}
        # What is stated counts: small logits look like similarities.
        found = prints[wanted[0]][zoo.source.name].provenance.get("output_form")
        return cls(zoo, tuple(present), outputs, labels, skipped, found if found in UNCLASSIFIED else FORM)

    @property
    def source(self) -> str:
        """Name of the source."""
        return self.zoo.source.name

    @property
    def stolen(self) -> tuple[ZooMember, ...]:
        """The stolen members."""
        return tuple(m for m in self.members if m.role == "stolen")

    @property
    def independents(self) -> tuple[ZooMember, ...]:
        """The independent members."""
        return tuple(m for m in self.members if m.role == "independent")

    @property
    def suspects(self) -> tuple[ZooMember, ...]:
        """The stolen and the independent members, in the order of the zoo."""
        return tuple(m for m in self.members if m.role in ("stolen", "independent"))

    @property
    def siblings(self) -> tuple[ZooMember, ...]:
        """The source's siblings: they judge, and are not judged."""
        return tuple(m for m in self.members if m.role == "sibling")

    def attacks(self) -> Iterator[tuple[str, list[ZooMember]]]:
        """Each attack with its members, in the order of the zoo; adaptive ones last."""
        origins = list(dict.fromkeys(m.origin for m in self.stolen))
        for origin in sorted(origins, key=is_adaptive):
            yield origin, [m for m in self.stolen if m.origin == origin]

    def count(self, probes: str, limit: int | None = None) -> int:
        """Number of probes of a set, at most `limit`."""
        return len(self.outputs[probes][self.source][:limit])


def members_with_outputs(zoo: LabelledZoo, probes: Sequence[str]) -> list[ZooMember]:
    """The members with a fingerprint on each of the probe sets."""
    return [m for m in zoo.members if all(zoo.fingerprint_file(name, m).is_file() for name in probes)]


def read_fingerprints(
    zoo: LabelledZoo, probes: Sequence[str], members: Sequence[ZooMember], *, progress: bool = False
) -> dict[str, dict[str, Fingerprint]]:
    """Fingerprints by probe set and name; a FingerprintError if those of one set are on different probes."""
    prints: dict[str, dict[str, Fingerprint]] = {name: {} for name in probes}
    hashes: dict[str, str] = {}
    for name, member in track(list(itertools.product(probes, members)), "reading outputs", enabled=progress):
        fp = zoo.load_fingerprint(name, member)
        if hashes.setdefault(name, fp.probe_hash) != fp.probe_hash:
            raise FingerprintError(
                f"outputs of {member.name!r} on {name!r} must be on the probes {hashes[name]}, got {fp.probe_hash}"
            )
        prints[name][member.name] = fp
    return prints


def true_labels(zoo: LabelledZoo, name: str, probe_hash: str) -> Tensor | None:
    """The true labels of a probe set; None without its file, since most scores need no labels."""
    if not zoo.probes_file(name).is_file():
        return None
    probes = zoo.load_probes(name)
    if probes.content_hash != probe_hash:
        raise FingerprintError(f"outputs on {name!r} must be on the probes {probes.content_hash}, got {probe_hash}")
    return None if probes.labels is None else torch.from_numpy(probes.labels.copy()).long()
