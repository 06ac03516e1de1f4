"""What a type checker must find: mypy (strict) reports an ignored line without an error, so each of these has one.

It is checked, never run: `mypy` reads it with the package.
"""

from torch import Tensor

import sac_fast


def misspell(a: Tensor, b: Tensor, probes: sac_fast.ProbeSet, source: sac_fast.Fingerprint) -> None:
    """Wrong names, one a line; the same calls with right ones stand below."""
    sac_fast.correlation_distance(a, b, metric="perason")  # type: ignore[arg-type]
    sac_fast.correlation_distance(a, b, comparison="L1")  # type: ignore[arg-type]
    sac_fast.correlation_distances(a, [b], precision="hihg")  # type: ignore[arg-type]
    sac_fast.nearest_models([a, b], metric="euclidean")  # type: ignore[arg-type]
    sac_fast.correlation_matrix(a, backend="gpu")  # type: ignore[arg-type]
    sac_fast.verify_fingerprints(source, source, [], metric="perason")  # type: ignore[arg-type]
    sac_fast.verify_suspects(source, [source], ground="sibling")  # type: ignore[arg-type]
    sac_fast.Preprocessing(colour_order="GBR")  # type: ignore[arg-type]
    sac_fast.ProbeSet.from_folder("images", fit="squeeze")  # type: ignore[arg-type]
    probes.jpeg(quality=50, subsampling="4:1:1")  # type: ignore[arg-type]
    probes.jpeg(quality=50, engine="pilow")  # type: ignore[arg-type]
    source.distance(source, metric="perason")  # type: ignore[arg-type]


def spell(a: Tensor, b: Tensor, probes: sac_fast.ProbeSet, source: sac_fast.Fingerprint) -> None:
    """No finding here."""
    sac_fast.correlation_distance(a, b, metric="pearson", comparison="l1", precision="high", backend="cpu")
    sac_fast.verify_fingerprints(source, source, [], metric="pearson")
    sac_fast.verify_suspects(source, [source], ground="siblings")
    sac_fast.ProbeSet.from_folder("images", fit="pad")
    probes.jpeg(quality=50, subsampling="4:4:4", engine="pillow")
