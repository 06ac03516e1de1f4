"""Copies by training: the last layer, all layers, pruning with fine-tuning, transfer, distillation.

No labelled ImageNet is at hand: a thief who keeps the classes takes the source's own labels for his photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from sac_fast.attacks import TrainingConfig, finetune_all
from sac_fast.attacks.copies import copied
from sac_fast.attacks.extract import fit_to_source
from sac_fast.attacks.training import fit
from sac_fast.attacks.transfer import replace_head

from .copies import dense_layers, pruned
from .networks import FEATURES, HEAD, Tail, before_tail, load_source

#: Batch normalisation keeps its statistics, and trained networks stand a small learning rate alone.
_HEAD = TrainingConfig(epochs=10, batch_size=64, learning_rate=0.01, weight_decay=0.0, flips=False)
_NEW_HEAD = TrainingConfig(epochs=60, batch_size=64, learning_rate=0.2, flips=False)
_ALL = TrainingConfig(epochs=1, batch_size=16, learning_rate=2e-5, optimizer="adamw", weight_decay=0.0)
_TRANSFER = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.005)
_REPAIR = TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-4, optimizer="adamw", weight_decay=0.0)
_DISTIL = TrainingConfig(
    epochs=4, batch_size=32, learning_rate=3e-4, optimizer="adamw", weight_decay=0.0, flips=False
)  # fmt: skip
#: Whose weights the student of a distillation starts from.
STUDENTS = {"lite0": "lite1", "lite1": "lite0", "lite2": "lite0"}
RATIO = 0.2
_NORM_IMAGES = 96
#: Blocks of a student that are trained, from the end: at 7×7 they cost a quarter of all.
_TAIL = 5


@dataclass(frozen=True)
class Thief:
    """What a thief has.

    Attributes:
        source: the network.
        name: of the source.
        inputs: (n, 3, 224, 224) photographs.
        queries: (m, 3, 224, 224) more of them, and what the source's last layer sees of these; None where they are not
            needed.
        kinds: (n,) int64 kinds of the things on them, -1 without.
        classes: number of kinds.
        seed: of everything random.
    """

    source: nn.Module
    name: str
    inputs: Tensor
    queries: tuple[Tensor, Tensor] | None
    kinds: Tensor
    classes: int
    seed: int = 0


def finetune_head(thief: Thief, features: Tensor) -> nn.Module:
    """The last layer alone, on the source's own labels."""
    copy = copied(thief.source)
    head = getattr(copy, HEAD)
    labels = head(features).argmax(dim=1)
    setattr(copy, HEAD, finetune_all(head, features, labels, config=_HEAD, seed=thief.seed))
    return copy.eval()


def transfer_head(thief: Thief, features: Tensor) -> nn.Module:
    """A new last layer for the kinds of things, all else as it was."""
    known = thief.kinds >= 0
    copy = replace_head(thief.source, thief.classes, seed=thief.seed, layer=HEAD)
    head = finetune_all(nn.Linear(FEATURES, thief.classes), features[known], thief.kinds[known], config=_NEW_HEAD)
    setattr(copy, HEAD, head)
    return copy.eval()


def transfer_all(thief: Thief, features: Tensor) -> nn.Module:
    """A new last layer for the kinds of things, then all layers trained."""
    known = thief.kinds >= 0
    start = transfer_head(thief, features)
    return finetune_all(start, thief.inputs[known], thief.kinds[known], config=_TRANSFER, seed=thief.seed)


def finetune_everything(thief: Thief, features: Tensor) -> nn.Module:
    """All layers, on the source's own labels."""
    labels = getattr(thief.source, HEAD)(features).argmax(dim=1)
    return finetune_all(thief.source, thief.inputs, labels, config=_ALL, seed=thief.seed)


def prune_finetune(thief: Thief, features: Tensor) -> nn.Module:
    """A fifth of all dense weights 0, the smallest ones, then trained to give the source's probabilities."""
    copy = pruned(thief.source, RATIO, thief.inputs[:_NORM_IMAGES])
    layers = dense_layers(copy)
    for layer in layers:
        prune.custom_from_mask(layer, "weight", (layer.weight != 0).float())  # type: ignore[no-untyped-call]
    # flips: the source is asked for the mirrored images too
    fit_to_source(
        thief.source, copy, thief.inputs, lambda logits: logits.softmax(dim=1), nn.functional.cross_entropy, _REPAIR,
        seed=thief.seed,
    )  # fmt: skip
    for layer in layers:
        prune.remove(layer, "weight")  # type: ignore[no-untyped-call]
    return copy


def distil(thief: Thief, features: Tensor) -> nn.Module:
    """Another published network whose last blocks and head are trained to give the source's probabilities for many
    images.
    """
    assert thief.queries is not None
    student = load_source(STUDENTS[thief.name])
    images, seen = (torch.cat(pair) for pair in zip((thief.inputs, features), thief.queries, strict=True))
    with torch.no_grad():
        targets = getattr(thief.source, HEAD)(seen).softmax(dim=1)
    maps = before_tail(student, images.contiguous(memory_format=torch.channels_last), _TAIL)
    tail = Tail(student, _TAIL)
    fit(tail, maps, targets, targets, nn.functional.cross_entropy, _DISTIL, thief.seed)
    return student.eval()


#: Changes of the last layer alone.
HEADS = ("finetune-head", "transfer-head")
#: Change -> how it is made; cheap ones first.
THEFTS = {
    "finetune-head": finetune_head,
    "transfer-head": transfer_head,
    "transfer-all": transfer_all,
    "finetune-all": finetune_everything,
    "prune-20-finetune": prune_finetune,
    "distil": distil,
}


def accuracy(logits: Tensor, kinds: Tensor) -> float:
    """Share of the photographs with a thing of a known kind that are told right."""
    known = kinds >= 0
    return float((logits[known].argmax(dim=1) == kinds[known]).double().mean())


def agreement(logits: Tensor, source: Tensor) -> float:
    """Share of the photographs that get the source's label."""
    return float((logits.argmax(dim=1) == source.argmax(dim=1)).double().mean())


def only_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The weights to keep, on the CPU."""
    return {name: value.detach().cpu() for name, value in network.state_dict().items() if torch.is_tensor(value)}
