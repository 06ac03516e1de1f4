"""Which tests share a process of pytest-xdist (`pytest -n 2`), and which start first."""

# A file's tests run in one process, which makes the file's fixtures once. These run in one process
# together, so that no two of them, which measure time or memory or kill processes, are in each other's way.
MEASURING = (
    "tests/scan/test_scan_kill.py",
    "tests/store/test_store_crash.py",
    "tests/test_installation.py",
    "tests/benchmarks/test_gpu_check.py",
    "tests/io/test_container.py",
)
# Files that share what takes long to make: a run of the benchmarks, the kernels compiled for the processor.
SHARING = {
    "tests/bench/": "bench",
    "tests/ops/test_tiles_": "tiles",
    "tests/ops/test_cuda_tiles.py": "tiles",
    "tests/ops/test_sweep_": "sweep",
}
# Each test of these runs for long in processes of its own, and shares nothing with the others of its file.
APART = (
    "tests/test_documentation.py::test_blocks_run_as_they_stand",
    "tests/test_documentation.py::test_pages_build_without_a_warning",
    "tests/test_notebooks.py::test_a_notebook_runs",
)
# Started first, so that no process is left with one of them when the others are done.
LONG = (
    *MEASURING,
    *(f"tests/ops/test_{name}.py" for name in ("tiles_emulated", "sweep_ops_emulated", "correlation_distance")),
    *("tests/simulation/", "tests/scan/test_scan.py", "tests/demo/", "tests/testbed/test_testbed_run.py"),
    "tests/test_docstrings.py",
    *APART,
)


def process_group(nodeid):
    """The tests with which a test shares a process."""
    if nodeid.startswith(MEASURING):
        return "measuring"
    if nodeid.startswith(APART):
        return nodeid
    shared = [group for start, group in SHARING.items() if nodeid.startswith(start)]
    return shared[0] if shared else nodeid.partition("::")[0]


def collects_backwards(worker):
    """Whether a process of pytest-xdist, by its ``workerinput``, begins to collect with the last file."""
    return worker.get("workerid", "gw0").endswith(tuple("13579"))


def collection_order(nodeid):
    """The place of a test's file in `LONG`, or after all of them, and the file's name: the same in every process."""
    place = next((place for place, name in enumerate(LONG) if nodeid.startswith(name)), len(LONG))
    return place, nodeid.partition("::")[0]
