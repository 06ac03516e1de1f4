"""sac_fast: tell which neural networks were derived from which, by the correlation of their answers."""

from ._backend import capabilities
from .errors import (
    BackendError,
    FileFormatError,
    FingerprintError,
    ModelError,
    ModelRefusedError,
    ProbeError,
    SacFastError,
    StoreDamagedError,
    StoreError,
    StoreLockedError,
)
from .fingerprint import Fingerprint, fingerprint
from .formats.identify import identify
from .models import (
    Limits,
    ModelEntry,
    OpenedModel,
    Preprocessing,
    list_entries,
    load_model,
    load_weights,
    open_model,
    save_weights,
    weights_hash,
)
from .ops import (
    NearestModels,
    correlation_distance,
    correlation_distance_weighted,
    correlation_distances,
    correlation_matrix,
    correlation_vector,
    nearest_models,
    pairwise_correlation_distances,
)
from .ops.jpeg_roundtrip import jpeg_roundtrip
from .probes import ProbeSet
from .verdict import (
    NullPool,
    Verdict,
    auc,
    calibrated_threshold,
    conformal_p_value,
    evaluate_distances,
    probe_bootstrap,
)
from .verify.fingerprints import Verification, verify_fingerprints

__all__ = [
    "BackendError",
    "FileFormatError",
    "Fingerprint",
    "FingerprintError",
    "Limits",
    "ModelEntry",
    "ModelError",
    "ModelRefusedError",
    "NearestModels",
    "NullPool",
    "OpenedModel",
    "Preprocessing",
    "ProbeError",
    "ProbeSet",
    "SacFastError",
    "StoreDamagedError",
    "StoreError",
    "StoreLockedError",
    "Verdict",
    "Verification",
    "auc",
    "calibrated_threshold",
    "capabilities",
    "conformal_p_value",
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "evaluate_distances",
    "fingerprint",
    "identify",
    "jpeg_roundtrip",
    "list_entries",
    "load_model",
    "load_weights",
    "nearest_models",
    "open_model",
    "pairwise_correlation_distances",
    "probe_bootstrap",
    "save_weights",
    "verify_fingerprints",
    "weights_hash",
]
