"""The nearest relatives of every model, why they are called related, groups of related models, and their forest.

Everything here takes the outputs of the models; `sac_fast.store.stored.stored_outputs` reads them from a store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..fingerprint import Fingerprint
from ..io.choices import Metric
from ..io.files import StrPath
from ..ops import correlation_distance
from ..store.records import FileStamp
from ..verify.sibling_p_values import MIN_SIBLINGS
from ..verify.sibling_result import SiblingResult
from ..verify.siblings import sibling_test
from .checks import check_search
from .duplicates import find_duplicates
from .forms import FormGroup, group_by_form
from .pair_weights import MAX_PAIRS, compare_pairs, near_pairs, take_searched
from .related import NearPairs
from .result import Edge, Lineage, PairWeights, Relative
from .search import Found, Search, search_form
from .trees import join
from .weights_result import WeightsRelatives

__all__ = ["Edge", "Lineage", "PairWeights", "Relative", "find_relatives"]


def find_relatives(
    names: Sequence[str],
    outputs: Sequence[Tensor],
    *,
    independents: Sequence[str] | Mapping[str, str | None] = (),
    models: Sequence[str] | None = None,
    among: Sequence[str] | None = None,
    top: int = 10,
    alpha: float = 0.01,
    metric: Metric = "cosine",
    hashes: Mapping[str, str] | None = None,
    files: Mapping[str, StrPath | FileStamp] | None = None,
    max_weights: int = MAX_PAIRS,
    searched: WeightsRelatives | None = None,
    source: str | None = None,
    siblings: Sequence[Tensor | Fingerprint] = (),
    progress: bool = False,
) -> Lineage:
    """Nearest relatives, what speaks for each, groups and a spanning forest, without m×m distances in memory.

    Models with the same hash or outputs are one row and one null. For a model a and a candidate b there may be

    * the weights test of their files, for the nearest pairs, by Holm's method at 0.001 over these;
    * in the row of the source the sibling test, adjusted for all suspects (max-T);
    * where independents are declared, ``p = (1 + #{i : d(a, i) ≤ d(a, b)}) / (1 + #independents)`` over those other
      than a and b, the largest over their kinds, as `sac_fast.verify_fingerprints` gives it by the metric for
      outputs of one form; and Holm's correction over all candidates but a itself.

    Without any of them it is a ranking by distance, which accuses nobody. Two models are related by equal content, by
    weights, by siblings, or by distance: below the α quantile of the distances between independents, and in one group
    by average linkage (pairs of one pool depend on each other, so α is approximate).

    A model is compared in the form in which it answers: candidates and independents of a weaker form are left out.
    Groups by distance are of the most frequent form. Outputs that are no evidence (`check_informative`) get no p-value.

    Args:
        names: m different names, m ≥ 2.
        outputs: m tensors (n, k_i), n the same for all.
        independents: names of models known to be independent of each other and of all others; with their kinds (see
            `sac_fast.fingerprint.KINDS`, what they have in common with the models in question) in a mapping.
        models: names of the models whose relatives are wanted; None: all.
        among: names of the candidates, for example of your own models that may have been stolen; None: all. Stolen
            copies of one source are often nearer to each other than to the source.
        top: number of relatives; all candidates where there are fewer.
        alpha: α, strictly between 0 and 1: the share of unrelated pairs that may lie below the threshold, and the rate
            of the sibling test.
        metric: see `sac_fast.correlation_distance`.
        hashes: of the weights, by name, where they are known.
        files: of the weights, by name; None: no weights tests.
        max_weights: largest number of pairs whose weights are tested, the nearest first.
        searched: a search over all pairs of weights with the same names (`sac_fast.weights_relatives`): it takes the
            place of the tests of the nearest pairs.
        source: name of the model of which `siblings` are siblings.
        siblings: outputs or fingerprints on the same probes of 4 or more models of the source's recipe.
        progress: bars on stderr.

    Returns:
        The lineage.

    Raises:
        ValueError: fewer than two models, names that are not different or unknown, or a wrong α, top or metric.

    Example::

        >>> import torch
        >>> from sac_fast import find_relatives
        >>> _ = torch.manual_seed(0)
        >>> independents = [f"independent {i}" for i in range(20)]
        >>> names, outputs = [*independents, "mine", "suspect"], list(torch.randn(22, 50, 10))
        >>> outputs[21] = outputs[20] + 0.3 * torch.randn(50, 10)
        >>> found = find_relatives(names, outputs, independents=independents, among=["mine"])
        >>> [(relative.name, round(relative.p_value, 3)) for relative in found.relatives["suspect"]]
        [('mine', 0.048)]
        >>> found.groups
        (('mine', 'suspect'),)
    """
    everyone, kinds = tuple(names), _with_kinds(independents)
    check_search(everyone, list(outputs), kinds, models, among, top, alpha, metric, max_weights, source, len(siblings))
    wanted = [*(models or ()), *([] if source is None else [source]), *(among or ())]
    duplicates = find_duplicates(everyone, outputs, hashes or {}, wanted, metric)
    shown_as = {name: shown for shown, others in duplicates.items() for name in (shown, *others)}
    own = [name for name in everyone if shown_as.get(name, name) == name]

    def shown(some: Sequence[str] | None) -> list[str] | None:
        return None if some is None else list(dict.fromkeys(shown_as.get(name, name) for name in some))

    kinds = {shown_as.get(name, name): kind for name, kind in reversed(kinds.items())}
    outputs_of = {name: rows for name, rows in zip(everyone, outputs, strict=True) if shown_as.get(name, name) == name}
    kinds = {name: kinds[name] for name in own if name in kinds}
    groups = group_by_form(list(outputs_of.values()))
    found = _search(own, groups, kinds, shown(models), shown(among), top, alpha, metric, progress)
    first = found[0]
    notes = [note for one in found for note in one.notes] + _describe_forms(groups)
    relatives = {name: of for one in found for name, of in one.relatives.items()}
    relatives = {name: relatives[name] for name in (shown(models) or own)}
    weights: tuple[PairWeights, ...] = ()
    if searched is not None:
        weights = take_searched(searched, outputs_of, files or {}, metric)
    elif files is not None:
        weights = compare_pairs(near_pairs(relatives, max_weights), files, progress=progress)
    tested = None
    if siblings and source is not None:
        tested = _test_siblings(source, siblings, outputs_of, kinds, alpha, notes)
    edges = [Edge(shown, name, 0.0, "equal") for shown, others in duplicates.items() for name in others]
    edges += [Edge(pair.a, pair.b, pair.distance, "weights") for pair in weights if pair.is_related]
    edges += _sibling_edges(tested, source, own, groups, metric)
    edges += [] if first.near is None else first.near.edges
    grouped, forest = join(everyone, edges)
    return Lineage(
        names=everyone,
        relatives=_add_evidence(relatives, weights, tested, source, first.near),
        threshold=None if first.near is None else first.near.threshold,
        alpha=alpha,
        independents=first.independents,
        attainable_p_value=first.attainable_p_value,
        groups=grouped,
        forest=forest,
        metric=metric,
        notes=tuple(dict.fromkeys(notes)),
        duplicates=duplicates,
        weights=weights,
        siblings=tested,
        hypothesis=first.hypothesis,
        conditions=first.conditions,
    )


def _with_kinds(independents: Sequence[str] | Mapping[str, str | None]) -> dict[str, str | None]:
    if isinstance(independents, Mapping):
        return dict(independents)
    if len(set(independents)) != len(independents):
        raise ValueError(f"independents must be different, got {sorted(independents)}")
    return dict.fromkeys(independents)


def _search(
    names: Sequence[str],
    groups: Sequence[FormGroup],
    kinds: Mapping[str, str | None],
    models: Sequence[str] | None,
    among: Sequence[str] | None,
    top: int,
    alpha: float,
    metric: Metric,
    progress: bool,
) -> list[Found]:
    """The relatives form by form."""
    found = []
    for group in groups:
        inside = tuple(names[row] for row in group.members)
        own, members = {names[row] for row in group.own}, set(inside)
        some = Search(
            names=inside,
            group=group,
            independents={name: kind for name, kind in kinds.items() if name in members},
            models=None if models is None and len(own) == len(names) else [n for n in models or names if n in own],
            among=None if among is None else [name for name in among if name in members],
        )
        found.append(search_form(some, top, alpha, metric, progress, with_groups=group is groups[0]))
    return found


def _describe_forms(groups: Sequence[FormGroup]) -> list[str]:
    if len(groups) == 1:
        return []
    listed = ", ".join(f"{group.form.describe()} {len(group.own)}" for group in groups)
    return [
        f"models answer in different forms ({listed}): each is compared in its own, with those of no weaker form; "
        f"groups by distance are of the {len(groups[0].members)} models that can be compared as "
        f"{groups[0].form.describe()}"
    ]


def _test_siblings(
    source: str,
    siblings: Sequence[Tensor | Fingerprint],
    outputs: Mapping[str, Tensor],
    independents: Mapping[str, str | None],
    alpha: float,
    notes: list[str],
) -> SiblingResult | None:
    """The sibling test of all models that are neither source nor sibling nor declared independent."""
    if len(siblings) < MIN_SIBLINGS:
        notes.append(f"no sibling test: it needs {MIN_SIBLINGS} siblings, got {len(siblings)}")
        return None
    given = [one.outputs if isinstance(one, Fingerprint) else one for one in siblings]
    suspects = {
        name: rows
        for name, rows in outputs.items()
        if name != source and name not in independents and not any(_is_same(rows, one) for one in given)
    }
    if not suspects:
        notes.append("no sibling test: no model is a suspect")
        return None
    found = sibling_test(outputs[source], given, suspects, alpha=alpha)
    return dataclasses.replace(found, source=source)


def _is_same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a == b).all())


def _sibling_edges(
    tested: SiblingResult | None,
    source: str | None,
    names: Sequence[str],
    groups: Sequence[FormGroup],
    metric: Metric,
) -> list[Edge]:
    """The source and what was derived from it, with distances in the form in which the suspect answers."""
    edges = []
    row_of = {name: row for row, name in enumerate(names)}
    derived = [] if tested is None else [name for name, word in tested.verdict.items() if word.startswith("derived")]
    for name in derived:
        group = next(group for group in groups if row_of[name] in group.own)
        if source is not None and row_of[source] in group.members:
            a, b = (group.outputs[group.members.index(row_of[end])] for end in (source, name))
            edges.append(Edge(source, name, float(correlation_distance(a, b, metric=metric)), "siblings"))
    return edges


def _add_evidence(
    relatives: Mapping[str, Sequence[Relative]],
    weights: Sequence[PairWeights],
    tested: SiblingResult | None,
    source: str | None,
    near: NearPairs | None,
) -> dict[str, tuple[Relative, ...]]:
    """The relatives with what weights, siblings and distances say of each pair."""
    of_pair = {frozenset((pair.a, pair.b)): pair for pair in weights}
    adjusted = {} if tested is None else tested.adjusted if tested.exact else tested.adjusted_student

    def add(name: str, relative: Relative) -> Relative:
        grounds, p_siblings = [], None
        pair = of_pair.get(frozenset((name, relative.name)))
        if pair is not None and pair.is_related:
            grounds.append("weights")
        suspect = relative.name if name == source else name if relative.name == source else None
        if tested is not None and suspect in adjusted:
            p_siblings = adjusted[suspect]
            grounds += ["siblings"] if tested.verdict[suspect].startswith("derived") else []
        if near is not None and near.includes(name, relative.name, relative.distance):
            grounds.append("distance")
        if pair is None and p_siblings is None and not grounds:
            return relative
        verdict = None if pair is None else pair.verdict
        return dataclasses.replace(relative, weights=verdict, p_siblings=p_siblings, grounds=tuple(grounds))

    if not of_pair and tested is None and near is None:
        return {name: tuple(found) for name, found in relatives.items()}
    return {name: tuple(add(name, relative) for relative in found) for name, found in relatives.items()}
