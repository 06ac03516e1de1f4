"""The members as one labelled zoo a source, for `sac-fast evaluate` and for others."""

from __future__ import annotations

from collections.abc import Sequence

from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember

from .distances import works
from .members import PLAIN, WEIGHTS, Member, Workshop, is_copy, is_related, link
from .networks import PREPROCESSING, SOURCES

#: Both were trained on ImageNet; their architectures differ in width and depth.
KIND = "same-data"


def make_zoos(workshop: Workshop, members: Sequence[Member], probes: Sequence[str] = (PLAIN,)) -> list[LabelledZoo]:
    """Write SOURCE/zoo.json for each source, with hard links to the outputs and weights of all that is done."""
    done = [member for member in members if not workshop.missing(member, probes)]
    return [_make_zoo(workshop, source, done, probes) for source in SOURCES if any(m.name == source for m in done)]


def _make_zoo(workshop: Workshop, source: str, done: Sequence[Member], probes: Sequence[str]) -> LabelledZoo:
    chosen = []
    for member in done:
        facts = workshop.about(member)
        role, origin = "independent", KIND
        if member.name == source:
            role, origin = "source", "source"
        elif is_copy(member, source):
            if not works(facts):
                continue
            role, origin = "stolen", member.change
        elif is_related(member, source):
            continue
        architecture = f"efficientnet_lite_pytorch:{member.start}"
        seconds = float(sum(facts["seconds"].values()))
        details = {key: facts[key] for key in ("source", "change", "start", "agreement", "accuracy_of_kinds")}
        chosen.append(ZooMember(member.name, role, origin, architecture, seconds=seconds, details=details))
    task = {"name": "pretrained", "classes": 1000, "images": "photographs, 224×224"}
    zoo = LabelledZoo(workshop.folder / source, task, PREPROCESSING.to_dict(), tuple(chosen), tuple(probes))
    zoo.make_folders()
    for name in probes:
        workshop.probes[name].save(zoo.probes_file(name))
    by_name = {member.name: member for member in done}
    for each in zoo.members:
        kept = workshop.place(by_name[each.name])
        for name in probes:
            link(kept / f"{name}.safetensors", zoo.fingerprint_file(name, each))
        if (kept / WEIGHTS).is_file():
            link(kept / WEIGHTS, zoo.weights_file(each))
    zoo.save()
    return zoo
