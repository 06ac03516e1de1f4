"""The layout of the package: which room may import which, no circles, sizes of files, what lies loose."""

import ast
import importlib
import pathlib
import re
import textwrap

import networkx
import pytest
from support import op_files
from support.code_lines import count_code_lines
from support.processes import LONG

import sac_fast
from sac_fast import bench

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "sac_fast"
# An upper line may import a lower one, never the other way; rooms of one line may, as long as no circle comes of it.
ORDER = (
    "cli",
    "compat bench demo testbed simulation evaluation audit packs",
    "labelled_zoo",
    "report",
    "scan lineage",
    "verify",
    "store",
    "attacks",
    "scores verdict",
    "fingerprint",
    "models",
    "probes",
    "ops",
    "neighbours",
    "_backend",
    "formats",
    "io",
    "errors _C _search_path",
)
RANK = {room: rank for rank, line in enumerate(ORDER) for room in line.split()}
MAX_LOOSE_MODULES = 4
MAX_LINES = 320
# Strings that look like a module's name and are none.
NO_MODULES = {"sac_fast.weights_hash"}


def modules_below(package):
    """Files of a package by the module's dotted name, without the package's own."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(source, module, is_package, known):
    """Modules of the package that a module imports, wherever in it, and those behind TYPE_CHECKING too."""
    folder = module.split(".") if is_package else module.split(".")[:-1]
    folder = [part for part in folder if part]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names if alias.name.split(".")[0] == "sac_fast"]
            yield from (target.partition(".")[2] for target in targets)
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [*folder[: len(folder) - node.level + 1], *(node.module or "").split(".")]
        elif (node.module or "").split(".")[0] == "sac_fast":
            base = node.module.split(".")[1:]
        else:
            continue
        base = ".".join(part for part in base if part)
        for alias in node.names:
            name = f"{base}.{alias.name}".strip(".")
            yield name if name in known or name == "_C" else base


@pytest.fixture(scope="module")
def imports():
    """The graph of all imports within the package."""
    modules = modules_below(PACKAGE)
    graph = networkx.DiGraph()
    graph.add_nodes_from(modules)
    for module, path in modules.items():
        for target in imports_of(path.read_text(), module, path.name == "__init__.py", modules):
            if target != module:
                graph.add_edge(module, target)
    return graph


def room(module):
    return module.split(".")[0]


def inner(graph):
    """Imports that have an order: those of the package's own face and of __main__ have none."""
    return [(a, b) for a, b in graph.edges if a not in ("", "__main__")]


def test_imports_are_read_wherever_they_stand():
    source = textwrap.dedent("""
        import sac_fast.ops.pair
        from sac_fast.errors import SacFastError
        from .. import _backend, _C
        from ..io import text, missing
        from . import beside
        from .beside import thing
        import torch
        from torch import nn

        def f():
            from ..models.runner import run
    """)
    known = {"io.text", "_backend", "scan.beside", "models.runner", "errors", "ops.pair"}
    assert list(imports_of(source, "scan.here", False, known)) == [
        *("ops.pair", "errors", "_backend", "_C", "io.text", "io", "scan.beside", "scan.beside", "models.runner"),
    ]
    assert list(imports_of("from .a import b\nfrom .. import c", "scan", True, {"scan.a", "c"})) == ["scan.a", "c"]


def test_every_room_has_a_place_in_the_order():
    rooms = {room(module) for module in modules_below(PACKAGE)} - {"", "__main__"}
    assert rooms - set(RANK) == set()


def test_no_room_imports_an_upper_one(imports):
    upward = [
        f"{a} imports {b}"
        for a, b in inner(imports)
        if room(b) not in RANK or (room(a) != room(b) and RANK[room(b)] < RANK[room(a)])
    ]
    assert upward == []


def test_no_circle_of_rooms(imports):
    rooms = networkx.DiGraph((room(a), room(b)) for a, b in inner(imports) if room(a) != room(b))
    assert circles(rooms) == []


def test_no_circle_of_modules(imports):
    assert circles(imports) == []


def circles(graph):
    return sorted(sorted(part) for part in networkx.strongly_connected_components(graph) if len(part) > 1)


def test_modules_that_strings_name_are_there():
    texts = {
        node.value
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    found = {text for text in texts if re.fullmatch(r"sac_fast(\.\w+)+(:\w+)?", text)} - NO_MODULES
    assert found
    for name in found:
        module, _, attribute = name.partition(":")
        assert not attribute or hasattr(importlib.import_module(module), attribute), name
        importlib.import_module(module)


def test_few_modules_lie_loose():
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert len(loose) <= MAX_LOOSE_MODULES, sorted(loose)


def test_no_file_is_long():
    paths = [path for folder in ("sac_fast", "csrc", "tests", "benchmarks") for path in (ROOT / folder).rglob("*")]
    sources = [path for path in paths if path.suffix in (".py", ".pyi", ".h", ".cpp", ".cu", ".cuh")]
    long = {p.relative_to(ROOT).as_posix() for p in sources if len(p.read_text().splitlines()) > MAX_LINES}
    assert long == set()


def test_code_lines_are_counted_without_docstrings_and_comments():
    source = textwrap.dedent('''
        """Module,
        two lines."""

        import os  # why


        def f():
            """Doc."""
            # why
            return (
                os,
            )
    ''')
    # import, def, return with its two further lines
    assert count_code_lines(source) == 5
    assert count_code_lines('x = """a\nb"""\n') == 2  # no docstring


def test_the_table_of_op_files_knows_every_op():
    assert sorted(op_files.OPS) == sorted({*bench.OPS, "jpeg_roundtrip"})
    assert set(op_files.OPS) <= set(sac_fast.__all__)


def test_an_op_is_followed_in_few_files():
    unfinished = {
        op
        for op in op_files.OPS
        if op_files.missing_layers(op)
        or len(op_files.files_of(op)) + len(op_files.other_files_of(op)) > op_files.MAX_FILES
    }
    assert unfinished == set()


def test_the_documented_files_of_each_op_are_those_that_are_there():
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert op_files.make_table() in text


def test_long_tests_are_there():
    def is_there(name):
        path, _, test = name.partition("::")
        return (ROOT / path).exists() and f"def {test}" in ((ROOT / path).read_text() if test else "def ")

    assert [name for name in LONG if not is_there(name)] == []


@pytest.mark.skipif(not (ROOT / ".ci" / "run").exists(), reason="needs the repository")
def test_the_workflow_runs_every_step():
    steps = re.search(r"^steps=\((.*)\)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)[1].split()
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    called = re.search(r"\.ci/run ([a-z ]+)$", workflow, re.MULTILINE)[1].split()
    called += re.search(r"step: \[(.*)\]", workflow)[1].split(", ")
    assert sorted(called) == sorted(steps)
