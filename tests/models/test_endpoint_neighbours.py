"""Services that speak HTTP badly on purpose: each is an error in time, and nothing of it is recorded."""

import gzip
import socket
import threading
import time

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import ModelError
from sac_fast.models import BlackBox, QueryLedger, Secrets
from sac_fast.models.endpoint import Endpoint

pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
GOOD = b'{"label": 0}'
BOMB = gzip.compress(bytes(50 << 20))


class RawServer:
    """Answers each connection with what a function writes to it."""

    def __init__(self, answer):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.answer, self.requests, self.ended = answer, [], threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}/x"

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.reply, args=(connection,), daemon=True).start()

    def reply(self, connection):
        with connection:
            try:
                self.requests.append(connection.recv(1 << 16))
                self.answer(connection, self.ended)
            except OSError:
                pass

    def close(self):
        self.ended.set()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes who waits for a connection
        self.thread.join(5)
        self.listener.close()


@pytest.fixture
def serve():
    servers = []

    def start(answer):
        servers.append(RawServer(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def sent(*pieces):
    def answer(connection, ended):
        for piece in pieces:
            connection.sendall(piece)

    return answer


def dripping(start, piece):
    def answer(connection, ended):
        connection.sendall(start)
        while not ended.wait(0.01):
            connection.sendall(piece)

    return answer


BAD = {
    "a header that never ends": dripping(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "a body that never ends": dripping(HEAD + b"\r\n", b" "),
    "chunks that never end": dripping(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "more than is read": sent(HEAD + b"Content-Length: 99999999\r\n\r\n", b" " * (2 << 20)),
    "less than was promised": sent(HEAD + b"Content-Length: 100\r\n\r\n", GOOD),
    "two lengths": sent(HEAD + b"Content-Length: 12\r\nContent-Length: 13\r\n\r\n", GOOD),
    "a length and chunks": sent(HEAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "no body": sent(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "a compressed bomb": sent(HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB), BOMB),
    "a bomb that is not declared": sent(HEAD + b"Content-Length: %d\r\n\r\n" % len(BOMB), BOMB),
    "no HTTP": sent(b"\x16\x03\x01\x02\x00\x01"),
    "another protocol": sent(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", GOOD),
    "infinity": sent(HEAD + b"Content-Length: 16\r\n\r\n", b'{"label": 1e999}'),
    "a key twice": sent(HEAD + b"Content-Length: 24\r\n\r\n", b'{"label": 0, "label": 1}'),
    "an escape sequence": sent(HEAD + b"Content-Length: 31\r\n\r\n", b'{"label": "\\u001b]0;x\\u0007    "}'),
    "a redirect to a file": sent(b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_answer_is_an_error_in_time(serve, tmp_path, what):
    server = serve(BAD[what])
    probes = sac_fast.ProbeSet.from_arrays(np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3))
    endpoint = Endpoint(server.url, answer="label", output_form="labels", timeout=0.1, retries=0, concurrency=1)
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        box = BlackBox.of_endpoint(endpoint, ledger=ledger, budget=3)
        started = time.monotonic()
        with pytest.raises(ModelError) as caught:
            box.ask(probes)
        assert time.monotonic() - started < 10
        assert (box.counts["asked"], box.counts["answered"], box.counts["in flight"]) == (1, 0, 0)
        assert ledger.answers(1, "first") == {}
    assert len(server.requests) == 1
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_redirect_sends_nothing_to_the_other_host(serve):
    other = serve(sent(HEAD + b"Content-Length: 12\r\n\r\n", GOOD))
    moved = b"HTTP/1.1 307 Temporary Redirect\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % other.url.encode()
    server = serve(sent(moved))
    secrets = Secrets(["KEY=127.0.0.1"], {"KEY": "hush-hush"})
    endpoint = Endpoint(
        server.url, answer="label", output_form="labels", headers={"Authorization": "{secret:KEY}"}, retries=0
    )
    probes = sac_fast.ProbeSet.from_arrays(np.arange(96, dtype=np.uint8).reshape(2, 4, 4, 3))
    with pytest.raises(ModelError, match="redirects are not followed"):
        BlackBox.of_endpoint(endpoint, secrets=secrets).ask(probes)
    assert b"hush-hush" in server.requests[0]
    assert other.requests == []
