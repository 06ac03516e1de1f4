"""Probe sets: the images on which the outputs of all models are compared."""

from .committed_draw import commitment, committed_order, dataset_hash
from .compare import EngineDifference, compare_engines
from .corruptions import CORRUPTIONS, corrupt
from .cutmix import cutmix
from .dali import DaliBatch, DaliLoader
from .dali_probes import load_dali
from .jpeg import JPEG_SEVERITY, jpeg_compress
from .misclassified import misclassified
from .mixture import mixture
from .probe_set import ProbeSet
from .recorded_inputs import Probes, RecordedInputs, load_probes
from .reference_images import split_references
from .selection import balanced, committed, distinct, perceptual_hash
from .verification import ImageCheck, ProbeVerification, verify_probes

__all__ = [
    "CORRUPTIONS",
    "JPEG_SEVERITY",
    "DaliBatch",
    "DaliLoader",
    "EngineDifference",
    "ImageCheck",
    "ProbeSet",
    "ProbeVerification",
    "Probes",
    "RecordedInputs",
    "balanced",
    "commitment",
    "committed",
    "committed_order",
    "compare_engines",
    "corrupt",
    "cutmix",
    "dataset_hash",
    "distinct",
    "jpeg_compress",
    "load_dali",
    "load_probes",
    "misclassified",
    "mixture",
    "perceptual_hash",
    "split_references",
    "verify_probes",
]
