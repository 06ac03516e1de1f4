"""Which of the siblings is released: a draw that was committed to before any of them was trained.

The siblings' test is exact if the source could have been any of them. A source that is picked by its scores could not.
So a seed is drawn from the system's entropy when the folder is made, before the first training, and its commitment
(`sac_fast.probes.committed_draw.commitment`) is shown, to be published. Drawn is ``committed_order(seed, hashes)[0]``,
where ``hashes`` are the `weights_hash` of all members: nobody can know it before the last training ends, and it is the
same however often it is repeated. Who holds the folder could still train everything again until the draw suits: publish
the commitment to exclude that, too.
"""

from __future__ import annotations

import dataclasses
import secrets
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import SacFastError
from ..fingerprint import Fingerprint
from ..io.files import StrPath
from ..probes.committed_draw import commitment, committed_order, dataset_hash
from .engine import file_weights_hash, lock_folder
from .folder import ZooMember
from .siblings_folder import SiblingFolder

Choice = Literal["committed", "best"]
#: What a choice does to the siblings' test.
EFFECTS: dict[Choice, str] = {
    "committed": "every member could have been released, so the p-values against its siblings are exact",
    "best": "the best of them is no random one: where the statistic depends on accuracy, p-values against its siblings "
    "are too small or too large, and no longer exact; a committed draw keeps them exact",
}


class DrawError(SacFastError, ValueError):
    """A draw that cannot be made or does not hold."""


def new_draw() -> dict[str, Any]:
    """Seed, from the system's entropy, and commitment of a draw that is still to come."""
    seed = secrets.token_hex(32)
    return {"seed": seed, "commitment": commitment(seed)}


def member_hash(member: ZooMember) -> str | None:
    """Hash of a member's weights; of the file where it is no network."""
    return member.details.get("weights") or member.details.get("model_hash")


def draw_source(folder: StrPath, *, choice: Choice = "committed") -> dict[str, Any]:
    """Pick the sibling that is released; it becomes the source of the folder, the others stay its siblings.

    Args:
        folder: of `make_siblings`, with all of its trainings done.
        choice: ``"committed"``: by the committed draw. ``"best"``: the most accurate one, see ``EFFECTS``.

    Returns:
        See `describe_draw`. A second call returns the same.

    Raises:
        DrawError: trainings are missing, models are equal or without a hash, accuracies are missing for ``"best"``, or
            another choice was made before.
        OutputFolderError: another run is at work in the folder.
        FileFormatError: no such folder, or a damaged one.
    """
    path = Path(folder)
    zoo = SiblingFolder.load(path)
    with lock_folder(path):
        zoo = SiblingFolder.load(path)
        if "drawn" not in zoo.draw:
            hashes = _complete(zoo)
            order = committed_order(zoo.draw["seed"], list(hashes.values()))
            drawn = zoo.members[order[0] if choice == "committed" else _best(zoo, order)].name
            for probes in zoo.probes:
                file = zoo.fingerprint_file(probes, drawn)
                made = Fingerprint.load(file)
                choice_made = {"by": choice, "of": len(hashes)}
                Fingerprint(made.outputs, {**made.provenance, "kind": None, "choice": choice_made}).save(file)
            record = {
                **zoo.draw,
                "choice": choice,
                "drawn": drawn,
                "members": hashes,
                "dataset_hash": dataset_hash(hashes.values()),
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
            }
            members = [
                dataclasses.replace(m, role="source", origin="source") if m.name == drawn else m for m in zoo.members
            ]
            members.sort(key=lambda member: member.role != "source")
            zoo = dataclasses.replace(zoo, task={**zoo.task, "draw": record}, members=tuple(members))
            zoo.save()
        elif zoo.draw["choice"] != choice:
            raise DrawError(f"choice must be {zoo.draw['choice']!r}, by which the source was picked, got {choice!r}")
    return describe_draw(zoo)


def describe_draw(zoo: SiblingFolder) -> dict[str, Any]:
    """What was picked, and how accurate it is among its siblings.

    Returns:
        ``source`` (name), ``weights`` (file, or None), ``choice``, ``effect``, ``commitment``, ``accuracies`` (by name)
        and ``accuracy_rank`` (1: no sibling is more accurate; None where accuracies are missing).
    """
    draw, source = zoo.draw, zoo.source
    accuracies = {member.name: member.accuracy for member in zoo.members}
    rank = None
    if source.accuracy is not None and None not in accuracies.values():
        rank = 1 + sum(value is not None and value > source.accuracy for value in accuracies.values())
    file = zoo.weights_file(source)
    return {
        "folder": str(zoo.folder),
        "source": source.name,
        "weights": str(file) if file.exists() else None,
        "choice": draw["choice"],
        "effect": EFFECTS[draw["choice"]],
        "commitment": draw["commitment"],
        "accuracies": accuracies,
        "accuracy_rank": rank,
    }


def verify_draw(folder: StrPath) -> dict[str, Any]:
    """Repeat the draw from what the folder records.

    Args:
        folder: after `draw_source`, or a copy of it without weights.

    Returns:
        `describe_draw`, and ``problems``: sentences that say what does not hold, none where all does.

    Raises:
        DrawError: nothing was drawn yet.
        FileFormatError: no such folder, or a damaged one.
    """
    zoo = SiblingFolder.load(folder)
    draw = zoo.draw
    if "drawn" not in draw:
        raise DrawError(f"folder must hold a draw, got {str(folder)!r}, in which nothing was drawn yet")
    problems = []
    try:
        hashes: dict[str, str] = dict(draw["members"])
        if commitment(draw["seed"]) != draw["commitment"]:
            problems.append(f"the seed is not the one of the commitment {draw['commitment']}")
        if dataset_hash(hashes.values()) != draw["dataset_hash"]:
            problems.append(f"the members are not those of the hash {draw['dataset_hash']}")
        names = list(hashes)
        first = names[committed_order(draw["seed"], list(hashes.values()))[0]]
        if draw["choice"] != "committed":
            problems.append(f"{draw['drawn']} was picked as the {draw['choice']} one, not drawn")
        elif first != draw["drawn"]:
            problems.append(f"the draw gives {first}, not {draw['drawn']}")
        if zoo.source.name != draw["drawn"]:
            problems.append(f"the folder's source is {zoo.source.name}, not {draw['drawn']}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration) as error:
        raise DrawError(f"folder must hold the record of a draw, got {type(error).__name__}: {error}") from error
    for member in zoo.members:
        file = zoo.weights_file(member)
        wanted = hashes.get(member.name)
        if wanted is not None and file.exists() and file_weights_hash(file) != wanted:
            problems.append(f"the weights of {member.name} are not those of the hash {wanted}")
    return {**describe_draw(zoo), "problems": problems}


def _complete(zoo: SiblingFolder) -> dict[str, str]:
    """The members' hashes by name, if all that was planned is there."""
    trained = {member.seed for member in zoo.members if member.details.get("how") != "owned"}
    missing = sum(seed not in trained for seed in zoo.seeds)
    if missing:
        raise DrawError(
            f"all {len(zoo.seeds)} siblings must be trained before one is drawn, got {missing} missing: run "
            "`sac-fast siblings make` again"
        )
    if len(zoo.members) < 2:
        raise DrawError(f"folder must hold at least 2 siblings, got {len(zoo.members)}")
    hashes: dict[str, str] = {}
    for member in zoo.members:
        digest = member_hash(member)
        if digest is None:
            raise DrawError(f"siblings must have weights to be drawn from, got {member.name!r} with outputs alone")
        if other := next((name for name, value in hashes.items() if value == digest), None):
            raise DrawError(f"siblings must differ, got equal weights of {other!r} and {member.name!r}")
        hashes[member.name] = digest
    return hashes


def _best(zoo: SiblingFolder, order: list[int]) -> int:
    """Place of the most accurate member, of equal ones the first of the draw."""
    if without := [member.name for member in zoo.members if member.accuracy is None]:
        raise DrawError(f"accuracies must be known of all siblings to pick the best, got none of {without[0]!r}")
    return max(order, key=lambda place: zoo.members[place].accuracy or 0.0)
