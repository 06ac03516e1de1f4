"""The models of the demo, before they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..labelled_zoo.plan import Architecture
from ..models import Preprocessing
from . import architectures

Method = Literal["source", "finetune-all", "finetune-last", "extract-labels", "extract-probabilities", "independent"]
Role = Literal["source", "suspect", "null", "held-out"]
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
TEMPERATURE = 4.0
#: How a stolen model comes about, and in words.
THEFTS: dict[Method, str] = {
    "finetune-all": "fine-tuned, all layers",
    "finetune-last": "fine-tuned, last layer",
    "extract-labels": "extracted by labels",
    "extract-probabilities": f"extracted by probabilities (T = {TEMPERATURE:g})",
}
_MAX_SEEDS = 1000  # of the models of one demo; those of other demos differ


@dataclass(frozen=True)
class Size:
    """How large a demo is.

    Attributes:
        patches, test_patches: per photograph, see `make_task`.
        epochs: of every training from the start; fine-tuning takes half.
        null, held_out: numbers of independents to calibrate on and to be judged.
        finetuned: number of models per kind of fine-tuning; extraction makes one per architecture.
        rate: false-accusation rate.
        architectures: names in `sac_fast.demo.architectures`; the first is the source's.
    """

    patches: int
    test_patches: int
    epochs: int
    null: int
    held_out: int
    finetuned: int
    rate: float
    architectures: tuple[str, ...] = ("plain", "residual", "inception")


FULL = Size(patches=400, test_patches=100, epochs=8, null=10, held_out=8, finetuned=2, rate=0.1)
QUICK = Size(patches=300, test_patches=60, epochs=8, null=5, held_out=5, finetuned=1, rate=0.2)


@dataclass(frozen=True)
class Member:
    """One model of the demo, before it is trained.

    Attributes:
        name: of its files.
        method: how it comes about.
        architecture: name in `sac_fast.demo.architectures`.
        side: whose patches it is trained on.
        role: what it is for.
        seed: of its initialisation and training.
    """

    name: str
    method: Method
    architecture: str
    side: Literal["defender", "attacker"]
    role: Role
    seed: int

    @property
    def origin(self) -> str:
        """How the model came about, in words."""
        return THEFTS.get(self.method, f"{self.method}, {self.side}'s patches")


def plan(size: Size, seed: int) -> list[Member]:
    """List the models of a demo, the source first.

    Independents run through all pairs of architecture and side, so that the null pool and the held-out
    ones are of the same kinds.

    Args:
        size: how many.
        seed: of the demo; every model gets a seed of its own.

    Returns:
        Source, independents (null, then held-out), stolen models: in the order of training.
    """
    kinds = size.architectures
    members: list[tuple[str, Method, str, Literal["defender", "attacker"], Role]] = [
        ("source", "source", kinds[0], "defender", "source")
    ]
    for i in range(size.null + size.held_out):
        side: Literal["defender", "attacker"] = "defender" if i % 2 == 0 else "attacker"
        kind = kinds[i % len(kinds)]
        role: Role = "null" if i < size.null else "held-out"
        members.append((f"independent-{i + 1:02}-{kind}-{side}", "independent", kind, side, role))
    for method in THEFTS:
        finetuned = method.startswith("finetune")
        for i, kind in enumerate([kinds[0]] * size.finetuned if finetuned else kinds):
            name = f"{method}-{i + 1}" if finetuned else f"{method}-{kind}"
            members.append((name, method, kind, "attacker", "suspect"))
    return [Member(*fields, seed=seed * _MAX_SEEDS + i) for i, fields in enumerate(members)]


def architecture_of(member: Member, classes: int) -> Architecture:
    """The architecture as the command line names it, and its arguments."""
    return Architecture(f"{architectures.__name__}:{member.architecture}", {"classes": classes})
