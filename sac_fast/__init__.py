"""sac_fast: tell which neural networks were derived from which, by the correlation of their outputs.

Importing the package is quick: a public name imports its module when it is first used. The ops are registered as
``torch.ops.sac_fast.*`` as soon as both torch and sac_fast are imported, in either order.
"""

from . import _search_path as _search_path  # isort: skip  # before an import could find the wrong file

import importlib
import importlib.util
import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

from .io.after_import import after_import

if TYPE_CHECKING:
    from .audit.run import run_audit
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
    from .evaluation.run import evaluate
    from .fingerprint import Fingerprint, fingerprint
    from .formats.identify import identify
    from .formats.limits import Limits
    from .formats.weights import open_weights
    from .labelled_zoo.siblings import make_siblings
    from .lineage.relatives import find_relatives
    from .lineage.weights_relatives import weights_relatives
    from .lineage.weights_result import WeightsRelatives
    from .models import (
        ModelEntry,
        OpenedModel,
        Preprocessing,
        TableFormat,
        list_entries,
        load_model,
        load_weights,
        open_model,
        save_weights,
        weights_hash,
    )
    from .neighbours.within import neighbours_within
    from .ops.capabilities import capabilities
    from .ops.correlation_distance import correlation_distance
    from .ops.correlation_distance_weighted import correlation_distance_weighted
    from .ops.correlation_distances import correlation_distances
    from .ops.correlation_matrix import correlation_matrix
    from .ops.correlation_vector import correlation_vector
    from .ops.jpeg_roundtrip import jpeg_roundtrip
    from .ops.nearest_models import NearestModels, nearest_models
    from .ops.pairwise_correlation_distances import pairwise_correlation_distances
    from .packs.opened import open_pack
    from .probes import ProbeSet, RecordedInputs
    from .scan.run import scan_models
    from .simulation.run import simulate
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
    from .verify.grounds import verify_suspects
    from .verify.sibling_result import SiblingResult
    from .verify.siblings import sibling_test
    from .verify.weights import WeightsResult, weights_test

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
    "RecordedInputs",
    "SacFastError",
    "SiblingResult",
    "StoreDamagedError",
    "StoreError",
    "StoreLockedError",
    "TableFormat",
    "Verdict",
    "Verification",
    "WeightsRelatives",
    "WeightsResult",
    "auc",
    "calibrated_threshold",
    "capabilities",
    "conformal_p_value",
    "correlation_distance",
    "correlation_distance_weighted",
    "correlation_distances",
    "correlation_matrix",
    "correlation_vector",
    "evaluate",
    "evaluate_distances",
    "find_relatives",
    "fingerprint",
    "identify",
    "jpeg_roundtrip",
    "list_entries",
    "load_model",
    "load_weights",
    "make_siblings",
    "nearest_models",
    "neighbours_within",
    "open_model",
    "open_pack",
    "open_weights",
    "pairwise_correlation_distances",
    "probe_bootstrap",
    "run_audit",
    "save_weights",
    "scan_models",
    "sibling_test",
    "simulate",
    "verify_fingerprints",
    "verify_suspects",
    "weights_hash",
    "weights_relatives",
    "weights_test",
]

#: Where each public name is defined; the imports for type checkers above say the same.
_MODULES = {
    "audit.run": "run_audit",
    "errors": "BackendError FileFormatError FingerprintError ModelError ModelRefusedError ProbeError SacFastError "
    "StoreDamagedError StoreError StoreLockedError",
    "evaluation.run": "evaluate",
    "fingerprint": "Fingerprint fingerprint",
    "formats.identify": "identify",
    "formats.limits": "Limits",
    "formats.weights": "open_weights",
    "labelled_zoo.siblings": "make_siblings",
    "lineage.relatives": "find_relatives",
    "lineage.weights_relatives": "weights_relatives",
    "lineage.weights_result": "WeightsRelatives",
    "models": "ModelEntry OpenedModel Preprocessing TableFormat list_entries load_model load_weights open_model "
    "save_weights weights_hash",
    "neighbours.within": "neighbours_within",
    "ops.capabilities": "capabilities",
    "ops.correlation_distance": "correlation_distance",
    "ops.correlation_distance_weighted": "correlation_distance_weighted",
    "ops.correlation_distances": "correlation_distances",
    "ops.correlation_matrix": "correlation_matrix",
    "ops.correlation_vector": "correlation_vector",
    "ops.jpeg_roundtrip": "jpeg_roundtrip",
    "ops.nearest_models": "NearestModels nearest_models",
    "ops.pairwise_correlation_distances": "pairwise_correlation_distances",
    "packs.opened": "open_pack",
    "probes": "ProbeSet RecordedInputs",
    "scan.run": "scan_models",
    "simulation.run": "simulate",
    "verdict": "NullPool Verdict auc calibrated_threshold conformal_p_value evaluate_distances probe_bootstrap",
    "verify.fingerprints": "Verification verify_fingerprints",
    "verify.grounds": "verify_suspects",
    "verify.sibling_result": "SiblingResult",
    "verify.siblings": "sibling_test",
    "verify.weights": "WeightsResult weights_test",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}


#: Packages that import no torch.
_TORCH_FREE = ("_backend", "cli", "errors", "io", "neighbours", "store")
_lock = threading.RLock()


def __getattr__(name: str) -> Any:
    is_public = name in _MODULE_OF
    if not is_public and (name.startswith("_") or importlib.util.find_spec(f"{__name__}.{name}") is None):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULE_OF.get(name, name)
    if module.partition(".")[0] not in _TORCH_FREE:
        importlib.import_module("torch")  # before the lock: the thread that imports torch takes it to register the ops
    with _lock:  # Python lets threads see each other's half imported modules
        home = importlib.import_module(f"{__name__}.{module}")
    value = getattr(home, name) if is_public else home
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    def __setattr__(self, name: str, value: object) -> None:
        # An import of the module `sac_fast.fingerprint` sets an attribute that is the public function's.
        if name in _MODULE_OF and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


def _register_ops() -> None:
    with _lock:
        importlib.import_module(f"{__name__}.ops")


sys.modules[__name__].__class__ = _Package
after_import("torch", __name__, _register_ops)
