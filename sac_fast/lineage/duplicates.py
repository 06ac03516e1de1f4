"""Models that are one: the same weights in several files, the same answers under several names."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from ..io.choices import Metric
from ..models.output_form import check_informative, detect_output_form


def find_duplicates(
    names: Sequence[str],
    outputs: Sequence[Tensor],
    hashes: Mapping[str, str],
    wanted: Collection[str] = (),
    metric: Metric | None = None,
) -> dict[str, tuple[str, ...]]:
    """Models with the same hash, or with the same outputs bit for bit.

    Equal labels prove nothing, since good models agree on them; nor do outputs that are no evidence.

    Args:
        names: of the m models.
        outputs: m tensors (n, k_i).
        hashes: of the weights, by name, where they are known.
        wanted: names that stand for their copies where one of them does.
        metric: see `check_informative`.

    Returns:
        The other names of each model that has some, by the name that stands for it.
    """
    parent = {name: name for name in names}

    def find(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    first: dict[str, str] = {}
    informative: dict[str, bool] = {}
    for name, rows in zip(names, outputs, strict=True):
        keys = [hashes[name]] if name in hashes else []
        content = _digest(rows)
        if content in first and content not in informative:
            form = detect_output_form(rows)
            informative[content] = form != "labels" and check_informative(rows, form, metric=metric) is None
        if informative.get(content, True):
            keys.append(content)
        for key in keys:
            parent[find(name)] = find(first.setdefault(key, name))
    members: dict[str, list[str]] = {}
    for name in names:
        members.setdefault(find(name), []).append(name)
    chosen = set(wanted)
    found = {}
    for same in members.values():
        if len(same) > 1:
            shown = next((name for name in same if name in chosen), same[0])
            found[shown] = tuple(name for name in same if name != shown)
    return found


def _digest(outputs: Tensor) -> str:
    values = outputs.detach().cpu().contiguous()
    about = f"{values.dtype} {tuple(values.shape)}"
    return f"{about} {hashlib.sha256(values.numpy().data).hexdigest()}"
