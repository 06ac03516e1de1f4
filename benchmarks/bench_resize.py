"""The resize of `ProbeSet.from_folder` through Pillow and through pillow-simd.

    python benchmarks/bench_resize.py --also PYTHON [--json FILE] [--repeats 25] [--images 8]

PYTHON is that of an environment with pillow-simd in Pillow's place. Both resize the same photographs (427 × 640) to
224 × 224 and 112 × 112 with `fit_image(…, "crop", …)`, one thread. Results are compared first; then both take turns,
repeat by repeat, so that a drifting machine slows both alike; medians.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL
from PIL import Image
from sklearn.datasets import load_sample_images

from sac_fast.bench.results import start_result, write_json
from sac_fast.probes.image import fit_image

SIDES = (224, 112)
FILTERS = ("bilinear", "bicubic", "lanczos")


def photographs(count: int) -> list[Image.Image]:
    """Shifted crops of scikit-learn's two photographs: the same in both environments."""
    photos = load_sample_images().images
    return [Image.fromarray(np.roll(photos[i % 2], 17 * i, 1)) for i in range(count)]


def serve(images: list[Image.Image]) -> None:
    """Answer each line "side filter" on stdin with the time and the pixels' file."""
    name = (
        "pillow-simd"
        if any(d.metadata["Name"] == "pillow-simd" for d in importlib.metadata.distributions())
        else "Pillow"
    )
    print(json.dumps({"engine": name, "version": PIL.__version__}), flush=True)
    for line in sys.stdin:
        side, resample, path = line.split()
        size = (int(side), int(side))
        start = time.perf_counter()
        made = [fit_image(image, size, "crop", resample) for image in images]
        seconds = time.perf_counter() - start
        pixels = np.stack([np.asarray(image) for image in made])
        if path != "-":
            np.save(path, pixels)
        print(json.dumps({"seconds": seconds, "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}), flush=True)


class Side:
    """A process of one environment."""

    def __init__(self, python: str, images: int) -> None:
        command = [python, __file__, "--serve", "--images", str(images)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.who = json.loads(self.process.stdout.readline())

    def ask(self, side: int, resample: str, path: str = "-") -> dict[str, object]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(side, resample, path, file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--also", metavar="PYTHON", help="an environment with pillow-simd")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--repeats", type=int, default=25)
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(photographs(options.images))
        return
    if options.also is None:
        parser.error("--also must name the Python of an environment with pillow-simd")
    start = time.perf_counter()
    result = start_result("sac_fast resize", 1)
    sides = [Side(python, options.images) for python in (sys.executable, options.also)]
    folder = Path(__file__).parent
    rows = []
    for side in SIDES:
        for resample in FILTERS:
            files = [folder / f".bench_resize_{number}.npy" for number in (0, 1)]
            for process, file in zip(sides, files, strict=True):
                process.ask(side, resample, str(file))
            first, second = (np.load(file).astype(int) for file in files)
            for file in files:
                file.unlink()
            times = [[float(p.ask(side, resample)["seconds"]) for p in sides] for _ in range(options.repeats)]  # type: ignore[arg-type]
            medians = [statistics.median(column) / options.images for column in zip(*times, strict=True)]
            row = {
                "side": side,
                "resample": resample,
                "milliseconds": {p.who["engine"]: 1e3 * t for p, t in zip(sides, medians, strict=True)},
                "gain": medians[0] / medians[1],
                "values_that_differ": float((first != second).mean()),
                "largest_difference": int(np.abs(first - second).max()),
            }
            rows.append(row)
            print(json.dumps(row))
    result |= {
        "benchmark": "resize of photographs of 427 × 640, crop to a square, one thread, median",
        "engines": [process.who for process in sides],
        "images": options.images,
        "repeats": options.repeats,
        "rows": rows,
    }
    if options.json:
        write_json(result | {"seconds": time.perf_counter() - start}, options.json)


if __name__ == "__main__":
    main()
