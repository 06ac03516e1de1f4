"""The probes of a worker, as it gets them and as inputs on its device, prepared once for each preprocessing."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..errors import ModelError
from ..models.named_inputs import NamedInputs
from ..models.preprocessing import Preprocessing

#: Larger prepared probes are not cached but prepared again for each model, a part at a time.
MAX_CACHED_BYTES = 1 << 30


@dataclass
class PreparedProbes:
    """The probes as inputs on the device, prepared once for each preprocessing.

    Attributes:
        pixels: uint8 ``(n, H, W, 3)``; None: there are no images.
        device: of the inputs.
        max_cached_bytes: of the cached inputs, over all preprocessings.
        labels: class numbers of the probes, where they have some.
        recorded: inputs that are given to models as they are, in place of images.
    """

    pixels: torch.Tensor | None
    device: torch.device
    max_cached_bytes: int = MAX_CACHED_BYTES
    labels: torch.Tensor | None = None
    recorded: NamedInputs | None = None
    _cache: OrderedDict[str, torch.Tensor] = field(default_factory=OrderedDict)

    def parts(self, preprocessing: Preprocessing, batch_size: int, count: int | None = None) -> Iterator[torch.Tensor]:
        """The inputs in order: all at once where they can be cached, else in parts of whole batches.

        The next model gets the same tensors: give each model a copy, as `run_inputs` does.

        Args:
            preprocessing: of the pixels.
            batch_size: probes a call.
            count: only so many, the first ones; None: all.
        """
        if self.pixels is None:
            raise ModelError("a model that must be run needs probes, got none")
        rows = len(self.pixels) if count is None else min(count, len(self.pixels))
        key = f"{preprocessing.hash} {rows}"
        whole = self._cache.pop(key, None)
        if whole is None:
            first = preprocessing(self.pixels[:1].to(self.device))
            probe_bytes = first.nbytes
            if probe_bytes * rows > self.max_cached_bytes:
                step = max(1, self.max_cached_bytes // (4 * probe_bytes) // batch_size) * batch_size
                for start in range(0, rows, step):
                    yield self._prepare(preprocessing, start, min(step, rows - start), batch_size)
                return
            whole = self._prepare(preprocessing, 0, rows, batch_size)
            if count is not None and self._cached_bytes() + whole.nbytes > self.max_cached_bytes:
                yield whole  # a few rows are no reason to drop others
                return
            self._evict(self.max_cached_bytes - whole.nbytes)
        self._cache[key] = whole
        yield whole

    def _prepare(self, preprocessing: Preprocessing, start: int, count: int, batch_size: int) -> torch.Tensor:
        assert self.pixels is not None
        pieces = torch.split(self.pixels[start : start + count], batch_size)
        inputs = torch.cat([preprocessing(piece.to(self.device)) for piece in pieces])
        # The fastest layout of convolutions on a CPU; see `use_fastest_memory_format`.
        if self.device.type == "cpu" and preprocessing.layout == "NCHW":
            return inputs.contiguous(memory_format=torch.channels_last)
        return inputs

    def _evict(self, max_bytes: int) -> None:
        """Drop the least recently used inputs until the rest fits."""
        while self._cache and self._cached_bytes() > max_bytes:
            self._cache.popitem(last=False)

    def _cached_bytes(self) -> int:
        return sum(inputs.nbytes for inputs in self._cache.values())


def arrays_of(
    block: Any, layout: Mapping[str, Any] | None
) -> tuple[torch.Tensor | None, NamedInputs | None, torch.Tensor | None]:
    """Images, or inputs by name, and labels.

    Args:
        block: writable memory, which the tensors share.
        layout: of `sac_fast.scan.shared_probes.SharedProbes`; None: there are no probes.
    """
    if layout is None or block is None:
        return None, None, None
    labels = None if layout["labels"] is None else torch.tensor(layout["labels"])
    found = {
        name: torch.from_numpy(np.frombuffer(block, dtype, math.prod(shape), offset).reshape(shape))
        for name, dtype, shape, offset in layout["arrays"]
    }
    return (found[""], None, labels) if set(found) == {""} else (None, NamedInputs(found), labels)
