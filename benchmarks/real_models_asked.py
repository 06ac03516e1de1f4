"""What 36 published model files answer: to image probes alone, and to the inputs that they take.

    python benchmarks/real_models_asked.py FOLDER --json benchmarks/results/real_models_asked.json --before OLD.json

The files are those of `real_models.py`, which fetches them. ``--before`` puts the outcomes of an earlier run beside
those of this one. Of every ONNX file the outputs are compared with those of onnxruntime itself on the same inputs. No
code of a package is run: files whose network is known to their package alone are asked for their weights only.

Exit code 1 where an ONNX file that onnxruntime runs gives no outputs, or other ones.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from real_models import ModelFile, read_table

from sac_fast import ProbeSet, fingerprint
from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.models import ModelEntry, identify, open_model

KIND = "sac_fast real models asked"
TOLERANCE = 1e-5
ROWS = 3
#: By the beginning of a file's name: the shape of one row of its main input, and fixed values of the further ones.
ASKED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "Silero v6.2 sequence": ((576,), {"h": "zeros", "c": "zeros"}),
    "Silero v6.2 openvino": ((576,), {"state": "zeros"}),
    "Silero": ((512,), {"state": "zeros", "sr": 16000}),
    "PP-OCRv4 det": ((3, 64, 64), {}),
    "PP-OCRv4 rec": ((3, 48, 64), {}),
    "PP-OCR": ((3, 48, 192), {}),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model files, as real_models.py fetches them")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    parser.add_argument("--before", type=Path, metavar="FILE", help="the result of an earlier run")
    asked = parser.parse_args()
    before = {row["file"]: row["now"] for row in json.loads(asked.before.read_text())["files"]} if asked.before else {}
    begun, start = start_result(KIND, torch.get_num_threads()), time.perf_counter()
    rows = []
    for file in read_table():
        paths = file.find(asked.folder)
        if not paths:
            parser.error(f"the folder must hold all files, got none or another of {file.name}")
        row: dict[str, Any] = {"file": file.name, "package": f"{file.package} {file.version}", "parts": len(paths)}
        if file.name in before:
            row["before"] = before[file.name]
        row["now"] = outcomes(file, paths)
        rows.append(row)
        print(f"{file.name}: {row['now']}", flush=True)
    wrong = [row["file"] for row in rows if row["now"].get("runtime") == "ran" and not row["now"].get("equal")]
    write_json(
        {**begun, "seconds": time.perf_counter() - start, "tolerance": TOLERANCE, "files": rows, "wrong": wrong},
        asked.json,
    )
    for name in wrong:
        print(f"{parser.prog}: {name} must give the outputs of onnxruntime, got others or none", file=sys.stderr)
    return 1 if wrong else 0


def outcomes(file: ModelFile, paths: list[Path]) -> dict[str, Any]:
    """Format, the outcome with image probes alone, and of ONNX files with their own inputs."""
    path = paths[0]
    found: dict[str, Any] = {}
    try:
        found["format"] = identify(path)
    except FileFormatError as error:
        found["format"] = f"refused: {error.reason}"
    probes = ProbeSet.from_arrays(np.random.default_rng(0).integers(0, 256, (ROWS, 64, 64, 3), np.uint8))
    found["plain"] = outcome(lambda: fingerprint(open_model(ModelEntry("model", path)), probes).outputs)[0]
    if found["format"] == "onnx":
        found |= with_inputs(file, path)
    return found


def with_inputs(file: ModelFile, path: Path) -> dict[str, Any]:
    """Outcome with the file's own inputs, and whether it is what onnxruntime gives."""
    row, fixed = next(value for name, value in ASKED.items() if file.name.startswith(name))
    values = np.random.default_rng(1).standard_normal((ROWS, *row)).astype(np.float32)
    onnxruntime.set_default_logger_severity(4)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    expected = runtime_outputs(session, values, fixed)
    options: dict[str, Any] = {"output": session.get_outputs()[0].name} if len(session.get_outputs()) > 1 else {}
    if "inputs" in ModelEntry.__dataclass_fields__:
        options["inputs"] = fixed

    def run() -> torch.Tensor:
        with open_model(ModelEntry("model", path, **options)) as model:
            return model.run(torch.from_numpy(values), batch_size=1)

    said, outputs = outcome(run)
    error = None if outputs is None else float(np.abs(outputs.numpy() - expected.reshape(outputs.shape)).max())
    return {
        "asked": said,
        "inputs": [list(row), fixed],
        "runtime": "ran",
        "largest_error": error,
        "equal": error is not None and error <= TOLERANCE,
    }


def runtime_outputs(session: Any, values: Any, fixed: dict[str, Any]) -> Any:
    """The first output, row by row, as a user of onnxruntime alone gets it."""
    main, *_ = (value for value in session.get_inputs() if value.name not in fixed)
    rows = []
    for row in values:
        feed = {main.name: row[None]}
        for value in session.get_inputs():
            if value.name in fixed:
                kind = np.int64 if value.type == "tensor(int64)" else np.float32
                shape = [side if isinstance(side, int) else 1 for side in value.shape]
                feed[value.name] = np.full(shape, 0 if fixed[value.name] == "zeros" else fixed[value.name], kind)
        rows.append(session.run(None, feed)[0].reshape(1, -1))
    return np.concatenate(rows)


def outcome(run: Any) -> tuple[str, torch.Tensor | None]:
    """``"outputs (n, k)"``, or the reason of a refusal with its message; and the outputs."""
    try:
        outputs: torch.Tensor = run()
    except (ModelError, FileFormatError) as error:
        return f"{error.reason or 'error'}: {str(error).partition(' must ')[2][:160]}", None
    return f"outputs {tuple(outputs.shape)}", outputs


if __name__ == "__main__":
    sys.exit(main())
