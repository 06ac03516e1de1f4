"""Every script in benchmarks/ can be imported, and what it names of sac_fast is there."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(BENCHMARKS.rglob("*.py"))


def name_of(path):
    return ".".join(path.relative_to(BENCHMARKS).with_suffix("").parts).removesuffix(".__init__")


def find(module, name):
    """`module.name`, which may be a module that nobody has imported."""
    if hasattr(module, name):
        return getattr(module, name)
    if hasattr(module, "__path__"):
        try:
            return importlib.import_module(f"{module.__name__}.{name}")
        except ModuleNotFoundError:
            pass
    raise AttributeError(f"{module.__name__}.{name}")


def missing_names(source):
    """What a script names of sac_fast's modules and is not there, by line."""
    tree = ast.parse(source)
    modules, missing = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "sac_fast":
                    try:
                        found = importlib.import_module(alias.name)
                    except ModuleNotFoundError:
                        missing.append(f"line {node.lineno}: {alias.name}")
                    else:
                        whole = found if alias.asname else importlib.import_module("sac_fast")
                        modules[alias.asname or "sac_fast"] = whole
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "sac_fast":
            for alias in node.names:
                try:
                    found = find(importlib.import_module(node.module), alias.name)
                except (ModuleNotFoundError, AttributeError):
                    missing.append(f"line {node.lineno}: {node.module}.{alias.name}")
                else:
                    if isinstance(found, ModuleType):
                        modules[alias.asname or alias.name] = found
    # a variable or parameter of a module's name hides it
    hidden = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    hidden |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            chain = ast.unparse(node).split(".")
            is_name = all(part.isidentifier() for part in chain) and chain[0] not in hidden
            found = modules.get(chain[0]) if is_name else None
            for name in chain[1:]:
                if not isinstance(found, ModuleType):
                    break
                try:
                    found = find(found, name)
                except AttributeError as error:
                    missing.append(f"line {node.lineno}: {error}")
                    break
    return missing


@pytest.mark.parametrize("path", SCRIPTS, ids=name_of)
def test_a_script_names_only_what_is_there(path):
    importlib.import_module(name_of(path))
    assert missing_names(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import sac_fast\nsac_fast.correlation_distance(a, b)", []),
        ("import sac_fast\nsac_fast.correlation_length(a, b)", ["line 2: sac_fast.correlation_length"]),
        (
            "import sac_fast.bench.peers as p\ndef f():\n    p.naive(); p.clever()",
            ["line 3: sac_fast.bench.peers.clever"],
        ),
        ("def f():\n    from sac_fast.bench import peers, pears", ["line 2: sac_fast.bench.pears"]),
        ("from sac_fast.benches import peers", ["line 1: sac_fast.benches.peers"]),
        ("from sac_fast.bench import peers\ndef f(peers):\n    peers.anything", []),
    ],
)
def test_missing_names_are_found(source, expected):
    assert missing_names(source) == expected
