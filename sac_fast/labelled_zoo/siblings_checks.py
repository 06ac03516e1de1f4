"""What makes siblings unfit to be compared with the source, as far as their folder shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from ..errors import FileFormatError, ModelError
from ..io.files import StrPath
from ..io.hashing import canonical_json
from ..models.checkpoint import read_weights
from ..models.state_hash import weights_hash
from ..verify.usual_seeds import match_usual_seeds
from .folder import ZooMember
from .plan import Architecture
from .siblings_draw import member_hash
from .siblings_folder import SiblingFolder

_MIN_VALUES = 64  # of an array whose direction says something
_SHARED = 0.5  # cosine of the weights of two models from starts of their own: near 0
FORKED = (
    "the last phase alone was trained again from a checkpoint: such siblings find what was extracted from the source's "
    "answers, not what was fine-tuned from its weights, which they share"
)


def check_siblings(zoo: SiblingFolder) -> tuple[list[str], list[str]]:
    """Notes and warnings, as sentences.

    Args:
        zoo: with the members that were made.

    Returns:
        What the siblings can show, and what is wrong with them.
    """
    members = zoo.members
    notes = [FORKED] if any(member.details.get("fork") for member in members) else []
    siblings = len(zoo.of_role("sibling"))
    if siblings:
        notes.append(f"against these {siblings} siblings the exact p-value of a suspect is 1/{siblings + 1} or more")
    if 0 < siblings < 4:
        notes.append("a test needs at least 4 siblings")
    if any(member.details.get("how") == "owned" for member in members):
        notes.append("of models that were there already it is not known by which code and seeds they were made")
    return notes, [*_equal(members), *_reseeded(members), *_differences(members), *_shared_start(zoo)]


def check_source(source: StrPath, model: Architecture) -> list[str]:
    """Warnings of a source that began with a seed that others use.

    Args:
        source: its weights.
        model: builds its network, with weights that torch's random state decides.

    Raises:
        ModelRefusedError: the weights cannot be read safely.
        ValueError: they do not fit.
    """
    return [str(match) for match in match_usual_seeds(read_weights(source), model.spec, arguments=model.arguments)]


def check_equal_source(source: StrPath, members: Sequence[ZooMember]) -> list[str]:
    """Warnings of siblings that are the source itself."""
    digest = weights_hash(read_weights(source))
    return [f"{member.name} has the weights of the source" for member in members if member_hash(member) == digest]


def _equal(members: Sequence[ZooMember]) -> list[str]:
    by_hash: dict[str, list[str]] = {}
    for member in members:
        if digest := member_hash(member):
            by_hash.setdefault(digest, []).append(member.name)
    return [
        f"{' and '.join(names)} have equal weights: train must take all that is random in it from its seed"
        for names in by_hash.values()
        if len(names) > 1
    ]


def _reseeded(members: Sequence[ZooMember]) -> list[str]:
    found = Counter(member.details["reseeded"] for member in members if "reseeded" in member.details)
    return [
        f"train seeded torch with {seed} in {count} of {len(members)} siblings: others may share that start, and the "
        "test is exact only for a start that nobody else has"
        for seed, count in found.items()
    ]


def _differences(members: Sequence[ZooMember]) -> list[str]:
    trained = [member for member in members if member.details.get("how") != "owned"]
    warnings = []
    for key, what in (("code_hash", "versions of the training code"), ("versions", "sets of library versions")):
        values = {canonical_json(member.details.get(key)) for member in trained}
        if len(values) > 1:
            warnings.append(f"siblings were made by {len(values)} different {what}: the test is exact for one only")
    if len({member.details.get("device") for member in trained}) > 1:
        warnings.append("siblings were trained on different devices")
    return warnings


def _shared_start(zoo: SiblingFolder) -> list[str]:
    """Whether two siblings began with the same weights, of which a training leaves much."""
    trained = [member for member in zoo.members if member.details.get("how") == "trained"]
    if len(trained) < 2 or member_hash(trained[0]) == member_hash(trained[1]):
        return []
    try:
        first, second = (read_weights(zoo.weights_file(member)) for member in trained[:2])
    except (ModelError, FileFormatError):
        return []
    cosines = [
        torch.nn.functional.cosine_similarity(value.double().flatten(), second[key].double().flatten(), dim=0)
        for key, value in first.items()
        if value.ndim >= 2 and value.numel() >= _MIN_VALUES and value.is_floating_point() and key in second
        if second[key].shape == value.shape
    ]
    if not cosines or (middle := float(torch.stack(cosines).median())) < _SHARED:
        return []
    names = f"{trained[0].name} and {trained[1].name}"
    return [
        f"{names} share their start (median cosine of their weights {middle:.2f}): right for a training that begins "
        "with a public model; otherwise train does not take its initial weights from its seed"
    ]
