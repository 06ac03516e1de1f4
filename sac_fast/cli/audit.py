"""`sac-fast audit`: from a case file to verdicts and a report."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Option

from ..io.text import escape_text
from .checks import refuse_if
from .option_groups import expand_option_groups
from .options import Json, Quiet
from .service_options import SecretOption, parse_secrets


@dataclass(frozen=True)
class NewCaseOptions:
    """What a new case is made of."""

    init: Annotated[bool, Option("--init", help="Write a new case file from the options that follow, and stop.")] = (
        False
    )
    source_model: Annotated[str | None, Option(help="With --init: file of your model.")] = None
    images: Annotated[
        str | None, Option("--probe-images", help="With --init: folder of images, HDF5 or probe file for the probes.")
    ] = None
    build: Annotated[
        list[str] | None,
        Option(help="With --init: package.module:callable that builds networks of weights, your model's first."),
    ] = None
    train_siblings: Annotated[
        str | None, Option(help="With --init: package.module:function that trains your model, for siblings.")
    ] = None
    sibling_count: Annotated[int, Option(min=1, help="With --init: how many siblings.")] = 19
    probe_limit: Annotated[int | None, Option(min=2, help="With --init: most probes.")] = None
    probe_severity: Annotated[int | None, Option(min=1, max=5, help="With --init: JPEG severity of the probes.")] = None
    model_colours: Annotated[Literal["RGB", "BGR", "GRAY"], Option(help="With --init: channels of the input.")] = "RGB"
    suspect: Annotated[
        list[str] | None,
        Option(help="With --init: model file, folder, pattern, .toml of a service or its address; repeatable."),
    ] = None
    independent: Annotated[
        list[str] | None, Option(metavar="[KIND=]PATH", help="With --init: independent models; repeatable.")
    ] = None

    def write(self, file: Path) -> None:
        """Write the case, or refuse options that are for a new one."""
        from ..audit.template import CaseAnswers, write_case

        defaults = {item.name: item.default for item in fields(self)}
        given = [name for name, value in defaults.items() if getattr(self, name) != value and name != "init"]
        refuse_if(bool(given) and not self.init, f"--{(given or ['init'])[0].replace('_', '-')}", "goes with --init")
        if not self.init:
            return
        refuse_if(self.source_model is None, "--source-model", "must be given with --init")
        refuse_if(self.images is None, "--probe-images", "must be given with --init")
        assert self.source_model is not None
        assert self.images is not None
        answers = CaseAnswers(
            self.source_model, self.images, tuple(self.build or ()), self.train_siblings, self.sibling_count,
            self.probe_limit, self.probe_severity, self.model_colours, tuple(self.suspect or ()),
            tuple(self.independent or ()),
        )  # fmt: skip
        write_case(file, answers)


@expand_option_groups
def audit(
    *,
    case: Annotated[Path, Argument(dir_okay=False, help="Case file (TOML); --init writes one.")],
    new: NewCaseOptions,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Say what would be run, asked and reached; run nothing of the case.")
    ] = False,
    commit: Annotated[
        bool, Option("--commit", help="Fix the protocol and print its hash; look at no suspect.")
    ] = False,
    stage: Annotated[
        Literal["probes", "siblings", "commit", "verdicts", "report"], Option(help="The last stage to run.")
    ] = "report",
    secret: SecretOption = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge suspects by a case file: make probes and siblings, run files, ask services, write verdicts and a report.

    A case is code: it names modules that are run and hosts that are asked. Interrupted or killed, the same command goes
    on where it was; no answer of a service is asked for again.
    """
    from .render.audit import show_audit, show_plan

    new.write(case)
    if new.init:
        command = shlex.join(["sac-fast", "audit", str(case), "--dry-run"])
        print(escape_text(f"{case}: look at it, then type: {command}"))
        return
    refuse_if(not case.is_file(), "CASE", f"must be a file, got {str(case)!r}; --init writes one")
    if dry_run:
        from ..audit.plan import plan_case

        show_plan(plan_case(case), as_json)
        return
    from ..audit.run import run_audit

    secrets = parse_secrets(secret)
    command = shlex.join(["sac-fast", *sys.argv[1:]])
    last: Literal["probes", "siblings", "commit", "verdicts", "report"] = "commit" if commit else stage
    show_audit(run_audit(case, stage=last, secrets=secrets, command=command, progress=not quiet), as_json)
