"""The command line starts quickly: what is slow to import waits until a command runs."""

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


def test_help_lists_every_command(run):
    code, out, _ = run("--help")
    listed = [line.split()[0] for line in out.partition("Begin:\n")[2].splitlines() if re.match("  \\w", line)]
    assert code == 0
    assert set(listed) == COMMANDS
