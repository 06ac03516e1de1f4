"""`sac-fast scan`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from .checks import parse_fixed_inputs, refuse_if, usage_errors
from .exit_codes import FINDING
from .option_groups import expand_option_groups
from .options import Choose, Comparison, FixedInputs, InputOptions, Metric, Quiet, TableOptions, WeightsKey, file_option
from .ray_option import RayAddress, RayCommand

if TYPE_CHECKING:
    from ..fingerprint import Fingerprint
    from ..scan.jobs import WorkerSettings
    from ..scan.probe_file import ProbeFile

_MAX_LIMIT = 1e9  # seconds or GB: no limit in practice, and still a number that the kernel accepts


@dataclass(frozen=True)
class ProbeOptions:
    """The probes, or only their hash."""

    probes_file: Annotated[Path | None, file_option("Probe file, or .npz with the models' inputs.", "--probes")] = None
    probe_hash: Annotated[
        str | None, Option(help="Instead of --probes, for recorded outputs only: the probes' content hash, sha256:…")
    ] = None

    def load(self) -> ProbeFile | str:
        """The options as the API takes them."""
        from ..scan.probe_file import ProbeFile

        return self.probe_hash or ProbeFile(self.probes_file or Path())


@dataclass(frozen=True)
class DistanceOptions:
    """The distances that are stored."""

    sources: Annotated[
        list[str] | None,
        Option("--source", help="Fingerprint file, or name of a model: distances to it are stored; repeatable."),
    ] = None
    metric: Metric = "cosine"
    comparison: Comparison = "l1"

    def load(self) -> list[Fingerprint | str]:
        """A fingerprint where there is a file of that name, else the name of a model."""
        return [_load_fingerprint(text) if Path(text).is_file() else text for text in self.sources or ()]


def _load_fingerprint(path: str) -> Fingerprint:
    from ..fingerprint import Fingerprint

    return Fingerprint.load(path)


@dataclass(frozen=True)
class NetworkOptions:
    """How networks are built and what they take, where nothing is said of one."""

    architecture: Annotated[
        list[str] | None,
        Option(
            help='package.module:callable, timm:NAME, or hf: for config.json beside a file, with "NAME {…}" for '
            "arguments, to fit weights to; repeatable. "
            "Its code is run."
        ),
    ] = None
    weights_key: WeightsKey = None
    fixed_inputs: FixedInputs = None
    choose: Choose = "named"


@dataclass(frozen=True)
class RunOptions:
    """Where and how the models are run."""

    device: Annotated[str, Option(help="cpu, cuda (all GPUs) or cuda:0,cuda:1.")] = "cpu"
    workers: Annotated[int | None, Option(min=1, help="Worker processes; default: one per core, or one per GPU.")] = (
        None
    )
    batch_size: Annotated[
        int | None, Option(min=1, help="Probes per call; default: 64 on a CPU, the largest that fits on a GPU.")
    ] = None
    dtype: Annotated[
        Literal["float32", "float64", "float16", "bfloat16"] | None,
        Option(help="Run the models in this dtype; default: their own."),
    ] = None
    timeout: Annotated[float, Option(min=0.1, max=_MAX_LIMIT, help="Seconds per model.")] = 600.0
    memory: Annotated[
        float | None, Option(min=0.01, max=_MAX_LIMIT, help="GB per worker; default: its share of the machine.")
    ] = None
    max_outputs: Annotated[int, Option(min=1, help="Most outputs of a model for one probe.")] = 100_000
    max_store: Annotated[
        float | None, Option(min=0.0, max=_MAX_LIMIT, help="GB that this scan may add; default: half of the free disk.")
    ] = None
    sandbox: Annotated[
        bool, Option(help="Keep workers from all files but models and libraries, and from the network.")
    ] = True
    allow_read: Annotated[
        list[Path] | None, Option(help="A file or folder that workers may read besides; repeatable.")
    ] = None
    ray: RayAddress = None

    def readable(self) -> list[str] | None:
        """Where workers may read besides models and libraries; None: everywhere, as on a Ray cluster."""
        if not self.sandbox or self.ray is not None:
            return None
        return [os.path.realpath(path) for path in self.allow_read or ()]

    def executor(self, probes: ProbeFile | str, settings: WorkerSettings) -> Any:
        """What `scan_models` takes as workers."""
        if self.ray is None:
            return self.workers
        from ..scan.ray import RayPool

        return RayPool(self.ray, None if isinstance(probes, str) else probes.load(), self.device, settings)


@dataclass(frozen=True)
class KeepOptions:
    """What is run again, replaced and kept beside the outputs."""

    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Run models again that failed before; those over a budget always are.")
    ] = False
    replace: Annotated[
        bool, Option("--replace", help="Replace models of the same name from other files; default: keep both.")
    ] = False
    sketch_weights: Annotated[
        bool, Option("--sketch-weights", help="Keep sketches of the weights, for `sac-fast relatives --all-weights`.")
    ] = False
    fail_on: Annotated[
        Literal["failed"] | None, Option(help="Exit code 5 if a model failed, now or before; otherwise 0.")
    ] = None


class ScanCommand(RayCommand):
    """Starts the process of the workers first where there is something to run: nothing is known in a new store."""

    def invoke(self, ctx: Any) -> Any:
        asked = ctx.params
        if asked["ray"] is not None or asked["store"].exists():
            return super().invoke(ctx)
        from ..scan.fork_server import started_ahead

        with started_ahead(scrub=asked["sandbox"]):
            return super().invoke(ctx)


COMMAND_CLASS = ScanCommand


@expand_option_groups
def scan(
    *,
    source: Annotated[
        Path, Argument(exists=True, help="Folder of models, one file, or a manifest (zoo.toml, zoo.csv).")
    ],
    store: Annotated[Path, Option(help="Folder of the store; created if it is missing.")],
    manifest: Annotated[
        Path | None,
        file_option("Manifest that lies in the folder and is to be believed: architectures, preprocessing, tags."),
    ] = None,
    inputs: ProbeOptions,
    networks: NetworkOptions,
    distances: DistanceOptions,
    preprocessing: InputOptions,
    table: TableOptions,
    how: RunOptions,
    keep: KeepOptions,
    as_json: Annotated[bool, Option("--json", help="Print one JSON line for each model, and one at the end.")] = False,
    quiet: Quiet = False,
) -> None:
    """Run all models of a folder on the probes; keep their outputs in a store.

    Model files are untrusted: they are opened in worker processes with limits, and one that fails is recorded with its
    reason. What is no model by its content is passed over, counted and named. A manifest inside the folder is not
    believed unless you name it, as SOURCE or with --manifest. Interrupt a scan at any time; the same command continues.
    Exit code 130 after Ctrl-C. A model is known, and not run again, while its file and the options stay the same. The
    code of an architecture is not compared: after editing it, remove the models with `sac-fast store rm`.
    """
    from ..models.code_path import allow_code_in
    from ..models.manifest import is_manifest
    from ..scan.jobs import WorkerSettings
    from ..scan.run import scan_models
    from .render.scan import ScanReport

    settings = WorkerSettings(
        preprocessing=preprocessing.parse("scan", networks.choose),
        table=table.parse(),
        batch_size=how.batch_size,
        dtype=how.dtype,
        architectures=tuple(networks.architecture or ()),
        weights_key=networks.weights_key,
        choose_preprocessing=networks.choose == "auto",
        inputs=parse_fixed_inputs(networks.fixed_inputs),
        timeout=how.timeout,
        memory_bytes=None if how.memory is None else int(how.memory * 1e9),
        max_outputs=how.max_outputs,
        max_store_bytes=None if how.max_store is None else int(how.max_store * 1e9),
        sandbox=how.sandbox,
        readable=how.readable(),
    )
    _check(inputs, how)
    if networks.architecture or manifest is not None or is_manifest(source):
        allow_code_in(os.getcwd())
    probes = inputs.load()
    _check_images(probes, settings)
    report = ScanReport(as_json)
    summary = scan_models(
        source,
        probes,
        store,
        manifest=manifest,
        sources=distances.load(),
        metric=distances.metric,
        comparison=distances.comparison,
        device=how.device,
        workers=how.executor(probes, settings),
        settings=settings,
        retry_failed=keep.retry_failed,
        replace=keep.replace,
        progress=not quiet and not (as_json and sys.stdout.isatty()),
        on_event=report.take,
        known_events=as_json,
    )
    report.finish(summary, store)
    if keep.sketch_weights and summary.interrupted is None:
        _sketch_weights(store, not quiet)
    if summary.interrupted is not None:
        raise typer.Exit(128 + signal.Signals[summary.interrupted].value)
    if keep.fail_on is not None and summary.failed + summary.known_failed:
        raise typer.Exit(FINDING)


def _check_images(probes: Any, settings: WorkerSettings) -> None:
    """Refuse a preprocessing of inputs that are no images."""
    from ..models import Preprocessing

    named = settings.preprocessing != Preprocessing() or settings.choose_preprocessing
    wrong = named and not isinstance(probes, str) and not probes.has_images
    refuse_if(wrong, "scan", "--size, --mean, --std, … and --preprocessing go with images, got recorded inputs")


def _sketch_weights(folder: Path, progress: bool) -> None:
    """Read weights once for their sketches, of models that could not be run too; name those that cannot be read."""
    from ..io.text import escape_text
    from ..lineage.store_weights import sketch_store_weights
    from ..store import ModelStore

    with ModelStore.open(folder, write=False) as store:
        records = [one for one in store.records() if one.preprocessing_hash or one.status != "done"]
        files = {one.name: one.file or one.path for one in records}  # recorded answers are no weights
    for name, reason in sketch_store_weights(folder, files, progress=progress).items():
        typer.echo(escape_text(f"no sketch of {name}: {reason}"), err=True)


def _check(inputs: ProbeOptions, how: RunOptions) -> None:
    """Refuse wrong options before a store is created."""
    from ..io.hashing import is_hash
    from ..scan.arguments import device_list

    given = inputs.probe_hash
    refuse_if((inputs.probes_file is None) == (given is None), "scan", "give either --probes or --probe-hash")
    wrong = given is not None and not is_hash(given)
    refuse_if(wrong, "--probe-hash", f'must be "sha256:" and 64 digits, got {given!r}')
    with usage_errors("scan"):
        device_list(how.device, how.workers)
