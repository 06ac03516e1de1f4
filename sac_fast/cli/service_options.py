"""Options of commands that ask services, or read what somebody asked them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from .checks import refuse_if
from .options import file_option

if TYPE_CHECKING:
    from ..models import BlackBox, OpenedModel, QueryLedger, Secrets
    from ..probes import ProbeSet

SecretOption = Annotated[
    list[str] | None,
    Option(
        "--secret",
        metavar="NAME=HOST",
        help="Variable of the environment whose value may be sent to this host, for {secret:NAME} in headers; "
        "repeatable.",
    ),
]

_MAX_NAMES_BYTES = 16 << 20


def parse_secrets(given: list[str] | None) -> Secrets:
    """The secrets; none is repeated in a message."""
    from ..errors import ModelError
    from ..models import Secrets

    try:
        return Secrets(given or [])
    except ModelError as error:
        refuse_if(True, "--secret", str(error).removeprefix("secret "))
        raise


@dataclass(frozen=True)
class ServiceOptions:
    """How a service is asked, or where its answers are."""

    answers: Annotated[
        Path | None,
        file_option("Answers to the files of `probes export`, instead of MODEL: CSV, JSON or JSON lines."),
    ] = None
    class_names: Annotated[
        Path | None,
        file_option("Names of the classes in the order of your model's outputs, one a line, for --answers."),
    ] = None
    secret: SecretOption = None
    ledger: Annotated[
        Path | None,
        Option(dir_okay=False, help="Ledger of queries to a service; default: beside --out, .ledger.sqlite."),
    ] = None
    budget: Annotated[
        int | None, Option(min=1, help="Most queries to a service, over all runs; default: no limit.")
    ] = None
    repeats: Annotated[
        int, Option(min=0, help="Probes that a service is asked twice, to see whether answers change.")
    ] = 0

    def check(self, model: str | None) -> None:
        """Refuse options that do not go together."""
        refuse_if((model is None) == (self.answers is None), "MODEL", "must be given, or --answers, and not both")
        refuse_if(self.class_names is not None and self.answers is None, "--class-names", "goes with --answers")
        given = {"--secret": self.secret, "--ledger": self.ledger, "--budget": self.budget, "--repeats": self.repeats}
        service = is_service(model)
        for option, value in given.items():
            refuse_if(bool(value) and not service, option, "goes with a service: a .toml file with its url as MODEL")

    def open_answers(self, probes: ProbeSet) -> OpenedModel:
        """The recorded answers, to all probes."""
        from ..errors import FileFormatError
        from ..io.files import read_regular
        from ..models.answers_file import open_answers

        assert self.answers is not None
        labels: list[str] = []
        if self.class_names is not None:
            names = read_regular(self.class_names, _MAX_NAMES_BYTES, "as names of classes")
            labels = [line for line in names.decode("utf-8").splitlines() if line]
        model, rows = open_answers(self.answers, probes, labels)
        if len(rows) < len(probes):
            missing = sorted(set(range(len(probes))) - set(rows))[:3]
            wanted = f"{str(self.answers)!r} must answer all {len(probes)} probes"
            raise FileFormatError(f"{wanted}, got {len(rows)}; not, among others, those that begin with {missing}")
        return model

    def open_service(self, file: Path, out: Path) -> tuple[BlackBox, QueryLedger]:
        """The service of a .toml file and its ledger, which the caller closes."""
        from ..models import BlackBox, QueryLedger
        from ..models.service_file import read_service_file

        endpoint, secrets = read_service_file(file), parse_secrets(self.secret)
        ledger = QueryLedger(self.ledger or out.with_suffix(".ledger.sqlite"))
        box = BlackBox.of_endpoint(
            endpoint, name=file.stem, secrets=secrets, ledger=ledger, budget=self.budget,
            repeats=self.repeats,
        )  # fmt: skip
        return box, ledger


def is_service(model: str | None) -> bool:
    """Whether MODEL is a file that says where a service is."""
    return model is not None and model.endswith(".toml") and Path(model).is_file()
