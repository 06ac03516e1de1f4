"""`sac-fast verify`: judge suspects."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from .checks import refuse_if
from .endings import EndOptions
from .option_groups import expand_option_groups
from .options import Alpha, Comparison, Json, Metric, file_option

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..verify.weights import WeightsResult


@dataclass(frozen=True)
class EvidenceOptions:
    """What suspects are compared with."""

    null: Annotated[
        list[str] | None,
        Option(
            metavar="[KIND=]PATH",
            help="Fingerprints of independent models: files or folders, with what they have in common with the source "
            "(kinds of `fingerprint --kind`); repeatable.",
        ),
    ] = None
    siblings: Annotated[
        Path | None,
        Option(exists=True, file_okay=False, help="Folder of `siblings make`, or of fingerprints of siblings."),
    ] = None
    zoo: Annotated[
        Path | None,
        Option(exists=True, file_okay=False, help="Labelled zoo of your model: siblings, nulls and simulated thefts."),
    ] = None
    pack: Annotated[
        list[str] | None,
        Option(
            metavar="PATH|URL",
            help="Pack of others' answers (`sac-fast pack`): a file or https://…; its independents are nulls, its "
            "siblings siblings; repeatable.",
        ),
    ] = None
    pack_hash: Annotated[
        list[str] | None,
        Option(metavar="sha256:…", help="SHA-256 of the packs, in their order, from their maker; repeatable."),
    ] = None
    calibration: Annotated[Path | None, file_option("File written by `evaluate --fit`, for --preset calibrated.")] = (
        None
    )

    def load(self, source: Fingerprint) -> dict[str, Any]:
        """The fingerprints, as `verify_suspects` takes them."""
        from .fingerprint_files import load_nulls, load_packs, load_siblings, load_zoo

        of_zoo = ([], [], {}) if self.zoo is None else load_zoo(self.zoo, source)
        siblings, nulls, thefts = of_zoo
        if self.siblings is not None:
            siblings = [*siblings, *load_siblings(self.siblings, source)]
        others, more = load_packs(self.pack or [], self.pack_hash or [], source)
        siblings, nulls = [*siblings, *others], [*nulls, *load_nulls(self.null or []), *more]
        return {"siblings": siblings, "nulls": nulls, "thefts": thefts, "calibration": self.calibration}


@dataclass(frozen=True)
class ScoreOptions:
    """How suspects are compared."""

    ground: Annotated[
        Literal["auto", "siblings", "null-pool", "both"],
        Option(help="What decides; auto: 4 or more siblings, else nulls; both: each at α / 2."),
    ] = "auto"
    preset: Annotated[
        str | None, Option(help="sac-jc, robust, contrast, given-cohort or calibrated: a named score.")
    ] = None
    metric: Metric = "cosine"
    comparison: Comparison = "l1"
    kind: Annotated[
        list[str] | None,
        Option(
            help="Kind that the suspects may be of if they are independent; repeatable; default: every kind of models "
            "made without yours."
        ),
    ] = None

    def parse(self, context: typer.Context, calibration: Path | None) -> dict[str, Any]:
        """The options, as `verify_suspects` takes them."""
        from ..models.kinds import KINDS
        from ..scores import PRESETS

        allowed = (*PRESETS, "contrast", "given-cohort")
        given = [name for name in ("metric", "comparison") if _is_given(context, name)]
        wrong = f"must be one of {', '.join(allowed)}, got {self.preset!r}"
        refuse_if(self.preset not in (None, *allowed), "--preset", wrong)
        both = f"goes without --preset, which has its own, got --preset {self.preset}"
        refuse_if(self.preset is not None and bool(given), f"--{(given or ['metric'])[0]}", both)
        unused = calibration is not None and self.preset is None
        refuse_if(unused, "--calibration", "goes with --preset calibrated, got no --preset")
        alone = (self.preset == "calibrated") != (calibration is not None)
        refuse_if(alone, "--calibration", "goes with --preset calibrated, and that with it")
        unknown = [kind for kind in self.kind or [] if kind not in KINDS]
        refuse_if(bool(unknown), "--kind", f"must be one of {', '.join(KINDS)}, got {unknown}")
        score = "distance" if given else self.preset if self.preset not in (None, "calibrated") else "default"
        return {
            "ground": self.ground.replace("-", " "),
            "score": score,
            "metric": self.metric if given else None,
            "comparison": self.comparison if given else None,
            "kinds": self.kind,
        }


@dataclass(frozen=True)
class WeightsOptions:
    """Weights files, which are compared beside the verdicts."""

    source_weights: Annotated[Path | None, Option(exists=True, help="Weights of your model.")] = None
    suspect_weights: Annotated[
        list[Path] | None, Option(exists=True, help="Weights of the suspects, in their order; repeatable.")
    ] = None
    ancestor: Annotated[Path | None, file_option("Model from which both may come, such as a public backbone.")] = None

    def compare(self, names: list[str]) -> dict[str, WeightsResult]:
        """Weights tests by suspect."""
        from ..verify.weights import weights_test

        files = self.suspect_weights or []
        together = (self.source_weights is None) == (not files)
        refuse_if(not together, "--source-weights", "goes with --suspect-weights, and that with it")
        refuse_if(self.ancestor is not None and not files, "--ancestor", "goes with --source-weights")
        wrong = bool(files) and len(files) != len(names)
        refuse_if(wrong, "--suspect-weights", f"must be given once for each of {len(names)} suspects, got {len(files)}")
        if self.source_weights is None:
            return {}
        source, ancestor = self.source_weights, self.ancestor
        return {name: weights_test(source, file, ancestor=ancestor) for name, file in zip(names, files, strict=True)}

    def by_name(self, source: str, names: list[str]) -> dict[str, Path]:
        """The files by the names of their models."""
        if self.source_weights is None:
            return {}
        return {**dict(zip(names, self.suspect_weights or [], strict=True)), source: self.source_weights}

    def claims(self, results: dict[str, WeightsResult]) -> dict[str, list[dict[str, str]]]:
        """What the files claim of each other, compared with the weights."""
        from ..formats.weights import open_weights
        from ..verify.claims import compare_claims

        if self.source_weights is None:
            return {}
        with open_weights(self.source_weights) as ours:
            own = dict(ours.claims)
        found = {}
        for (name, result), file in zip(results.items(), self.suspect_weights or [], strict=True):
            with open_weights(file) as theirs:
                found[name] = [asdict(claim) for claim in compare_claims(result, own, theirs.claims)]
        return found


@expand_option_groups
def verify(
    *,
    context: typer.Context,
    source: Annotated[Path, Argument(exists=True, dir_okay=False, help="Fingerprint of your model.")],
    suspects: Annotated[
        list[str],
        Argument(metavar="SUSPECT...", help="Fingerprints of the suspects: files, folders of them, patterns with *."),
    ],
    evidence: EvidenceOptions,
    how: ScoreOptions,
    files: WeightsOptions,
    alpha: Alpha = 0.05,
    ends: EndOptions,
    as_json: Json = False,
) -> None:
    """Judge suspects by the strongest ground that is available: siblings of your model, else independent models.

    Takes seconds; with siblings, many suspects cost little more than one.
    """
    from ..fingerprint import Fingerprint
    from ..verify.grounds import verify_suspects
    from .fingerprint_files import load_suspects
    from .render.verify import show_verdicts

    start = time.monotonic()
    options = how.parse(context, evidence.calibration)
    ends.check()
    ours = Fingerprint.load(source)
    theirs = load_suspects(suspects)
    weights = files.compare(list(theirs))
    given = evidence.load(ours)
    found = verify_suspects(ours, theirs, alpha=alpha, weights=weights, **options, **given)
    if ends.report is not None:
        claims = files.claims(weights)
        named = files.by_name(ours.name, list(theirs))
        ends.write(found, ours, theirs, given, options, claims=claims, files=named, seconds=time.monotonic() - start)
    show_verdicts(found, as_json)
    ends.exit(found.verdict.values())


def _is_given(context: typer.Context, option: str) -> bool:
    origin = context.get_parameter_source(option)
    return origin is not None and origin.name == "COMMANDLINE"
