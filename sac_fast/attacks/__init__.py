"""Simulated theft, for calibration and evaluation on a user's own models and images.

Every function takes an ``nn.Module`` and float tensors as the model sees them (after preprocessing),
is seeded, leaves the given models and the global random state as they were, and returns a new model.
"""

from .extract import extract_labels, extract_probabilities
from .finetune import finetune_all, finetune_last, last_layer_name
from .training import Recipe, train, train_independent

__all__ = [
    "Recipe",
    "extract_labels",
    "extract_probabilities",
    "finetune_all",
    "finetune_last",
    "last_layer_name",
    "train",
    "train_independent",
]
