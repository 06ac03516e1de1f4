"""Summary of a labelled zoo: accuracies and training times by kind and attack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .folder import ROLES, LabelledZoo, Role, ZooMember

#: What the models of a test bed should reach, by role.
ACCURACY_GOALS: Mapping[Role, float] = {"source": 0.85, "sibling": 0.85, "independent": 0.85, "stolen": 0.8}


def summarise(zoo: LabelledZoo) -> dict[str, Any]:
    """Count, accuracy and seconds of every group, and the models below the accuracy goals.

    Args:
        zoo: finished or not.

    Returns:
        What JSON can hold: ``task``, ``folder``, ``probes``, ``models``, ``seconds`` (of training, all together),
        ``groups`` (one of ``role, origin, count, accuracy_min, accuracy_mean, seconds_mean`` each, in order of first
        appearance by role) and ``below`` (``name, origin, accuracy, goal``). Numbers that were not measured are None.
    """
    groups: dict[tuple[Role, str], list[ZooMember]] = {}
    for role in ROLES:
        for member in sorted(zoo.of_role(role), key=lambda member: member.origin):
            groups.setdefault((role, member.origin), []).append(member)
    rows = []
    for (role, origin), members in groups.items():
        accuracies = [member.accuracy for member in members if member.accuracy is not None]
        seconds = [member.seconds for member in members if member.seconds is not None]
        rows.append(
            {
                "role": role,
                "origin": origin,
                "count": len(members),
                "accuracy_min": min(accuracies, default=None),
                "accuracy_mean": sum(accuracies) / len(accuracies) if accuracies else None,
                "seconds_mean": sum(seconds) / len(seconds) if seconds else None,
            }
        )
    below = [
        {"name": m.name, "origin": m.origin, "accuracy": m.accuracy, "goal": ACCURACY_GOALS[m.role]}
        for m in zoo.members
        if m.accuracy is not None and m.accuracy < ACCURACY_GOALS[m.role]
    ]
    return {
        "task": zoo.task.get("name"),
        "folder": str(zoo.folder),
        "probes": list(zoo.probes),
        "models": len(zoo.members),
        "seconds": sum(member.seconds or 0.0 for member in zoo.members),
        "groups": rows,
        "below": below,
    }
