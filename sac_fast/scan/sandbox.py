"""What a worker may still do: read libraries and the files of its models; no other file, nothing written, no network.

Landlock (files) and seccomp (system calls), by ctypes, in the forked child before it has any thread. Both need no
privilege; a kernel that lacks one is told in the scan's summary.

Source: https://docs.kernel.org/userspace-api/landlock.html, https://docs.kernel.org/userspace-api/seccomp_filter.html,
linux/landlock.h, linux/filter.h, linux/audit.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import struct
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..io.files import blobs_of

if TYPE_CHECKING:
    from ..models import ModelEntry

_PR_SET_NO_NEW_PRIVS, _PR_GET_SECCOMP, _PR_SET_SECCOMP, _SECCOMP_FILTER = 38, 21, 22, 2
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on all machines
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE
# By the version of Landlock: rights over files (13 at first, then refer, truncate and ioctl), TCP, and scopes.
_NUMBER_OF_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
_LATEST_RIGHTS = 16
_TCP_SINCE, _SCOPES_SINCE = 4, 6

# Machine -> audit architecture, and the system calls that fail: sockets, other processes, what goes round a filter.
_CALLS = {
    "x86_64": (0xC000003E, (41, 42, 43, 49, 50, 288, 101, 310, 311, 250, 321, 323, 425)),
    "aarch64": (0xC00000B7, (198, 203, 202, 200, 201, 242, 117, 270, 271, 219, 280, 282, 425)),
}
_X32_BIT = 0x40000000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # instructions of the filter
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000 | 13  # 13: EACCES

_SYSTEM = ("/usr", "/lib", "/lib64", "/opt", "/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system")
# Of /proc only what is this process's own or nobody's: another's environ holds its credentials.
_PROC = tuple(f"/proc/{name}" for name in ("self", "cpuinfo", "meminfo", "stat", "filesystems", "version", "sys"))
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom", "/dev/random")
# Of the environment; everything else, credentials above all, does not reach a worker.
_KEPT = frozenset(("PATH", "HOME", "USER", "LANG", "LANGUAGE", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV"))
_KEPT_STARTS = ("LC_", "PYTHON", "OMP_", "MKL_", "OPENBLAS_", "KMP_", "GOMP_", "CUDA_", "CUBLAS_", "NVIDIA_", "TORCH")
_KEPT_MORE = ("PYTORCH_", "SAC_FAST_", "XDG_CACHE_", "CONDA_PREFIX", "COVERAGE_")

_MAX_RULES = 4096


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def landlock_version() -> int:
    """The version that the kernel has; 0: none."""
    return max(0, int(_libc().syscall(_CREATE_RULESET, None, 0, _VERSION_FLAG)))


def missing_parts() -> list[str]:
    """What this machine's kernel cannot keep workers from, in words for the summary of a scan."""
    missing = [] if landlock_version() else ["files: the kernel has no Landlock"]
    if platform.machine() not in _CALLS or _libc().prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        missing.append("network: no seccomp for this machine")
    return missing


def unrestricted_parts(readable: object, device: str) -> list[str]:
    """What workers are not kept from: all of it where it was not asked for, or on a GPU, else `missing_parts`."""
    if readable is None:
        return ["files, network: the workers run without a sandbox"]
    if device != "cpu":
        return ["files, network: workers on GPUs run without a sandbox"]
    return missing_parts()


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a worker gets."""
    starts = (*_KEPT_STARTS, *_KEPT_MORE)
    return {name: value for name, value in environment.items() if name in _KEPT or name.startswith(starts)}


def library_folders() -> list[str]:
    """Where this interpreter finds code: what a worker must be able to read besides models."""
    found = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path, str(Path(sys.executable).resolve().parent)]
    return [*dict.fromkeys(os.path.realpath(folder) for folder in found if folder), *_SYSTEM, *_PROC]


def places_of(entries: Iterable[ModelEntry], code: str | None) -> list[str]:
    """The folders that the files of entries lie in, where links lead included, and the folder with the user's code.

    Weights of one model may lie in several files beside each other; a link out of the entry's root is refused anyway.
    """
    found: dict[str, None] = {} if code is None else {code: None}
    roots: set[Path] = set()
    for entry in entries:
        if entry.root is not None:
            if entry.root not in roots:
                roots.add(entry.root)
                blobs = blobs_of(entry.root)
                found |= dict.fromkeys([os.path.realpath(entry.root), *([] if blobs is None else [os.fspath(blobs)])])
            continue
        for path in (os.path.abspath(entry.path), os.path.realpath(entry.path)):
            found[os.path.dirname(path)] = None
    return list(found) if len(found) <= _MAX_RULES // 2 else [os.path.commonpath(found)]


def find_folders() -> None:
    """Settle where libraries would write, before nothing can be written: at their import most need only the name."""
    tempfile.gettempdir()  # which tries by writing
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = sys.prefix  # one that is there; torch._dynamo would make its own


def restrict(readable: Iterable[str]) -> None:
    """Take from this process, for good, everything but reading these files and folders and what the system needs.

    Args:
        readable: paths; those that do not exist are left out.

    Raises:
        OSError: the kernel has Landlock or seccomp, and refuses.
    """
    libc = _libc()
    _check(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if version := landlock_version():
        _restrict_files(libc, version, list(dict.fromkeys(readable)))
    if platform.machine() in _CALLS and libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0:
        _restrict_calls(libc)


def _restrict_files(libc: ctypes.CDLL, version: int, readable: list[str]) -> None:
    if len(readable) > _MAX_RULES:
        raise OSError(7, f"readable must be at most {_MAX_RULES:,} files and folders, got {len(readable):,}")
    rights = (1 << _NUMBER_OF_RIGHTS.get(version, _LATEST_RIGHTS)) - 1
    tcp, scopes = (3 if version >= _TCP_SINCE else 0), (3 if version >= _SCOPES_SINCE else 0)
    attributes = struct.pack("<QQQ", rights, tcp, scopes)[: 24 if scopes else 16 if tcp else 8]
    ruleset = _check(libc.syscall(_CREATE_RULESET, attributes, len(attributes), 0))
    try:
        for path in readable:
            _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
        for path in _DEVICES:
            _allow(libc, ruleset, path, _READ_FILE | _WRITE_FILE)
        _check(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= _FILE_RIGHTS
            rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, place), 12)
            _check(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
        finally:
            os.close(place)


def _restrict_calls(libc: ctypes.CDLL) -> None:
    architecture, calls = _CALLS[platform.machine()]
    count = len(calls)
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    # Jumps are counted from the next instruction: the last but one lets a call pass, the last one fails it.
    steps.append((_AT_LEAST, count + 1, 0, _X32_BIT))
    steps += [(_EQUAL, count - index, 0, number) for index, number in enumerate(calls)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _FAIL)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    _check(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_FILTER, ctypes.create_string_buffer(program), 0, 0))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
