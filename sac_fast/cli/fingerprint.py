"""`sac-fast fingerprint`: run one model on probes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .checks import check_output_path, parse_fixed_inputs, parse_json_object, refuse_if
from .help import HelpCommand
from .option_groups import expand_option_groups
from .options import (
    Choose,
    FixedInputs,
    InputOptions,
    ModelArgs,
    OutputForm,
    PrintOptions,
    ProbeFile,
    RandomWeights,
    TableOptions,
    Weights,
    WeightsKey,
)
from .service_options import ServiceOptions, is_service

if TYPE_CHECKING:
    import torch

    from ..fingerprint import Fingerprint
    from ..models import BlackBox, OpenedModel, TableFormat
    from ..probes import Probes

_HF = "hf:"  # sac_fast.models.image_classifiers.PREFIX, which is slow to import


@dataclass(frozen=True)
class ModelOptions:
    """How a model is built."""

    weights: Weights = None
    weights_key: WeightsKey = None
    fixed_inputs: FixedInputs = None
    model_args: ModelArgs = None
    architecture: Annotated[
        list[str] | None,
        Option(
            help='package.module:callable, timm:NAME, or hf: for config.json beside the file; "NAME {…}" with '
            "arguments; one must fit; repeatable."
        ),
    ] = None
    random_weights: RandomWeights = False


@dataclass(frozen=True)
class RunOptions:
    """How a model is run."""

    choose: Choose = "named"
    output: Annotated[
        str | None, Option(help="Which output, where the model gives several: position, key or attribute.")
    ] = None
    batch_size: Annotated[int, Option(min=1, help="Probes a batch.")] = 64
    device: Annotated[str | None, Option(help="Torch device; default: the CPU.")] = None
    timeout: Annotated[float, Option(min=0.1, max=1e9, help="Seconds for a model file that is run in a worker.")] = (
        3600.0
    )
    memory: Annotated[
        float | None, Option(min=0.01, max=1e9, help="GB for such a worker; default: four fifths of the machine's.")
    ] = None
    sandbox: Annotated[bool, Option(help="Keep such a worker from other files and from the network.")] = True

    @property
    def which(self) -> str | int | None:
        """The output as the API takes it: a position is a number."""
        is_position = self.output is not None and re.fullmatch("-?[0-9]{1,9}", self.output)
        return int(self.output) if self.output is not None and is_position else self.output


@expand_option_groups
def fingerprint(
    *,
    model: Annotated[
        str | None,
        Argument(
            help="package.module:callable, timm:NAME, a model file (ONNX, recorded outputs, weights), a folder with "
            "config.json and model.safetensors, or a .toml file that says where a service is."
        ),
    ] = None,
    probes_file: ProbeFile,
    out: Annotated[Path, Option(help="Fingerprint file to write (safetensors).")],
    options: ModelOptions,
    name: Annotated[str | None, Option(help="What to call the model; default: the output's name.")] = None,
    kind: Annotated[
        str | None, Option(help="What the model has in common with your source, for a null: one of its kinds.")
    ] = None,
    output_form: OutputForm = None,
    inputs: InputOptions,
    table: TableOptions,
    how: RunOptions,
    service: ServiceOptions,
    prints: PrintOptions,
) -> None:
    """Run a model on probes and keep its outputs; or ask a service for them; or read what others noted down."""
    from ..errors import ModelError
    from ..fingerprint import Fingerprint
    from ..fingerprint import fingerprint as make_fingerprint
    from ..models.file_origin import describe_origin
    from ..models.form_detection import WRONG_FORM
    from ..models.kinds import KINDS
    from ..models.preprocessing import Auto
    from ..probes import load_probes
    from .render.common import show_fingerprint, show_notes

    refuse_if(kind not in (None, *KINDS), "--kind", f"must be one of {', '.join(KINDS)}, got {kind!r}")
    preprocessing = inputs.parse("fingerprint", how.choose)
    service.check(model)
    arguments = {} if model is None else _check_model(model, options, how)
    check_output_path(out, prints.force, also_read=_weights_file(model, options))
    probes = load_probes(probes_file)
    try:
        common: dict[str, Any] = {
            "preprocessing": Auto(preprocessing) if how.choose == "auto" else preprocessing,
            "batch_size": how.batch_size,
            "name": name or out.stem,
            "kind": kind,
            "output_form": output_form,
        }
        if model is not None and _runs_in_worker(model, options.architecture):
            made, origin = _run_file(Path(model), options, how, table.parse(), probes, common), None
        else:
            with _opening(model, options, arguments, how, table.parse(), service, probes, out) as (opened, origin):
                quiet, device, output = prints.quiet, how.device, how.which
                made = make_fingerprint(opened, probes, device=device, output=output, progress=not quiet, **common)
    except ModelError as error:
        is_asked = error.reason == WRONG_FORM and output_form is not None
        refuse_if(is_asked, "--output-form", str(error).removeprefix("output_form "))
        raise
    about: dict[str, Any] = {} if origin is None else {"weights_from": origin}
    if (file := _weights_file(model, options)) is not None:
        about["file"] = describe_origin(file)
    made = Fingerprint(made.array, {**made.provenance, **about})
    show_notes([*made.provenance["notes"], *([f"weights: {origin}"] if origin in ("code", "random") else [])])
    made.save(out)
    show_fingerprint(made, out, prints.as_json)


def _runs_in_worker(model: str | None, architectures: list[str] | None) -> bool:
    """Whether the model is a file that needs none of the user's code."""
    is_file = model is not None and not is_service(model) and Path(model).exists()
    return is_file and {*(architectures or [])} <= {_HF}


class FingerprintCommand(HelpCommand):
    """Starts the process of a worker first, which imports torch while this one prepares its work without it."""

    def invoke(self, ctx: Any) -> Any:
        if not _runs_in_worker(ctx.params["model"], ctx.params["architecture"]):
            return super().invoke(ctx)
        from ..scan.fork_server import started_ahead

        with started_ahead(scrub=ctx.params["sandbox"]):
            return super().invoke(ctx)


COMMAND_CLASS = FingerprintCommand


def _weights_file(model: str | None, options: ModelOptions) -> Path | None:
    """The file that the model was read from; None: it is no file, or none of a model."""
    if options.weights is not None:
        return options.weights
    if model is None or is_service(model) or not Path(model).exists():
        return None
    return _classifier_weights(Path(model)) if Path(model).is_dir() else Path(model)


def _classifier_weights(folder: Path) -> Path:
    from ..models.image_classifiers import classifier_weights

    return classifier_weights(folder)


def _check_model(model: str, options: ModelOptions, how: RunOptions) -> dict[str, Any]:
    """Refuse options that do not go with a file or a callable; the arguments otherwise."""
    arguments = parse_json_object(options.model_args)
    is_file = Path(model).exists()
    weights, architecture = options.weights is not None, bool(options.architecture)
    no_use = options.random_weights and (is_file or weights)
    refuse_if(no_use, "--random-weights", "goes with package.module:callable without --weights")
    with_callable = "goes with package.module:callable"
    refuse_if(is_file and weights, "--weights", f"{with_callable}, got the file {model!r}")
    alone = is_file and bool(arguments) and not architecture
    refuse_if(alone, "--model-args", f"{with_callable}, or --architecture, got the file {model!r} alone")
    on_other = how.device not in (None, "cpu") and _runs_in_worker(model, options.architecture)
    refuse_if(on_other, "--device", f"must be cpu for a file that is run in a worker, got {how.device!r}")
    wrong = architecture and not is_file
    refuse_if(wrong, "--architecture", f"goes with a file of weights as MODEL, got {model!r}")
    return arguments


@contextmanager
def _opening(
    model: str | None,
    options: ModelOptions,
    arguments: dict[str, Any],
    how: RunOptions,
    table: TableFormat,
    service: ServiceOptions,
    probes: Probes,
    out: Path,
) -> Iterator[tuple[OpenedModel | torch.nn.Module | BlackBox, str | None]]:
    """What `fingerprint` runs, asks or reads, and where the weights of a callable come from."""
    from ..probes import ProbeSet

    of_service = model is None or is_service(model)
    wrong = of_service and not isinstance(probes, ProbeSet)
    refuse_if(wrong, "--probes", "must be images for a service or its answers, got recorded inputs")
    if model is None:
        assert isinstance(probes, ProbeSet)
        yield service.open_answers(probes), None
    elif is_service(model):
        box, ledger = service.open_service(Path(model), out)
        with ledger:
            yield box, None
    else:
        yield _open(model, options, arguments, how.which, table)


def _run_file(
    file: Path, options: ModelOptions, how: RunOptions, table: TableFormat, probes: Probes, common: dict[str, Any]
) -> Fingerprint:
    """A file that needs none of the user's code, in a worker with limits."""
    from ..models import ModelEntry
    from ..scan.one_model import fingerprint_file

    architecture, root = _HF if options.architecture else None, None
    if file.is_dir():
        file, architecture, root = _classifier_weights(file), _HF, file
    entry = ModelEntry(
        file.name,
        file,
        architecture=architecture,
        root=root,
        output=how.which,
        weights_key=options.weights_key,
        inputs=parse_fixed_inputs(options.fixed_inputs),
        table=table,
    )
    memory = None if how.memory is None else int(how.memory * 1e9)
    return fingerprint_file(entry, probes, timeout=how.timeout, memory_bytes=memory, sandbox=how.sandbox, **common)


def _open(
    model: str, options: ModelOptions, arguments: dict[str, Any], output: str | int | None, table: TableFormat
) -> tuple[OpenedModel | torch.nn.Module, str | None]:
    from ..models import ModelEntry, open_model
    from ..models.code_path import allow_code_in
    from ..models.entry import split_architecture
    from ..models.own_weights import load_without_weights

    file = Path(model)
    if options.architecture or not file.exists():
        allow_code_in(os.getcwd())
    if not file.exists():
        if options.weights is None:
            return load_without_weights(model, arguments, random_weights=options.random_weights)
        path = options.weights
        entry = ModelEntry(path.name, path, model, arguments, weights_key=options.weights_key)
        opened = open_model(entry)
        wrong = opened.architecture is None
        refuse_if(wrong, "--weights", f"must be a file of weights, got {opened.format} in {str(path)!r}")
        return opened, "file"
    architectures = options.architecture or []
    if arguments:  # of all of them, beside those that one has of its own
        architectures = [
            f"{spec} {json.dumps({**arguments, **own})}" for spec, own in map(split_architecture, architectures)
        ]
    fixed = parse_fixed_inputs(options.fixed_inputs)
    entry = ModelEntry(file.name, file, output=output, weights_key=options.weights_key, inputs=fixed, table=table)
    return open_model(entry, architectures=architectures), None
