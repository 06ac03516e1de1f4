"""Checks of options, and how their texts are parsed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from ..errors import ModelError

if TYPE_CHECKING:
    from ..models import Preprocessing
    from ..probes import ProbeSet

Layout = Literal["NCHW", "NHWC"]
#: Longest side of a model's input, in pixels.
MAX_SIDE = 65535


def refuse_if(wrong: bool, option: str, message: str) -> None:
    """Raise the usage error of an option, an argument or a command if it is wrong."""
    if wrong:
        raise typer.BadParameter(message, param_hint=option)


@contextmanager
def usage_errors(option: str) -> Iterator[None]:
    """Make usage errors of the errors of a value within."""
    try:
        yield
    except (ValueError, ModelError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def check_alpha(alpha: float) -> float:
    """Refuse an error rate that is none."""
    refuse_if(not 0 < alpha < 1, "--alpha", f"must be between 0 and 1, got {alpha}")
    return alpha


def check_seed_option(seed: int) -> int:
    """Refuse a seed that torch would not take."""
    from ..labelled_zoo.training_pool import check_seed

    with usage_errors("--seed"):
        check_seed(seed)
    return seed


def check_output_form_option(form: str | None) -> str | None:
    """Refuse a form that is none."""
    from ..models.plain_forms import OUTPUT_FORMS

    wrong = form not in (None, *OUTPUT_FORMS)
    refuse_if(wrong, "--output-form", f"must be one of {', '.join(OUTPUT_FORMS)}, got {form!r}")
    return form


def parse_numbers(text: str, option: str) -> tuple[float, ...]:
    """Read "0.5,0.4,0.3"."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"must be numbers with commas between them, got {text!r}", param_hint=option) from None


def parse_size(text: str | None, option: str = "--size") -> tuple[int, int] | None:
    """Read "224" or "224x160" (height x width)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    is_size = len(parts) <= 2 and all(part.isascii() and part.isdecimal() and len(part) < 9 for part in parts)
    is_size = is_size and all(1 <= int(part) <= MAX_SIDE for part in parts)
    refuse_if(not is_size, option, f"must be N or HxW in pixels, from 1 to {MAX_SIDE}, got {text!r}")
    return int(parts[0]), int(parts[-1])


def parse_preprocessing(
    command: str,
    mean: str,
    std: str,
    size: str | None = None,
    colour_order: Literal["RGB", "BGR", "GRAY"] = "RGB",
    layout: Layout = "NCHW",
) -> Preprocessing:
    """Read --mean, --std, --size, --colour-order and --layout; nonsense is a wrong use of the command."""
    from ..models import Preprocessing

    means, stds = parse_numbers(mean, "--mean"), parse_numbers(std, "--std")
    try:
        return Preprocessing(size=parse_size(size), mean=means, std=stds, colour_order=colour_order, layout=layout)
    except ValueError as error:  # it begins with the argument's name, which is the option's
        name, _, rest = str(error).partition(" ")
        is_option = name in Preprocessing.__dataclass_fields__
        option, message = (f"--{name.replace('_', '-')}", rest) if is_option else (command, str(error))
        raise typer.BadParameter(message, param_hint=option) from None


def load_image_file(
    file: Path, layout: Layout | None, limit: int | None, how: dict[str, Any] | None = None
) -> ProbeSet:
    """Images of an HDF5 or a probe file, at most the first `limit`; `how` they were chosen, for the provenance."""
    from ..formats.magic import HDF5
    from ..io.files import open_regular
    from ..probes import ProbeSet

    with open_regular(file) as handle:
        is_hdf5 = handle.read(8) == HDF5
    if is_hdf5 or file.suffix != ".safetensors":
        return ProbeSet.from_hdf5(file, layout=layout, limit=limit)
    made = ProbeSet.load(file)
    if limit is None:
        return made
    return made.subset(range(min(limit, len(made))), how=None if how is None else {**how, "of": len(made)})


def name_probe_files(files: Sequence[Path] | None) -> dict[str, Path]:
    """Probe files by the names of their sets; two of one name are refused."""
    by_stem: dict[str, Path] = {}
    for file in files or []:
        other = by_stem.setdefault(file.stem, file)
        refuse_if(
            other is not file,
            "--probes",
            "files must have different names, each names its set in the labelled zoo, "
            f"got {str(other)!r} and {str(file)!r}",
        )
    return by_stem


def parse_json_object(text: str | None, option: str = "--model-args") -> dict[str, Any]:
    """Read the arguments of a model's callable."""
    try:
        value = json.loads(text or "{}")
    except json.JSONDecodeError as error:
        raise typer.BadParameter(f"must be JSON, got {text!r} ({error})", param_hint=option) from None
    refuse_if(not isinstance(value, dict), option, f"must be a JSON object, got {text!r}")
    return dict(value)


def parse_fixed_inputs(given: Sequence[str] | None) -> dict[str, Any]:
    """Read "sr=16000" and "state=zeros": names and values of an ONNX model's further inputs."""
    found: dict[str, Any] = {}
    for text in given or []:
        name, equals, value = text.partition("=")
        refuse_if(not name or not equals or name in found, "--input", f"must be NAME=VALUE, each once, got {text!r}")
        try:
            found[name] = value if value == "zeros" else json.loads(value)
        except ValueError:
            wanted = "must be NAME=VALUE with a number, lists of numbers or zeros"
            raise typer.BadParameter(f"{wanted}, got {text!r}", param_hint="--input") from None
    return found


def check_output_path(out: Path, force: bool, option: str = "--out") -> None:
    """Refuse before the work is done, not after, what cannot be written or must not be replaced."""
    if out.exists() and not out.is_file():
        raise FileExistsError(f"{option} must name a file, got {str(out)!r}, a folder or a device")
    if os.path.lexists(out) and not force:  # a link that leads nowhere is something too
        raise FileExistsError(f"{option} must not exist yet, got {str(out)!r} (--force replaces it)")
    if out.exists() and _is_named_elsewhere(out, option):
        raise FileExistsError(f"{option} must name no file that another argument names, got {str(out)!r}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"the folder of {option} must exist, got {str(out.parent)!r}")


_given: ContextVar[Mapping[str, Any]] = ContextVar("values of the running command by option", default={})  # noqa: B039


@contextmanager
def running_with(values: Mapping[str, Any]) -> Iterator[None]:
    """Let `check_output_path` know what a command was called with while it runs.

    Args:
        values: by option, or by an argument's name in capitals: paths and texts, or lists of them.
    """
    token = _given.set(values)
    try:
        yield
    finally:
        _given.reset(token)


def _is_named_elsewhere(file: Path, option: str) -> bool:
    """Whether another parameter of the command names a file, as PATH or KIND=PATH; names of models do not."""
    for name, value in _given.get().items():
        if name not in (option, "--name"):
            for one in value if isinstance(value, (list, tuple)) else [value]:
                text = os.fspath(one) if isinstance(one, (str, Path)) else ""
                for path in (text, text.partition("=")[2]):
                    if os.path.exists(path) and os.path.samefile(path, file):
                        return True
    return False


def parse_moment(text: str, option: str) -> str:
    """A moment as stores have it, in UTC; without a time zone it is one of UTC."""
    from datetime import UTC, datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(
            f"must be a date or a time such as 2026-01-31T12:00, got {text!r}", param_hint=option
        ) from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat(timespec="seconds")
