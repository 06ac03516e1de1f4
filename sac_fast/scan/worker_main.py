"""The fork server and the workers of a scan: they load and run untrusted models, with limits, and return raw arrays.

The fork server imports everything once and forks a worker on request: a worker that crashed is replaced in
milliseconds, and all of them share the memory of the imports. Workers die with the fork server, which dies with the
scan. Requests and replies go through a socket, see `sac_fast.scan.protocol`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import os
import queue
import resource
import selectors
import signal
import socket
import stat
import sys
import threading
from typing import Any

import torch

from ..formats.limits import Limits
from ..io.process import status_bytes
from ..models.code_path import allow_code_in
from ..models.preprocessing import Preprocessing
from .prepared_probes import PreparedProbes, arrays_of
from .protocol import failed, receive, reply_of, send
from .sandbox import find_folders, restrict
from .worker import ModelRunner, Opened

_PR_SET_PDEATHSIG = 1
_MAX_CONTROL_BYTES = 1 << 16
# Interval of looking for ended workers, in case a signal is lost.
_POLL_SECONDS = 0.5


def main(control_fd: int, parent: int) -> None:
    """Fork workers on request until the other side closes the control socket.

    Messages are JSON, one a packet: ``{"ready": pid}`` after the imports; ``{"spawn": serial}`` with the descriptors
    of the worker's socket and of the probes' bytes gives ``{"spawned": serial, "pid": pid}``; ``{"kill": pid}``;
    ``{"ended": pid, "status": s}`` is sent unasked, s as `os.waitstatus_to_exitcode` gives it.
    """
    _die_with_parent(parent)
    torch.set_num_threads(1)
    control = socket.socket(fileno=control_fd)
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
    # Frozen objects are not touched by the garbage collector, so that their pages stay shared.
    gc.collect()
    gc.freeze()
    gc.enable()
    control.send(json.dumps({"ready": os.getpid()}).encode())
    children: set[int] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            selector.select(_POLL_SECONDS)
            with contextlib.suppress(BlockingIOError):
                woken.recv(4096)
            _reap(control, children)
            try:
                message, descriptors, _, _ = socket.recv_fds(control, _MAX_CONTROL_BYTES, 2, socket.MSG_DONTWAIT)
            except BlockingIOError:
                continue
            if not message:
                break
            request = json.loads(message)
            if "spawn" in request:
                parent = os.getpid()
                pid = os.fork()
                if pid == 0:
                    _become_worker(parent, descriptors, (control, woken, wake))
                children.add(pid)
                for descriptor in descriptors:
                    os.close(descriptor)
                control.send(json.dumps({"spawned": request["spawn"], "pid": pid}).encode())
            elif request.get("kill") in children:  # not reaped yet, so the pid is still its own
                _kill_group(request["kill"])
    for pid in children:
        _kill_group(pid)
    os._exit(0)  # without the slow shutdown of torch


def _reap(control: socket.socket, children: set[int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)  # its own children
            with contextlib.suppress(BrokenPipeError):  # the scan may have ended
                control.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


def _kill_group(pid: int) -> None:
    # Until it has called setsid the worker is in no group of its own.
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _die_with_parent(parent: int) -> None:
    """Request SIGKILL from the kernel when the parent dies; exit if it has died already."""
    prctl = getattr(ctypes.CDLL(None, use_errno=True), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def _become_worker(parent: int, descriptors: list[int], inherited: tuple[socket.socket, ...]) -> None:
    """Turn a forked process into a worker; never returns."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for end in inherited:
            end.close()
        os.setsid()
        _die_with_parent(parent)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        connection = socket.socket(fileno=descriptors[0])
        _work(connection, descriptors[1] if len(descriptors) > 1 else None)
        code = 0
    finally:
        os._exit(code)


def _work(connection: socket.socket, probes_fd: int | None) -> None:
    first = receive(connection)
    if first is None:
        return
    setup = first[0]
    allow_code_in(setup["code_folder"])
    device = torch.device(setup["device"])
    find_folders()
    # CUDA reserves memory of every kind; on GPUs only the scan limits the resident memory.
    _set_limits(setup["memory_bytes"] if device.type == "cpu" else None)
    torch.set_num_threads(setup["threads"])
    if setup["readable"] is not None:
        restrict(setup["readable"])  # before this process has a second thread, which would keep its rights
    torch.backends.cudnn.deterministic = True
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 2000))
    pixels, recorded, labels = arrays_of(_map(probes_fd), setup["probes"])
    runner = ModelRunner(
        PreparedProbes(pixels, device, labels=labels, recorded=recorded),
        batch_size=setup["batch_size"],
        dtype=None if setup["dtype"] is None else getattr(torch, setup["dtype"]),
        architectures=setup["architectures"],
        limits=Limits(**setup["limits"]),
        choose=None if (base := setup["choose_preprocessing"]) is None else Preprocessing.from_dict(base),
        output_form=setup["output_form"],
        looked_at=setup["looked_at"],
    )
    overlap: bool = setup["overlap"]
    requests: queue.Queue[tuple[dict[str, Any], Opened | None]] = queue.Queue(maxsize=1)

    def read_requests() -> None:
        try:
            while (frame := receive(connection)) is not None:
                request = frame[0]
                _read_ahead(request["path"])
                requests.put((request, runner.open(request) if overlap else None))
        finally:
            os._exit(0)  # the scan has ended; nobody reads the outputs of the model that runs

    threading.Thread(target=read_requests, daemon=True).start()
    while True:
        request, opened = requests.get()
        result = runner.run(request, opened if opened is not None else runner.open(request))
        header, body = reply_of(result, request["number"])
        if body.nbytes > setup["max_body_bytes"]:
            message = f"outputs must stay under {setup['max_body_bytes']:,} bytes, got {body.nbytes:,}"
            header, body = reply_of(failed("too-large", message), request["number"])
        send(connection, header, body)
        del result, opened, body


def _set_limits(memory_bytes: int | None) -> None:
    """Limit the worker's own memory; forbid core dumps and writing files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Sockets are not files.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    if memory_bytes is not None:
        # Not RLIMIT_AS: libraries reserve gigabytes of address space that they never use.
        limit = status_bytes("VmData") + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _map(descriptor: int | None) -> mmap.mmap | None:
    """The probes' bytes, shared copy-on-write with the other workers."""
    if descriptor is None:
        return None
    mapped = mmap.mmap(descriptor, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    os.close(descriptor)
    return mapped


def _read_ahead(path: str) -> None:
    """Ask the kernel to read the file while another model runs."""
    with contextlib.suppress(OSError, ValueError):
        if not stat.S_ISREG(os.stat(path).st_mode):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(descriptor)
