"""A pack: outputs of models that somebody else made, on a probe set that everybody can get.

The file is a container (`sac_fast.io.container`) of the kind ``"pack"``, pinned by its plain SHA-256. Its metadata are

* ``created`` (UTC) and ``note``;
* ``probes``: ``hash`` (`ProbeSet.content_hash`), ``count``, and ``at``, where the probe set can be got (a text, never
  followed);
* ``members``: for each the keys of `PackMember`; the outputs are the array of its position, ``"0"``, ``"1"``, ….

What is in it is a claim of its maker.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO, Literal, get_args

import torch

from ..errors import FileFormatError, FingerprintError, require
from ..fingerprint import Fingerprint
from ..io.container import Arrays, read_container, save_container
from ..io.files import StrPath, open_regular
from ..io.hashing import is_hash, sha256_stream
from ..io.schema import check_types
from ..io.text import escape_text

PACK_KIND = "pack"
#: A larger pack is neither downloaded nor read.
MAX_PACK_BYTES = 256 << 20
MAX_MEMBERS = 4096
MAX_TEXT = 1000
Role = Literal["independents", "siblings"]
ROLES: tuple[Role, ...] = get_args(Role)
_TEXT = (str, type(None))
_PROBES = {"hash": str, "count": int, "at": str}
_ABOUT = {"created": str, "note": _TEXT, "probes": _PROBES, "members": [dict]}
_MEMBER = {
    **dict.fromkeys(("name", "role"), str),
    **dict.fromkeys(("kind", "model_hash", "output_form", "preprocessing_hash"), _TEXT),
    "output_form_declared": bool,
}


@dataclass(frozen=True)
class PackMember:
    """What a pack says of one model. Nothing else of its provenance is published.

    Attributes:
        name: of the model.
        role: ``"independents"``, or ``"siblings"`` of the maker's model.
        kind: of an independent: what it has in common with the maker's source; None: undeclared.
        model_hash: of its weights.
        output_form, output_form_declared, preprocessing_hash: as of a fingerprint.
    """

    name: str
    role: Role
    kind: str | None = None
    model_hash: str | None = None
    output_form: str | None = None
    output_form_declared: bool = False
    preprocessing_hash: str | None = None


@dataclass(frozen=True, eq=False)
class Pack:
    """A pack in memory.

    Attributes:
        created: when it was made, by its maker's word.
        note: of its maker.
        probe_hash, count: of the probe set.
        probes_at: where the probe set can be got.
        members: the models.
        outputs: (n, k) of each member; k may differ.
        hash: SHA-256 of the file; None: not written yet.
    """

    created: str
    probe_hash: str
    count: int
    probes_at: str
    members: tuple[PackMember, ...]
    outputs: tuple[torch.Tensor, ...]
    note: str | None = None
    hash: str | None = None

    def fingerprints(self, role: Role = "independents") -> list[Fingerprint]:
        """The models of a role as fingerprints; their provenance names the pack.

        Raises:
            FileFormatError: outputs that are none.
        """
        found = []
        for member, outputs in zip(self.members, self.outputs, strict=True):
            if member.role != role:
                continue
            about = {key: value for key, value in dataclasses.asdict(member).items() if value is not None}
            del about["role"]
            named = {"pack": {"hash": self.hash, "created": self.created}}
            try:
                found.append(Fingerprint(outputs, {**about, "probe_hash": self.probe_hash, **named}))
            except FingerprintError as error:
                raise FileFormatError(f"pack: {member.name!r} must be a model's outputs, got {error}") from error
        return found

    def on(self, probe_hash: str) -> Pack:
        """This pack, if it is of these probes.

        Raises:
            FingerprintError: it is of others; the message says where those can be got.
        """
        if probe_hash != self.probe_hash:
            at = escape_text(self.probes_at, 200)
            wanted = f"pack {self.hash} must be of the probes {probe_hash}, got {self.probe_hash}"
            raise FingerprintError(f"{wanted}, which can be got, by its maker's word, at: {at}")
        return self

    def save(self, path: StrPath) -> str:
        """Write the file.

        Returns:
            Its SHA-256, ``"sha256:…"``: publish it beside the file.

        Raises:
            FileFormatError: more than `MAX_PACK_BYTES`.
        """
        size = sum(outputs.nbytes for outputs in self.outputs)
        require(size < MAX_PACK_BYTES - (4 << 20), f"a pack must stay under {MAX_PACK_BYTES:,} bytes", size)
        arrays = {str(i): outputs.numpy() for i, outputs in enumerate(self.outputs)}
        save_container(path, PACK_KIND, arrays, self._about())
        with open_regular(path) as handle:
            return sha256_stream(handle)

    def summary(self) -> dict[str, Any]:
        """What it holds, as JSON values."""
        kinds = [member.kind or "undeclared" for member in self.members if member.role == "independents"]
        return {
            "hash": self.hash,
            "created": self.created,
            "note": self.note,
            "probe_hash": self.probe_hash,
            "probes": self.count,
            "probes_at": self.probes_at,
            "independents": {kind: kinds.count(kind) for kind in sorted(set(kinds))},
            "siblings": sum(member.role == "siblings" for member in self.members),
        }

    def _about(self) -> dict[str, Any]:
        probes = {"hash": self.probe_hash, "count": self.count, "at": self.probes_at}
        members = [dataclasses.asdict(member) for member in self.members]
        return {"created": self.created, "note": self.note, "probes": probes, "members": members}


def read_pack(handle: BinaryIO, name: str) -> tuple[Arrays, dict[str, Any]]:
    """The arrays and the metadata of an open file.

    Raises:
        FileFormatError: damaged, or no pack.
    """
    arrays, about = read_container(handle, name, PACK_KIND)
    members, count = check_about(about, name)
    if set(arrays) != {str(i) for i in range(len(members))}:
        raise FileFormatError(f"{name} must hold one array a member, got {len(arrays)} for {len(members)}")
    for array in arrays.values():
        check_outputs(array.dtype.name, array.shape, count, name)
    return arrays, about


def check_about(about: Any, name: str) -> tuple[tuple[PackMember, ...], int]:
    """The members that a pack's metadata name, and the number of probes.

    Raises:
        FileFormatError: other keys, types or values.
    """
    try:
        _check_keys(about, _ABOUT, "pack")
        _check_keys(about["probes"], _PROBES, "probes")
        datetime.fromisoformat(about["created"])
        for text in (about["note"] or "", about["probes"]["at"], about["created"]):
            _check_text(text)
        require(is_hash(about["probes"]["hash"]), "probes must have a hash", about["probes"]["hash"][:80])
        listed, count = about["members"], about["probes"]["count"]
        require(0 < len(listed) <= MAX_MEMBERS, f"members must be 1 … {MAX_MEMBERS:,}", len(listed))
        require(2 <= count <= 1 << 24, "probes must be at least 2", count)
        for member in listed:
            _check_keys(member, _MEMBER, "member")
            require(member["role"] in ROLES, f"role must be one of {', '.join(ROLES)}", member["role"][:80])
            for text in member.values():
                _check_text(text if isinstance(text, str) else "")
        return tuple(PackMember(**member) for member in listed), count
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(f"{name} must be a pack, got {error}") from error


def check_outputs(dtype: Any, shape: Sequence[Any], count: int, name: str) -> None:
    """Refuse outputs of another type or number of probes.

    Raises:
        FileFormatError: they are.
    """
    whole = all(type(size) is int and size > 0 for size in shape)
    if dtype not in ("float32", "float64") or len(shape) != 2 or not whole or shape[0] != count:
        raise FileFormatError(f"{name} must hold float outputs ({count}, k), got {dtype} {tuple(shape)}")


def pack_of(about: Mapping[str, Any], outputs: Sequence[torch.Tensor], name: str, hash: str) -> Pack:
    """A pack of checked parts."""
    members, count = check_about(about, name)
    probes = about["probes"]
    return Pack(about["created"], probes["hash"], count, probes["at"], members, tuple(outputs), about["note"], hash)


def _check_keys(value: Any, schema: Mapping[str, Any], where: str) -> None:
    check_types(value, schema, where)
    require(set(value) == set(schema), f"{where} must have the keys {', '.join(schema)}", sorted(value)[:8])


def _check_text(text: str) -> None:
    require(len(text) <= MAX_TEXT, f"texts must have at most {MAX_TEXT} characters", len(text))
