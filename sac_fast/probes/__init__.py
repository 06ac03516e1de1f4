"""Probes: the images that every model answers."""

from .jpeg import JPEG_SEVERITY, jpeg_compress
from .probe_set import ProbeSet

__all__ = ["JPEG_SEVERITY", "ProbeSet", "jpeg_compress"]
