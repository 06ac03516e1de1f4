"""`sac-fast scan`."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import typer.core

from .options import Comparison, Layout, Mean, Metric, Quiet, Std, preprocessing_of

_ADDRESS = re.compile(r"auto|local|ray://.+|[^/\s]+:[0-9]+")
_MOST = 1e9  # seconds or GB: more than anybody has, and still a number for the kernel


class ScanCommand(typer.core.TyperCommand):
    """Lets ``--ray`` stand without an address."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for position, word in enumerate(args):
            after = args[position + 1] if position + 1 < len(args) else ""
            if word == "--ray" and not _ADDRESS.fullmatch(after):
                args = [*args[:position], "--ray=auto", *args[position + 1 :]]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def scan(
    source: Annotated[
        Path,
        typer.Argument(exists=True, help="Folder of models, one file, or a manifest (zoo.toml, zoo.csv)."),
    ],
    store: Annotated[Path, typer.Option("--store", "--out", help="Folder of the store; made if it is missing.")],
    probes_file: Annotated[
        Path | None, typer.Option("--probes", exists=True, dir_okay=False, help="Probe file that the models answer.")
    ] = None,
    probe_hash: Annotated[
        str | None,
        typer.Option(help="Instead of --probes, for recorded outputs only: the probes' content hash, sha256:…"),
    ] = None,
    architecture: Annotated[
        list[str] | None,
        typer.Option(help="package.module:callable or timm:NAME to fit weights to; repeatable. Its code is run."),
    ] = None,
    kin: Annotated[
        list[str] | None,
        typer.Option("--source", help="Fingerprint file, or name of a model: distances to it are kept; repeatable."),
    ] = None,
    metric: Metric = "cosine",
    comparison: Comparison = "l1",
    size: Annotated[str | None, typer.Option(help="Resize the probes to N or HxW pixels.")] = None,
    mean: Mean = "0",
    std: Std = "1",
    colour_order: Annotated[Literal["RGB", "BGR", "GRAY"], typer.Option(help="Channels the models take.")] = "RGB",
    layout: Annotated[Layout, typer.Option(help="Input layout the models take.")] = "NCHW",
    device: Annotated[str, typer.Option(help="cpu, cuda (all GPUs) or cuda:0,cuda:1.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Worker processes; default: one a core, or one a GPU.")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Probes a call; default: 64 on a CPU, the largest that fits on a GPU.")
    ] = None,
    dtype: Annotated[
        Literal["float32", "float64", "float16", "bfloat16"] | None,
        typer.Option(help="Run the models in this dtype; default: their own."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=_MOST, help="Seconds that a model may take.")] = 600.0,
    memory: Annotated[
        float | None,
        typer.Option(min=0.01, max=_MOST, help="GB that a worker may take; default: its share of the machine."),
    ] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try models again that failed before.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Run on a Ray cluster (extra ray): host:port or ray://…; alone: the one found, else a new one.",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON line for each model, and one at the end.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Let all models of a zoo answer the probes; keep the answers in a store.

    Models are other people's files: they are opened in worker processes with limits, and one that fails is recorded
    with its reason. Interrupt it at any time; the same command goes on. Exit code 130 after Ctrl-C. A model counts as
    known while its file and what is asked of it stay the same. The code of an architecture is not looked at: after a
    change of it, take the models out of the store (`sac-fast store rm`) or begin a new one.
    """
    from ..io.hashing import is_hash
    from ..models import list_entries
    from ..probes import ProbeSet
    from ..scan.jobs import WorkerSettings
    from ..scan.place import device_list
    from ..scan.run import scan as run_scan
    from ..store import ModelStore
    from .render.scan import ScanReport

    if (probes_file is None) == (probe_hash is None):
        raise typer.BadParameter("give either --probes or --probe-hash", param_hint="scan")
    if probe_hash is not None and not is_hash(probe_hash):
        raise typer.BadParameter(f'must be "sha256:" and 64 digits, got {probe_hash!r}', param_hint="--probe-hash")
    preprocessing = preprocessing_of("scan", mean, std, size, colour_order, layout)
    try:
        device_list(device, workers)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="scan") from None
    settings = WorkerSettings(
        batch_size=batch_size,
        dtype=dtype,
        architectures=tuple(architecture or ()),
        # Who names a manifest trusts it; one that lies in a folder may be a stranger's.
        trusted=() if source.is_dir() else None,
        timeout=timeout,
        memory_bytes=None if memory is None else int(memory * 1e9),
    )
    if architecture:
        # A model beside the user is found, but last: nothing that lies there stands for another module.
        sys.path.append(os.getcwd())
    probes: ProbeSet | str = probe_hash or ProbeSet.load(probes_file or Path())
    entries = list_entries(source)
    report = ScanReport(as_json)
    with ModelStore.open(store, write=True, create=True) as opened:
        summary = run_scan(
            entries,
            probes,
            opened,
            sources=[_source(text) for text in kin or ()],
            metric=metric,
            comparison=comparison,
            preprocessing=preprocessing,
            device=device,
            workers=workers,
            settings=settings,
            retry_failed=retry_failed,
            executor=None if ray is None else _ray(ray, probes, device, settings),
            progress=not quiet and not (as_json and sys.stdout.isatty()),
            on_event=report.take,
        )
    report.finish(summary, store)
    if summary.interrupted is not None:
        raise typer.Exit(128 + signal.Signals[summary.interrupted].value)


def _source(text: str) -> Any:
    """A fingerprint if there is a file of that name, else the name of a model."""
    from ..fingerprint import Fingerprint

    return Fingerprint.load(text) if Path(text).is_file() else text


def _ray(address: str, probes: Any, device: str, settings: Any) -> Any:
    from ..scan.ray import RayPool

    return RayPool(address, probes if not isinstance(probes, str) else None, device, settings)
