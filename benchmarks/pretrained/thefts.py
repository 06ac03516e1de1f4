"""Copies by training: the last layer, all layers, pruning with fine-tuning, transfer, distillation.

No labelled ImageNet is at hand: a thief who keeps the classes takes the source's own labels for his photographs.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sac_fast.attacks import TrainingConfig, extract_probabilities, finetune_all, prune_magnitude
from sac_fast.attacks.copies import copied
from sac_fast.attacks.transfer import replace_head

from .copies import reestimate_norms
from .networks import FEATURES, HEAD, load_source

#: Steps of 16 images; the learning rates are those of fine-tuning with fixed batch-norm statistics.
_HEAD = TrainingConfig(epochs=10, batch_size=64, learning_rate=0.2, flips=False)
_NEW_HEAD = TrainingConfig(epochs=60, batch_size=64, learning_rate=0.2, flips=False)
_ALL = TrainingConfig(epochs=1, batch_size=16, learning_rate=0.005)
_TRANSFER = TrainingConfig(epochs=2, batch_size=16, learning_rate=0.005)
_DISTIL = TrainingConfig(epochs=3, batch_size=16, learning_rate=3e-4, optimizer="adamw", weight_decay=0.0)
#: Whose weights the student of a distillation starts from.
STUDENTS = {"lite0": "lite1", "lite1": "lite0", "lite2": "lite0"}
RATIO = 0.5


@dataclass(frozen=True)
class Thief:
    """What a thief has.

    Attributes:
        source: the network.
        name: of the source.
        inputs: (n, 3, 224, 224) photographs.
        kinds: (n,) int64 kinds of the things on them, -1 without.
        classes: number of kinds.
        seed: of everything random.
    """

    source: nn.Module
    name: str
    inputs: Tensor
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
    """Half of all weights 0, the smallest ones, fine-tuned, with new batch-norm statistics."""
    labels = getattr(thief.source, HEAD)(features).argmax(dim=1)
    copy = prune_magnitude(thief.source, thief.inputs, labels, ratio=RATIO, config=_ALL, seed=thief.seed)
    reestimate_norms(copy, thief.inputs)
    return copy


def distil(thief: Thief, features: Tensor) -> nn.Module:
    """Another published network, trained to give the source's probabilities."""
    student = load_source(STUDENTS[thief.name])
    return extract_probabilities(thief.source, student, thief.inputs, temperature=2.0, config=_DISTIL, seed=thief.seed)


#: Changes of the last layer alone.
HEADS = ("finetune-head", "transfer-head")
#: Change -> how it is made; cheap ones first.
THEFTS = {
    "finetune-head": finetune_head,
    "transfer-head": transfer_head,
    "transfer-all": transfer_all,
    "finetune-all": finetune_everything,
    "prune-50-finetune": prune_finetune,
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
