"""Statistics of distances: null pools, p-values, figures of merit with intervals, multiple testing, planning.

All functions take numbers, smaller for more similar models; none reads models, probes or files.
"""

from .bootstrap import Interval
from .comparison import Comparison, Estimate
from .evaluation import Evaluation, evaluate_distances
from .false_accusation import SplitCheck, TransferCheck, random_split_check, transfer_check
from .kinds import KindPool, judge_by_kind, near_duplicates
from .metrics import RocCurve, auc, f1_at_rate, f1_at_threshold, roc_curve, tpr_at_fpr, welch_p_value
from .multiple import benjamini_hochberg, holm
from .pool import NullPool, Verdict, VerdictName, attainable_p_value, calibrated_threshold, conformal_p_value
from .power import RealisedRate, nulls_needed, probes_needed, realised_rate
from .probes import ProbeBootstrap, half_samples, probe_bootstrap, probe_counts

__all__ = [
    "Comparison",
    "Estimate",
    "Evaluation",
    "Interval",
    "KindPool",
    "NullPool",
    "ProbeBootstrap",
    "RealisedRate",
    "RocCurve",
    "SplitCheck",
    "TransferCheck",
    "Verdict",
    "VerdictName",
    "attainable_p_value",
    "auc",
    "benjamini_hochberg",
    "calibrated_threshold",
    "conformal_p_value",
    "evaluate_distances",
    "f1_at_rate",
    "f1_at_threshold",
    "half_samples",
    "holm",
    "judge_by_kind",
    "near_duplicates",
    "nulls_needed",
    "probe_bootstrap",
    "probe_counts",
    "probes_needed",
    "random_split_check",
    "realised_rate",
    "roc_curve",
    "tpr_at_fpr",
    "transfer_check",
    "welch_p_value",
]
