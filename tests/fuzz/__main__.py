"""Fuzz the readers of untrusted files: python -m tests.fuzz TARGET … --minutes 30 [--seed 1] [--keep FOLDER].

TARGET is one of `tests.fuzz.targets.TARGETS`, or "all"; one after the other, each as long, or several at a time with
``--processes``. Small sound and hostile files are damaged by Hypothesis, half of the changes within the structure of
their format; a file that came to another end than those before is damaged further. A reader may refuse a file by an
error of sac_fast. Another error, a crash, a case of over 10 s, or memory beyond twice the file and 200 MB is a fault:
its file is kept, and the exit status is 1. Each minute, and at the end, a line says how many inputs there were, and how
many were opened and refused.
``--file FILE`` reads one file that was kept. On a busy machine, SAC_FAST_FUZZ_SLOWNESS=6 lets a case wait for 60 s;
of processor time it has 10 s always.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import hashlib
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_TESTS = Path(__file__).resolve().parent.parent
sys.path[:] = [str(_TESTS), *sys.path, str(_TESTS.parent)]  # an installed package comes before the one that lies here

from fuzz.cases import MAX_SECONDS, Run, run_cases, run_one  # noqa: E402 (found by the path above)
from fuzz.targets import TARGETS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", nargs="+", choices=[*TARGETS, "all"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"))
    parser.add_argument("--processes", type=int, default=1, help="how many run targets at a time")
    parser.add_argument("--file", type=Path, help="read this file alone")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)  # the folder of a child process
    options = parser.parse_args()
    names = list(TARGETS) if "all" in options.target else options.target
    if options.file is not None:
        run_one(TARGETS[names[0]], options.file.read_bytes())
    elif options.inside is None:
        parts = [part for start in range(options.processes) if (part := names[start :: options.processes])]
        with ThreadPoolExecutor(len(parts)) as threads:
            return max(threads.map(lambda part: _supervised(part, options), parts))
    else:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # end with the process that started this one
        for name in names:
            tell = functools.partial(_tell, name)
            run = run_cases(TARGETS[name], 60 * options.minutes, options.seed, options.inside / name, tell=tell)
            print(f"{name}: {options.minutes:g} minutes, seed {options.seed}: no fault in {run}", flush=True)
    return 0


def _tell(name: str, run: Run) -> None:
    print(f"{name}: {run}", flush=True)


def _supervised(names: list[str], options: argparse.Namespace) -> int:
    """Run targets in a process of its own, which may crash; keep the file that it read last."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "fuzz", *names, "--minutes", str(options.minutes)]
        command += ["--seed", str(options.seed), "--inside", folder]
        run = subprocess.run(command, cwd=_TESTS, check=False)
        if not run.returncode:
            return 0
        how = f"exit status {run.returncode}"
        if -run.returncode in (signal.SIGALRM, signal.SIGPROF):
            how = f"a case of over {MAX_SECONDS} s"
        elif run.returncode < 0:
            how = signal.Signals(-run.returncode).name
        written = sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime_ns)
        print(f"{how}; the last file is {[_keep(path, options) for path in written[-1:]]}", flush=True)
        return 1


def _keep(path: Path, options: argparse.Namespace) -> str:
    options.keep.mkdir(exist_ok=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    kept = options.keep / f"{path.name}-{options.seed}-{digest[:8]}"
    shutil.copy(path, kept)
    return str(kept)


if __name__ == "__main__":
    sys.exit(main())
