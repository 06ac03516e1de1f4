"""Honest models of one source's test bed in that of another source of the task: trained once, listed in both."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from ..fingerprint import Fingerprint
from ..io.files import atomic_write
from ..labelled_zoo.folder import LabelledZoo, ZooMember
from .sources import Source, relative_kind

_HONEST = ("source", "sibling", "independent")


def share_honest(zoo: LabelledZoo, source: Source, others: Mapping[Source, LabelledZoo]) -> LabelledZoo:
    """List the honest models of the other sources' test beds in this one, each by what it is to this source.

    Other sources and their siblings never saw this one, so they are honest models like any other. Weights are hard
    links where the file system has them, else copies; fingerprints are written anew, since they name the kind. A
    model whose fingerprints are not there yet is left for a later call.

    Args:
        zoo: of ``source``; its folder is locked.
        source: whose test bed it is.
        others: the test beds of the other sources, finished or not, on the same probes.

    Returns:
        The zoo with these members, its zoo.json written.
    """
    members = {member.name: member for member in zoo.members}
    for home, other in others.items():
        for member in other.members:
            if member.role not in _HONEST or "from" in member.details:
                continue
            shared = _as_member(member, home, source)
            if shared != members.get(shared.name) and all(
                other.fingerprint_file(name, member).exists() for name in zoo.probes
            ):
                _share_files(zoo, shared, other, member)
                members[shared.name] = shared
    if len(members) > len(zoo.members):
        zoo = dataclasses.replace(zoo, members=tuple(members.values()))
        zoo.save()
    return zoo


def _as_member(member: ZooMember, home: Source, source: Source) -> ZooMember:
    return dataclasses.replace(
        member,
        name=f"{home.name}.{member.name}",
        role="independent",
        origin=relative_kind(member, home, source),
        details={**member.details, "from": home.name, "from_role": member.role},
    )


def _share_files(zoo: LabelledZoo, shared: ZooMember, other: LabelledZoo, member: ZooMember) -> None:
    _link(other.weights_file(member), zoo.weights_file(shared))
    for name in zoo.probes:
        known = other.load_fingerprint(name, member)
        renamed = Fingerprint(known.outputs, {**known.provenance, "name": shared.name})
        renamed.with_kind(shared.origin).save(zoo.fingerprint_file(name, shared))


def _link(file: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(file, target)
    except OSError:  # another file system, or one without hard links
        with file.open("rb") as source, atomic_write(target) as handle:
            shutil.copyfileobj(source, handle)
