"""Random images against Pillow until the time is up: python tests/fuzz/jpeg_roundtrip.py --minutes 30 [--seed 1].

Sizes, contents, qualities, subsamplings, instruction sets and threads are drawn at random; every case is a function
of the seed and its number, which a failure prints. Exit status 1 at the first difference.
"""

from __future__ import annotations

import argparse
import collections
import os
import sys
import time

import numpy as np
from support import jpeg_images

import sac_fast

MOST_PIXELS = 120_000


def size(rng):
    if rng.random() < 0.1:  # thin ones
        long = int(rng.integers(1, 3000))
        return (long, int(rng.integers(1, 20)))[:: 1 if rng.random() < 0.5 else -1]
    height = int(np.exp(rng.uniform(0, np.log(700))))
    return height, int(np.exp(rng.uniform(0, np.log(min(700, MOST_PIXELS // height)))))


def batch(rng, height, width):
    """1 to 4 images, gray or colour, of one size."""
    names = rng.choice(list(jpeg_images.CONTENTS), int(rng.integers(1, 5)))
    channels = 1 if rng.random() < 0.15 else 3
    return names, np.stack([jpeg_images.CONTENTS[name](rng, height, width)[:, :, :channels] for name in names])


def case(seed, number):
    rng = np.random.default_rng([seed, number])
    height, width = size(rng)
    names, images = batch(rng, height, width)
    low = 1 if rng.random() < 0.8 else 90
    qualities = rng.integers(low, 101, len(images))
    subsampling = str(rng.choice(["4:4:4", "4:2:2", "4:2:0"]))
    choice = str(rng.choice([*sac_fast.capabilities()["instruction_sets"], "reference"], p=[0.4, 0.3, 0.2, 0.1]))
    threads = int(rng.integers(1, 6))
    os.environ["SAC_FAST_NUM_THREADS"] = str(threads)
    os.environ["SAC_FAST_INSTRUCTION_SET"] = "portable" if choice == "reference" else choice
    backend = "reference" if choice == "reference" else "cpu"
    actual = sac_fast.jpeg_roundtrip(images, qualities, subsampling, backend=backend).numpy()
    for i, image in enumerate(images):
        if not np.array_equal(actual[i], jpeg_images.pillow(image, int(qualities[i]), subsampling)):
            what = f"{names[i]} {image.shape}, quality {qualities[i]}, {subsampling}, {choice}, {threads} threads"
            sys.exit(f"seed {seed} case {number}, image {i}: not equal to Pillow: {what}")
    return len(images), choice


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, help="run this case alone")
    options = parser.parse_args()
    if options.case is not None:
        print(case(options.seed, options.case))
        return
    end = time.monotonic() + 60 * options.minutes
    images, number, by = 0, 0, collections.Counter()
    while time.monotonic() < end:
        count, choice = case(options.seed, number)
        images, number = images + count, number + 1
        by[choice] += count
    print(f"{number} cases, {images} images equal to Pillow in {options.minutes:g} minutes, seed {options.seed}")
    print(dict(by))


if __name__ == "__main__":
    main()
