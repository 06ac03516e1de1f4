"""Nasty texts in every sink: what comes out is read by another program's reader, which finds one text and no order."""

import ast
import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.nasty_texts import NASTY

import sac_fast
from sac_fast.io.text import csv_text, dot_text, escape_text, figure_text, html_text, map_texts, markdown_text

SINKS = (escape_text, csv_text, markdown_text, html_text, dot_text, figure_text)


@pytest.mark.parametrize("sink", SINKS)
@pytest.mark.parametrize("text", NASTY)
def test_every_sink_gives_one_printable_line(sink, text):
    assert sink(text).isprintable()


@pytest.mark.parametrize("text", NASTY)
def test_no_cell_is_a_formula(text):
    """Read with either delimiter, and with spaces and quotes before a cell's content left out."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["name", csv_text(text)])
    assert next(csv.reader(io.StringIO(buffer.getvalue())))[1].replace("'", "") == escape_text(text).replace("'", "")
    for delimiter in ",;\t":
        for quotes in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            for row in csv.reader(io.StringIO(buffer.getvalue()), delimiter=delimiter, quoting=quotes):
                assert not [cell for cell in row if cell.strip(' "')[:1] in tuple("=+-@＝＋－＠")]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1", "'=1"),
        ("＝1", "'＝1"),
        ("  -1", "'  -1"),
        ("a;=1", "a;'=1"),
        ("a; ＠x", "a; '＠x"),
        ("'a", "''a"),
        ("a-1=2", "a-1=2"),
    ],
)
def test_cells(text, cell):
    assert csv_text(text) == cell


def rendered(line):
    """Markdown in a sentence and in a table, by markdown-it with GitHub's extensions, as the tags and texts of HTML."""
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py, of rich, is not installed")
    parser = markdown_it.MarkdownIt("gfm-like", {"html": True, "linkify": False})
    tags, texts = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            tags.append(tag)

        def handle_data(self, data):
            texts.append(data)

    Reader().feed(parser.render(f"Left out: {line}: x.\n\n| a | b |\n| --- | ---: |\n| {line} | 1 |\n"))
    return tags, "".join(texts).split("\n")


@pytest.mark.parametrize("text", NASTY)
def test_no_markup_comes_of_a_text_in_markdown(text):
    tags, lines = rendered(markdown_text(text))
    assert tags == ["p", "table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    shown = escape_text(text)
    assert f"Left out: {shown}: x." in lines
    assert [shown.strip(), "1"] == [line for line in lines if line][-2:] or not shown.strip()


@pytest.mark.parametrize("text", ["https://a.b", "www.a.b", "a@b.c", "$x$"])
def test_what_github_would_link_or_set_as_a_formula_is_broken(text):
    assert not re.search(r"(?<!\\)(://|www\.|@|\$)", markdown_text(text))


@pytest.mark.parametrize(
    "text", ["mean_auc", "tpr_at_fpr:0.05", "agreement@plain:40", "adaptive-prune", "siblings, Student's t"]
)
def test_plain_names_stay_what_they_are(text):
    assert [sink(text) for sink in (escape_text, csv_text, markdown_text, figure_text)] == [text] * 4


@pytest.mark.parametrize("text", NASTY)
def test_xml_and_html_hold_one_text(text):
    found = ElementTree.fromstring(f'<svg a="{html_text(text)}">{html_text(text)}</svg>')
    assert (found.text or "", found.get("a"), len(found)) == (escape_text(text), escape_text(text), 0)


@pytest.mark.parametrize("text", NASTY)
def test_dot_reads_one_quoted_string(text):
    """By the grammar of DOT: from the first quote to the next that has no backslash before it; pairs of them count."""
    match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', dot_text(text))
    assert match is not None
    assert re.sub(r"\\(.)", r"\1", match[1]) == escape_text(text)


@pytest.mark.parametrize("text", NASTY)
def test_figures_draw_the_text_and_no_formula(text):
    pytest.importorskip("matplotlib", reason="the extra plots is not installed")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    figure = Figure(figsize=(2, 2))
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot([0, 1], label=figure_text(text) or "nothing")
    axes.set_title(figure_text(text))
    axes.set_yticks([0.5], [figure_text(text)])
    assert len(axes.get_legend_handles_labels()[1]) == 1
    shown, is_math = Text()._preprocess_math(figure_text(text))
    assert (shown.strip(), is_math) == (escape_text(text, 40).strip(), False)


def test_texts_are_changed_at_any_depth_and_nothing_else():
    values = {"a|b": ["c|d", 1, None, 0.5, True, {"e|f": ("g|h",)}]}
    assert map_texts(values, markdown_text) == {"a\\|b": ["c\\|d", 1, None, 0.5, True, {"e\\|f": ["g\\|h"]}]}


def test_no_other_module_escapes_by_itself():
    package = Path(sac_fast.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "html" in text or "saxutils" in text:
            names = [
                name
                for node in ast.walk(ast.parse(text))
                if isinstance(node, (ast.Import, ast.ImportFrom))
                for name in [getattr(node, "module", None), *(alias.name for alias in node.names)]
            ]
            found |= {path.relative_to(package).as_posix() for name in names if name in ("html", "xml.sax.saxutils")}
    assert found == {"io/text.py"}
