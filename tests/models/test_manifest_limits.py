"""Manifests that cost more than they are: refused before they are parsed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bounded import bounded

from sac_fast.errors import FileFormatError
from sac_fast.formats.toml_text import parse_toml
from sac_fast.io.process import status_bytes
from sac_fast.models import manifest
from sac_fast.models.claims import read_claims
from sac_fast.models.entry import ModelEntry
from sac_fast.models.manifest import MAX_UNASKED_BYTES, MAX_UNASKED_MODELS, read_manifest


def read(path: Path, asked: bool) -> list[ModelEntry]:
    return read_manifest(path, ModelEntry("default", path), asked=asked)


DOTS = "keys must have few parts"
COSTLY = {
    "dotted key": ("a" + ".a" * 20_000 + " = 1", DOTS),
    "dotted key, quoted": ('"a"' + ' . "a"' * 8_000 + " = 1", DOTS),
    "long table": ("[a" + ".a" * 8_000 + "]\n" + "".join(f"k{i} = 1\n" for i in range(4_000)), DOTS),
    "long array of tables": ("[[a" + ".a" * 8_000 + "]]\n" + "".join(f"k{i} = 1\n" for i in range(4_000)), DOTS),
    "many dotted keys": ("".join(f"a{i}" + ".b" * 500 + " = 1\n" for i in range(40)), DOTS),
    "dotted keys in a table": ("a = {" + ", ".join(f"a{i}" + ".b" * 500 + " = 1" for i in range(40)) + "}", DOTS),
    "line": ("a = " + "1" * (1 << 20), "lines must have at most 1,048,576 characters"),
    "nesting": ("a = " + "[" * 40_000, "RecursionError"),
    "tables": ("a = " + "{a=" * 10_000, "RecursionError"),
}


@pytest.mark.parametrize("name", COSTLY)
def test_costly_toml_is_refused_before_it_is_parsed(tmp_path: Path, name: str) -> None:
    text, message = COSTLY[name]
    (tmp_path / "zoo.toml").write_text(text)
    with bounded(len(text), seconds=1), pytest.raises(FileFormatError, match=message):
        read(tmp_path / "zoo.toml", asked=True)


DEEP = "[" * 40 + "1" + "]" * 40
TOO_DEEP = {
    "zoo.toml": f"[[models]]\npath = 'a'\nkwargs = {{ a = {DEEP} }}\n",
    "dotted.toml": f"[[models]]\npath = 'a'\nkwargs.{'.'.join('a' * 40)} = 1\n",
    "zoo.csv": f'path,kwargs\na,"{{""a"": {DEEP}}}"\n',
    "zoo.json": '{"kind": "sac_fast labelled zoo", "preprocessing": {}, "members": [{"name": "a", "role": "source", '
    f'"architecture": "torch.nn:Linear", "architecture_args": {{"a": {DEEP}}}}}]}}',
}


@pytest.mark.parametrize("name", TOO_DEEP)
def test_deep_values_are_refused_before_they_are_written(tmp_path: Path, name: str) -> None:
    """Those that are just parsed raised RecursionError where the scan wrote them for a worker."""
    (tmp_path / name).write_text(TOO_DEEP[name])
    with pytest.raises(FileFormatError, match=r"values .*must be nested at most 24 deep, got more"):
        read(tmp_path / name, asked=True)
    (tmp_path / name).write_text(TOO_DEEP[name].replace(DEEP, "[" * 20 + "]" * 20).replace(".a" * 20, "", 1))
    assert len(read(tmp_path / name, asked=True)) == 1


def test_long_defaults_of_many_models_are_refused(tmp_path: Path) -> None:
    """A copy of them for each model: a file of 1 MB would have taken 40 GB."""
    many = "".join(f"[[models]]\npath = '{i}'\n" for i in range(25_000))
    text = f"[defaults]\nkwargs = {{ a = [{', '.join(['1'] * 110_000)}] }}\n{many}"
    assert len(text) < MAX_UNASKED_BYTES
    (tmp_path / "zoo.toml").write_text(text)
    with bounded(len(text), seconds=5):
        assert (
            "[defaults] must have at most 16,000,000 characters, times its models"
            in read_claims(tmp_path / "zoo.toml")[1]
        )
    (tmp_path / "zoo.toml").write_text(f"[defaults]\nkwargs = {{ a = 'x' }}\n{many}")
    assert len(read_claims(tmp_path / "zoo.toml")[0]) == 25_000


def test_a_problem_is_no_longer_than_a_message(tmp_path: Path) -> None:
    (tmp_path / "zoo.toml").write_text("".join(f"a{i} = 1\n" for i in range(50_000)))
    problem = read_claims(tmp_path / "zoo.toml")[1]
    assert "tables must be [defaults] and [[models]], got ['a0', 'a1', 'a10'," in problem
    assert len(problem) == 1000


def test_what_people_write_is_parsed() -> None:
    numbers = ", ".join(f"{i}.5" for i in range(1000))
    models = "".join(f'[[models]]\npath = "a.b.c/model.{i}.safetensors"\n' for i in range(20_000))
    found = parse_toml(f"[defaults.kwargs]\nvalues = [{numbers}]\n{models}")
    assert found["defaults"]["kwargs"]["values"][-1] == 999.5
    assert found["models"][-1] == {"path": "a.b.c/model.19999.safetensors"}


@pytest.mark.parametrize("name", ["zoo.toml", "zoo.csv", "zoo.json"])
def test_a_manifest_that_nobody_named_is_small(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"#" * (MAX_UNASKED_BYTES + 1))
    with pytest.raises(FileFormatError, match="at most 1,000,000 bytes, as a manifest inside a folder; name it"):
        read(path, asked=False)
    with pytest.raises(FileFormatError) as caught:
        read(path, asked=True)
    assert "at most" not in str(caught.value)


def test_a_manifest_that_nobody_named_lists_few_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "MAX_UNASKED_MODELS", 50)
    path = tmp_path / "zoo.csv"
    path.write_text("path\n" + "a\n" * 50)
    with pytest.raises(FileFormatError, match="at most 50 lines as a manifest inside a folder"):
        read(path, asked=False)
    assert len(read(path, asked=True)) == 50
    path.write_text("path\n" + "a\n" * 49)
    assert len(read(path, asked=False)) == 49


def test_the_largest_manifest_that_nobody_named_takes_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "zoo.csv"
    path.write_text("path\n" + "a\n" * 5_000)
    before = status_bytes("VmRSS")
    found = read(path, asked=False)
    assert (status_bytes("VmRSS") - before) * MAX_UNASKED_MODELS < (200 << 20) * len(found)
