"""The process that reads a pack: without files, network or much memory. It sends arrays and JSON, never pickle."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys

from ..errors import SacFastError, describe_error
from ..io.process import status_bytes
from ..scan.protocol import send
from ..scan.sandbox import library_folders, restrict
from .pack import read_pack

# Beyond the file itself, which is held once: its header as JSON, several times.
_FREE_BYTES = 192 << 20


def main(connection_fd: int, content_fd: int, name: str, seconds: int) -> None:
    """Read the pack at a descriptor and send it: a frame with the metadata, then one for each member's outputs.

    Args:
        connection_fd: socket to the other side.
        content_fd: the file.
        name: what messages call it.
        seconds: of processor time.
    """
    connection = socket.socket(fileno=connection_fd)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    limit = status_bytes("VmData") + 2 * os.fstat(content_fd).st_size + _FREE_BYTES
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    restrict(library_folders())
    try:
        with os.fdopen(content_fd, "rb") as handle:
            arrays, about = read_pack(handle, name)
    except (SacFastError, MemoryError) as error:
        send(connection, {"failed": describe_error(error)[:2000]})
        return
    members = about.pop("members")
    send(connection, {"about": about, "count": len(members)})
    for i, member in enumerate(members):
        array = arrays[str(i)]
        header = {"member": member, "dtype": array.dtype.name, "shape": list(array.shape)}
        send(connection, header, array.reshape(-1).view("u1").data)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
