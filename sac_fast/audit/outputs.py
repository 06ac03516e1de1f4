"""Fingerprints of a case's models: files run in worker processes, services asked, answers read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ModelError, SacFastError
from ..fingerprint import Fingerprint, fingerprint
from ..io.files import open_regular
from ..io.hashing import sha256_stream
from ..models import BlackBox, Preprocessing, QueryLedger, Secrets
from ..models.answers_file import open_answers
from ..models.architectures import import_callable
from ..probes import ProbeSet
from ..scan.jobs import WorkerSettings
from ..scan.run import scan_models
from ..store.store import ModelStore
from ..verify.case_folder import CaseFolder
from .case import Case
from .gather import Found


def run_files(
    case: Case, folder: CaseFolder, probes: ProbeSet, models: Mapping[str, Sequence[Found]], *, progress: bool
) -> tuple[dict[tuple[str, str], Fingerprint], dict[str, str]]:
    """Run all model files, untrusted as they are, in worker processes; what ran before is taken from the case's store.

    Args:
        case, folder, probes: the case.
        models: by role.
        progress: a bar on stderr.

    Returns:
        Fingerprints by role and name, and reasons by the name of what failed.

    Raises:
        ModelError: a model of another role than ``"suspects"`` failed.
    """
    wanted = {
        f"{role}/{model.name}": (role, model, model.entry)
        for role, some in models.items()
        for model in some
        if model.entry is not None
    }
    prints: dict[tuple[str, str], Fingerprint] = {}
    failed: dict[str, str] = {}
    if not wanted:
        return prints, failed
    entries = [dataclasses.replace(entry, name=name) for name, (_, _, entry) in wanted.items()]
    settings = WorkerSettings(
        preprocessing=case.source.preprocessing or Preprocessing(),
        architectures=case.architectures,
    )
    store_folder = folder.folder / "scan"
    scan_models(entries, probes, store_folder, settings=settings, progress=progress, workers=_workers(len(entries)))
    with ModelStore.open(store_folder, write=False) as store:
        records = store.records_for(list(wanted), probes.content_hash)
        for name, (role, model, _) in wanted.items():
            record = records.get(name)
            if record is None or record.status != "done":
                reason = f"{record.reason}: {record.message}" if record is not None else "interrupted"
                if role != "suspects":
                    raise ModelError(f"{role} {model.name!r} must give outputs, got {reason}")
                failed[model.name] = reason
                continue
            prints[role, model.name] = rename(store.fingerprint(record), model)
    return prints, failed


def _workers(count: int) -> int | None:
    return 1 if count == 1 else None


def rename(fp: Fingerprint, model: Found) -> Fingerprint:
    """The fingerprint under the name and the kind that the case gives it."""
    about = {**fp.provenance, "name": model.name, "kind": model.kind}
    if model.spec.output_form is not None:
        about |= {"output_form": model.spec.output_form, "output_form_declared": True}
    return Fingerprint(fp.outputs, about)


def read_answers(case: Case, probes: ProbeSet, model: Found) -> Fingerprint:
    """Recorded answers; where they are not of all probes the provenance says of which (``probe_rows``)."""
    spec = model.spec
    assert spec.answers is not None
    opened, rows = open_answers(case.path(spec.answers), probes, spec.labels)
    chosen = probes if len(rows) == len(probes) else probes.subset(rows)
    made = fingerprint(opened, chosen, name=model.name, kind=model.kind, output_form=spec.output_form)
    return made if chosen is probes else on_rows(made, probes, rows)


def on_rows(fp: Fingerprint, probes: ProbeSet, rows: Sequence[int]) -> Fingerprint:
    """A fingerprint that holds these rows of the probe set alone."""
    return Fingerprint(fp.outputs, {**fp.provenance, "probe_hash": probes.content_hash, "probe_rows": list(rows)})


class Services:
    """The services of a case, which are asked for more and more probes.

    Args:
        case, probes: the case.
        models: those that are asked.
        ledger: open.
        secrets: for headers.
        progress: bars on stderr.
    """

    def __init__(
        self,
        case: Case,
        probes: ProbeSet,
        models: Sequence[Found],
        ledger: QueryLedger,
        secrets: Secrets,
        progress: bool,
    ) -> None:
        self._probes, self._progress = probes, progress
        self.failed: dict[str, str] = {}
        self.prints: dict[str, Fingerprint] = {}
        self.boxes: dict[str, BlackBox] = {}
        self._kinds = {model.name: model.kind for model in models}
        for model in models:
            self.boxes[model.name] = _box_of(case, model, ledger, secrets)

    def ask(self, rows: Sequence[int], names: Sequence[str]) -> dict[str, Fingerprint]:
        """Fingerprints on these probes, as `judge_in_looks` takes them; what fails is noted and left out."""
        chosen = self._probes.subset(list(rows))
        for name in names:
            try:
                made = fingerprint(self.boxes[name], chosen, name=name, kind=self._kinds[name], progress=self._progress)
            except SacFastError as error:
                self.failed[name] = str(error)
                continue
            self.prints[name] = on_rows(made, self._probes, rows)
        return {name: self.prints[name] for name in names if name not in self.failed}


def _box_of(case: Case, model: Found, ledger: QueryLedger, secrets: Secrets) -> BlackBox:
    spec, queries = model.spec, case.queries
    limits: dict[str, Any] = {"ledger": ledger, "budget": queries.most, "repeats": queries.repeats}
    if spec.service is not None:
        return BlackBox.of_endpoint(spec.service, name=model.name, secrets=secrets, **limits)
    assert spec.predict is not None
    form = spec.output_form or "probabilities"
    return BlackBox(import_callable(spec.predict), form, spec.labels, name=model.name, **limits)


def file_sha256(path: Path | None) -> str | None:
    """The plain SHA-256 of a file; None where there is none."""
    if path is None or not path.is_file():
        return None
    with open_regular(path) as handle:
        return sha256_stream(handle)
