"""The training loop that all attacks share, and plain supervised training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypedDict, Unpack

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError, require
from ..io.progress import track
from ..models.runner import evaluating
from .arguments import check_images, check_labels
from .copies import ModelT, copied, renewed

#: ``True`` draws a bar on stderr; a callable gets (steps done, steps in all) after every step.
Progress = bool | Callable[[int, int], None]
Loss = Callable[[Tensor, Tensor], Tensor]
#: (model in training mode, batch of images, their targets) -> the images and targets of the training step
Perturb = Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
_WARM_UP = 0.3  # of the steps; as torch's OneCycleLR, which cannot be built for a few steps only


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is trained: mini-batches in random order, one-cycle learning rate schedule.

    Attributes:
        epochs: passes over the images.
        batch_size: images a step; the incomplete last batch of an epoch is dropped (``drop_last``), so that batch
            normalisation never sees a handful of images.
        learning_rate: the peak: linear warm-up over 30 % of the steps, then cosine decay to 0.
        optimizer: ``"sgd"`` (Nesterov momentum 0.9) or ``"adamw"``.
        weight_decay: as the optimizer takes it.
        flips: random horizontal flips, each image with probability ½.

    Example:
        >>> TrainingConfig(epochs=2, optimizer="adamw").batch_size
        128
    """

    epochs: int = 8
    batch_size: int = 128
    learning_rate: float = 0.1
    optimizer: Literal["sgd", "adamw"] = "sgd"
    weight_decay: float = 5e-4
    flips: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, f"{name} must be an integer of at least 1", value)
        require(self.learning_rate > 0, "learning_rate must be positive", self.learning_rate)
        require(self.weight_decay >= 0, "weight_decay must not be negative", self.weight_decay)
        require(self.optimizer in ("sgd", "adamw"), "optimizer must be 'sgd' or 'adamw'", self.optimizer)


#: Of trainings from new weights.
SCRATCH = TrainingConfig()
#: Of trainings that start from trained weights: a tenth of the learning rate and half of the epochs.
TUNING = TrainingConfig(epochs=4, learning_rate=0.01)


class RunOptions(TypedDict, total=False):
    """Keyword arguments of every training, beside its `TrainingConfig`.

    Attributes:
        seed: decides everything random, 0 by default; the global random state is left alone.
        progress: ``True`` for a bar on stderr, or a callable of (steps done, steps in all), which may raise to stop.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> run: RunOptions = {"seed": 3}
        >>> train(model, images, labels, **run)
        Linear(in_features=4, out_features=3, bias=True)
    """

    seed: int
    progress: Progress


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter or buffer; the CPU for a model with neither."""
    for tensor in (*model.parameters(), *model.buffers()):
        return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global random state (initialisation, dropout) and give it back as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def compute_logits(model: nn.Module, images: Tensor, batch_size: int = 256) -> Tensor:
    """The model's outputs in eval mode, (n, k) on its device; the modes of all its modules are restored."""
    device = device_of(model)
    # no_grad and not inference_mode: the outputs become targets, which autograd has to save.
    with evaluating(model), torch.no_grad():
        batches = [model(batch.to(device)) for batch in torch.split(images, batch_size)]
    for output, batch in zip(batches, torch.split(images, batch_size), strict=True):
        if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[0] != batch.shape[0]:
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ModelError(f"model must return a ({batch.shape[0]}, classes) tensor of logits, got {got}")
    outputs = torch.cat(batches)
    if not bool(torch.isfinite(outputs).all()):
        row = int((~torch.isfinite(outputs)).any(dim=1).nonzero()[0, 0])
        raise ModelError(f"model must return finite logits, got NaN or Inf in row {row}")
    return outputs


def fit(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    mirrored_targets: Tensor,
    loss: Loss,
    config: TrainingConfig,
    seed: int = 0,
    *,
    trained: nn.Module | None = None,
    perturb: Perturb | None = None,
    progress: Progress = False,
    description: str = "training",
) -> None:
    """Train a model in place and leave it in eval mode.

    Args:
        model: the model, changed in place.
        images: (n, …) float, as the model sees them.
        targets: (n, …) the second argument of ``loss``.
        mirrored_targets: the same for the mirrored images; ``targets`` where mirroring changes nothing.
        loss: (outputs, targets of the batch) -> mean loss.
        config: see `TrainingConfig`.
        seed: of the order of the batches, the mirroring and the model's own randomness (dropout).
        trained: the part of the model that is trained, all of it by default. The rest keeps its parameters
            and, in eval mode, its batch normalisation statistics.
        perturb: applied to every batch and its targets before the training step.
        progress: see `RunOptions`.
        description: of the bar.

    Raises:
        ModelError: the loss stopped being finite, or nothing can be trained.
    """
    device = device_of(model)
    part = model if trained is None else trained
    parameters = [p for p in part.parameters() if p.requires_grad]
    if not parameters:
        raise ModelError("model must have parameters that require a gradient, got none")
    rows = images.shape[0]
    batch_size = min(config.batch_size, rows)
    batches = rows // batch_size
    steps = config.epochs * batches
    optimizer = _make_optimizer(parameters, config)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _one_cycle((step + 0.5) / steps))
    generator = torch.Generator().manual_seed(seed)
    mirroring = config.flips and images.ndim >= 3
    model.eval()
    part.train()
    done = 0
    with seeded(seed, device):
        for epoch in track(range(config.epochs), description, enabled=progress is True):
            order = torch.randperm(rows, generator=generator)
            for batch_rows in torch.split(order[: batches * batch_size], batch_size):
                batch, target = images[batch_rows].to(device), targets[batch_rows]
                if mirroring:
                    mirrored = torch.rand(batch_size, generator=generator) < 0.5
                    batch = torch.where(_like(mirrored, batch).to(device), batch.flip(-1), batch)
                    target = torch.where(_like(mirrored, target), mirrored_targets[batch_rows], target)
                target = target.to(device)
                if perturb is not None:
                    batch, target = perturb(model, batch, target)
                value = loss(model(batch), target)
                optimizer.zero_grad()
                value.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
                done += 1
                if callable(progress):
                    progress(done, steps)
            if not bool(torch.isfinite(value)):
                raise ModelError(
                    f"training must keep the loss finite, got {value.item()} in epoch {epoch + 1}: "
                    f"lower learning_rate, now {config.learning_rate}"
                )
    model.eval()


def _make_optimizer(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    rate, decay = config.learning_rate, config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=decay, nesterov=True)
    return torch.optim.AdamW(parameters, rate, weight_decay=decay)


def split_progress(progress: Progress, configs: Sequence[TrainingConfig], rows: int | Sequence[int]) -> list[Progress]:
    """One progress for each of several trainings in sequence, of so many images; together they count each step once."""
    if not callable(progress):
        return [progress] * len(configs)
    report = progress
    images = [rows] * len(configs) if isinstance(rows, int) else rows
    counts = [c.epochs * (n // min(c.batch_size, n)) for c, n in zip(configs, images, strict=True)]

    def part(start: int) -> Callable[[int, int], None]:
        return lambda done, _: report(start + done, sum(counts))

    return [part(sum(counts[:index])) for index in range(len(counts))]


def _one_cycle(x: float) -> float:
    """The learning rate as a share of its peak, at the share x of all steps: linear warm-up, cosine decay to 0."""
    return x / _WARM_UP if x < _WARM_UP else 0.5 * (1 + math.cos(math.pi * (x - _WARM_UP) / (1 - _WARM_UP)))


def _like(rows: Tensor, tensor: Tensor) -> Tensor:
    """(n,) as (n, 1, …, 1), to broadcast over the other dimensions of ``tensor``."""
    return rows.reshape(-1, *([1] * (tensor.ndim - 1)))


def fit_labels(
    model: ModelT,
    images: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    *,
    trained: nn.Module | None = None,
    perturb: Perturb | None = None,
    description: str = "training",
    **run: Unpack[RunOptions],
) -> ModelT:
    """Check images and labels against the model, then `fit` it in place with cross-entropy."""
    check_images(images)
    labels = check_labels(labels, images.shape[0], compute_logits(model, images[:1]).shape[1]).to(images.device)
    fit(
        model, images, labels, labels, F.cross_entropy, config,
        trained=trained, perturb=perturb, description=description, **run,
    )  # fmt: skip
    return model


def train(
    model: ModelT, images: Tensor, labels: Tensor, *, config: TrainingConfig = SCRATCH, **run: Unpack[RunOptions]
) -> ModelT:
    """Train a copy of a model on labelled images, with cross-entropy.

    Args:
        model: where training starts; it is not changed. It is trained on the device it is on.
        images: (n, …) float, as the model sees them (after preprocessing).
        labels: (n,) integers, 0 … classes - 1.
        config: see `TrainingConfig`.
        **run: see `RunOptions`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError: images or labels of the wrong type, shape or range.
        ModelError: the model's output is not (n, classes) finite logits, or the loss diverged.

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> trained = train(model, images, labels, config=TrainingConfig(epochs=2), seed=7)
        >>> torch.equal(trained.weight, model.weight)
        False
    """
    return fit_labels(copied(model), images, labels, config, **run)


def train_independent(
    model: ModelT, images: Tensor, labels: Tensor, *, config: TrainingConfig = SCRATCH, **run: Unpack[RunOptions]
) -> ModelT:
    """Train the architecture of a model from new random weights: an independent model, for a null pool.

    Every module's ``reset_parameters`` draws new weights under ``seed``; nothing of the given weights
    remains, so a source model may be given for its architecture alone.

    Args:
        model: the architecture; it is not changed.
        images, labels, config, run: as `train`.

    Returns:
        A new model of the same type, in eval mode.

    Raises:
        TypeError, ValueError, ModelError: as `train`; ModelError also for a module that holds
            parameters or buffers of its own and has no ``reset_parameters``, or one that leaves some of
            them as they are (``torch.nn.utils.spectral_norm`` and other hooks).

    Example:
        >>> import torch
        >>> model, images, labels = torch.nn.Linear(4, 3), torch.rand(32, 4), torch.arange(32) % 3
        >>> fresh = train_independent(model, images, labels, config=TrainingConfig(epochs=2), seed=7)
        >>> torch.equal(fresh.weight, model.weight)
        False
    """
    with seeded(run.get("seed", 0), device_of(model)):
        fresh = renewed(model)
    return fit_labels(fresh, images, labels, config, **run)
