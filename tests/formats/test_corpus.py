"""One corpus of small files through every way in: `identify`, `open_model`, `fingerprint` and `scan` agree on each.

A case is one line in `tests/support/corpus_*.py`: the file, its format, and its outputs or the reason of its refusal.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.corpus import PROBES, SPECS, Case
from support.corpus_checkpoints import checkpoint_cases
from support.corpus_foreign import foreign_cases
from support.corpus_onnx import onnx_cases
from support.corpus_recorded import recorded_cases

from sac_fast import Fingerprint, fingerprint, identify, open_model
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import list_entries
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.scan.run import scan_models
from sac_fast.store import ModelStore

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's own, of quantised and sparse tensors
    CASES = [*recorded_cases(), *checkpoint_cases(), *foreign_cases(), *onnx_cases()]
ARCHITECTURES = [part for spec in SPECS for part in ("--architecture", spec)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    PROBES.save(folder / ".probes")
    for case in CASES:
        path = folder / case.name.partition("/")[0]
        path.mkdir() if "/" in case.name else None  # a folder of its own, for what has files beside it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            case.write(folder / case.name)
    return folder


@pytest.fixture(scope="module")
def scanned(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Outputs or reason, and notes or message, of each file after one scan of all."""
    settings = WorkerSettings(architectures=SPECS, timeout=60)
    with ModelStore.open(tmp_path_factory.mktemp("store") / "s", write=True, create=True) as store:
        entries = [case.entry(files) for case in CASES]
        # Texts that lie beside models are not listed: the entries name them, as a manifest may.
        listed = {entry.name for entry in list_entries(files)}
        assert listed >= {case.name for case in CASES if not case.name.endswith((".txt", ".json", ".xml"))}
        assert listed >= {case.name for case in CASES if case.format == "sharded"}
        scan_models(entries, PROBES, store, settings=settings, workers=1)

        def found(case: Case) -> tuple[Any, str]:
            record = store.record_for(case.name, PROBES.content_hash)
            assert record is not None
            outcome = store.outputs(record).numpy() if record.status == "done" else record.reason
            return outcome, record.message or ""

        yield found


def check(outcome: Any, said: str, case: Case) -> None:
    """The outputs within 1e-5, or the reason; and what is said."""
    if isinstance(case.outcome, str) or isinstance(outcome, str):
        assert isinstance(outcome, str), f"outputs {outcome.shape}, not {case.outcome}"
        assert isinstance(case.outcome, str), f"{outcome}: {said}"
        assert outcome == case.outcome, said
    else:
        np.testing.assert_allclose(outcome, case.outcome, rtol=1e-5, atol=1e-5)
    assert case.says in said


#: Every third one in each run of the suite, all of them with --slow.
MARKED = [case if number % 3 == 0 else pytest.param(case, marks=pytest.mark.slow) for number, case in enumerate(CASES)]


@pytest.mark.parametrize("case", MARKED, ids=[case.name for case in CASES])
def test_every_way_in_reads_the_file_alike(case: Case, files: Path, scanned: Any, tmp_path: Path, run: Any) -> None:
    path = files / case.name
    try:
        identified = identify(path)
    except ModelRefusedError as error:
        identified = f"refused: {error.reason}"
    assert identified == (case.format or f"refused: {case.outcome}")
    try:
        with open_model(case.entry(files), architectures=SPECS) as model:
            made = fingerprint(model, PROBES, name=case.name)
            outcome, said = made.outputs.numpy(), "; ".join(model.notes)
    except ModelError as error:
        outcome, said = error.reason or "run-failed", str(error)  # the one reason that a scan adds
    check(outcome, said, case)
    out = tmp_path / "out"
    options = [*ARCHITECTURES, *case.arguments(), "--probes", files / ".probes", "--out", out, "-q"]
    code, _, err = run("fingerprint", path, *options)
    refused = isinstance(case.outcome, str)
    assert code == int(refused), err
    if not refused:
        check(Fingerprint.load(out).outputs.numpy(), err, case)
    assert case.says in err
    check(*scanned(case), case)


def test_the_corpus_is_large_and_names_each_file_once() -> None:
    assert len(CASES) >= 230
    assert len({case.name for case in CASES}) == len(CASES)
