"""`sac-fast scan`."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import typer.core

from .options import Comparison, Layout, Mean, Metric, Quiet, Std, parse_preprocessing

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..models import Preprocessing
    from ..probes import ProbeSet
    from ..scan.jobs import WorkerSettings

_ADDRESS = re.compile(r"auto|local|ray://.+|[^/\s]+:[0-9]+")
_MAX_LIMIT = 1e9  # seconds or GB: no limit in practice, and still a number that the kernel accepts

Models = Annotated[
    Path, typer.Argument(exists=True, help="Folder of models, one file, or a manifest (zoo.toml, zoo.csv).")
]
Store = Annotated[Path, typer.Option("--store", "--out", help="Folder of the store; created if it is missing.")]
Probes = Annotated[
    Path | None, typer.Option("--probes", exists=True, dir_okay=False, help="Probe file: the inputs of the models.")
]
ProbeHash = Annotated[
    str | None, typer.Option(help="Instead of --probes, for recorded outputs only: the probes' content hash, sha256:…")
]
Architectures = Annotated[
    list[str] | None,
    typer.Option(help="package.module:callable or timm:NAME to fit weights to; repeatable. Its code is run."),
]
Sources = Annotated[
    list[str] | None,
    typer.Option("--source", help="Fingerprint file, or name of a model: distances to it are stored; repeatable."),
]
Size = Annotated[str | None, typer.Option(help="Resize the probes to N or HxW pixels.")]
ColourOrder = Annotated[Literal["RGB", "BGR", "GRAY"], typer.Option(help="Channels of the models' inputs.")]
InputLayout = Annotated[Layout, typer.Option(help="Layout of the models' inputs.")]
Device = Annotated[str, typer.Option(help="cpu, cuda (all GPUs) or cuda:0,cuda:1.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; default: one per core, or one per GPU.")]
BatchSize = Annotated[
    int | None, typer.Option(min=1, help="Probes per call; default: 64 on a CPU, the largest that fits on a GPU.")
]
Dtype = Annotated[
    Literal["float32", "float64", "float16", "bfloat16"] | None,
    typer.Option(help="Run the models in this dtype; default: their own."),
]
Timeout = Annotated[float, typer.Option(min=0.1, max=_MAX_LIMIT, help="Seconds per model.")]
Memory = Annotated[
    float | None,
    typer.Option(min=0.01, max=_MAX_LIMIT, help="GB per worker; default: its share of the machine."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Run models again that failed before.")]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="[ADDRESS]",
        help="Run on a Ray cluster (extra ray): host:port or ray://…; alone: a running one, else a new one.",
    ),
]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON line for each model, and one at the end.")]


class ScanCommand(typer.core.TyperCommand):
    """Accepts ``--ray`` without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for position, word in enumerate(args):
            after = args[position + 1] if position + 1 < len(args) else ""
            if word == "--ray" and not _ADDRESS.fullmatch(after):
                args = [*args[:position], "--ray=auto", *args[position + 1 :]]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def scan(
    source: Models,
    store: Store,
    probes_file: Probes = None,
    probe_hash: ProbeHash = None,
    architecture: Architectures = None,
    sources: Sources = None,
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    size: Size = None,
    mean: Mean = "0",
    std: Std = "1",
    colour_order: ColourOrder = "RGB",
    layout: InputLayout = "NCHW",
    device: Device = "cpu",
    workers: Workers = None,
    batch_size: BatchSize = None,
    dtype: Dtype = None,
    timeout: Timeout = 600.0,
    memory: Memory = None,
    retry_failed: RetryFailed = False,
    ray: Ray = None,
    as_json: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Run all models of a folder on the probes; keep their outputs in a store.

    Model files are untrusted: they are opened in worker processes with limits, and one that fails is recorded with its
    reason. Interrupt it at any time; the same command continues. Exit code 130 after Ctrl-C. A model is known, and not
    run again, while its file and the options stay the same. The code of an architecture is not compared: after editing
    it, remove the models from the store (`sac-fast store rm`) or start a new store.
    """
    from ..models.code_path import allow_code_in
    from ..models.manifest import is_manifest
    from ..scan.run import scan_models
    from .render.scan import ScanReport

    preprocessing = parse_preprocessing("scan", mean, std, size, colour_order, layout)
    _check(probes_file, probe_hash, device, workers)
    if architecture or is_manifest(source):
        allow_code_in(os.getcwd())
    settings = _settings(preprocessing, batch_size, dtype, architecture, timeout, memory)
    probes = probe_hash or _load_probes(probes_file)
    report = ScanReport(as_json)
    summary = scan_models(
        source,
        probes,
        store,
        sources=[_source(text) for text in sources or ()],
        metric=metric,
        comparison=comparison,
        device=device,
        workers=workers if ray is None else _ray(ray, probes, device, settings),
        settings=settings,
        retry_failed=retry_failed,
        progress=not quiet and not (as_json and sys.stdout.isatty()),
        on_event=report.take,
    )
    report.finish(summary, store)
    if summary.interrupted is not None:
        raise typer.Exit(128 + signal.Signals[summary.interrupted].value)


def _check(probes_file: Path | None, probe_hash: str | None, device: str, workers: int | None) -> None:
    """Refuse wrong options before a store is created."""
    from ..io.hashing import is_hash
    from ..scan.jobs import device_list

    if (probes_file is None) == (probe_hash is None):
        raise typer.BadParameter("give either --probes or --probe-hash", param_hint="scan")
    if probe_hash is not None and not is_hash(probe_hash):
        raise typer.BadParameter(f'must be "sha256:" and 64 digits, got {probe_hash!r}', param_hint="--probe-hash")
    try:
        device_list(device, workers)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="scan") from None


def _settings(
    preprocessing: Preprocessing,
    batch_size: int | None,
    dtype: str | None,
    architectures: list[str] | None,
    timeout: float,
    memory: float | None,
) -> WorkerSettings:
    from ..scan.jobs import WorkerSettings

    return WorkerSettings(
        preprocessing=preprocessing,
        batch_size=batch_size,
        dtype=dtype,
        architectures=tuple(architectures or ()),
        timeout=timeout,
        memory_bytes=None if memory is None else int(memory * 1e9),
    )


def _load_probes(file: Path | None) -> ProbeSet:
    from ..probes import ProbeSet

    return ProbeSet.load(file or Path())


def _source(text: str) -> Fingerprint | str:
    """A fingerprint if there is a file of that name, else the name of a model."""
    from ..fingerprint import Fingerprint

    return Fingerprint.load(text) if Path(text).is_file() else text


def _ray(address: str, probes: ProbeSet | str, device: str, settings: WorkerSettings) -> Any:
    from ..scan.ray import RayPool

    return RayPool(address, None if isinstance(probes, str) else probes, device, settings)
