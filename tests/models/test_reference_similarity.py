"""FRI: answers that are similarities to reference images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sac_fast
from sac_fast.errors import ModelError
from sac_fast.models import PairwiseSimilarity, Preprocessing, ReferenceSimilarity, similarities
from sac_fast.probes import ProbeSet

Array = np.ndarray[Any, np.dtype[Any]]
GREY = Preprocessing(mean=(0.5,), std=(0.25,))


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


class Embedder(nn.Module):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(48, 6)
        weight = np.random.default_rng(seed).normal(size=(6, 48))
        self.layer.weight.data = torch.tensor(weight, dtype=torch.float32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


def test_similarities_by_hand() -> None:
    a, b = torch.tensor([[3.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.0, 5.0], [3.0, 0.0], [-3.0, -4.0]])
    torch.testing.assert_close(similarities(a, b), torch.tensor([[0.8, 0.6, -1.0], [0.0, 0.0, 0.0]]))
    torch.testing.assert_close(similarities(a, b, "dot"), torch.tensor([[20.0, 9.0, -25.0], [0.0, 0.0, 0.0]]))
    expected = torch.tensor([[-(10**0.5), -4.0, -10.0], [-5.0, -3.0, -5.0]])
    torch.testing.assert_close(similarities(a, b, "euclidean"), expected)
    torch.testing.assert_close(similarities(a, b, lambda x, y: (x @ y.T) ** 2)[0], torch.tensor([400.0, 81.0, 625.0]))
    with pytest.raises(ValueError, match="similarity must be one of cosine, dot, euclidean, got 'hamming'"):
        similarities(a, b, "hamming")


@pytest.mark.parametrize("r", [1, 5])
def test_fingerprint_of_similarities(r: int) -> None:
    model = Embedder()
    probes, references = ProbeSet.from_arrays(noise(7, 4, 4, 3)), ProbeSet.from_arrays(noise(r, 4, 4, 3, seed=1))
    wrapped = ReferenceSimilarity(model, references, preprocessing=GREY)
    answers = sac_fast.fingerprint(wrapped, probes, preprocessing=GREY, batch_size=3)
    embedded = [
        ((images / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).reshape(len(images), -1)
        @ model.layer.weight.double().detach().numpy().T
        + model.layer.bias.double().detach().numpy()
        for images in (probes.images, references.images)
    ]
    p, q = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in embedded)
    np.testing.assert_allclose(answers.outputs.numpy(), p @ q.T, atol=2e-6)
    # the hash knows model and references
    other = ReferenceSimilarity(model, probes, preprocessing=GREY)
    assert answers.model_hash == sac_fast.weights_hash(wrapped)
    assert (
        len({sac_fast.weights_hash(m) for m in (model, wrapped, other, ReferenceSimilarity(Embedder(1), references))})
        == 4
    )


def test_pairwise_service_agrees_with_the_embeddings() -> None:
    model = Embedder().eval()
    probes, references = ProbeSet.from_arrays(noise(5, 4, 4, 3)), ProbeSet.from_arrays(noise(3, 4, 4, 3, seed=1))
    calls = []

    def service(a: torch.Tensor, b: torch.Tensor) -> list[float]:
        calls.append(len(a))
        return nn.functional.cosine_similarity(model(a), model(b)).tolist()

    answers = sac_fast.fingerprint(
        PairwiseSimilarity(service, references, preprocessing=GREY), probes, preprocessing=GREY
    )
    wrapped = ReferenceSimilarity(model, references, preprocessing=GREY)
    expected = sac_fast.fingerprint(wrapped, probes, preprocessing=GREY)
    torch.testing.assert_close(answers.outputs, expected.outputs, atol=1e-6, rtol=0)
    assert calls == [5, 5, 5]
    assert (answers.name, answers.model_hash) == ("service", None)
    with pytest.raises(ModelError, match=r"service must return 5 similarities for 5 pairs \(reference 0\), got shape"):
        sac_fast.fingerprint(PairwiseSimilarity(lambda a, b: [1.0], references), probes)
