"""sac_fast: tell which neural networks were derived from which, by the correlation of their answers."""

from ._backend import capabilities
from .errors import BackendError, FileFormatError, FingerprintError, ModelError, ProbeError, SacFastError
from .fingerprint import Fingerprint, fingerprint
from .jpeg_ops import jpeg_roundtrip
from .models import Preprocessing, load_model, load_weights, save_weights, weights_hash
from .ops import (
    NearestModels,
    correlation_distance,
    correlation_distances,
    correlation_matrix,
    correlation_vector,
    nearest_models,
    pairwise_correlation_distances,
)
from .probes import ProbeSet
from .verdict import NullPool, Verdict, auc, calibrated_threshold, conformal_p_value
from .verify import Verification, verify_fingerprints

__all__ = [
    "BackendError",
    "FileFormatError",
    "Fingerprint",
    "FingerprintError",
    "ModelError",
    "NearestModels",
    "NullPool",
    "Preprocessing",
    "ProbeError",
    "ProbeSet",
    "SacFastError",
    "Verdict",
    "Verification",
    "auc",
    "calibrated_threshold",
    "capabilities",
    "conformal_p_value",
    "correlation_distance",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "fingerprint",
    "jpeg_roundtrip",
    "load_model",
    "load_weights",
    "nearest_models",
    "pairwise_correlation_distances",
    "save_weights",
    "verify_fingerprints",
    "weights_hash",
]
