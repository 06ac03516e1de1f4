"""Actions that wait for an import, with small packages in place of torch and sac_fast."""

import importlib
import subprocess
import sys
import threading

import pytest

from sac_fast.io.after_import import after_import


@pytest.fixture
def package(tmp_path, monkeypatch):
    """`awaited`, and a package `mine` of modules that import it, with `mine.action` for the action."""
    files = {
        "awaited.py": "import json\nVALUE = 1\n",
        "mine/__init__.py": "",
        "mine/low.py": "import awaited\nLOW = awaited.VALUE\n",
        "mine/high.py": "from .low import LOW\nHIGH = LOW + 1\n",
        "mine/action.py": "from .high import HIGH\nfrom .low import LOW\n",
    }
    (tmp_path / "mine").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = list(sys.meta_path)
    yield tmp_path
    sys.meta_path[:] = before
    for name in [name for name in sys.modules if name.partition(".")[0] in ("awaited", "mine")]:
        del sys.modules[name]


@pytest.fixture
def calls(package):
    made = []

    def action():
        importlib.import_module("mine.action")
        made.append(threading.get_ident())

    after_import("awaited", "mine", action)
    return made


def finders():  # sac_fast itself waits for torch unless another test has imported it
    return sum(getattr(finder, "name", "") in ("awaited", "never_heard_of_it") for finder in sys.meta_path)


def test_it_runs_at_once_where_the_module_is_there(package):
    import awaited  # noqa: F401

    made = []
    after_import("awaited", "mine", lambda: made.append(1))
    assert made == [1]
    assert finders() == 0


def test_it_runs_after_the_import_and_leaves_no_trace(calls):
    assert calls == []
    assert "awaited" not in sys.modules
    import awaited

    assert len(calls) == 1
    assert finders() == 0
    assert type(awaited.__loader__).__name__ == "SourceFileLoader"
    assert awaited.__spec__.loader is awaited.__loader__
    assert "exec_module" not in vars(awaited.__loader__)
    importlib.reload(awaited)
    assert len(calls) == 1


@pytest.mark.parametrize("name", ["mine.low", "mine.high", "mine.action"])
def test_it_waits_for_half_imported_modules_of_the_package(calls, name):
    importlib.import_module(name)
    assert len(calls) == 1
    assert finders() == 0


def test_a_failed_import_is_tried_again(calls, package):
    (package / "awaited.py").write_text("raise OSError('no library')")
    with pytest.raises(OSError, match="no library"):
        import awaited
    assert (calls, finders()) == ([], 1)
    with pytest.raises(OSError, match="no library"):
        importlib.import_module("mine.high")
    assert (calls, finders()) == ([], 1)
    (package / "awaited.py").write_text("VALUE = 1  # repaired\n")
    importlib.invalidate_caches()
    import awaited

    assert awaited.VALUE == 1
    assert (len(calls), finders()) == (1, 0)


def test_a_module_that_is_not_there_is_not_there(package):
    after_import("never_heard_of_it", "mine", lambda: None)
    with pytest.raises(ModuleNotFoundError, match="never_heard_of_it"):
        importlib.import_module("never_heard_of_it")
    assert finders() == 1


def test_an_action_that_fails_is_a_warning_and_not_the_imports_failure(package):
    def action():
        raise RuntimeError("broken")

    after_import("awaited", "mine", action)
    with pytest.warns(RuntimeWarning, match="after the import of awaited: RuntimeError: broken"):
        import awaited
    assert awaited.VALUE == 1
    assert finders() == 0


def test_a_second_call_adds_nothing(calls, package):
    after_import("awaited", "mine", lambda: calls.append("again"))
    assert finders() == 1
    import awaited  # noqa: F401

    assert len(calls) == 1


class Other:
    """A finder of somebody else; like wrapt's it asks all finders anew, itself excepted."""

    def __init__(self):
        self.seen, self.busy = [], False

    def find_spec(self, fullname, path=None, target=None):
        if self.busy or fullname != "awaited":
            return None
        self.busy = True
        try:
            self.seen.append(fullname)
            return importlib.util.find_spec(fullname)
        finally:
            self.busy = False


@pytest.mark.parametrize("first", [True, False])
def test_other_finders_are_asked_before_and_after(package, first):
    made, other = [], Other()
    if not first:
        sys.meta_path.insert(0, other)
    after_import("awaited", "mine", lambda: made.append(1))
    if first:
        sys.meta_path.insert(0, other)
    import awaited

    assert awaited.VALUE == 1
    assert made == [1]
    assert other.seen == ["awaited"]
    assert finders() == 0


def test_what_another_finder_supplied_unseen_counts_at_the_next_import_of_the_package(calls, package):
    finder = sys.meta_path.pop(0)
    assert finder.name == "awaited"
    import awaited  # noqa: F401

    sys.meta_path.insert(0, finder)
    assert calls == []
    import mine.low  # noqa: F401

    assert len(calls) == 1


def test_threads_that_import_both_at_once_lose_nothing(package):
    (package / "awaited.py").write_text("import time\ntime.sleep(0.2)\nVALUE = 1\n")
    code = """
import sys, threading, importlib, warnings
warnings.simplefilter("error")
sys.path.insert(0, sys.argv[1])
from sac_fast.io.after_import import after_import
made = []
def action():
    importlib.import_module("mine.action")
    made.append(1)
after_import("awaited", "mine", action)
threading.excepthook = lambda args: print("failed:", args.exc_value)
names = ["awaited", "mine.high", "mine.action", "awaited", "mine.low"]
threads = [threading.Thread(target=importlib.import_module, args=(name,)) for name in names]
for thread in threads: thread.start()
for thread in threads: thread.join()
waiting = [finder for finder in sys.meta_path if getattr(finder, "name", "") == "awaited"]
print(bool(made), sys.modules["mine.action"].HIGH, len(waiting))
"""
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code, str(package)], capture_output=True, text=True, timeout=60)
        assert (done.stdout, done.stderr) == ("True 2 0\n", "")
