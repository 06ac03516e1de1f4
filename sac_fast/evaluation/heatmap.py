"""Heat map of the difference of correlations |C^source − C^suspect|, probes ordered by class."""

from __future__ import annotations

from typing import Any

import torch

from ..io.text import figure_text
from ..ops import correlation_matrix
from ..scores import FIXED, evenly_spaced, transform_rows
from .loaded_zoo import LoadedZoo

_MAX_PROBES = 300


def draw_heatmap(figure: Any, loaded: LoadedZoo) -> bool:
    """Draw three panels: a fine-tuned, an extracted and an independent model.

    Args:
        figure: a matplotlib figure.
        loaded: the zoo.

    Returns:
        Whether the zoo has the probes for it.
    """
    score = next((s for s in (FIXED["sac-jc"], FIXED["robust"]) if s.probes in loaded.outputs), None)
    if score is None or score.metric is None:
        return False
    outputs = loaded.outputs[score.probes]
    rows = evenly_spaced(loaded.count(score.probes), _MAX_PROBES)
    labels = loaded.labels[score.probes]
    classes = outputs[loaded.source].argmax(dim=1) if labels is None else labels
    order = rows[torch.argsort(classes[rows], stable=True)]
    bounds = torch.nonzero(torch.diff(classes[order]))[:, 0].tolist()

    def matrix(name: str) -> torch.Tensor:
        return correlation_matrix(transform_rows(outputs[name][order], score.measure), metric=score.metric or "cosine")

    mine = matrix(loaded.source)
    groups = [[m for m in loaded.stolen if m.origin.startswith(attack)] for attack in ("finetune", "extract")]
    # Independents trained on the source's data are the most similar ones.
    groups.append(sorted(loaded.independents, key=lambda m: m.origin == "other-data"))
    chosen = [member for group in groups for member in group[:1]]
    panels = figure.subplots(1, len(chosen), squeeze=False)[0]
    image = None
    for axes, member in zip(panels, chosen, strict=True):
        difference = (mine - matrix(member.name)).abs()
        image = axes.imshow(difference.numpy(), cmap="gray_r", vmin=0.0, vmax=1.0, interpolation="nearest")
        for bound in bounds:
            axes.axhline(bound + 0.5, color="#D55E00", linewidth=0.4)
            axes.axvline(bound + 0.5, color="#D55E00", linewidth=0.4)
        axes.set_title(f"{member.role}: {figure_text(member.origin)}\nmean {difference.mean():.3f}", fontsize=9)
        axes.set_xlabel("probe, ordered by class")
        axes.tick_params(labelsize=7)
    panels[0].set_ylabel("probe, ordered by class")
    figure.colorbar(image, ax=list(panels), label=f"|difference of correlations| ({score.metric})")
    figure.suptitle(f"D = |C_source − C_suspect|, {len(order)} probes of {score.probes}; lines: classes", fontsize=10)
    return True
