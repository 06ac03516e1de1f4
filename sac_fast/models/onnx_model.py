"""ONNX files, run by onnxruntime on the CPU once `onnx_graph` has checked them."""

from __future__ import annotations

import functools
import os
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..errors import ModelError
from ..formats.limits import MAX_ONNX_BYTES, Limits, refuse, refuse_errors
from ..io.files import file_size
from ..io.hashing import hash_json, sha256_stream
from .batch_axis import check_rows_follow
from .entry import ModelEntry
from .named_inputs import Inputs, NamedInputs
from .onnx_inputs import OnnxInput, adapt_to_input, choose_input, describe_inputs, fixed_values, open_inputs
from .onnx_recorded import feed_of, is_batched, match_inputs
from .opened_model import OpenedModel
from .preprocessing import Preprocessing
from .preprocessing_choice import read_claim
from .runner import Model, run_inputs, select_output

_ROUNDING = 1e-2  # what float32 may leave of a whole number of 0 to 255
# Earlier ones read their own memory where a file says so (a location of external data, "_ORT_MEM_ADDR_").
_MIN_VERSION = (1, 24)


class OnnxModel(OpenedModel):
    """An onnxruntime session; inputs are converted to what the graph takes.

    Args:
        session: of onnxruntime.
        model_hash: of the file.
        entry: which output is meant, and fixed values of inputs.
        name: what messages call the file.
        class_numbers: outputs that are `class_number_outputs`.
    """

    format = "onnx"

    def __init__(
        self, session: Any, model_hash: str, entry: ModelEntry, name: str, class_numbers: frozenset[str] = frozenset()
    ) -> None:
        super().__init__(session)
        self._class_numbers = class_numbers
        self._checked = False
        self._inputs = describe_inputs(session)
        self._given = {value.name: entry.inputs[value.name] for value in self._inputs if value.name in entry.inputs}
        self._open = open_inputs(self._inputs, self._given, name)
        self.output = entry.output
        self.claim = read_claim(entry.path, session.get_modelmeta().custom_metadata_map)
        self._name = name
        self._names = [value.name for value in session.get_outputs()]
        if len(self._open) == 1:  # of several, recorded inputs say which are meant
            main = choose_input(self._inputs, self._given, name)
            fixed_values(self._inputs, main, self._given, _fixed_side(main) or 1)  # refuses wrong ones
        # With other fixed values it is another function of the probes.
        self.model_hash = hash_json([model_hash, self._given]) if self._given else model_hash
        if self._given:
            said = ", ".join(f"{key}={str(value)[:80]}" for key, value in self._given.items())
            self.notes += (f"fixed inputs {said}",)

    @functools.cached_property
    def _input(self) -> OnnxInput:
        """The one input that takes the probes."""
        return choose_input(self._inputs, self._given, self._name)

    @functools.cached_property
    def _fixed_batch(self) -> int | None:
        return _fixed_side(self._input)

    def adapt(self, preprocessing: Preprocessing, height: int, width: int) -> Preprocessing:
        adapted, note = adapt_to_input(self._input, preprocessing, (height, width), self._name)
        if note and note not in self.notes:
            self.notes += (note,)
        return adapted

    def run(self, inputs: Inputs | None, *, batch_size: int = 64) -> Tensor:
        model = self.runnable()
        if inputs is None:
            raise ModelError("inputs must be a tensor for an ONNX model, got None")
        size = batch_size if isinstance(inputs, NamedInputs) else self._fixed_batch or batch_size
        return run_inputs(model, inputs, batch_size=size, output=self.output)

    def runnable(self) -> Model:
        _ = self.content  # refuses a closed model
        return self._run_session

    def _run_recorded(self, inputs: NamedInputs) -> list[Any]:
        """The outputs of one batch of recorded inputs."""
        taken = match_inputs(self._open, list(inputs.tensors), self._name)
        batched = [v for key, v in taken.items() if is_batched(v, inputs.tensors[key].ndim, self._name)]
        sides = {side for value in batched if (side := _fixed_side(value)) is not None}
        main = batched[0] if batched else self._open[0]
        alone = len(batched) < len(taken) or sides == {1}
        if len(sides - {1}) > 1:
            raise ModelError(f"{self._name} must take as many rows in all inputs, got {sorted(sides)}")
        wanted = max(sides, default=None)
        step = 1 if alone else wanted or len(inputs)
        parts = []
        for start in range(0, len(inputs), step):
            rows = inputs[start : start + step]
            feed = feed_of(rows, taken, self._name)
            parts.append(self._run_feed(feed, main, len(rows), None if alone else wanted))
        return _joined(parts)

    def _run_session(self, inputs: Inputs) -> Any:
        if isinstance(inputs, NamedInputs):
            return self._chosen(self._run_recorded(inputs))
        values = self._values(inputs)
        step = self._fixed_batch or len(values)
        if not self._checked and step > 1 and len(values) > 1 and self._fixed_batch:
            self._checked = True
            self._check_rows(values)
        return self._chosen(
            _joined([self._run_batch(values[start : start + step]) for start in range(0, len(values), step)])
        )

    _run_session.takes_named = True  # type: ignore[attr-defined]  # of functions

    def _chosen(self, outputs: list[Any]) -> Any:
        self._check_class_numbers(outputs)
        if isinstance(self.output, int):
            return outputs
        if self.output is None and len(outputs) == 1:
            return outputs[0]
        return dict(zip(self._names, outputs, strict=True))

    def _check_rows(self, values: npt.NDArray[Any]) -> None:
        """Refuse a graph of a fixed batch whose rows are no probes; it cannot be asked for fewer."""
        size = self._fixed_batch or 1
        batch = values[np.arange(size) % min(size, len(values))]

        def ask(some: npt.NDArray[Any]) -> Tensor:
            outputs = self._run_batch(some)
            named = outputs if isinstance(self.output, int) else dict(zip(self._names, outputs, strict=True))
            return select_output(outputs[0] if self.output is None and len(outputs) == 1 else named, self.output)

        check_rows_follow(ask, batch)

    def _check_class_numbers(self, outputs: list[Any]) -> None:
        """Say that an output is class numbers; refuse several of them a probe, which are no real values."""
        meant = self.output if isinstance(self.output, int) else None
        for place, (name, value) in enumerate(zip(self._names, outputs, strict=True)):
            if name not in self._class_numbers or (meant is None and self.output not in (None, name)):
                continue
            if meant not in (None, place) or (self.output is None and len(outputs) > 1):
                continue
            if int(np.prod(value.shape[1:])) > 1:
                found = f"{name!r} of shape {value.shape}, positions of ArgMax or TopK"
                refuse("class-numbers", f"{self._name} must give values, or one class number a probe, got {found}")
            self.output_form = "labels"
            note = f"output {name!r} is class numbers of ArgMax or TopK"
            self.notes += () if note in self.notes else (note,)

    def _run_batch(self, values: npt.NDArray[Any]) -> list[Any]:
        """The outputs of one call."""
        return self._run_feed({self._input.name: values}, self._input, len(values), self._fixed_batch)

    def _run_feed(
        self, feed: dict[str, npt.NDArray[Any]], main: OnnxInput, rows: int, fixed_batch: int | None
    ) -> list[Any]:
        """The outputs for some rows; a graph that takes so many and no fewer is given the last one again."""
        missing = 0 if fixed_batch is None else fixed_batch - rows
        if missing > 0:
            feed = {key: np.concatenate([v, np.repeat(v[-1:], missing, axis=0)]) for key, v in feed.items()}
        fixed = fixed_values(self._inputs, main, self._given, rows + max(0, missing))
        try:
            returned = self.content.run(None, {**feed, **fixed})
        except Exception as error:  # the runtime's own classes derive from Exception alone
            shapes = " and ".join(str(value.shape) for value in feed.values())
            wanted = f"inputs of shape {shapes} for {main}"
            said = str(error).rpartition(" : ")[2].splitlines()[0][:200]
            remedy = "name what it takes by --size, --colour-order, --layout, or --input for further inputs"
            raise ModelError(f"onnxruntime refused {wanted}: {remedy} ({said})") from error
        return [
            value[:rows] if isinstance(value, np.ndarray) and missing > 0 and value.ndim else value
            for value in returned
        ]

    def _values(self, inputs: Tensor) -> npt.NDArray[Any]:
        """The batch in the graph's dtype; whole numbers are pixels as they are."""
        values: npt.NDArray[Any] = inputs.to("cpu").contiguous().numpy()
        dtype: np.dtype[Any] = np.dtype(self._input.dtype)
        if not self._input.is_whole:
            return values.astype(dtype, copy=False)
        whole: npt.NDArray[Any] = np.rint(values)
        limits = np.iinfo(dtype)
        if np.abs(whole - values).max(initial=0) > _ROUNDING or whole.min() < limits.min or whole.max() > limits.max:
            wanted = f"whole numbers from {limits.min} to {limits.max} for {self._input}"
            found = f"values from {values.min():.4g} to {values.max():.4g}"
            raise ModelError(
                f"inputs must be {wanted}, got {found}; name --mean and --std that make them of pixels / 255"
            )
        return whole.astype(dtype)


def _fixed_side(value: OnnxInput) -> int | None:
    """As many rows as an input takes, and no fewer or more; None: any number."""
    first = value.shape[0] if value.shape else None
    return first if isinstance(first, int) and first > 0 else None


def _joined(parts: list[list[Any]]) -> list[Any]:
    """The outputs of several calls, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return [np.concatenate(some) if getattr(some[0], "ndim", 0) else some[0] for some in zip(*parts, strict=True)]


def open_onnx(handle: BinaryIO, entry: ModelEntry, limits: Limits) -> OnnxModel:
    """Check and open an ONNX file.

    Args:
        handle: the open file.
        entry: where it is, and which output is meant.
        limits: caps.

    Returns:
        The model.

    Raises:
        ModelRefusedError: onnx or onnxruntime is missing, or either of them or `check_graph` refuses the file.
    """
    name = repr(os.fspath(entry.path))
    try:
        import onnx  # noqa: F401 - needed by onnx_graph
        import onnxruntime

        from ..formats.onnx_class_numbers import class_number_outputs
        from ..formats.onnx_graph import check_graph, parse_graph
    except ImportError as error:
        remedy = f"pip install 'sac-fast[onnx]' ({error})"
        refuse("missing-extra", f"{name} is an ONNX file, which needs onnxruntime: {remedy}", error)
    if _version(onnxruntime.__version__) < _MIN_VERSION:
        wanted = "onnxruntime >= " + ".".join(map(str, _MIN_VERSION))
        refuse("missing-extra", f"{name} is an ONNX file, which needs {wanted}, got {onnxruntime.__version__}")
    if file_size(handle) > MAX_ONNX_BYTES:
        refuse("too-large", f"{name} must have at most {MAX_ONNX_BYTES:,} bytes, got {file_size(handle):,}")
    handle.seek(0)
    data = handle.read()
    model = parse_graph(data, name, limits)
    del data
    external = check_graph(model, entry.path, name, limits)
    numbers = class_number_outputs(model)
    del model
    handle.seek(0)
    digest = sha256_stream(handle)
    if external:
        hashes = []
        for place in external:
            with place.open("rb") as weights:
                hashes.append([place.name, sha256_stream(weights)])
        digest = hash_json([digest, sorted(hashes)])
    # Without external data the same open file by another name, so that it is not another one by now.
    path = os.fspath(entry.path) if external else f"/proc/self/fd/{handle.fileno()}"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    # Never the runtime's own format, which `check_graph` has not seen.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    with refuse_errors(f"{name} must be a graph that onnxruntime accepts", "graph"):
        session = onnxruntime.InferenceSession(
            # Folding constants would compute what the graph says before it is run.
            path, options, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantFolding"]
        )  # fmt: skip
    return OnnxModel(session, digest, entry, name, numbers)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
