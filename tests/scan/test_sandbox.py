"""What a restricted process cannot do any more."""

from __future__ import annotations

import functools
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sac_fast.scan import sandbox

NEEDS_BOTH = pytest.mark.skipif(bool(sandbox.missing_parts()), reason="; ".join(sandbox.missing_parts()))


def outcomes(readable: list[str], *acts: Callable[[], object]) -> list[str]:
    """What acts give in a forked child that was restricted before: ``"done"`` or the name of an error."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.restrict([*sandbox.library_folders(), *readable])
            os.write(theirs, " ".join(map(outcome, acts)).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        found = pipe.read().split()
    os.waitpid(pid, 0)
    return found


def outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except Exception as error:
        return type(error).__name__
    return "done"


@NEEDS_BOTH
def test_files_that_are_named_can_be_read_and_no_others(tmp_path: Path) -> None:
    models, secret = tmp_path / "models", tmp_path / "secret"
    models.mkdir()
    (models / "a").write_text("x")
    secret.write_text("x")
    (models / "link").symlink_to(secret)
    named = [str(models), str(tmp_path / "none")]
    allowed = (
        (models / "a").read_text,
        lambda: os.listdir(models),
        Path("/proc/self/status").read_text,
        lambda: Path(os.devnull).write_text("x"),
        lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True),
    )
    denied = (
        secret.read_text,
        (models / "link").read_text,
        lambda: os.listdir(tmp_path),
        lambda: (models / "a").write_text("y"),
        (models / "new").touch,
        (models / "a").unlink,
        lambda: os.symlink("a", models / "other"),
        Path(f"/proc/{os.getpid()}/environ").read_text,
        lambda: os.kill(os.getppid(), 0),
    )
    assert outcomes(named, *allowed, *denied) == ["done"] * 5 + ["PermissionError"] * 9
    assert outcomes([str(secret)], secret.read_text) == ["done"]


@NEEDS_BOTH
def test_no_socket_is_made() -> None:
    families = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, socket.AF_NETLINK)
    acts = [functools.partial(socket.socket, family, socket.SOCK_DGRAM) for family in families]
    assert outcomes([], *acts) == ["PermissionError"] * 4


@NEEDS_BOTH
def test_children_are_restricted_too(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    program = f"import socket; open({str(tmp_path / 'secret')!r})"
    command = [sys.executable, "-I", "-S", "-c", program]
    found = outcomes([], lambda: subprocess.run(command, check=True, stderr=subprocess.DEVNULL))
    assert found == ["CalledProcessError"]


def test_the_environment_is_left_without_credentials() -> None:
    kept = {
        "PATH": "/bin",
        "LC_ALL": "C",
        "OMP_NUM_THREADS": "2",
        "SAC_FAST_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    secrets = {"AWS_SECRET_ACCESS_KEY": "x", "HF_TOKEN": "x", "SSH_AUTH_SOCK": "/x", "http_proxy": "x", "MY_PATH": "x"}
    assert sandbox.scrubbed({**kept, **secrets}) == kept


def test_a_kernel_without_either_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "landlock_version", lambda: 0)
    monkeypatch.setattr(sandbox.platform, "machine", lambda: "riscv64")
    assert sandbox.missing_parts() == [
        "files: the kernel has no Landlock",
        "network: no seccomp for this machine",
    ]
