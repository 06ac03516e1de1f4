"""Peers of sac_fast's score: published black-box fingerprints of classifiers, written anew from their papers.

Every method is one module with ``prepare(source, task, own, budget, seed)``, which makes a fingerprint of the source
with at most ``budget`` queries, and the fingerprint's ``queries`` and ``score(model)``: the smaller, the more alike,
0 for the source itself. Each module says where it comes from, its hyper-parameters, and what was scaled down and why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from . import advtra, akh, cae, deepjudge, ipguard, irisfp, modeldiff, uap, zest
from .defender import OwnModels, PixelModel, Task, to_pixels


class Fingerprint(Protocol):
    """What a method keeps of the source."""

    @property
    def queries(self) -> int:
        """Questions to a suspect."""

    def score(self, model: nn.Module) -> float:
        """Distance of a suspect, from pixels to logits, to the source; 0 or more."""


@dataclass(frozen=True)
class Method:
    """A peer.

    Attributes:
        title: as its paper calls it.
        paper: where it was published.
        prepare: makes the fingerprint.
        settings: its hyper-parameters.
        budgets: numbers of queries that are tried where none is asked for; the last one is the common budget, or
            what comes near the paper's own where that is larger.
        own_models: whether the defender has to train stolen and independent models.
        any_classes: whether suspects may have another number of classes than the source.
        output_form: what a suspect must give: ``"labels"``, ``"probabilities"`` or ``"logits"``.
    """

    title: str
    paper: str
    prepare: Callable[[nn.Module, Task, OwnModels, int, int], Fingerprint]
    settings: Mapping[str, Any]
    budgets: tuple[int, ...] = (100, 400, 2000)
    own_models: bool = False
    any_classes: bool = False
    output_form: str = "labels"


METHODS: dict[str, Method] = {
    "akh": Method(
        "AKH",
        "Godinot et al., AAAI 2025, arXiv 2412.13021",
        akh.prepare,
        akh.SETTINGS,
        budgets=(25, 100, 200, 400, 1000, 2000),
    ),
    "ipguard": Method("IPGuard", "Cao et al., ASIA CCS 2021, arXiv 1910.12903", ipguard.prepare, ipguard.SETTINGS),
    "cae": Method("CAE", "Lukas et al., ICLR 2021, arXiv 1912.00888", cae.prepare, cae.SETTINGS, own_models=True),
    "uap": Method(
        "UAP",
        "Peng et al., CVPR 2022, arXiv 2202.08602",
        uap.prepare,
        uap.SETTINGS,
        own_models=True,
        output_form="probabilities",
    ),
    "modeldiff": Method(
        "ModelDiff",
        "Li et al., ISSTA 2021, arXiv 2106.08890",
        modeldiff.prepare,
        modeldiff.SETTINGS,
        any_classes=True,
        output_form="logits",
    ),
    "deepjudge-robd": Method(
        "DeepJudge RobD", "Chen et al., IEEE S&P 2022, arXiv 2112.05588", deepjudge.prepare_robd, deepjudge.SETTINGS
    ),
    "deepjudge-jsd": Method(
        "DeepJudge JSD",
        "Chen et al., IEEE S&P 2022, arXiv 2112.05588",
        deepjudge.prepare_jsd,
        deepjudge.SETTINGS,
        output_form="probabilities",
    ),
    "adv-tra": Method("ADV-TRA", "Xu et al., NeurIPS 2024", advtra.prepare, advtra.SETTINGS),
    "irisfp": Method(
        "IrisFP", "Geng et al., CVPR 2026, arXiv 2603.24996", irisfp.prepare, irisfp.SETTINGS, own_models=True
    ),
    "zest": Method(
        "Zest",
        "Jia et al., ICLR 2022",
        zest.prepare,
        zest.SETTINGS,
        budgets=(400, 2000, 6400),
        output_form="probabilities",
    ),
}

__all__ = ["METHODS", "Fingerprint", "Method", "OwnModels", "PixelModel", "Task", "to_pixels"]
