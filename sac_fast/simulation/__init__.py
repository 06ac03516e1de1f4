"""Simulated thefts of a user's own model on the user's own images, into a labelled zoo: `sac-fast simulate`."""

from ..labelled_zoo.plan import Architecture
from .plan import Images, Planned, Setting, plan
from .run import SimulationImages, SimulationModels, run_plan, simulate

__all__ = [
    "Architecture",
    "Images",
    "Planned",
    "Setting",
    "SimulationImages",
    "SimulationModels",
    "plan",
    "run_plan",
    "simulate",
]
