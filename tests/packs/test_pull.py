"""A pack from an address: which hosts are asked, and what of their answers is kept."""

import hashlib
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sac_fast.errors import FileFormatError, ModelError
from sac_fast.packs import pull
from sac_fast.packs.pull import connect_checked, is_public, pull_pack

CONTENT = b"a pack" * 1000
HASH = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One behaviour a path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers.items())))
        reply = getattr(self, "reply_" + self.path.strip("/").replace("-", "_"), None)
        if reply is not None:
            reply()
        else:
            self.send(200, CONTENT)

    def send(self, status, content, **more):
        self.send_response(status)
        for name, value in {"Content-Length": len(content), **more}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def reply_moved(self):
        self.send(302, b"", Location="/pack")

    def reply_missing(self):
        self.send(404, b"no")

    def reply_bomb(self):
        self.send(200, b"\x1f\x8b" * 100, Content_Encoding="gzip")

    def reply_large(self):
        self.send_response(200)
        self.send_header("Content-Length", str(1 << 40))
        self.end_headers()

    def reply_endless(self):
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(bytes(1 << 16))

    def reply_cut(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:100])
        self.close_connection = True

    def reply_dropped(self):
        self.connection.close()

    def reply_dripping(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        while not self.server.ended.wait(0.02):
            self.wfile.write(b"x")
            self.wfile.flush()

    def reply_chunked(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(CONTENT), 1000):
            piece = CONTENT[start : start + 1000]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


@pytest.fixture
def server():
    served = Server(("127.0.0.1", 0), Handler)
    served.requests, served.ended = [], threading.Event()
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.ended.set()
    served.shutdown()
    thread.join()
    served.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    """Fetches from the server, whatever the host in the address is."""

    def run(path, hash=HASH):
        def connect(host, port, seconds):
            assert (host, port) == ("packs.example.org", 443)
            return socket.create_connection(server.server_address, timeout=seconds)

        return pull_pack(f"https://packs.example.org/{path}", hash, tmp_path / "pack", connect=connect)

    return run


def test_a_pack_is_kept_if_it_has_the_hash(fetch, server, tmp_path):
    assert fetch("pack?version=1").read_bytes() == CONTENT
    path, headers = server.requests[0]
    assert path == "/pack?version=1"
    assert {name.lower() for name in headers} == {"host", "accept-encoding", "user-agent"}
    assert headers["Host"] == "packs.example.org"
    fetch("pack")
    assert len(server.requests) == 1
    (tmp_path / "pack").write_bytes(b"mine")
    with pytest.raises(FileFormatError, match="is there and must have"):
        fetch("pack")
    assert (tmp_path / "pack").read_bytes() == b"mine"


def test_a_body_in_chunks_is_read(fetch):
    assert fetch("chunked").read_bytes() == CONTENT


REFUSED = {
    "moved": "302 \\(redirects are not followed\\)",
    "missing": "status 200, got '404",
    "bomb": "compressed",
    "large": "at most",
    "endless": "at most",
    "cut": "must have the hash",
    "dropped": "must be fetched",
    "dripping": "must be fetched|must have the hash",
}


@pytest.mark.parametrize("path", REFUSED)
def test_other_answers_are_refused_and_nothing_is_kept(fetch, server, tmp_path, monkeypatch, path):
    monkeypatch.setattr(pull, "MAX_PACK_BYTES", 10 << 20)
    monkeypatch.setattr(pull, "_SECONDS", 0.3)
    with pytest.raises((ModelError, FileFormatError), match=REFUSED[path]):
        fetch(path)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_another_hash_keeps_nothing(fetch, tmp_path):
    with pytest.raises(FileFormatError, match="must have the hash"):
        fetch("pack", "sha256:" + "0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/p", "http://127.0.0.1/p", "ftp://example.org/p", "file:///etc/passwd",
        "https://user:word@example.org/p", "https://example.org/p#x", "https://example.org:99999/p",
        "https://exa mple.org/p", "https://example.org/p\r\nHost: other", "//example.org/p",
    ],
)  # fmt: skip
def test_other_addresses_are_refused_before_anything_is_asked(url, tmp_path):
    with pytest.raises(ModelError):
        pull_pack(url, HASH, tmp_path / "p", connect=lambda *_: pytest.fail("was asked"))


def test_no_hash_no_question(tmp_path):
    with pytest.raises(ModelError, match="needs the hash"):
        pull_pack("https://example.org/p", None, tmp_path / "p", connect=lambda *_: pytest.fail("was asked"))


PRIVATE = (
    *("127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:0a00:1::", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
    *("fe80::1%eth0", "name", "", "2001:db8::1", "192.0.2.1"),
)


def test_only_addresses_of_the_public_network_are_public():
    assert [text for text in PRIVATE if is_public(text)] == []
    assert all(map(is_public, ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808")))


def test_a_host_is_looked_up_once_and_all_of_its_addresses_count(monkeypatch):
    asked, connected = [], []

    def look_up(host, port, **_):
        asked.append(host)
        return [(2, 1, 6, "", (address, port)) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    def connect(address, timeout):
        connected.append(address)
        raise ConnectionRefusedError("no")

    monkeypatch.setattr(socket, "create_connection", connect)
    found = ["8.8.8.8", "10.0.0.1"]
    with pytest.raises(ModelError, match=r"public addresses only, got 10\.0\.0\.1 for 'rebound.example'"):
        connect_checked("rebound.example", 443, 1.0)
    assert connected == []
    found = ["8.8.8.8", "8.8.4.4"]
    with pytest.raises(ConnectionRefusedError):
        connect_checked("rebound.example", 443, 1.0)
    assert connected == [("8.8.8.8", 443), ("8.8.4.4", 443)]  # the addresses that were checked, not the name again
    assert asked == ["rebound.example"] * 2


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_users_cannot_reach_this_machine(host, tmp_path):
    with pytest.raises(ModelError, match=r"public addresses only|must be fetched"):
        pull_pack(f"https://{host}:8443/p", HASH, tmp_path / "p")


def test_a_certificate_that_nobody_signed_is_refused(tmp_path, monkeypatch):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    files = ["-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c"), "-days", "1", "-subj", "/CN=example.org"]
    if subprocess.run([*command, *files], capture_output=True, check=False).returncode:
        pytest.skip("needs openssl, which is not there")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c", tmp_path / "k")
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve():
        connection, _ = listener.accept()
        try:
            context.wrap_socket(connection, server_side=True).close()
        except OSError:
            connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    place = listener.getsockname()

    def connect(address, timeout):
        assert address == ("8.8.8.8", 443)
        made = socket.socket()
        made.settimeout(timeout)
        made.connect(place)
        return made

    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port, **_: [(2, 1, 6, "", ("8.8.8.8", port))])
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ssl.SSLCertVerificationError):
        connect_checked("example.org", 443, 5.0)
    thread.join()
    listener.close()
