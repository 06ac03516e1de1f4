"""Simulated thefts of a user's own model on the user's own images, into a labelled zoo: `sac-fast simulate`."""

from .plan import Architecture, Images, Planned, Setting, plan
from .run import simulate

__all__ = ["Architecture", "Images", "Planned", "Setting", "plan", "simulate"]
