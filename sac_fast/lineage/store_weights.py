"""The weights of a store's models: sketches are kept beside the outputs, so that each file is read once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..io.files import StrPath
from ..store.records import FileStamp
from .pair_weights import why_missing
from .weights_cache import open_cache
from .weights_relatives import HubSearch
from .weights_result import WeightsRelatives

#: In the store's folder.
SKETCHES = "weights.sqlite"


def search_store_weights(
    store: StrPath, files: Mapping[str, StrPath | FileStamp], *, alpha: float = 1e-3, progress: bool = False
) -> WeightsRelatives:
    """Compare the weights of all pairs of a store's models, as `sac_fast.weights_relatives` does.

    Args:
        store: its folder, in which sketches and tests are kept.
        files: of the weights, by name; those that are not there or have changed since are listed as failures.
        alpha: α, bound on the probability that any pair of independent weights is called related.
        progress: bars on stderr.

    Returns:
        Pairs, groups, copies with equal arrays, failures with their reasons.

    Raises:
        FileFormatError: sketches that cannot be read or written.
    """
    missing, there = _split(files)
    with open_cache(Path(store) / SKETCHES) as cache:
        search = HubSearch(there, None, cache, progress)
        search.failures |= missing
        search.sketch()
        search.sweep()
        search.test()
        return search.finish(alpha)


def sketch_store_weights(
    store: StrPath, files: Mapping[str, StrPath | FileStamp], *, progress: bool = False
) -> dict[str, str]:
    """Read the weights of a store's models once and keep their sketches; the reason of each that failed.

    Args:
        store: its folder.
        files: of the weights, by name.
        progress: a bar on stderr.
    """
    missing, there = _split(files)
    with open_cache(Path(store) / SKETCHES) as cache:
        search = HubSearch(there, None, cache, progress)
        search.sketch()
    return missing | search.failures


def _split(files: Mapping[str, StrPath | FileStamp]) -> tuple[dict[str, str], dict[str, str]]:
    """Reasons of the files that are missing, and paths of the others."""
    reasons = {name: why_missing(file) for name, file in files.items()}
    paths = {name: file.path if isinstance(file, FileStamp) else str(file) for name, file in files.items()}
    missing = {name: reason for name, reason in reasons.items() if reason is not None}
    return missing, {name: path for name, path in paths.items() if name not in missing}
