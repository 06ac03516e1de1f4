"""From a probe's pixels to a model's input, explicit and recorded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelError
from ..io.hashing import hash_json
from ..io.lazy import LazyModule

if TYPE_CHECKING:
    import torch
else:  # what runs no network starts without its two seconds
    torch = LazyModule("torch")

#: The option that notes on a model's inputs name.
REMEDY = "--preprocessing auto"
_RESIZE = "torch bilinear antialias"
_CHANNELS = {"RGB": 3, "BGR": 3, "GRAY": 1}
# ITU-R BT.601, as Pillow's convert("L") and OpenCV use it.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Preprocessing:
    """What happens to the pixels before the model sees them: ``(resize(x / 255) − mean) / std``.

    Attributes:
        size: ``(H, W)`` to resize to (bilinear with antialias, `torch.nn.functional.interpolate`), aspect
            ratio not kept; None: as the probes are.
        mean: in units of pixels 0..1, one value for all channels or one a channel, in the model's channel
            order.
        std: likewise, above 0. For pixels in 0..255 take ``std=(1 / 255,)``.
        colour_order: ``"RGB"``, ``"BGR"``, or ``"GRAY"`` (one channel, BT.601 luma).
        layout: ``"NCHW"`` or ``"NHWC"``.

    Raises:
        ValueError: a wrong value of any of these.

    Example::

        >>> import torch
        >>> pixels = torch.full((1, 32, 32, 3), 255, dtype=torch.uint8)
        >>> inputs = Preprocessing(size=(16, 16), mean=(0.5,), std=(0.25,))(pixels)
        >>> inputs.shape, inputs.unique()
        (torch.Size([1, 3, 16, 16]), tensor([2.]))
    """

    size: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    colour_order: Literal["RGB", "BGR", "GRAY"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def __post_init__(self) -> None:
        if self.colour_order not in _CHANNELS:
            raise ValueError(f"colour_order must be one of {', '.join(_CHANNELS)}, got {self.colour_order!r}")
        if self.layout not in ("NCHW", "NHWC"):
            raise ValueError(f'layout must be "NCHW" or "NHWC", got {self.layout!r}')
        if self.size is not None:
            size = tuple(self.size)
            if len(size) != 2 or not all(isinstance(side, int) and 1 <= side <= 65535 for side in size):
                raise ValueError(f"size must be two integers (H, W) from 1 to 65535, got {self.size!r}")
            object.__setattr__(self, "size", size)
        object.__setattr__(self, "mean", self._per_channel("mean", self.mean))
        object.__setattr__(self, "std", self._per_channel("std", self.std))
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, got {self.std}")

    def _per_channel(self, name: str, values: Any) -> tuple[float, ...]:
        channels = _CHANNELS[self.colour_order]
        # A text is a sequence too, whose digits would be taken for channels.
        if isinstance(values, (str, bytes)) or any(isinstance(value, (str, bytes)) for value in values):
            raise ValueError(f"{name} must be numbers, got the text {values!r}")
        try:
            numbers = tuple(float(value) for value in values)
        except OverflowError:
            numbers = ()
        if len(numbers) not in (1, channels) or not all(math.isfinite(value) for value in numbers):
            count = "1 finite number" if channels == 1 else f"1 or {channels} finite numbers"
            raise ValueError(f"{name} must be {count} for {self.colour_order}, got {values!r}")
        return numbers * channels if len(numbers) == 1 else numbers

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Turn pixels into a model's input.

        Args:
            images: uint8 ``(n, H, W, 3)``, RGB, on any device.

        Returns:
            float32 ``(n, C, H, W)`` or ``(n, H, W, C)`` on the same device, C-contiguous.

        Raises:
            ValueError: wrong dtype or shape.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise ValueError(f"images must be uint8 (n, H, W, 3), got {images.dtype} {tuple(images.shape)}")
        x = images.permute(0, 3, 1, 2).to(torch.float32).div(255)
        if self.colour_order == "BGR":
            x = x.flip(1)
        elif self.colour_order == "GRAY":
            x = (x * self._column(_LUMA, x.device)).sum(1, keepdim=True)
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = torch.nn.functional.interpolate(x, self.size, mode="bilinear", antialias=True)
        x = (x - self._column(self.mean, x.device)) / self._column(self.std, x.device)
        return (x.permute(0, 2, 3, 1) if self.layout == "NHWC" else x).contiguous()

    @staticmethod
    def _column(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=device).reshape(1, -1, 1, 1)

    def to_dict(self) -> dict[str, Any]:
        """All that decides the result, as JSON can hold it; `from_dict` reads it."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        lists = {name: list(value) for name, value in values.items() if isinstance(value, tuple)}
        return {"resize": _RESIZE, **values, **lists}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`; keys may be left out.

        Raises:
            ValueError: an unknown key or a wrong value.
        """
        known = dict(values)
        resize = known.pop("resize", _RESIZE)
        if resize != _RESIZE:
            raise ValueError(f"resize must be {_RESIZE!r}, got {resize!r}")
        if unknown := sorted(set(known) - set(cls.__dataclass_fields__)):
            raise ValueError(f"preprocessing must have the keys {sorted(cls.__dataclass_fields__)}, got {unknown}")
        try:
            return cls(**known)
        except TypeError as error:
            raise ValueError(f"preprocessing must be as to_dict() gives it, got {known}: {error}") from error

    @property
    def hash(self) -> str:
        """``"sha256:..."`` of `to_dict` as canonical JSON."""
        return hash_json(self.to_dict())

    def provenance(self) -> dict[str, Any]:
        """What a fingerprint keeps of it."""
        return {"preprocessing": self.to_dict(), "preprocessing_hash": self.hash}


@dataclass(frozen=True)
class Auto:
    """A list of usual preprocessings of which one is chosen; ``base`` names all but mean and std."""

    base: Preprocessing = field(default_factory=Preprocessing)


Named = Preprocessing | Auto | Literal["auto"]


def check_unprocessed(preprocessing: Named) -> None:
    """Refuse a preprocessing of recorded inputs.

    Raises:
        ModelError: one was named.
    """
    if preprocessing != Preprocessing():
        wanted = "preprocessing (--size, --mean, --std, …) must be left out for recorded inputs"
        raise ModelError(f"{wanted}, which a model is given as they are, got one")
