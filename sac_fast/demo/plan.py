"""The models of the demo, before they are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..labelled_zoo.plan import Architecture
from ..models import Preprocessing
from ..probes.committed_draw import derived_integer
from . import architectures

Method = Literal[
    "backbone",
    "source",
    "sibling",
    "independent",
    "finetune-all",
    "finetune-last",
    "prune-magnitude",
    "extract-distill",
    "extract-soft-t4",
    "extract-labels",
    "api",
]
Truth = Literal["derived", "independent"]
Form = Literal["logits", "probabilities", "labels"]
Takes = Literal["weights", "outputs", "labels"]
PREPROCESSING = Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
#: How a stolen model comes about, in words.
THEFTS: dict[Method, str] = {
    "finetune-all": "fine-tuned, all layers",
    "finetune-last": "fine-tuned, last layer",
    "prune-magnitude": "half of the weights pruned, fine-tuned",
    "extract-distill": "extracted by labels (90 %) and outputs at T = 20 (10 %)",
    "extract-soft-t4": "extracted by probabilities (T = 4)",
    "extract-labels": "extracted by labels",
}
#: What a theft takes of the source. It is by labels where at least half of its loss is cross-entropy with the source's
#: labels: the reference scripts' distillation has 90 % of that, and outputs at T = 20 for the rest.
TAKES: dict[Method, Takes] = {
    "finetune-all": "weights",
    "finetune-last": "weights",
    "prune-magnitude": "weights",
    "extract-distill": "labels",
    "extract-soft-t4": "outputs",
    "extract-labels": "labels",
    "api": "weights",
}
DECIMALS = 3  # of the probabilities that an API gives
#: What an API gives, in words.
ANSWERS: dict[Form, str] = {"probabilities": f"probabilities to {DECIMALS} decimals", "labels": "labels alone"}
BACKBONE = "backbone"


@dataclass(frozen=True)
class Size:
    """How large a demo is.

    Attributes:
        patches, test_patches: per photograph, see `make_task`.
        epochs: of every training from new weights; those from other weights take half.
        siblings: of the source.
        students: architectures of the extracted models, one model each.
        independents: architecture, side and whether it starts from the backbone, of the honest models.
        alpha: α of the siblings' test.
        null_alpha: α of the null pool.
    """

    patches: int
    test_patches: int
    epochs: int
    siblings: int
    students: tuple[str, ...]
    independents: tuple[tuple[str, Literal["defender", "attacker"], bool], ...]
    alpha: float = 0.05
    null_alpha: float = 0.1


FULL = Size(
    patches=400, test_patches=600, epochs=8, siblings=19, students=("plain", "residual", "inception"),
    independents=(
        ("plain", "defender", False), ("plain", "defender", False),
        ("residual", "defender", False), ("inception", "defender", False),
        ("plain", "attacker", False), ("residual", "attacker", False), ("inception", "attacker", False),
        ("plain", "attacker", True), ("plain", "attacker", True), ("plain", "attacker", True),
    ),
)  # fmt: skip
QUICK = Size(
    patches=300, test_patches=200, epochs=6, siblings=9, students=("residual",),
    independents=(
        ("plain", "defender", False), ("residual", "defender", False), ("inception", "attacker", False),
        ("plain", "attacker", True),
    ),
    null_alpha=0.2,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One model of the demo, before it is trained.

    Attributes:
        name: of its files.
        method: how it comes about.
        architecture: name in `sac_fast.demo.architectures`.
        side: whose patches it is trained on.
        seed: of its initialisation and training.
        from_backbone: whether it starts from the public backbone's weights instead of new ones.
        form: what it answers.
        behind: of an API: name of the model behind it, which answers for it.
    """

    name: str
    method: Method
    architecture: str
    side: Literal["defender", "attacker", "public"]
    seed: int
    from_backbone: bool = False
    form: Form = "logits"
    behind: str | None = None

    @property
    def truth(self) -> Truth:
        """What a verdict on it should say."""
        return "derived" if self.method in THEFTS or self.method == "api" else "independent"

    @property
    def takes(self) -> Takes | None:
        """What a theft takes of the source; None of honest models."""
        return TAKES.get(self.method)

    @property
    def is_suspect(self) -> bool:
        """Whether it is judged."""
        return self.method not in ("backbone", "source", "sibling")

    @property
    def after(self) -> str | None:
        """Name of the model from which it is made."""
        if self.method in THEFTS:
            return "source"
        if self.behind is not None:
            return self.behind
        return BACKBONE if self.from_backbone else None

    @property
    def kind(self) -> str | None:
        """What an honest model has in common with the source, see `sac_fast.fingerprint.KINDS`."""
        if self.method in ("sibling", "backbone"):
            return "sibling" if self.method == "sibling" else "other-classes"
        if self.method != "independent":
            return None
        if self.from_backbone:
            return "same-backbone"
        if self.side == "attacker":
            return "other-data"
        return "same-data-same-architecture" if self.architecture == "plain" else "same-data"

    @property
    def origin(self) -> str:
        """How the model came about, in words."""
        if self.method == "api":
            return f"a copy behind an API that gives {ANSWERS[self.form]}"
        network = "" if self.architecture == "plain" else f", {self.architecture} network"
        if self.method in THEFTS:
            return f"{THEFTS[self.method]}{network}"
        if self.method != "independent":
            return {"backbone": "public backbone", "source": "source", "sibling": "sibling"}[self.method]
        data = "same data" if self.side == "defender" else "other data"
        return f"honest: {data}{', same backbone' if self.from_backbone else network or ', same network'}"


def plan(size: Size, seed: int) -> list[Member]:
    """List the models of a demo, in the order of training.

    Args:
        size: how many.
        seed: of the demo; every model gets a seed of its own.

    Returns:
        Backbone, source, siblings, independents, stolen models, and the APIs, which need no training.
    """

    def member(name: str, method: Method, architecture: str, side: Literal["defender", "attacker", "public"],
               from_backbone: bool = False, **more: str) -> Member:  # fmt: skip
        # Not 0 or 42: whoever runs the same code with such a seed shares the source's start.
        own = derived_integer("sac_fast demo", seed, name) % 2**32
        return Member(name, method, architecture, side, own, from_backbone, **more)  # type: ignore[arg-type]

    members = [member(BACKBONE, "backbone", "plain", "public"), member("source", "source", "plain", "defender", True)]
    members += [member(f"sibling-{i + 1:02}", "sibling", "plain", "defender", True) for i in range(size.siblings)]
    for i, (kind, side, shared) in enumerate(size.independents, 1):
        members.append(member(f"independent-{i:02}", "independent", kind, side, shared))
    for method in THEFTS:
        for kind in size.students if method.startswith("extract") else ("plain",):
            name = f"{method}-{kind}" if method.startswith("extract") else method
            members.append(member(name, method, kind, "attacker"))
    for form in ANSWERS:
        members.append(member(f"api-{form}", "api", "plain", "attacker", form=form, behind="source"))
    return members


def architecture(name: str, classes: int) -> Architecture:
    """An architecture of the demo as the command line names it, and its arguments."""
    return Architecture(f"{architectures.__name__}:{name}", {"classes": classes})
