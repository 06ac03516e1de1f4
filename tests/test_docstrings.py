"""The examples in the public docstrings run, and every public name has one."""

import doctest
import inspect

import numpy as np
import pytest
import torch

import sac_fast

# Public names that still lack an example: shorten the list, never lengthen it.
WITHOUT_EXAMPLE = {
    "Fingerprint",
    "Limits",
    "ModelEntry",
    "NullPool",
    "OpenedModel",
    "Preprocessing",
    "ProbeSet",
    "Verdict",
    "Verification",
    "auc",
    "calibrated_threshold",
    "conformal_p_value",
    "evaluate",
    "evaluate_distances",
    "find_relatives",
    "fingerprint",
    "identify",
    "list_entries",
    "load_model",
    "load_weights",
    "open_model",
    "probe_bootstrap",
    "save_weights",
    "scan_models",
    "simulate",
    "verify_fingerprints",
    "weights_hash",
}
# Errors need none; NearestModels is shown by the op that returns it
EXEMPT = {"NearestModels", *(name for name in sac_fast.__all__ if inspect.isclass(getattr(sac_fast, name))
                             and issubclass(getattr(sac_fast, name), Exception))}  # fmt: skip
EXAMPLES = {
    name: [
        example
        for example in doctest.DocTestParser().get_examples(inspect.getdoc(getattr(sac_fast, name)) or "")
        if not example.options.get(doctest.SKIP)  # shown, but not run
    ]
    for name in sorted(set(sac_fast.__all__) - EXEMPT)
}


@pytest.mark.parametrize("name", [name for name, examples in EXAMPLES.items() if examples])
def test_example_runs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"torch": torch, "np": np, "sac_fast": sac_fast, name: getattr(sac_fast, name)}
    finder = doctest.DocTestFinder(recurse=False)
    report = []
    for test in finder.find(getattr(sac_fast, name), name, module=False, globs=names):
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
        assert result.failed == 0, "".join(report)
        assert result.attempted > 0


def test_every_public_name_has_an_example():
    lacking = {name for name, examples in EXAMPLES.items() if not examples}
    assert lacking <= WITHOUT_EXAMPLE, (
        f"public names without an example: {', '.join(sorted(lacking - WITHOUT_EXAMPLE))}"
    )
