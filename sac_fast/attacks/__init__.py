"""Simulated theft, for calibration and evaluation on a user's own models and images.

Every function takes an ``nn.Module`` and float tensors as the model sees them (after preprocessing),
is seeded, changes neither the given models nor the global random state, and returns a new model.
How it trains is said by one `TrainingConfig`.
`ATTACKS` has all of them under their names, callable in one way.
"""

from .adaptive import adaptive_correlation, adaptive_removalnet
from .adversarial import extract_adversarial, finetune_adversarial, pgd
from .extract import distillation_loss, extract_distilled, extract_labels, extract_probabilities
from .finetune import finetune_all, finetune_last, last_layer_name
from .prune import prune_magnitude, prune_only
from .prune_filters import fine_prune, prune_taylor
from .registry import ATTACKS, Attack, AttackContext
from .training import SCRATCH, TUNING, RunOptions, TrainingConfig, train, train_independent
from .transfer import replace_head, transfer_all, transfer_last
from .weights import quantize_int8, weight_noise

__all__ = [
    "ATTACKS",
    "SCRATCH",
    "TUNING",
    "Attack",
    "AttackContext",
    "RunOptions",
    "TrainingConfig",
    "adaptive_correlation",
    "adaptive_removalnet",
    "distillation_loss",
    "extract_adversarial",
    "extract_distilled",
    "extract_labels",
    "extract_probabilities",
    "fine_prune",
    "finetune_adversarial",
    "finetune_all",
    "finetune_last",
    "last_layer_name",
    "pgd",
    "prune_magnitude",
    "prune_only",
    "prune_taylor",
    "quantize_int8",
    "replace_head",
    "train",
    "train_independent",
    "transfer_all",
    "transfer_last",
    "weight_noise",
]
