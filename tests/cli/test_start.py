"""The command line starts quickly: what is slow to import waits until a command runs."""

import os
import re
import resource
import subprocess
import sys

import pytest

COMMANDS = {
    *("info", "demo", "fingerprint", "verify", "weights", "scan", "relatives"),
    *("siblings", "simulate", "evaluate", "bench", "probes", "store", "testbed", "audit", "report", "pack", "show"),
}


def cpu_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "sac_fast", *arguments], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_takes_at_most_half_a_second_of_cpu():
    assert min(cpu_seconds("--help") for _ in range(3)) <= 0.5


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["fingerprint", "--help"], ["nonsense"]])
def test_nothing_slow_is_imported_before_a_command_runs(arguments):
    code = """
import sys
from sac_fast.cli.main import main
sys.argv = ["sac-fast", *sys.argv[1:]]
try:
    main()
except SystemExit:
    pass
print("slow:", [name for name in ("torch", "numpy", "PIL", "rich", "scipy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "slow: []"


def test_only_the_command_that_is_asked_for_is_imported():
    code = """
import sys
from sac_fast.cli.main import COMMANDS, main
sys.argv = ["sac-fast", "store", "--help"]
try:
    main()
except SystemExit:
    pass
print([name for name in COMMANDS if f"sac_fast.cli.{name}" in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['store']"


def test_help_lists_every_command(run):
    code, out, _ = run("--help")
    listed = [line.split()[0] for line in out.partition("Begin:\n")[2].splitlines() if re.match("  \\w", line)]
    assert code == 0
    assert set(listed) == COMMANDS


def test_the_end_keeps_the_code_what_was_printed_and_what_waits_for_it():
    """With torch loaded, `run` leaves without the interpreter's own end."""
    code = """
import atexit, sys, threading, time
import sac_fast.cli.main as cli
sys.modules["torch"] = None  # only its name is looked for
def main():
    atexit.register(lambda: print("exit function"))
    threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
    print("command")
    sys.exit(5)
cli.main = main
try:
    cli.run()
finally:
    print("the interpreter's own end")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()) == (5, ["command", "thread", "exit function"])


def test_a_full_disk_at_the_end_is_said():
    code = (
        "import sys; import sac_fast.cli.main as cli; sys.modules['torch'] = None; "
        "cli.main = lambda: print(1); cli.run()"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, check=False, env=environment
        )
    assert done.returncode == 120
    assert b"No space left" in done.stderr


def test_architectures_of_the_demo_need_no_scipy():
    code = "import sys, sac_fast.demo.architectures; print([name for name in ('scipy', 'h5py') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path):
    """With stdout closed a pack that was opened became the stdout of the worker that read it."""
    child = "import os, sys; sys.exit([os.readlink(f'/proc/self/fd/{i}') for i in (1, 2)] != ['/dev/null'] * 2)"
    code = (
        "import os, subprocess, sys\n"
        "from sac_fast.cli import main\n"
        "def reads():\n"
        "    with open('read', 'rb') as handle:\n"
        f"        child = subprocess.run([sys.executable, '-c', {child!r}]).returncode\n"
        "        sys.exit(10 * child + handle.fileno())\n"
        "main.main = reads\n"
        "main.run()\n"
    )
    (tmp_path / "read").write_text("x")
    streams = 'exec "$0" -c "$1" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", streams, sys.executable, code], cwd=tmp_path, check=False)
    assert done.returncode == 3
