"""FRI, Feature from Reference Images: a face verifier's outputs as similarities to reference images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ModelError
from ..ops.arguments import check_choice
from ..probes import ProbeSet
from .preprocessing import Preprocessing
from .runner import run_model, select_output

SIMILARITIES = ("cosine", "dot", "euclidean")
Similarity = str | Callable[[Tensor, Tensor], Tensor]
Service = Callable[[Tensor, Tensor], Any]


def similarities(embeddings: Tensor, references: Tensor, similarity: Similarity = "cosine") -> Tensor:
    """``o_ij`` = similarity of embedding i to reference j.

    Args:
        embeddings: floating ``(n, d)``. references: floating ``(r, d)``.
        similarity: ``"cosine"`` (a zero row has 0 to all), ``"dot"``, ``"euclidean"`` (minus the distance), or a
            function of the two that gives ``(n, r)``.

    Returns:
        ``(n, r)``.

    Raises:
        ValueError: an unknown name.
    """
    if callable(similarity):
        return similarity(embeddings, references)
    check_choice("similarity", similarity, SIMILARITIES)
    if similarity == "euclidean":
        return -torch.cdist(embeddings, references, compute_mode="donot_use_mm_for_euclid_dist")
    if similarity == "cosine":
        embeddings, references = F.normalize(embeddings, dim=1), F.normalize(references, dim=1)
    return embeddings @ references.T


class ReferenceSimilarity(nn.Module):
    """An embedding model whose outputs are similarities to r reference images: ``o_i = sim(f(x_i), f(ref_j))_j``.

    Give it to `sac_fast.fingerprint` in place of the model, with the same preprocessing. The references'
    embeddings are computed once, here. Its weights hash is of the model's weights and the references' pixels.

    Args:
        model: embeds a batch of inputs as ``(b, d)``.
        references: r images, none of them among the probes (`sac_fast.probes.split_references`).
        preprocessing, output, batch_size: see `run_model`; the same as the fingerprint's.
        similarity: see `similarities`.

    Raises:
        ModelError: the model fails on the references.

    Source: Guan et al., arXiv 2412.20768 (FRI).
    """

    embeddings: Tensor
    references: Tensor

    def __init__(
        self,
        model: nn.Module,
        references: ProbeSet,
        *,
        preprocessing: Preprocessing | None = None,
        similarity: Similarity = "cosine",
        output: int | str | None = None,
        batch_size: int = 64,
    ) -> None:
        super().__init__()
        if not callable(similarity):
            check_choice("similarity", similarity, SIMILARITIES)
        rows = run_model(model, references, preprocessing=preprocessing, output=output, batch_size=batch_size)
        tensors = [*model.parameters(), *model.buffers()]
        place = tensors[0].device if tensors else torch.device("cpu")
        self.model, self.similarity, self.output = model, similarity, output
        self.register_buffer("references", torch.from_numpy(references.images.copy()).to(place))
        # Not part of the state: the same on every device only up to rounding, and so would the hash be.
        self.register_buffer("embeddings", rows.to(place), persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Similarities ``(b, r)`` of a batch of inputs to the references."""
        rows = select_output(self.model(inputs), self.output).flatten(1)
        return similarities(rows.to(self.embeddings.dtype), self.embeddings, self.similarity)


class PairwiseSimilarity:
    """A service that compares two images, asked for each probe and each of r references.

    Give it to `sac_fast.fingerprint` in place of a model. It costs n·r comparisons.

    Args:
        service: from two batches of b inputs, probes and references, to b similarities.
        references: r images.
        preprocessing: the same as the fingerprint's.

    Raises:
        ModelError: when called, the service does not give one number a pair.

    Source: Guan et al., arXiv 2412.20768 (FRI).
    """

    is_service = True  # every call costs: it is not asked again to see which axis is that of the probes

    def __init__(self, service: Service, references: ProbeSet, *, preprocessing: Preprocessing | None = None) -> None:
        self.service = service
        self.__name__ = getattr(service, "__name__", type(service).__name__)
        self._inputs = (preprocessing or Preprocessing())(torch.from_numpy(references.images.copy()))

    def __call__(self, inputs: Tensor) -> Tensor:
        """Similarities ``(b, r)`` of a batch of inputs to the references."""
        columns = []
        for index, reference in enumerate(self._inputs.to(inputs)):
            returned = torch.as_tensor(self.service(inputs, reference.expand_as(inputs)))
            if returned.numel() != len(inputs):
                wanted = f"{len(inputs)} similarities for {len(inputs)} pairs (reference {index})"
                raise ModelError(f"service must return {wanted}, got shape {tuple(returned.shape)}")
            columns.append(returned.reshape(len(inputs)))
        return torch.stack(columns, 1)
