import gc
import os
import sys

import pytest
import torch
from support.processes import collection_order, collects_backwards, process_group

from sac_fast.cli import main as cli
from sac_fast.ops import capabilities

# Python processes that tests start import the package under test, never what lies in the folder they start in.
os.environ["PYTHONSAFEPATH"] = "1"


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="run the long fuzzing and full-size tests too")


class BackwardsDirectory(pytest.Dir):
    """A folder whose last file is collected first."""

    def collect(self):
        return reversed(list(super().collect()))


def pytest_collect_directory(path, parent):
    """Let every second process begin with the last file: of each file, one of them rewrites the assertions."""
    if collects_backwards(getattr(parent.config, "workerinput", {})):
        return BackwardsDirectory.from_parent(parent, path=path)
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Collect without looking for garbage; what then is there lives to the end, and is not looked through again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):  # a process of pytest-xdist
        items.sort(key=lambda item: collection_order(item.nodeid))
    for item in items:
        if "slow" in item.keywords and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="long; run with --slow"))
        if "cuda" in item.keywords and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand tests to processes by `process_group`, in the order of `start_order`."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return process_group(nodeid)

    config.option.loadscopereorder = False
    return GroupScheduling(config, log)


@pytest.fixture
def run(monkeypatch, capsys):
    """Run one command in this process: (exit code, stdout, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["sac-fast", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            sys.exit(cli.main())
        captured = capsys.readouterr()
        return caught.value.code or 0, captured.out, captured.err

    return call


INSTRUCTION_SETS = capabilities()["instruction_sets"]


@pytest.fixture(params=INSTRUCTION_SETS)
def instruction_set(request, monkeypatch):
    """Every instruction set that the build and this processor have, forced in turn."""
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", request.param)
    return request.param


@pytest.fixture(params=["reference", *INSTRUCTION_SETS])
def backend(request, monkeypatch):
    """Every backend of this machine, the CPU kernels once for each instruction set."""
    if request.param == "reference":
        return "reference"
    monkeypatch.setenv("SAC_FAST_INSTRUCTION_SET", request.param)
    return "cpu"
