"""The calibrated score of one source, in one file: what it was fitted on and all that judging a suspect needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..errors import FileFormatError, FingerprintError
from ..fingerprint import Fingerprint
from ..io.container import StrPath, load_container, save_container
from . import calibration_checks as checks
from .statistic import CohortFeatures, CohortStatistic
from .weights import Weights, fit_weights

KIND = "calibration"
_SOURCE = "source"
_BATCH = 32
_MAX_MODELS, _MAX_STATISTICS = 1000, 100


@dataclass(frozen=True, eq=False)
class Calibration:
    """A fitted score.

    Attributes:
        statistics: what is computed of a suspect.
        weights: how it is combined.
        probe_hashes: by probe set: `ProbeSet.content_hash` of the probes that everybody answered.
        source: by probe set: the source's (n, k) outputs.
        cohort: by probe set, by name: the cohort's outputs.
        labels: by probe set: (n,) int64 true labels of the probes, where a statistic needs them.
        source_hash: `weights_hash` of the source; None where it is not known.
        used_hashes: of the models that served as cohort or for the fit: none of them may be a null or a suspect.
        null: distances of independents that had no part in the fit, by name.
        null_hashes: of these, by hash their names.
        attacks: number of thefts of each kind in the fit.
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
            cohort: by probe set, by name: of independents of the owner's own, at least 4; they tell what independents
                share, and each of them, judged by the others, is an example of independence.
            thefts: by probe set, by name: of models stolen from the source in simulations.
            origins: by name: the attack.
            statistics: see `sac_fast.scores.presets.CALIBRATED`.
            labels: by probe set: the probes' true labels, where a statistic needs them.
            regularisation: see `fit_weights`.

        Returns:
            The score, with no nulls yet: see `with_null`.

        Raises:
            FingerprintError: answers to different probes, or one model (by the hash of its weights) in two places.
            ValueError: a probe set or a model that is missing, or too few of them.
        """
        wanted = tuple(dict.fromkeys(statistic.probes for statistic in statistics))
        names = list(cohort[wanted[0]])
        stolen = list(thefts[wanted[0]])
        outputs: dict[str, dict[str, Tensor]] = {}
        hashes: dict[str, str] = {}
        used: dict[str, str] = {}
        known: dict[str, str] = {}
        who = {_SOURCE: "the source"}
        who |= {f"i/{n}": f"the independent {n!r}" for n in names} | {f"s/{n}": f"the stolen {n!r}" for n in stolen}
        for probes in wanted:
            everybody = {_SOURCE: source[probes]}
            everybody |= {f"i/{n}": cohort[probes][n] for n in names} | {f"s/{n}": thefts[probes][n] for n in stolen}
            hashes[probes] = source[probes].probe_hash
            for name, fp in everybody.items():
                if fp.probe_hash != hashes[probes]:
                    raise FingerprintError(
                        f"answers of {name!r} must be to the probes {hashes[probes]}, got {fp.probe_hash}"
                    )
                checks.check_unused(known, fp.model_hash, who[name])
                if fp.model_hash is not None and name != _SOURCE:
                    # as they are called here: a copied fingerprint bears the name of the one it was copied from
                    used[fp.model_hash] = name[2:]
            outputs[probes] = {name: fp.outputs for name, fp in everybody.items()}
        features = CohortFeatures(outputs, list(outputs[wanted[0]]), statistics, labels)
        independents, suspects = [f"i/{n}" for n in names], [f"s/{n}" for n in stolen]
        weights = fit_weights(
            features.compute(_SOURCE, suspects, independents),
            [origins[name] for name in stolen],
            features.compute(_SOURCE, independents, independents),
            regularisation=regularisation,
        )
        attacks: dict[str, int] = {}
        for name in stolen:
            attacks[origins[name]] = attacks.get(origins[name], 0) + 1
        return cls(
            tuple(statistics),
            weights,
            hashes,
            {probes: outputs[probes][_SOURCE] for probes in wanted},
            {probes: {n: outputs[probes][f"i/{n}"] for n in names} for probes in wanted},
            {s.probes: truth for s in statistics if s.by_class and (truth := labels[s.probes]) is not None},
            source[wanted[0]].model_hash,
            used,
            {},
            {},
            attacks,
        )

    def with_null(self, nulls: Mapping[str, Mapping[str, Fingerprint]]) -> Calibration:
        """The same score with the distances of independents that had no part in the fit.

        Args:
            nulls: by name, by probe set: their fingerprints.

        Raises:
            FingerprintError: answers to other probes; by the hash of the weights the source, a model that had a part in
                the fit, or one model under two names.
            ValueError: a probe set that is missing.
        """
        hashes: dict[str, str] = {}
        known: dict[str, str] = {}
        for name, prints in nulls.items():
            for probes, fp in prints.items():
                if fp.probe_hash != self.probe_hashes.get(probes, fp.probe_hash):
                    raise FingerprintError(
                        f"answers of {name!r} must be to the probes {self.probe_hashes[probes]}, got {fp.probe_hash}"
                    )
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
        answers = {name: {probes: fp.outputs for probes, fp in prints.items()} for name, prints in nulls.items()}
        return dataclasses.replace(self, null=self.distances(answers), null_hashes=hashes)

    def distances(self, suspects: Mapping[str, Mapping[str, Tensor]]) -> dict[str, float]:
        """Distances of suspects to the source.

        Args:
            suspects: by name, by probe set: (n, k) outputs; k is free.

        Returns:
            By name: ≥ 0, smaller where more alike (`Weights`).

        Raises:
            ValueError: a probe set that is missing, or outputs that do not fit.
        """
        for name, answers in suspects.items():
            if missing := [probes for probes in self.probe_hashes if probes not in answers]:
                raise ValueError(
                    f"answers of {name!r} must be to {', '.join(self.probe_hashes)}, missing {missing[0]!r}"
                )
        asked = list(suspects)
        found: dict[str, float] = {}
        # Some at a time: the cohort's part is computed once for them, and no pair of all suspects is asked for.
        for start in range(0, len(asked), _BATCH):
            some = asked[start : start + _BATCH]
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
        """Write one sealed file; all or nothing.

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
        """Read a file of `save`, with its hash and all its parts checked.

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


def _read(arrays: dict[str, Any], metadata: dict[str, Any]) -> Calibration:
    statistics = tuple(
        CohortStatistic.parse(name) for name in checks.check_strings(metadata["statistics"], _MAX_STATISTICS)
    )
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
    others = {
        probes: {
            name: checks.check_outputs(arrays.pop(f"{probes}/{i}"), len(source[probes]))
            for i, name in enumerate(cohort)
        }
        for probes in hashes
    }
    labels = {
        s.probes: checks.check_labels(arrays[f"{s.probes}/labels"], len(source[s.probes]))
        for s in statistics
        if s.by_class
    }
    for probes in labels:
        del arrays[f"{probes}/labels"]
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
