"""Fetch a pack over HTTPS: no redirects, no proxies, no private addresses, a cap, and a hash that is known before."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError, ModelError, require
from ..io.files import StrPath, atomic_write, open_regular
from ..io.hashing import is_hash, sha256_stream
from ..io.text import escape_text
from ..models.endpoint import parse_url
from .pack import MAX_PACK_BYTES

#: From host, port and seconds to a connection that is encrypted and verified.
Connect = Callable[[str, int, float], socket.socket]
_SECONDS_A_PART = 30.0
_SECONDS = 900.0
_PIECE = 1 << 16
# Networks whose addresses hold another one: IPv4-mapped and the like is asked of `ipaddress`; this is NAT64.
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def pull_pack(url: str, hash: str | None, out: StrPath, *, connect: Connect | None = None) -> Path:
    """Fetch a pack, and keep it if it has the hash.

    Args:
        url: ``https://…``; redirects are not followed, and the host must have public addresses only.
        hash: SHA-256 of the file, as its maker states it elsewhere.
        out: the file that is written; one that is there and has the hash is left as it is.
        connect: opens the connection; None: `connect_checked`.

    Returns:
        ``out``.

    Raises:
        ModelError: no hash, another address than allowed, no connection, or an answer that is refused.
        FileFormatError: another hash; nothing is kept.
    """
    hash = check_hash(hash)
    scheme, host, port = parse_url(url)
    require(scheme == "https", "the address of a pack must begin with https://", f"{scheme}://", ModelError)
    out = Path(out)
    if out.exists():
        with open_regular(out) as handle:
            found = sha256_stream(handle)
        require(found == hash, f"{os.fspath(out)!r} is there and must have the hash {hash}", found, FileFormatError)
        return out
    target = url[len("https://") :].partition("/")[2]
    connection = _Connection(host.strip("[]"), port, connect or connect_checked)
    watch = threading.Timer(_SECONDS, connection.abort)  # for whoever sends a byte at a time
    watch.daemon = True
    watch.start()
    try:
        with contextlib.closing(connection):
            connection.request("GET", f"/{target}", headers={"Accept-Encoding": "identity", "User-Agent": "sac-fast"})
            response = connection.getresponse()
            _check_answer(response)
            with atomic_write(out) as handle:
                found = _copy(response, handle)
                require(found == hash, f"the pack at {url!r} must have the hash {hash}", found, FileFormatError)
    except (OSError, http.client.HTTPException) as error:
        shown = escape_text(f"{type(error).__name__} {error}", 300)
        raise ModelError(f"the pack at {url!r} must be fetched, got {shown}") from error
    finally:
        watch.cancel()
    return out


def check_hash(hash: str | None) -> str:
    """Refuse what is no hash: a pack is never taken without one."""
    wanted = 'a pack needs the hash that its maker states, "sha256:" and 64 digits'
    require(is_hash(hash), wanted, str(hash)[:80], ModelError)
    return str(hash)


def connect_checked(host: str, port: int, seconds: float) -> socket.socket:
    """A TLS connection to a public address of a host, its certificate verified for the host.

    The addresses are looked up once, all of them are checked, and the connection goes to one that was.

    Raises:
        ModelError: an address of this machine, of a private network, or of no other machine at all.
        OSError: no connection.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
    for text in addresses:
        if not is_public(text):
            raise ModelError(f"the host of a pack must have public addresses only, got {text} for {host!r}")
    context = ssl.create_default_context()
    last: OSError = OSError("no address")
    for text in addresses:
        try:
            plain = socket.create_connection((text, port), timeout=seconds)
        except OSError as error:
            last = error
            continue
        try:
            return context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
    raise last


def is_public(text: str) -> bool:
    """Whether an address is one of the public network, and holds no other address that is not."""
    try:
        address: Address = ipaddress.ip_address(text)
    except ValueError:  # with a scope, or none at all
        return False
    return all(_is_global(inner) for inner in _addresses_in(address))


def _is_global(address: Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _addresses_in(address: Address) -> list[Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    held: list[Address] = []
    if address.sixtofour is not None:
        held.append(address.sixtofour)
    if address.teredo is not None:
        held += address.teredo
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    return [address, *held]


class _Connection(http.client.HTTPConnection):
    """HTTP over a connection that somebody else opens."""

    def __init__(self, host: str, port: int, opener: Connect) -> None:
        super().__init__(host, port, timeout=_SECONDS_A_PART)
        self.default_port = 443
        self._opener = opener

    def connect(self) -> None:
        self.sock = self._opener(self.host, self.port, _SECONDS_A_PART)

    def abort(self) -> None:
        """End the connection under whoever reads from it."""
        if self.sock is not None:
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


def _check_answer(response: http.client.HTTPResponse) -> None:
    note = " (redirects are not followed)" if 300 <= response.status < 400 else ""
    require(response.status == 200, "a pack must come with the status 200", f"{response.status}{note}", ModelError)
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    require(encoding == "identity", "a pack must not be compressed", escape_text(encoding, 80), ModelError)
    length = response.length
    wanted = f"a pack must have at most {MAX_PACK_BYTES:,} bytes"
    require(length is None or length <= MAX_PACK_BYTES, wanted, length, ModelError)


def _copy(response: http.client.HTTPResponse, handle: BinaryIO) -> str:
    """Write the body; returns its hash."""
    digest, total = hashlib.sha256(), 0
    while piece := response.read1(_PIECE):
        total += len(piece)
        require(total <= MAX_PACK_BYTES, f"a pack must have at most {MAX_PACK_BYTES:,} bytes", total, ModelError)
        digest.update(piece)
        handle.write(piece)
    return "sha256:" + digest.hexdigest()
