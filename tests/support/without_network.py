"""Commands of sac-fast in a process that the kernel ends at the first socket for a network or connection of any kind.

``python -m support.without_network`` reads a JSON list of commands, each a list of words, from its standard input and
prints a JSON line for each: how it ended, and what it said. The filter is inherited by every child, whatever it is
started by, and nothing takes it off; the process that asks for a socket is killed by SIGSYS at once, so that no
``except`` hides it. A name cannot be resolved without a socket either. ``--control`` asks for one at the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import platform
import socket
import struct
import sys

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _KILL_PROCESS = 0x7FFF0000, 0x80000000
#: Machine -> audit architecture and the numbers of socket and connect.
CALLS = {"x86_64": (0xC000003E, 41, 42), "aarch64": (0xC00000B7, 198, 203)}
_NUMBER_AT, _ARCHITECTURE_AT, _FIRST_ARGUMENT_AT = 0, 4, 16


def forbid_network() -> None:
    """From now on this process and its children are killed where they ask for a socket that is not local, or connect.

    Raises:
        OSError: the kernel has no seccomp.
    """
    architecture, open_socket, connect = CALLS[platform.machine()]
    steps = (
        (_LOAD, 0, 0, _ARCHITECTURE_AT),
        (_EQUAL, 0, 6, architecture),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_EQUAL, 4, 0, connect),
        (_EQUAL, 0, 2, open_socket),
        (_LOAD, 0, 0, _FIRST_ARGUMENT_AT),
        (_EQUAL, 0, 1, socket.AF_UNIX),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _KILL_PROCESS),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_NO_NEW_PRIVILEGES, 1, 0, 0, 0), (_SECCOMP, _FILTER, program, 0, 0)):
        if libc.prctl(*arguments) < 0:
            raise OSError(ctypes.get_errno(), "no seccomp")


def _run(words: list[str]) -> tuple[object, str]:
    from sac_fast.cli.main import main

    said, sys.argv = io.StringIO(), ["sac-fast", *words]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as end:
            return end.code, said.getvalue()
    return None, said.getvalue()


def main() -> None:
    """Run the commands."""
    asks_at_the_end = "--control" in sys.argv
    forbid_network()
    for words in json.load(sys.stdin):
        print(json.dumps(_run(words)), flush=True)
    if asks_at_the_end:
        socket.socket()


if __name__ == "__main__":
    main()
