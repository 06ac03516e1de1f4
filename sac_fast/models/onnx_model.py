"""ONNX files, run by onnxruntime on the CPU once `onnx_graph` has checked them."""

from __future__ import annotations

import os
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..formats.limits import MAX_ONNX_BYTES, Limits, refuse, refuse_errors
from ..io.files import file_size
from ..io.hashing import hash_json, sha256_stream
from .entry import ModelEntry
from .opened_model import OpenedModel
from .runner import Model, run_inputs

_INPUT_TYPES = {"tensor(float)": torch.float32, "tensor(double)": torch.float64, "tensor(float16)": torch.float16}
# Earlier ones read their own memory where a file says so (a location of external data, "_ORT_MEM_ADDR_").
_MIN_VERSION = (1, 24)


class OnnxModel(OpenedModel):
    """An onnxruntime session; inputs are converted to what the graph takes."""

    format = "onnx"

    def __init__(self, session: Any, model_hash: str, output: int | str | None, name: str) -> None:
        super().__init__(session)
        taken = session.get_inputs()
        if len(taken) != 1 or taken[0].type not in _INPUT_TYPES or not taken[0].shape:
            described = ", ".join(f"{value.name} {value.type} {value.shape}" for value in taken[:5]) or "none"
            refuse("graph", f"{name} must take one input of floats, got {described}")
        self.model_hash = model_hash
        self.output = output
        self._input: str = taken[0].name
        self._dtype = _INPUT_TYPES[taken[0].type]
        first = taken[0].shape[0]
        self._fixed_batch = first if isinstance(first, int) and first > 0 else None
        self._names = [value.name for value in session.get_outputs()]

    def run(self, inputs: Tensor | None, *, batch_size: int = 64) -> Tensor:
        model = self.runnable()
        if inputs is None:
            raise ModelError("inputs must be a tensor for an ONNX model, got None")
        return run_inputs(model, inputs, batch_size=self._fixed_batch or batch_size, output=self.output)

    def runnable(self) -> Model:
        _ = self.content  # refuses a closed model
        return self._run_session

    def _run_session(self, inputs: Tensor) -> Any:
        values = inputs.to("cpu", self._dtype).contiguous().numpy()
        rows = len(values)
        if self._fixed_batch is not None and rows < self._fixed_batch:
            # The last batch of a graph that takes so many and no fewer: its last row is repeated.
            values = np.concatenate([values, np.repeat(values[-1:], self._fixed_batch - rows, axis=0)])
        outputs = [
            value[:rows] if isinstance(value, np.ndarray) and len(values) != rows and value.ndim else value
            for value in self.content.run(None, {self._input: values})
        ]
        if isinstance(self.output, int):
            return outputs
        if self.output is None and len(outputs) == 1:
            return outputs[0]
        return dict(zip(self._names, outputs, strict=True))


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
    return OnnxModel(session, digest, entry.output, name)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
