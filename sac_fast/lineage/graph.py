"""Write the spanning forest as GraphML, DOT, JSON or an SVG drawing, by the file's ending."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ..io.files import StrPath, atomic_write
from ..io.text import dot_text, escape_text, html_text
from .result import Lineage

ENDINGS = (".graphml", ".dot", ".json", ".svg")
_ROW, _INDENT, _MARGIN, _LETTER = 20, 26, 24, 7.3  # pixels; the last: the width of a letter at 12 px
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1a1a1a}"
    ".d{fill:#666}.h{font-weight:bold}path{fill:none;stroke:#888}circle{fill:#fff;stroke:#1a1a1a}"
    "circle.s{fill:#c0392b;stroke:#c0392b}circle.i{fill:#1a1a1a}"
)


def check_ending(path: StrPath) -> str:
    """The ending of a graph's file, in lower case.

    Raises:
        ValueError: another ending.
    """
    ending = Path(path).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"graph must end in {', '.join(ENDINGS)}, got {str(path)!r}")
    return ending


def save_graph(path: StrPath, lineage: Lineage, *, sources: Collection[str] = ()) -> None:
    """Write the forest, all or nothing.

    Nodes are all models that have a relative, with attributes ``group`` (number, −1: none), ``independent`` and
    ``source``; edges have ``distance``, ``ground`` (see `Lineage.forest`) and ``leaf`` (see `PairWeights`; "": not
    known).

    Args:
        path: ends in ``.graphml``, ``.dot``, ``.json`` or ``.svg``.
        lineage: with related models, or a threshold.
        sources: names of models that are the roots of their trees in the drawing.

    Raises:
        ValueError: another ending, or a lineage without related models and threshold.
        OSError: the folder cannot be written to.
    """
    writer = {".graphml": _graphml, ".dot": _dot, ".json": _json, ".svg": _svg}[check_ending(path)]
    if lineage.threshold is None and not lineage.forest:
        raise ValueError(f"graph needs a threshold, got none: {'; '.join(lineage.notes)}")
    text = writer(lineage, _graph(lineage, sources))
    with atomic_write(path) as handle:
        handle.write(text.encode())


def _graph(lineage: Lineage, sources: Collection[str]) -> Any:
    import networkx as nx

    group_of = {name: number for number, group in enumerate(lineage.groups) for name in group}
    members = dict.fromkeys([*group_of, *(end for edge in lineage.forest for end in (edge.a, edge.b))])
    label_of = _labels(members)
    graph = nx.Graph()
    independents = set(lineage.independents)
    for name in sorted(members):
        declared = {"independent": name in independents, "source": name in sources}
        graph.add_node(label_of[name], group=group_of.get(name, -1), **declared)
    leaf_of = {frozenset((pair.a, pair.b)): label_of.get(pair.leaf or "", "") for pair in lineage.weights}
    for a, b, distance, ground in lineage.forest:
        leaf = leaf_of.get(frozenset((a, b)), "")
        graph.add_edge(label_of[a], label_of[b], distance=distance, ground=ground, leaf=leaf)
    return graph


def _labels(names: Collection[str]) -> dict[str, str]:
    """A different escaped name for each model: two models must not share a node."""
    labels: dict[str, str] = {}
    counts: Counter[str] = Counter()  # so that a thousand names of one appearance are not counted up from 1 each
    # Names that need no escapes stay unchanged, also where another one's escapes look the same.
    for name in sorted(names, key=lambda name: (escape_text(name) != name, name)):
        escaped = label = escape_text(name)
        while label in labels:
            counts[escaped] += 1
            label = f"{escaped} ({counts[escaped] + 1})"
        labels[label] = name
    return {name: label for label, name in labels.items()}


def _graphml(lineage: Lineage, graph: Any) -> str:
    import networkx as nx

    buffer = io.BytesIO()
    nx.write_graphml(graph, buffer)
    return buffer.getvalue().decode() + "\n"


def _json(lineage: Lineage, graph: Any) -> str:
    import networkx as nx

    return json.dumps(nx.node_link_data(graph, edges="edges"), indent=1) + "\n"


def _dot(lineage: Lineage, graph: Any) -> str:
    lines = ["graph relatives {", "  node [shape=box];"]
    for name, data in graph.nodes(data=True):
        style = ", style=bold" if data["source"] else ", style=dashed" if data["independent"] else ""
        lines.append(f"  {dot_text(name)} [group={data['group']}{style}];")
    lines += [
        f"  {dot_text(a)} -- {dot_text(b)} [len={data['distance']:.6g}, label={dot_text(_describe(data))}];"
        for a, b, data in graph.edges(data=True)
    ]
    return "\n".join([*lines, "}", ""])


def _describe(edge: dict[str, Any]) -> str:
    return f"{edge['distance']:.4f}" + ("" if edge["ground"] == "distance" else f" {edge['ground']}")


def _svg(lineage: Lineage, graph: Any) -> str:
    """Each tree as an indented list: one row per model, with the distance to its parent."""
    import networkx as nx

    independents = {label for label, data in graph.nodes(data=True) if data["independent"]}
    roots = {label for label, data in graph.nodes(data=True) if data["source"]}
    parts: list[str] = []
    y, width = _MARGIN + 8, 640.0
    near = "" if lineage.threshold is None else (
        f"; pairs nearer than {lineage.threshold:.4g} (α = {lineage.alpha:g} of the distances between "
        f"{len(lineage.independents)} independents)"
    )  # fmt: skip
    title = f"{len(lineage.names)} models, {lineage.metric}{near}"
    parts.append(f'<text class="h" x="{_MARGIN}" y="{y}">{html_text(title)}</text>')
    y += 2 * _ROW
    trees = sorted(map(sorted, nx.connected_components(graph)), key=lambda tree: (-len(tree), tree[0]))
    for tree in trees:
        place: dict[str, tuple[float, float]] = {}
        for name, depth, parent in _rows(graph, tree, roots):
            x = _MARGIN + depth * _INDENT
            place[name] = (x, y)
            shown = ""
            if parent is not None:
                start = place[parent]
                parts.append(f'<path d="M{start[0]:g} {start[1]:g}V{y:g}H{x:g}"/>')
                shown = _describe(graph.edges[parent, name])
            kind = "s" if name in roots else "i" if name in independents else ""
            parts.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="4"/>')
            tail = f'<tspan class="d">{html_text(shown)}</tspan>'
            parts.append(f'<text x="{x + 10:g}" y="{y + 4:g}">{html_text(name)} {tail}</text>')
            width = max(width, x + 10 + _LETTER * (len(name) + 1 + len(shown)) + _MARGIN)
            y += _ROW
        y += _ROW // 2
    alone = len(lineage.names) - graph.number_of_nodes()
    legend = f"{alone} models without a relative. Red: source. Black: declared independent. Numbers: distances."
    parts.append(f'<text class="d" x="{_MARGIN}" y="{y + 4:g}">{html_text(legend)}</text>')
    width, height = max(width, 2 * _MARGIN + _LETTER * max(len(title), len(legend))), y + _MARGIN
    # Lines first, so that the circles are drawn over them.
    parts.sort(key=lambda part: not part.startswith("<path"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}"><style>{_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>'
        + "\n".join(parts)
        + "</svg>\n"
    )


def _rows(graph: Any, tree: list[str], roots: set[str]) -> list[tuple[str, int, str | None]]:
    """(name, depth, parent) in the order of drawing: a source, or the model with most neighbours, is the root."""
    root = min(tree, key=lambda name: (name not in roots, -graph.degree[name], name))
    rows: list[tuple[str, int, str | None]] = []
    stack: list[tuple[str, int, str | None]] = [(root, 0, None)]
    seen = {root}
    while stack:
        name, depth, parent = stack.pop()
        rows.append((name, depth, parent))
        near = sorted(
            (other for other in graph[name] if other not in seen),
            key=lambda other: (graph.edges[name, other]["distance"], other),
            reverse=True,
        )
        seen.update(near)
        stack += [(other, depth + 1, name) for other in near]
    return rows
