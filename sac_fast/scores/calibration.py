"""The calibrated score of one source, stored in one file with all data that judging a suspect needs."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import FileFormatError, FingerprintError
from ..fingerprint import Fingerprint
from ..io.container import load_container, save_container
from ..io.files import StrPath
from . import calibration_checks as checks
from .statistic import CohortFeatures, CohortStatistic
from .weights import Weights, fit_weights

KIND = "calibration"
_SOURCE = "source"
# Prefixes of keys, so that an independent, a stolen model and a suspect may have the same name.
_ROLES = {"i": "the independent", "s": "the stolen"}
_BATCH = 32
_MAX_MODELS, _MAX_STATISTICS = 1000, 100


@dataclass(frozen=True, eq=False)
class Calibration:
    """A score fitted to one source.

    Attributes:
        statistics: statistics of a suspect.
        weights: how they are combined.
        probe_hashes: by probe set: `ProbeSet.content_hash` of the probes.
        source: by probe set: the source's (n, k) outputs.
        cohort: by probe set, by name: the cohort's outputs.
        labels: by probe set: (n,) int64 true labels of the probes, if a statistic needs them.
        source_hash: `weights_hash` of the source; None if unknown.
        used_hashes: names by `weights_hash` of the models of cohort and fit: none may be a null or a suspect.
        null: distances by name of independents that had no part in the fit.
        null_hashes: names by `weights_hash` of these.
        attacks: number of stolen models of each attack in the fit.

    Example::

        >>> import torch
        >>> from sac_fast import Fingerprint
        >>> rng = torch.Generator().manual_seed(0)
        >>> def fingerprint_of(name, outputs):
        ...     return Fingerprint(outputs, {"name": name, "probe_hash": "sha256:" + "0" * 64})
        >>> source = torch.randn(60, 5, generator=rng)
        >>> cohort = {f"i{i}": fingerprint_of(f"i{i}", torch.randn(60, 5, generator=rng)) for i in range(6)}
        >>> noisy = [source + 0.5 * torch.randn(60, 5, generator=rng) for _ in range(4)]
        >>> stolen = {f"s{i}": fingerprint_of(f"s{i}", outputs) for i, outputs in enumerate(noisy)}
        >>> fitted = Calibration.fit(
        ...     {"plain": fingerprint_of("source", source)},
        ...     {"plain": cohort},
        ...     {"plain": stolen},
        ...     dict.fromkeys(stolen, "noise"),
        ...     [CohortStatistic(0.1, "raw", "pearson", "plain")],
        ...     labels={},
        ...     regularisation=0.1,
        ... )
        >>> suspects = {"copy": {"plain": source}, "other": {"plain": torch.randn(60, 5, generator=rng)}}
        >>> distances = fitted.distances(suspects)
        >>> distances["copy"] < distances["other"]
        True
    """

    statistics: tuple[CohortStatistic, ...]
    weights: Weights
    probe_hashes: dict[str, str]
    source: dict[str, Tensor]
    cohort: dict[str, dict[str, Tensor]]
    labels: dict[str, Tensor]
    source_hash: str | None
    used_hashes: dict[str, str]
    null: dict[str, float]
    null_hashes: dict[str, str]
    attacks: dict[str, int]

    @classmethod
    def fit(
        cls,
        source: Mapping[str, Fingerprint],
        cohort: Mapping[str, Mapping[str, Fingerprint]],
        thefts: Mapping[str, Mapping[str, Fingerprint]],
        origins: Mapping[str, str],
        statistics: Sequence[CohortStatistic],
        *,
        labels: Mapping[str, Tensor | None],
        regularisation: float,
    ) -> Calibration:
        """Fit the score of one source.

        Args:
            source: by probe set: the source's fingerprint.
            cohort: by probe set, by name: fingerprints of at least 4 independents made by the owner. They define what
                independents have in common; each of them, judged by the others, is an example of independence.
            thefts: by probe set, by name: fingerprints of models stolen from the source in simulations.
            origins: by name: the attack.
            statistics: see `sac_fast.scores.presets.CALIBRATED`.
            labels: by probe set: true labels of the probes, if a statistic needs them.
            regularisation: see `fit_weights`.

        Returns:
            The score, without nulls: see `with_null`.

        Raises:
            FingerprintError: fingerprints of different probes, or one model (by the hash of its weights) twice.
            ValueError: a missing probe set or model, or too few of them.
        """
        wanted = tuple(dict.fromkeys(statistic.probes for statistic in statistics))
        names, stolen = list(cohort[wanted[0]]), list(thefts[wanted[0]])
        prints = {
            probes: {
                _SOURCE: source[probes],
                **{f"i/{name}": cohort[probes][name] for name in names},
                **{f"s/{name}": thefts[probes][name] for name in stolen},
            }
            for probes in wanted
        }
        used = _check_fingerprints(prints)
        outputs = {probes: {key: fp.outputs for key, fp in group.items()} for probes, group in prints.items()}
        features = CohortFeatures(outputs, list(outputs[wanted[0]]), statistics, labels)
        independents = [f"i/{name}" for name in names]
        attacks = [origins[name] for name in stolen]
        weights = fit_weights(
            features.compute(_SOURCE, [f"s/{name}" for name in stolen], independents),
            attacks,
            features.compute(_SOURCE, independents, independents),
            regularisation=regularisation,
        )
        return cls(
            statistics=tuple(statistics),
            weights=weights,
            probe_hashes={probes: source[probes].probe_hash for probes in wanted},
            source={probes: outputs[probes][_SOURCE] for probes in wanted},
            cohort={probes: {name: outputs[probes][f"i/{name}"] for name in names} for probes in wanted},
            labels={s.probes: truth for s in statistics if s.by_class and (truth := labels[s.probes]) is not None},
            source_hash=source[wanted[0]].model_hash,
            used_hashes=used,
            null={},
            null_hashes={},
            attacks=dict(Counter(attacks)),
        )

    def with_null(self, nulls: Mapping[str, Mapping[str, Fingerprint]]) -> Calibration:
        """The same score with the distances of independents that had no part in the fit.

        Args:
            nulls: by name, by probe set: their fingerprints.

        Raises:
            FingerprintError: fingerprints of other probes; or, by the hash of the weights, the source, a model of the
                fit, or one model under two names.
            ValueError: a missing probe set.
        """
        hashes: dict[str, str] = {}
        known: dict[str, str] = {}
        for name, prints in nulls.items():
            for probes, fp in prints.items():
                checks.check_probes(name, fp, self.probe_hashes.get(probes, fp.probe_hash))
                if fp.model_hash is None:
                    continue
                if fp.model_hash == self.source_hash:
                    raise FingerprintError(f"a null must be no copy of the source, got {name!r}")
                if fp.model_hash in self.used_hashes:
                    raise FingerprintError(
                        f"a null must have no part in the fit, got {name!r} with the weights of "
                        f"{self.used_hashes[fp.model_hash]!r}"
                    )
                checks.check_unused(known, fp.model_hash, f"the null {name!r}")
                hashes[fp.model_hash] = name
        outputs = {name: {probes: fp.outputs for probes, fp in prints.items()} for name, prints in nulls.items()}
        return dataclasses.replace(self, null=self.distances(outputs), null_hashes=hashes)

    def distances(self, suspects: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
        """Distances of suspects to the source.

        Args:
            suspects: by name, by probe set: (n, k) outputs; any k.

        Returns:
            Distances by name, ≥ 0, smaller for more similar models (`Weights`).

        Raises:
            ValueError: a missing probe set, or outputs of the wrong shape.
        """
        for name, outputs_of in suspects.items():
            if missing := [probes for probes in self.probe_hashes if probes not in outputs_of]:
                raise ValueError(
                    f"outputs of {name!r} must be on {', '.join(self.probe_hashes)}, missing {missing[0]!r}"
                )
        everyone = list(suspects)
        found: dict[str, float] = {}
        # In batches: the cohort's part is shared within a batch, and not all pairs of suspects are computed.
        for start in range(0, len(everyone), _BATCH):
            some = everyone[start : start + _BATCH]
            outputs = {
                probes: {
                    _SOURCE: self.source[probes],
                    **{f"x/{name}": suspects[name][probes] for name in some},
                    **{f"i/{name}": o for name, o in self.cohort[probes].items()},
                }
                for probes in self.probe_hashes
            }
            names = list(next(iter(outputs.values())))
            features = CohortFeatures(outputs, names, self.statistics, self.labels)
            statistics = features.compute(_SOURCE, [f"x/{name}" for name in some], names[1 + len(some) :])
            found.update(zip(some, self.weights.distances(statistics).tolist(), strict=True))
        return found

    def save(self, path: StrPath) -> None:
        """Write one sealed file, atomically.

        Raises:
            OSError: the folder does not exist or cannot be written to.
        """
        names = list(next(iter(self.cohort.values())))
        arrays = {f"{probes}/source": o.numpy() for probes, o in self.source.items()}
        arrays |= {f"{p}/{i}": self.cohort[p][name].numpy() for p in self.cohort for i, name in enumerate(names)}
        arrays |= {f"{probes}/labels": truth.numpy() for probes, truth in self.labels.items()}
        metadata = {
            "statistics": [statistic.name for statistic in self.statistics],
            "means": self.weights.means.tolist(),
            "deviations": self.weights.deviations.tolist(),
            "weights": self.weights.weights.tolist(),
            "intercept": self.weights.intercept,
            "probe_hashes": self.probe_hashes,
            "cohort": names,
            "source_hash": self.source_hash,
            "used_hashes": self.used_hashes,
            "null": self.null,
            "null_hashes": self.null_hashes,
            "attacks": self.attacks,
        }
        save_container(path, KIND, arrays, metadata)

    @classmethod
    def load(cls, path: StrPath) -> Calibration:
        """Read a file written by `save` and check its hash and contents.

        Raises:
            FileFormatError: damaged, truncated, or not a calibration.
        """
        arrays, metadata = load_container(path, KIND)
        try:
            return _read(arrays, metadata)
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise FileFormatError(
                f"{str(path)!r} must hold a calibration, got {type(error).__name__}: {error}"
            ) from error


def _check_fingerprints(prints: Mapping[str, Mapping[str, Fingerprint]]) -> dict[str, str]:
    """Check probes and models of all fingerprints of a fit; names by hash of all models but the source."""
    used: dict[str, str] = {}
    known: dict[str, str] = {}
    for group in prints.values():
        for key, fp in group.items():
            role, _, name = key.partition("/")
            checks.check_probes(name or role, fp, group[_SOURCE].probe_hash)
            checks.check_unused(known, fp.model_hash, f"{_ROLES[role]} {name!r}" if name else "the source")
            if fp.model_hash is not None and name:
                # The name in the arguments: a copied fingerprint file has the name of the original inside.
                used[fp.model_hash] = name
    return used


def _read(arrays: dict[str, Any], metadata: dict[str, Any]) -> Calibration:
    statistics = tuple(map(CohortStatistic.parse, checks.check_strings(metadata["statistics"], _MAX_STATISTICS)))
    cohort = checks.check_strings(metadata["cohort"], _MAX_MODELS)
    d = len(statistics)
    means, deviations, weights = (checks.check_numbers(metadata[key], d) for key in ("means", "deviations", "weights"))
    if not d or (deviations <= 0).any() or (weights < 0).any():
        raise ValueError("weights must be at least 0 and deviations above 0")
    if len(set(cohort)) != len(cohort) or len(cohort) < 3:
        raise ValueError(f"cohort must be at least 3 different models, got {len(cohort)}")
    hashes = checks.check_mapping(metadata["probe_hashes"], checks.check_hash)
    if set(hashes) != {statistic.probes for statistic in statistics}:
        raise ValueError(f"probe_hashes must be of the statistics' probe sets, got {sorted(hashes)}")
    source = {probes: checks.check_outputs(arrays.pop(f"{probes}/source")) for probes in hashes}
    others: dict[str, dict[str, Tensor]] = {probes: {} for probes in hashes}
    for probes, (i, name) in itertools.product(hashes, enumerate(cohort)):
        others[probes][name] = checks.check_outputs(arrays.pop(f"{probes}/{i}"), len(source[probes]))
    by_class = dict.fromkeys(s.probes for s in statistics if s.by_class)
    labels = {probes: checks.check_labels(arrays.pop(f"{probes}/labels"), len(source[probes])) for probes in by_class}
    if arrays:
        raise ValueError(f"other arrays {sorted(arrays)[:3]}")
    source_hash = metadata["source_hash"]
    return Calibration(
        statistics,
        Weights(means, deviations, weights, float(checks.check_numbers([metadata["intercept"]], 1)[0])),
        hashes,
        source,
        others,
        labels,
        None if source_hash is None else checks.check_hash(source_hash),
        checks.check_hash_keys(metadata["used_hashes"]),
        checks.check_mapping(metadata["null"], checks.check_distance),
        checks.check_hash_keys(metadata["null_hashes"]),
        checks.check_mapping(metadata["attacks"], int),
    )
