"""All pairs of many models' weights: sketches, candidates, exact tests, groups."""

from __future__ import annotations

import contextlib
import itertools
import operator
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from ..errors import describe_error, require
from ..io.files import StrPath
from ..io.progress import ProgressBar
from ..verdict import holm
from ..verdict.checks import check_rate
from ..verify.weights.arrays import NamedWeights, Weights, open_any
from ..verify.weights.combine import MIN_LAYERS
from ..verify.weights.facts import RELATIONS
from ..verify.weights.result import to_p_value
from ..verify.weights.run import judge_weights
from .weights_cache import WeightsCache, open_cache
from .weights_files import check_inside, list_weights
from .weights_result import WeightsPair, WeightsRelatives, find_leaf
from .weights_sketch import Sketch, sketch_weights
from .weights_sweep import find_candidates

Source = Weights | Callable[[], Weights]
_ANY_P = 0.5  # p is judged after Holm's correction, not by the single test


def weights_relatives(
    models: StrPath | Mapping[str, Source],
    *,
    alpha: float = 1e-3,
    cache: StrPath | None = None,
    progress: bool = False,
) -> WeightsRelatives:
    """Find all pairs of models whose weights are related, from the weights alone.

    Every model is read once and sketched in a few kB; all pairs of sketches are compared; `weights_test` judges the
    pairs whose sketches agree. With s pairs of models in all and the r-th smallest p, related are those with
    ``(s − r + 1) · p ≤ α`` (Holm), whichever pairs were tested.

    Args:
        models: a folder, searched with its sub-folders, or a mapping of names to paths, mappings of names to arrays or
            tensors, modules, or callables that give one of these each time.
        alpha: α, bound on the probability that any pair of independent weights is called related.
        cache: SQLite file in which sketches and tests are kept, made if it is not there: a search that was stopped goes
            on, and a model that was added costs its own pairs. None: nothing is kept.
        progress: bars on stderr.

    Returns:
        Pairs, groups, copies with equal arrays; models that cannot be read are listed with the reason.

    Raises:
        ModelError: there is no such folder.
        FileFormatError: the cache is a file of another kind.
        ValueError, TypeError: an argument of another kind, or a rate outside (0, 1).

    Example::

        >>> rng = np.random.default_rng(0)
        >>> sizes = [(16, 27), (32, 16), (32, 32), (10, 32)]
        >>> a, b = ({f"{i}.weight": rng.normal(size=size) for i, size in enumerate(sizes)} for _ in "ab")
        >>> copy = {name: array.astype("float16") for name, array in a.items()}
        >>> found = sac_fast.weights_relatives({"a": a, "b": b, "copy": copy})
        >>> found.groups, [(pair.leaf, pair.leaf_because) for pair in found.pairs]
        ((('a', 'copy'),), [('copy', 'a shorter dtype')])

    Source: docs/verdicts.md, "Weights".
    """
    check_rate("alpha", alpha)
    root: StrPath | None = None
    if isinstance(models, (str, os.PathLike)):
        root = models
        models = dict(list_weights(models))
    require(isinstance(models, Mapping), "models must be a folder or a mapping of names to models", models, TypeError)
    with open_cache(cache) as kept:
        search = HubSearch(models, root, kept, progress)
        search.sketch()
        search.sweep()
        search.test()
        return search.finish(alpha)


class HubSearch:
    """One search, step by step: `sketch`, `sweep`, `test`, `finish`.

    Args:
        models: as `weights_relatives` takes them, by name.
        root: folder that the files must lie in; None: anywhere.
        cache: of earlier searches.
        progress: bars on stderr.
    """

    def __init__(self, models: Mapping[str, Source], root: StrPath | None, cache: WeightsCache, progress: bool) -> None:
        self.models, self.root, self.cache, self.progress = models, root, cache, progress
        self.sketches: dict[str, Sketch] = {}
        self.failures: dict[str, str] = {}
        self.candidates: list[tuple[str, str]] = []
        self.tests: dict[tuple[str, str], dict[str, Any]] = {}

    def sketch(self) -> None:
        """Read all models."""
        with ProgressBar("models", len(self.models), "models", self.progress) as bar:
            for name, source in self.models.items():
                try:
                    self.sketches[name] = self._sketch(source)
                except Exception as error:  # of a file that may be made for it: it fails alone
                    self.failures[name] = describe_error(error)
                bar.advance(note=f"{len(self.failures)} failed" if self.failures else "")

    def _sketch(self, source: Source) -> Sketch:
        if not isinstance(source, (str, os.PathLike)):
            with _open(source) as opened:
                return sketch_weights(opened)
        if self.root is not None:
            check_inside(source, self.root)
        sketch = self.cache.get_sketch(source)
        if sketch is None:
            with _open(source) as opened:
                sketch = sketch_weights(opened)
            self.cache.put_sketch(source, sketch)
        return sketch

    def sweep(self) -> None:
        """Compare all sketches; of models with equal arrays the first stands for all."""
        first = {sketch.content_hash: name for name, sketch in reversed(self.sketches.items())}
        names = [name for name, sketch in self.sketches.items() if first[sketch.content_hash] == name]
        found = find_candidates([self.sketches[name] for name in names], self.progress)
        self.candidates = [(names[a], names[b]) for a, b in found]

    def test(self) -> None:
        """Test the candidates."""
        with ProgressBar("tests", len(self.candidates), "pairs", self.progress) as bar:
            for a, pairs in itertools.groupby(self.candidates, key=operator.itemgetter(0)):
                self._test_model(a, [b for _, b in pairs], bar)

    def _test_model(self, a: str, others: Sequence[str], bar: ProgressBar) -> None:
        """Test one model with the later ones that its sketch agrees with."""
        with contextlib.ExitStack() as stack:
            ours: NamedWeights | None = None
            for b in others:
                kept = self.cache.get_test(self.sketches[a], self.sketches[b])
                if kept is None:
                    try:
                        ours = ours or stack.enter_context(_open(self.models[a]))
                        with _open(self.models[b]) as theirs:
                            kept = _judge(ours, theirs)
                    except Exception as error:
                        self.failures[f"{a} with {b}"] = describe_error(error)
                        bar.advance()
                        continue
                    self.cache.put_test(self.sketches[a], self.sketches[b], kept)
                self.tests[a, b] = kept
                bar.advance()

    def finish(self, alpha: float) -> WeightsRelatives:
        """Correct for all pairs, and join what is related."""
        count = len(self.sketches)
        total = count * (count - 1) // 2
        tested = sorted(self.tests.items(), key=lambda test: test[1]["log10_p"])
        p_values = [to_p_value(found["log10_p"]) for _, found in tested]
        adjusted = holm(p_values, tests=total).tolist() if tested else []
        pairs = tuple(
            self._describe(a, b, found, p, p_holm)
            for ((a, b), found), p, p_holm in zip(tested, p_values, adjusted, strict=True)
            if p_holm <= alpha or found["verdict"] == "identical"
        )
        copies: dict[str, list[str]] = defaultdict(list)
        for name, sketch in self.sketches.items():
            copies[sketch.content_hash].append(name)
        duplicates = tuple(tuple(names) for names in copies.values() if len(names) > 1)
        return WeightsRelatives(
            models=count,
            pairs=pairs,
            groups=_join([*((pair.a, pair.b) for pair in pairs), *duplicates]),
            duplicates=duplicates,
            failures=self.failures,
            not_comparable=tuple(
                name for name, sketch in self.sketches.items() if sum(sketch.layers.values()) < MIN_LAYERS
            ),
            tests=total,
            candidates=len(tested),
            alpha=alpha,
        )

    def _describe(self, a: str, b: str, found: dict[str, Any], p: float, p_holm: float) -> WeightsPair:
        leaf = find_leaf(found["shares"], self.sketches[a], self.sketches[b])
        verdict = "identical" if found["verdict"] == "identical" else "weights related"
        who, why = (None, None) if leaf is None else ((a, b)[leaf[0]], leaf[1])
        return WeightsPair(a, b, verdict, found["log10_p"], p, p_holm, found["shares"], who, why)


@contextlib.contextmanager
def _open(source: Source) -> Iterator[NamedWeights]:
    made = source() if callable(source) and not isinstance(source, nn.Module) else source
    with open_any(made, "models") as opened:
        yield opened


def _judge(ours: NamedWeights, theirs: NamedWeights) -> dict[str, Any]:
    """What is kept of an exact test."""
    result = judge_weights(ours, theirs, _ANY_P)
    shares = {relation: result.facts[relation]["values"] for relation in RELATIONS}
    return {
        "verdict": result.verdict,
        "log10_p": result.log10_p,
        "shares": {relation: share for relation, share in shares.items() if share > 0},
    }


def _join(links: Sequence[Sequence[str]]) -> tuple[tuple[str, ...], ...]:
    """Connected components of names that are linked, the largest first."""
    from scipy.cluster.hierarchy import DisjointSet

    parts = DisjointSet(dict.fromkeys(name for link in links for name in link))
    for first, *others in links:
        for other in others:
            parts.merge(first, other)
    groups = (tuple(sorted(part)) for part in parts.subsets())
    return tuple(sorted(groups, key=lambda group: (-len(group), group)))
