"""Which pixels a model was made for, where nobody says: a fixed list is run, and one chosen by the model's own outputs.

What lies beside a suspect (``preprocessor_config.json``, timm's ``pretrained_cfg``, an ONNX file's metadata) is the
suspect's proposal: a false mean and std would let a thief escape. So it is one entry of the list, and the choice
looks at the probes' labels or at what the model's answers tell, never at the source.

Without labels the information of an answer about its probe decides, ``H(mean p) − mean H(p)``. How sure the model is
does not: pixels that are too large make every answer sure, and all of them the same.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import FileFormatError, ModelError
from ..formats.json_text import parse_json
from ..io.files import read_regular
from .accuracy import share_named
from .form_detection import detect_output_form
from .preprocessing import REMEDY, Preprocessing

#: Mean and std of each entry of the list besides the claim, in units of pixels 0..1.
USUAL: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "none": ((0.0,), (1.0,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "plus-minus-one": ((0.5,), (0.5,)),
}
_CLAIM_BYTES = 1 << 20
_MAX_VALUE = 1000.0  # of a claimed mean or std
#: What decides, the first that there is.
MEASURES = ("accuracy", "information")
# How much better another entry must be before it is named, as a share of the largest value.
_CLEARLY = {"accuracy": 0.2, "information": 0.04}
# How near to an equal share of all classes a model's answers are when they say nothing.
_NEAR_UNIFORM = 0.98


@dataclass(frozen=True)
class Claim:
    """Mean and std that lie beside a model's file, unchecked, and where they stand."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str


@dataclass(frozen=True)
class Choice:
    """What was chosen of the list.

    Attributes:
        preprocessing: the chosen one.
        outputs: of the model with it.
        by: ``"accuracy"``, ``"information"``, or ``"nothing"`` where the outputs tell neither: then the first one.
        tried: by name: mean, std, and the accuracy, information and entropy (in nats) or the failure.
    """

    preprocessing: Preprocessing
    outputs: Tensor
    by: str
    tried: Mapping[str, Any] = field(default_factory=dict)


def read_claim(path: Path, metadata: Mapping[str, str] | None = None) -> Claim | None:
    """Mean and std that a model's metadata, or a configuration beside its file, states.

    Args:
        path: the model's file.
        metadata: of an ONNX file.

    Returns:
        The first that is found; None where nothing sound is.
    """
    said = dict(metadata or {})
    places: list[tuple[str, Any]] = [("its metadata", said)]
    for name in ("preprocessor_config.json", "config.json"):
        try:
            places.append((name, parse_json(read_regular(path.parent / name, _CLAIM_BYTES), name)))
        except (OSError, FileFormatError):
            continue
    for source, values in places:
        inner = values.get("pretrained_cfg")
        for found in (inner, values):
            claim = _claim_of(found, source)
            if claim is not None:
                return claim
    return None


def _claim_of(values: Any, source: str) -> Claim | None:
    if isinstance(values, str):
        try:
            values = parse_json(values[:_CLAIM_BYTES].encode(), source)
        except (FileFormatError, UnicodeEncodeError):
            return None
    if not isinstance(values, Mapping):
        return None
    mean, std = (_numbers(values.get(f"image_{name}", values.get(name))) for name in ("mean", "std"))
    if mean is None or std is None or len(mean) != len(std) or min(std) <= 0:
        return None
    return Claim(mean, std, source)


def _numbers(value: Any) -> tuple[float, ...] | None:
    """One number or three; a text of an ONNX file's metadata may hold them as JSON or with commas."""
    if isinstance(value, str):
        try:
            value = [float(part) for part in value[:200].strip("[]() ").split(",")]
        except ValueError:
            return None
    values = value if isinstance(value, list) else [value]
    is_sound = len(values) in (1, 3) and all(type(one) in (int, float) and abs(one) <= _MAX_VALUE for one in values)
    return tuple(float(one) for one in values) if is_sound else None


def candidates(base: Preprocessing, claim: Claim | None) -> dict[str, Preprocessing]:
    """The list: what is named of size, colours and layout, with each mean and std; none twice.

    Args:
        base: its mean and std are left out.
        claim: the last of the list.
    """
    pairs = dict(USUAL) | ({"claim": (claim.mean, claim.std)} if claim is not None else {})
    made: dict[str, Preprocessing] = {}
    for name, (mean, std) in pairs.items():
        values = tuple(_in_order(part, base.colour_order) for part in (mean, std))
        one = dataclasses.replace(base, mean=values[0], std=values[1])
        if one not in made.values():
            made[name] = one
    return made


def _in_order(values: Sequence[float], colour_order: str) -> tuple[float, ...]:
    """Values of red, green and blue in the channels of a model."""
    if colour_order == "GRAY":
        return (sum(values) / len(values),)
    return tuple(reversed(values)) if colour_order == "BGR" else tuple(values)


def choose_preprocessing(
    run: Callable[[Preprocessing], Tensor], listed: Mapping[str, Preprocessing], labels: Tensor | None
) -> Choice:
    """Run the model with every entry of a list and choose one, the first of those that are equally good.

    Args:
        run: gives ``(n, k)`` outputs.
        listed: of `candidates`.
        labels: class numbers ``(n,)`` of the probes; None: there are none, and the information decides.

    Raises:
        ModelError: the model fails with every entry.
    """
    outputs: dict[str, Tensor] = {}
    tried: dict[str, Any] = {}
    failure: ModelError | None = None
    for name, one in listed.items():
        tried[name] = {"mean": list(one.mean), "std": list(one.std)}
        try:
            outputs[name] = run(one)
        except ModelError as error:
            failure = failure or error
            tried[name]["failed"] = str(error)[:200]
    if not outputs:
        assert failure is not None
        raise failure
    measured = {name: measure(rows, labels) for name, rows in outputs.items()}
    by = next((kind for kind in MEASURES if all(kind in found for found in measured.values())), "nothing")
    name = max(outputs, key=lambda key: measured[key].get(by, 0.0))
    for key, found in measured.items():
        tried[key] |= {kind: round(value, 6) for kind, value in found.items()}
    return Choice(listed[name], outputs[name], by, {**tried, "chosen": name})


def measure(outputs: Tensor, labels: Tensor | None) -> dict[str, float]:
    """``accuracy`` on labels that the outputs can name; ``information`` and mean ``entropy`` of classifiers' outputs.

    The information of the class about the probe, ``H(mean p) − mean H(p)`` in nats, is at most ``log min(n, k)``.

    Args:
        outputs: ``(n, k)``.
        labels: class numbers ``(n,)``; None: there are none.
    """
    found: dict[str, float] = {}
    if outputs.shape[1] < 2:
        return found
    share = None if labels is None else share_named(outputs.detach().numpy(), labels.numpy())
    if share is not None:
        found["accuracy"] = share
    form = detect_output_form(outputs)
    if form in ("logits", "embeddings", "similarities"):  # small logits look like similarities
        shares = outputs.double().softmax(1)
    elif form == "log-probabilities":
        shares = outputs.double().exp()
    elif form == "probabilities":
        shares = outputs.double() / outputs.double().sum(1, keepdim=True)
    else:
        return found
    found["entropy"] = float(-torch.xlogy(shares, shares).sum(1).mean())
    middle = shares.mean(0)
    found["information"] = max(0.0, float(-torch.xlogy(middle, middle).sum()) - found["entropy"])
    return found


def suggest_other(
    run: Callable[[Preprocessing], Tensor],
    listed: Mapping[str, Preprocessing],
    used: Preprocessing,
    outputs: Tensor,
    labels: Tensor | None,
) -> list[str]:
    """A line where another entry of the list serves a model clearly better than what it was asked with.

    Args:
        run: gives the outputs of the first few probes.
        listed: of `candidates`.
        used: what the model was asked with; it is not run again.
        outputs: its outputs for the first few probes.
        labels: their class numbers; None: there are none.

    Returns:
        At most one line for people.
    """
    mine = measure(outputs, labels)
    by = next((kind for kind in MEASURES if kind in mine), None)
    if by is None:
        return []
    largest = 1.0 if by == "accuracy" else math.log(min(outputs.shape))
    best: tuple[float, str] | None = None
    for name, one in listed.items():
        if (one.mean, one.std) == (used.mean, used.std):
            continue
        try:
            found = measure(run(one), labels).get(by)
        except ModelError:
            continue
        if found is not None:
            gain = (found - mine[by]) / largest
            best = max(filter(None, (best, (gain, name))), default=None)
    if best is None or best[0] < _CLEARLY[by]:
        return []
    better = "it is right more often" if by == "accuracy" else "its answers tell more apart"
    said = f"mean and std were not named, and with {best[1]}'s {better} on the first {len(outputs)} probes"
    return [f"{said}: name them (--mean, --std), or give {REMEDY}"]


def describe_outputs(outputs: Tensor, labels: Tensor | None) -> list[str]:
    """Lines for people: the accuracy on labelled probes, and whether the answers say nothing."""
    found = measure(outputs, labels)
    k = outputs.shape[1]
    lines = []
    if "accuracy" in found:
        lines.append(f"accuracy {found['accuracy']:.2%} on the probes' labels")
    if found.get("entropy", 0.0) > _NEAR_UNIFORM * math.log(k):
        lines.append(f"answers are nearly the same for every class: its inputs may be other ones ({REMEDY})")
    return lines
