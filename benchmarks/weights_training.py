"""Trains many small networks of a family at once, all on one synthetic task: the worst case, since they learn alike."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F
from weights_convolutional import CLASSES, SIDE, ConvNeXt, EfficientNet, MobileNet, Plain, ResNet, UNet
from weights_sequences import BERT, GPT2, LENGTH, TOKENS, LlamaLike, Recurrent, ViT

#: Family by name: what builds a network, what it learns.
FAMILIES = {
    "Plain": (Plain, "images"),
    "ResNet": (ResNet, "images"),
    "MobileNet": (MobileNet, "images"),
    "EfficientNet": (EfficientNet, "images"),
    "ConvNeXt": (ConvNeXt, "images"),
    "ViT": (ViT, "images"),
    "U-Net": (UNet, "pictures"),
    "LSTM": (functools.partial(Recurrent, 4), "text"),
    "GRU": (functools.partial(Recurrent, 3), "text"),
    "Llama": (LlamaLike, "text"),
    "Qwen": (functools.partial(LlamaLike, kv_heads=1, bias=True), "text"),
    "Mistral": (functools.partial(LlamaLike, kv_heads=1, hidden=64), "text"),
    "BERT": (BERT, "hidden text"),
    "GPT-2": (GPT2, "text"),
}
_BATCH = 16


@dataclass(frozen=True)
class Task:
    """A task whose labels are drawn anew from one world: every model sees other samples of the same data."""

    kind: str
    patterns: torch.Tensor

    @classmethod
    def make(cls, kind: str, seed: int = 0) -> Task:
        generator = torch.Generator().manual_seed(seed)
        if kind in ("images", "pictures"):
            return cls(kind, torch.randn(CLASSES, 3, SIDE, SIDE, generator=generator))
        # a Markov chain with three likely followers a token
        followers = torch.rand(TOKENS, TOKENS, generator=generator).argsort(1)[:, :3]
        return cls(kind, torch.full((TOKENS, TOKENS), 0.1 / TOKENS).scatter(1, followers, 0.3))

    def draw(self, count: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and labels of ``count`` samples."""
        if self.kind in ("images", "pictures"):
            labels = torch.randint(CLASSES, (count,), generator=generator)
            noise = torch.randn(count, 3, SIDE, SIDE, generator=generator)
            images = self.patterns[labels] + noise
            return (images, labels) if self.kind == "images" else (images, self.patterns[labels])
        tokens = torch.empty(count, LENGTH + 1, dtype=torch.long)
        tokens[:, 0] = torch.randint(TOKENS, (count,), generator=generator)
        for place in range(LENGTH):
            chances = self.patterns[tokens[:, place]]
            tokens[:, place + 1] = torch.multinomial(chances, 1, generator=generator)[:, 0]
        if self.kind == "text":
            return tokens[:, :-1], tokens[:, 1:]
        hidden = torch.rand(count, LENGTH, generator=generator) < 0.2
        return torch.where(hidden, 0, tokens[:, :-1]), tokens[:, :-1]

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Of one batch."""
        if self.kind == "pictures":
            return F.mse_loss(outputs, labels)
        return F.cross_entropy(outputs.flatten(0, -2), labels.flatten())


def build(family: str, seed: int) -> nn.Module:
    """A network with first values of its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return FAMILIES[family][0]()


def train(
    models: list[nn.Module], task: Task, steps: int, seed: int, rate: float = 3e-3, frozen: tuple[str, ...] = ()
) -> tuple[list[dict[str, torch.Tensor]], list[float]]:
    """Train models of one architecture side by side with Adam.

    Args:
        models: each starts from its values; they are not changed.
        task: what is learnt; each model draws samples of its own.
        steps: number of them.
        seed: of the samples.
        rate: learning rate, falling to 0 along a cosine.
        frozen: parts of names of what is not trained.

    Returns:
        State dicts, and the last losses.
    """
    parameters, buffers = stack_module_state(models)
    parameters = {name: value.detach() for name, value in parameters.items()}
    skeleton = models[0]

    def loss_of(own, others, inputs, labels):
        return task.loss(functional_call(skeleton, (own, others), (inputs,)), labels)

    step_of = vmap(grad(lambda *given: (loss_of(*given),) * 2, has_aux=True))
    first = {name: torch.zeros_like(value) for name, value in parameters.items()}
    second = {name: torch.zeros_like(value) for name, value in parameters.items()}
    generator = torch.Generator().manual_seed(seed)
    losses = torch.zeros(len(models))
    for step in range(1, steps + 1):
        drawn = [part.unflatten(0, (len(models), _BATCH)) for part in task.draw(len(models) * _BATCH, generator)]
        gradients, losses = step_of(parameters, buffers, *drawn)
        now = rate * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / (steps + 1)))).item()
        for name, value in parameters.items():
            if any(part in name for part in frozen):
                continue
            gradient = gradients[name]
            first[name].lerp_(gradient, 0.1)
            second[name].lerp_(gradient * gradient, 0.01)
            corrected = (second[name] / (1 - 0.99**step)).sqrt() + 1e-8
            value -= now / (1 - 0.9**step) * first[name] / corrected
    states = []
    for number in range(len(models)):
        own = {name: value[number].clone() for name, value in (*parameters.items(), *buffers.items())}
        states.append({name: own[name] for name in skeleton.state_dict()})
    return states, losses.tolist()
