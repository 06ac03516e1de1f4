"""Run a case: every stage takes from the folder what is there, and makes what is missing."""

from __future__ import annotations

import platform
import time
from datetime import UTC, datetime
from typing import Any, Literal, get_args

import torch

from ..io.files import StrPath, atomic_write
from ..labelled_zoo.engine import lock_folder
from ..models import Secrets
from ..models.code_path import allow_code_in
from ..ops.arguments import check_choice
from ..probes.provenance import step_versions
from ..verify.case_folder import CaseFolder, read_verdicts, write_verdicts
from .case import Case, load_case
from .evidence import gather_evidence, make_case_siblings, make_probes
from .judging import judge_case
from .protocol import commit_protocol, describe_protocol

Stage = Literal["probes", "siblings", "commit", "verdicts", "report"]
STAGES: tuple[Stage, ...] = get_args(Stage)


def run_audit(
    case: Case | StrPath,
    *,
    stage: Stage = "report",
    secrets: Secrets | None = None,
    command: str | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Run a case up to a stage: probes, siblings, commitment to the protocol, verdicts, report.

    Everything is written to the case's folder, and what is there is not made again: siblings, outputs of files, and
    answers of services are kept over crashes and further runs.

    Args:
        case: a case or its file. Its code is imported and run, and its hosts are asked: see `plan_case`.
        stage: the last one that is run. ``"commit"`` fixes the protocol before any suspect is looked at.
        secrets: for services.
        command: what was typed, for the report.
        progress: bars on stderr.

    Returns:
        ``folder``, ``stage`` and, from ``"commit"`` on, ``protocol_hash``; from ``"verdicts"`` on the content of
        verdicts.json; after ``"report"`` also ``files``.

    Raises:
        FileFormatError: no case, or a damaged folder.
        ModelError: a model of the case fails that is no suspect.
        ProtocolError: the case is not as it was committed to.

    Example::

        >>> import numpy as np, torch
        >>> from pathlib import Path
        >>> rng = np.random.default_rng(0)
        >>> probes = sac_fast.ProbeSet.from_arrays(rng.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8))
        >>> probes.save("probes.safetensors")
        >>> Path("siblings").mkdir()
        >>> models = torch.randn(21, 60, 5, generator=torch.Generator().manual_seed(0))
        >>> for i, outputs in enumerate(models[:20] + 2 * models[20]):
        ...     made = sac_fast.Fingerprint(outputs, {"name": f"model {i}", "probe_hash": probes.content_hash})
        ...     made.save(f"siblings/{i}.safetensors" if i else "mine.safetensors")
        >>> theirs = sac_fast.Fingerprint(3 * sac_fast.Fingerprint.load("mine.safetensors").outputs, made.provenance)
        >>> theirs.save("theirs.safetensors")
        >>> text = '''
        ... source = { path = "mine.safetensors" }
        ... probes = { images = "probes.safetensors" }
        ... siblings = { folder = "siblings" }
        ... suspects = [ { path = "theirs.safetensors" } ]
        ... '''
        >>> _ = Path("case.toml").write_text(text)
        >>> result = sac_fast.run_audit("case.toml", stage="verdicts", progress=False)
        >>> result["tests"][0]["verdicts"]["ground"], result["p_value"]
        ('siblings', {'theirs.safetensors': 0.05})
    """
    check_choice("stage", stage, STAGES)
    case = case if isinstance(case, Case) else load_case(case)
    folder = CaseFolder(case.folder)
    begun = time.time()
    allow_code_in(case.base)
    with lock_folder(case.folder):
        with atomic_write(folder.case) as handle:
            handle.write(case.text)
        found: dict[str, Any] = {"folder": str(case.folder), "stage": stage}
        if stage in ("probes", "siblings"):
            probes = make_probes(case, folder, progress=progress)
            found["probes"] = len(probes)
            if stage == "siblings":
                found["siblings"] = len(make_case_siblings(case, folder, probes, progress=progress)[0])
            return found
        evidence = gather_evidence(case, folder, secrets or Secrets(), progress=progress)
        protocol = describe_protocol(case, evidence.source[1], evidence.siblings, evidence.nulls, evidence.family)
        found["protocol_hash"], committed = commit_protocol(folder, protocol)
        if stage == "commit":
            return found
        judged = judge_case(case, folder, evidence, committed, secrets or Secrets(), progress)
        about = {
            "name": case.name,
            "protocol_hash": found["protocol_hash"],
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": time.time() - begun,
            "versions": step_versions(torch=torch.__version__, python=platform.python_version()),
            "command": command,
        }
        write_verdicts(folder, {**about, **judged})
        found |= read_verdicts(folder)
        if stage == "report":
            from ..report import write_report

            found["files"] = [str(path) for path in write_report(case.folder)]
    return found
