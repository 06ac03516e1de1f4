"""Tables of whole numbers in a state dict that was halved as a whole, as `{k: v.half() ...}` does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from sac_fast.errors import ModelError
from sac_fast.models import load_weights


class Windows(nn.Module):
    """A table of places beside a layer, as Swin transformers have."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("places", torch.arange(6).reshape(2, 3))
        self.register_buffer("mask", torch.tensor([True, False]))


def test_halved_tables_are_whole_again(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in Windows().state_dict().items()}
    state["places"] += 5
    state["norm.num_batches_tracked"] += 2.5  # as averaging leaves it
    torch.save(state, tmp_path / "w")
    model, by_torch = Windows(), Windows()
    load_weights(model, tmp_path / "w")
    by_torch.load_state_dict(state)
    assert model.places.tolist() == [[5, 6, 7], [8, 9, 10]]
    assert model.mask.tolist() == [True, False]
    assert int(model.norm.num_batches_tracked) == 2
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in by_torch.state_dict().items())


def test_fractions_in_a_table_are_refused(tmp_path: Path) -> None:
    state = {**Windows().state_dict(), "places": torch.full((2, 3), 0.5)}
    torch.save(state, tmp_path / "w")
    with pytest.raises(ModelError, match="whole numbers at places, got fractions"):
        load_weights(Windows(), tmp_path / "w")
