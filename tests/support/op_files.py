"""The files that one opens to follow an op from its contract to its benchmark, as a table for docs/architecture.md.

    python tests/support/op_files.py

Beside these come what all ops share: the bindings, `_C.pyi`, the table of ops, the files of one instruction set each
(`csrc/cpu/kernels/`) and `detail/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
OPS = (
    "correlation_matrix",
    "correlation_vector",
    "correlation_distance",
    "correlation_distances",
    "correlation_distance_weighted",
    "pairwise_correlation_distances",
    "nearest_models",
    "jpeg_roundtrip",
)
MAX_FILES = 8
#: Layers in the order in which one reads them: name, folder and how the stem is made of the op's name.
LAYERS = (
    ("contract", "csrc/include/sac", "{op}.h"),
    ("CPU kernel", "csrc/cpu", "{op}_cpu.cpp"),
    ("CUDA kernel", "csrc/cuda", "{op}_cuda.cu"),
    ("op", "sac_fast/ops", "{op}.py"),
    ("CUDA calls", "sac_fast/ops/cuda", "{op}.py"),
    ("definition", "sac_fast/ops/reference", "{op}.py"),
    ("test", "tests/ops", "test_{op}.py"),
    ("benchmark", "benchmarks", "bench_{op}.py"),
)
#: What every op has.
NEEDED = ("contract", "op", "definition", "test", "benchmark")
#: Folders of which the files of one instruction set, shared pieces and results are not counted.
_SHARED = ("detail", "kernels", "results", "fuzz", "__pycache__")


def files_of(op: str, root: Path = ROOT) -> dict[str, str]:
    """The files of an op that are there, by layer."""
    paths = {layer: f"{folder}/{name.format(op=op)}" for layer, folder, name in LAYERS}
    return {layer: path for layer, path in paths.items() if (root / path).is_file()}


def other_files_of(op: str, ops: Sequence[str] = OPS, root: Path = ROOT) -> list[str]:
    """Further files whose stem begins with the op's name, or has it behind test_ or bench_, and no longer op's name."""
    known = set(files_of(op, root).values())
    longer = [other for other in ops if other != op and other.startswith(op)]
    found = []
    for folder in ("csrc", "sac_fast", "tests", "benchmarks"):
        for path in sorted((root / folder).rglob("*")):
            stem = path.stem.removeprefix("test_").removeprefix("bench_")
            if not path.is_file() or set(path.relative_to(root).parts) & set(_SHARED):
                continue
            if stem.startswith(op) and not any(stem.startswith(other) for other in longer):
                found.append(path.relative_to(root).as_posix())
    return [name for name in found if name not in known]


def missing_layers(op: str, root: Path = ROOT) -> list[str]:
    """Layers that every op has and this one lacks."""
    found = files_of(op, root)
    return [layer for layer in NEEDED if layer not in found]


def make_table(root: Path = ROOT) -> str:
    """Markdown: a row for each op, its files in the order of the layers, and how many they are."""
    lines = ["| op | files | number |", "| --- | --- | ---: |"]
    for op in OPS:
        files = files_of(op, root)
        lines.append(f"| `{op}` | {', '.join(f'`{path}`' for path in files.values())} | {len(files)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(make_table(), end="")
    for op in OPS:
        if missing := missing_layers(op):
            print(f"\n{op} lacks: {', '.join(missing)}", end="")
        if others := other_files_of(op):
            print(f"\n{op} has further files: {', '.join(others)}", end="")
    print()
