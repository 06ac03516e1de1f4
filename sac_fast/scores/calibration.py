"""The calibrated score of one source, stored in one file with all data that judging a suspect needs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from ..errors import FileFormatError
from ..fingerprint import Fingerprint
from ..io.container import load_container, save_container
from ..io.files import StrPath
from . import calibration_checks as checks
from .calibration_file import pack_calibration, unpack_calibration
from .statistic import CohortFeatures, CohortStatistic
from .weights import Floats, Weights, fit_weights

KIND = "calibration"
_SOURCE = "source"
# Prefixes of keys, so that an independent, a stolen model and a suspect may have the same name.
_ROLES = {"i": "the independent", "s": "the stolen"}
_BATCH = 32


@dataclass(frozen=True, eq=False)
class Calibration:
    """A score fitted to one source.

    Its independents are cohort and nulls at once: `conformal_distances` fits the score anew for every suspect, with
    suspect and independents in the same role.

    Attributes:
        statistics: statistics of a suspect.
        weights: how they are combined where no suspect takes part in the fit.
        probe_hashes: by probe set: `ProbeSet.content_hash` of the probes.
        source: by probe set: the source's (n, k) outputs.
        cohort: by probe set, by name: the independents' outputs.
        labels: by probe set: (n,) int64 true labels of the probes, if a statistic needs them.
        source_hash: `weights_hash` of the source; None if unknown.
        used_hashes: names by `weights_hash` of the models of cohort and fit: none may be a null or a suspect.
        null, null_hashes: in files of the first form only: distances by name of independents that had no part in the
            fit, and their names by `weights_hash`.
        attacks: number of stolen models of each attack in the fit.
        thefts: by probe set, by name: outputs of the stolen models; empty in files of the first form.
        origins: by name: the attack of each stolen model.
        kinds: by name: kinds of the independents, see `sac_fast.fingerprint.KINDS`; those that declare none are left
            out.
        regularisation: see `fit_weights`.

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
    thefts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    regularisation: float = 0.0

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
            cohort: by probe set, by name: fingerprints of at least 4 independents, with their kinds. They define what
                independents have in common; each of them, judged by the others, is an example of independence and a
                null.
            thefts: by probe set, by name: fingerprints of models stolen from the source in simulations.
            origins: by name: the attack.
            statistics: see `sac_fast.scores.presets.CALIBRATED`.
            labels: by probe set: true labels of the probes, if a statistic needs them.
            regularisation: see `fit_weights`.

        Returns:
            The score.

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
            thefts={probes: {name: outputs[probes][f"s/{name}"] for name in stolen} for probes in wanted},
            origins=dict(zip(stolen, attacks, strict=True)),
            kinds={name: kind for name in names if (kind := cohort[wanted[0]][name].kind) is not None},
            regularisation=regularisation,
        )

    def null_counts(self) -> dict[str, int]:
        """Numbers of independents by kind, each of them a null; those that declare none are undeclared."""
        kinds = [self.kinds.get(name, "undeclared") for name in next(iter(self.cohort.values()))]
        return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}

    def conformal_distances(
        self, suspect: Mapping[str, Tensor], nulls: Mapping[str, Mapping[str, Tensor]] | None = None
    ) -> Floats:
        """Distances of a suspect and of all independents to the source, all of them in the same role.

        With A the independents and the suspect, the statistics of each x in A take A without x as cohort, those of the
        stolen models all of A, and the weights are fitted to the stolen models against all of A. Suspect and
        independents are treated alike, so the conformal p-value is exact although every independent serves as cohort,
        in the fit, and as null (full conformal).

        Args:
            suspect: by probe set: (n, k) outputs; any k.
            nulls: by name, by probe set: outputs of the independents. Default: those of the fit.

        Returns:
            (1 + number of nulls,) distances, ≥ 0, the suspect's first.

        Raises:
            ValueError: a missing probe set, outputs of the wrong shape, fewer than 3 nulls, or a file of the first
                form, which has no stolen models.

        Source: Vovk, Gammerman, Shafer, *Algorithmic Learning in a Random World*, 2005, section 2.2.
        """
        if not self.thefts:
            raise ValueError("a calibration must hold its stolen models to be fitted anew, got one of the first form")
        if nulls is None:
            names = list(next(iter(self.cohort.values())))
            nulls = {name: {probes: self.cohort[probes][name] for probes in self.probe_hashes} for name in names}
        self._check_probe_sets({"the suspect": suspect, **nulls})
        outputs = {
            probes: {
                _SOURCE: self.source[probes],
                "x": suspect[probes],
                **{f"i/{name}": of[probes] for name, of in nulls.items()},
                **{f"s/{name}": o for name, o in self.thefts[probes].items()},
            }
            for probes in self.probe_hashes
        }
        features = CohortFeatures(outputs, list(next(iter(outputs.values()))), self.statistics, self.labels)
        alike = ["x", *(f"i/{name}" for name in nulls)]
        of_alike = features.compute(_SOURCE, alike, alike)
        of_thefts = features.compute(_SOURCE, [f"s/{name}" for name in self.origins], alike)
        weights = fit_weights(of_thefts, list(self.origins.values()), of_alike, regularisation=self.regularisation)
        return np.asarray(weights.distances(of_alike))

    def _check_probe_sets(self, models: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, outputs_of in models.items():
            if missing := [probes for probes in self.probe_hashes if probes not in outputs_of]:
                raise ValueError(
                    f"outputs of {name!r} must be on {', '.join(self.probe_hashes)}, missing {missing[0]!r}"
                )

    def distances(self, suspects: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
        """Distances of suspects to the source.

        Args:
            suspects: by name, by probe set: (n, k) outputs; any k.

        Returns:
            Distances by name, ≥ 0, smaller for more similar models (`Weights`).

        Raises:
            ValueError: a missing probe set, or outputs of the wrong shape.
        """
        self._check_probe_sets(suspects)
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
        fields = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        save_container(path, KIND, *pack_calibration(fields))

    @classmethod
    def load(cls, path: StrPath) -> Calibration:
        """Read a file written by `save` and check its hash and contents.

        Raises:
            FileFormatError: damaged, truncated, or not a calibration.
        """
        arrays, metadata = load_container(path, KIND)
        try:
            return cls(**unpack_calibration(arrays, metadata))
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
