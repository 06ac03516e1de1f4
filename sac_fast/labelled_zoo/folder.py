"""A labelled zoo: a folder of models whose origin is known, which simulations write and evaluations read.

    zoo.json                            task, probe sets and members
    models/NAME.safetensors             weights (`save_weights`)
    probes/PROBES.safetensors           probe sets (`ProbeSet.save`)
    fingerprints/PROBES/NAME.safetensors  outputs of member NAME on the probe set PROBES (`Fingerprint.save`)

Statistics need zoo.json and the fingerprints only, not the models.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from ..errors import FileFormatError, require
from ..fingerprint import Fingerprint
from ..formats.json_text import parse_json
from ..io.files import LABELLED_ZOO, StrPath, atomic_write, read_regular
from ..models.kinds import KINDS, Kind
from ..probes import ProbeSet

FORMAT_VERSION = 1
INDEX = "zoo.json"
MAX_INDEX_BYTES = 64 << 20

Role = Literal["source", "sibling", "stolen", "independent"]
ROLES: tuple[Role, ...] = ("source", "sibling", "stolen", "independent")
#: What an independent model shares with the source; a verdict holds for the kind that served as null.
NullKind = Kind
NULL_KINDS: tuple[NullKind, ...] = tuple(kind for kind in KINDS if kind != "sibling")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


@dataclass(frozen=True)
class ZooMember:
    """One model and its origin.

    Attributes:
        name: of its files: letters, digits and ``._+-``, the first one a letter or a digit.
        role: ``"source"``, ``"sibling"``, ``"stolen"`` or ``"independent"``.
        origin: of a stolen model the attack (``"finetune-all"``, ``"extract-labels"``, …); of an independent one its
            kind, one of ``NULL_KINDS``; ``"source"`` and ``"sibling"`` of these.
        architecture: ``"package.module:callable"``.
        architecture_args: the callable's keyword arguments.
        seed: of initialisation and training.
        accuracy: on the task's test images, 0 … 1; None where it was not measured.
        seconds: of the training; None where they are not known.
        details: further facts (pruning ratio, temperature, …), as JSON can hold them.

    Raises:
        ValueError: an invalid name, role or origin, or a value of another type.
    """

    name: str
    role: Role
    origin: str
    architecture: str
    architecture_args: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    accuracy: float | None = None
    seconds: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(_is_name(self.name), "name must be letters, digits and ._+- of at most 128", self.name)
        require(self.role in ROLES, f"role of {self.name!r} must be one of {', '.join(ROLES)}", self.role)
        expected = f"origin of the independent {self.name!r} must be one of {', '.join(NULL_KINDS)}"
        require(self.role != "independent" or self.origin in NULL_KINDS, expected, self.origin)
        said = all((self.role == name) == (self.origin == name) for name in ("source", "sibling"))
        valid = isinstance(self.origin, str) and self.origin and said
        require(valid, f"origin of the {self.role} {self.name!r} must say how it was made", self.origin)
        text = isinstance(self.architecture, str) and self.architecture
        require(text, f"architecture of {self.name!r} must be a text", self.architecture)
        require(type(self.seed) is int, f"seed of {self.name!r} must be an integer", self.seed)
        for name in ("accuracy", "seconds"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
            require(value is None or number, f"{name} of {self.name!r} must be a finite number or None", value)
        for name in ("architecture_args", "details"):
            value = getattr(self, name)
            require(isinstance(value, Mapping), f"{name} of {self.name!r} must be a mapping", value)


@dataclass(frozen=True)
class LabelledZoo:
    """The folder as zoo.json describes it.

    Attributes:
        folder: where it is.
        task: what the models were trained for, as JSON can hold it (``name``, ``classes``, …).
        preprocessing: `Preprocessing.to_dict` of all members.
        members: exactly one of them the source.
        probes: names of the probe sets, the files of which are in ``probes/``.

    Raises:
        ValueError: no or several sources, or a name given twice.
    """

    folder: Path
    task: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    members: tuple[ZooMember, ...]
    probes: tuple[str, ...] = ()

    #: Name of the index, what the index says that it is, and how many sources the members may have.
    index_name: ClassVar[str] = INDEX
    index_kind: ClassVar[str] = LABELLED_ZOO
    source_counts: ClassVar[tuple[int, ...]] = (1,)

    def __post_init__(self) -> None:
        for what in ("task", "preprocessing"):
            require(isinstance(getattr(self, what), Mapping), f"{what} must be a mapping", getattr(self, what))
        counts = Counter(member.name for member in self.members)
        if twice := sorted(name for name, count in counts.items() if count > 1):
            raise ValueError(f"members must have different names, got {twice[0]!r} twice")
        sources = [member.name for member in self.members if member.role == "source"]
        if len(sources) not in self.source_counts:
            raise ValueError(f"members must hold exactly one source, got {len(sources)}: {', '.join(sources)}")
        for name in self.probes:
            require(_is_name(name), "probes must be named by letters, digits and ._+-", name)

    @property
    def source(self) -> ZooMember:
        """The model from which the others are stolen."""
        return next(member for member in self.members if member.role == "source")

    def of_role(self, role: Role) -> tuple[ZooMember, ...]:
        """The members of one role, in their order."""
        return tuple(member for member in self.members if member.role == role)

    def weights_file(self, member: ZooMember | str) -> Path:
        """Where a member's weights are."""
        return self.folder / "models" / f"{_name(member)}.safetensors"

    def probes_file(self, probes: str) -> Path:
        """Where a probe set is."""
        return self.folder / "probes" / f"{probes}.safetensors"

    def fingerprint_file(self, probes: str, member: ZooMember | str) -> Path:
        """Where a member's fingerprint on a probe set is."""
        return self.folder / "fingerprints" / probes / f"{_name(member)}.safetensors"

    def load_probes(self, probes: str) -> ProbeSet:
        """Read a probe set, its hashes checked."""
        return ProbeSet.load(self.probes_file(probes))

    def load_fingerprint(self, probes: str, member: ZooMember | str) -> Fingerprint:
        """Read a member's fingerprint on a probe set, its hash checked."""
        return Fingerprint.load(self.fingerprint_file(probes, member))

    def fingerprints_on(self, probe_hash: str, role: Role | None = None) -> dict[str, Fingerprint] | None:
        """Fingerprints on a probe set by name; None where the zoo does not have the probe set.

        Args:
            probe_hash: `ProbeSet.content_hash`.
            role: of the members; None: all. Independents have their kind.
        """
        members = self.members if role is None else self.of_role(role)
        for probes in self.probes:
            if self.load_probes(probes).content_hash == probe_hash:
                there = [member for member in members if self.fingerprint_file(probes, member).is_file()]
                prints = {member.name: self.load_fingerprint(probes, member) for member in there}
                kinds = {member.name: member.origin for member in there if member.role == "independent"}
                return {name: fp.with_kind(kinds[name]) if name in kinds else fp for name, fp in prints.items()}
        return None

    def make_folders(self) -> None:
        """Make the folder and its sub-folders where they are missing."""
        for inside in ("models", "probes", *(f"fingerprints/{name}" for name in self.probes)):
            (self.folder / inside).mkdir(parents=True, exist_ok=True)

    def save(self) -> None:
        """Write zoo.json, all or nothing; the folder and its sub-folders are made where they are missing.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.make_folders()
        text = json.dumps(
            {
                "kind": self.index_kind,
                "format": FORMAT_VERSION,
                "task": dict(self.task),
                "preprocessing": dict(self.preprocessing),
                "probes": list(self.probes),
                "members": [dataclasses.asdict(member) for member in self.members],
            },
            indent=1,
            allow_nan=False,
        )
        with atomic_write(self.folder / self.index_name) as handle:
            handle.write(text.encode() + b"\n")

    @classmethod
    def load(cls, folder: StrPath) -> Self:
        """Read the index.

        Raises:
            FileFormatError: not such a folder, or an index that is damaged.
        """
        path = Path(folder) / cls.index_name
        text = read_regular(path, MAX_INDEX_BYTES)
        try:
            index = parse_json(text, repr(str(path)))
            if index["kind"] != cls.index_kind or index["format"] != FORMAT_VERSION:
                raise ValueError(f"kind {index['kind']!r}, format {index['format']!r}")
            members = tuple(ZooMember(**member) for member in index["members"])
            require(isinstance(index["probes"], list), "probes must be a list of names", index["probes"])
            return cls(Path(folder), index["task"], index["preprocessing"], members, tuple(index["probes"]))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            what = f"index of a {cls.index_kind.removeprefix('sac_fast ')} (format {FORMAT_VERSION})"
            raise FileFormatError(f"{str(path)!r} must be the {what}, got {type(error).__name__}: {error}") from error


def _name(member: ZooMember | str) -> str:
    return member if isinstance(member, str) else member.name


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None and ".." not in value
