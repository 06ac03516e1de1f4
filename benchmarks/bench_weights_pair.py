"""Time and memory of one weights test: two checkpoints of 25 million parameters, and two sharded ones of 3 GB each.

    python benchmarks/bench_weights_pair.py --folder FOLDER [--json FILE]

Every value is drawn, none is a hole of a sparse file. Each test runs in a process of its own, whose largest resident
memory is measured; pages of the files count in it where they are mapped. FOLDER takes 13 GB and is emptied again.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

import sac_fast
from sac_fast.bench.results import start_result, write_json
from sac_fast.io.process import status_bytes

WIDTH, HIDDEN = 1024, 4096
LAYER = {
    "self_attn.q_proj": (WIDTH, WIDTH),
    "self_attn.k_proj": (WIDTH, WIDTH),
    "self_attn.v_proj": (WIDTH, WIDTH),
    "self_attn.o_proj": (WIDTH, WIDTH),
    "mlp.gate_proj": (HIDDEN, WIDTH),
    "mlp.up_proj": (HIDDEN, WIDTH),
    "mlp.down_proj": (WIDTH, HIDDEN),
}
LAYERS = 45  # of 16.8 million parameters: 3.02 GB in float32
LAYERS_OF_A_SHARD = 9
#: ResNet-50's convolutions: (output units, inputs, side, how often).
CONVOLUTIONS = (
    (64, 64, 3, 3), (64, 256, 1, 3), (256, 64, 1, 3), (128, 128, 3, 4), (128, 512, 1, 4), (512, 128, 1, 4),
    (256, 256, 3, 6), (256, 1024, 1, 6), (1024, 256, 1, 6), (512, 512, 3, 3), (512, 2048, 1, 3), (2048, 512, 1, 3),
    (256, 64, 1, 1), (512, 256, 1, 1), (1024, 512, 1, 1), (2048, 1024, 1, 1),
)  # fmt: skip


def draw(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)


def save_plain(path: Path, seed: int, noise: float | None = None) -> int:
    """A convolutional network of about 25 million parameters in one file; with noise, a changed copy of it."""
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    state = {
        f"layers.{number}.{repeat}.weight": draw((units, inputs, side, side), rng)
        for number, (units, inputs, side, repeats) in enumerate(CONVOLUTIONS)
        for repeat in range(repeats)
    } | {"fc.weight": draw((1000, 2048), rng)}
    if noise is not None:
        state = {name: value + np.float32(noise) * draw(value.shape, other) for name, value in state.items()}
    save_file(state, path)
    return sum(value.size for value in state.values())


def save_sharded(folder: Path, seed: int, noise: float | None = None) -> int:
    """A transformer in five shards with an index, made shard by shard."""
    folder.mkdir()
    rng, other = np.random.default_rng(seed), np.random.default_rng(seed + 1000)
    where: dict[str, str] = {}
    size = 0
    for shard in range(LAYERS // LAYERS_OF_A_SHARD):
        state = {}
        for layer in range(shard * LAYERS_OF_A_SHARD, (shard + 1) * LAYERS_OF_A_SHARD):
            for name, shape in LAYER.items():
                value = draw(shape, rng)
                state[f"model.layers.{layer}.{name}.weight"] = (
                    value if noise is None else value + np.float32(noise) * draw(shape, other)
                )
        name = f"model-{shard + 1:05d}-of-{LAYERS // LAYERS_OF_A_SHARD:05d}.safetensors"
        save_file(state, folder / name)
        size += (folder / name).stat().st_size
        where |= dict.fromkeys(state, name)
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return size


def test(a: Path, b: Path) -> dict[str, Any]:
    """One test in a fresh process: verdict, seconds and memory, less what the process had before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_test, (a, b))


def _test(a: Path, b: Path) -> dict[str, Any]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: a new process has that of its parent
    before = status_bytes("VmHWM")
    wall, processor = time.perf_counter(), time.process_time()
    result = sac_fast.weights_test(a, b)
    return {
        "verdict": result.verdict,
        "log10_p": result.log10_p,
        "layers": len(result.compared),
        "seconds": time.perf_counter() - wall,
        "processor_seconds": time.process_time() - processor,
        "resident_before_gb": before / 1e9,
        "resident_peak_gb": status_bytes("VmHWM") / 1e9,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="takes 13 GB for the time of the run")
    parser.add_argument("--json", type=Path, help="write the result there")
    options = parser.parse_args()
    result = start_result("sac_fast benchmark of one weights test", 1)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        parameters = save_plain(folder / "a.safetensors", 1)
        save_plain(folder / "copy.safetensors", 1, noise=0.05)
        save_plain(folder / "other.safetensors", 2)
        result["25 million"] = {
            "parameters": parameters,
            "copy": test(folder / "a.safetensors", folder / "copy.safetensors"),
            "independent": test(folder / "a.safetensors", folder / "other.safetensors"),
        }
        print(result["25 million"], flush=True)
        size = save_sharded(folder / "a", 3)
        save_sharded(folder / "copy", 3, noise=0.05)
        save_sharded(folder / "other", 4)
        result["sharded"] = {
            "bytes": size,
            "copy": test(folder / "a", folder / "copy"),
            "independent": test(folder / "a", folder / "other"),
        }
        print(result["sharded"], flush=True)
    result["seconds"] = time.perf_counter() - started
    if options.json is not None:
        write_json(result, options.json)


if __name__ == "__main__":
    main()
