"""The examples in the public docstrings run, and every public name has one."""

import doctest
import inspect

import numpy as np
import pytest
import torch
from support.examples import run_examples

import sac_fast

# Public names that still lack an example: shorten the list, never lengthen it.
WITHOUT_EXAMPLE = {
    "Limits",
    "ModelEntry",
    "OpenedModel",
    "Preprocessing",
    "ProbeSet",
    "Verification",
    "evaluate",
    "find_relatives",
    "identify",
    "list_entries",
    "load_model",
    "load_weights",
    "open_model",
    "save_weights",
    "scan_models",
    "simulate",
    "weights_hash",
}
# Errors need none; NearestModels is shown by the op that returns it
EXEMPT = {"NearestModels", *(name for name in sac_fast.__all__ if inspect.isclass(getattr(sac_fast, name))
                             and issubclass(getattr(sac_fast, name), Exception))}  # fmt: skip


def examples_of(name):
    """The examples of a public name that run: not those that are marked to be skipped."""
    examples = doctest.DocTestParser().get_examples(inspect.getdoc(getattr(sac_fast, name)) or "")
    return [example for example in examples if not example.options.get(doctest.SKIP)]


EXAMPLES = {name: examples_of(name) for name in sorted(set(sac_fast.__all__) - EXEMPT)}


@pytest.mark.parametrize("name", [name for name, examples in EXAMPLES.items() if examples])
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    public = {each: getattr(sac_fast, each) for each in sac_fast.__all__}
    run_examples(sac_fast, name, torch=torch, np=np, sac_fast=sac_fast, **public)


def test_every_public_name_has_an_example():
    lacking = {name for name, examples in EXAMPLES.items() if not examples}
    assert lacking <= WITHOUT_EXAMPLE, (
        f"public names without an example: {', '.join(sorted(lacking - WITHOUT_EXAMPLE))}"
    )
