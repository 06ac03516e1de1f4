"""A prediction service on the loopback, for tests: well-behaved and hostile, one behaviour a path.

    python -m support.prediction_server PORT LOG

LOG gets one line a request: path and SHA-256 of the image's pixels. The classes are dark, middle and bright.
"""

import base64
import contextlib
import hashlib
import io
import json
import pathlib
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image

LABELS = ("dark", "middle", "bright")


def scores_of(image):
    """Probabilities of the three classes by the mean brightness of uint8 (H, W, 3), to 6 decimals."""
    distances = np.array([abs(image.mean() / 255 - centre) for centre in (0.2, 0.5, 0.8)])
    weights = np.exp(-10 * distances)
    return [round(float(value), 6) for value in weights / weights.sum()]


def image_of(content, content_type):
    """Pixels of a request's body, whatever its form."""
    if content_type.startswith("image/"):
        file = content
    elif content_type.startswith("multipart/"):
        boundary = content_type.partition("boundary=")[2].encode()
        part = next(part for part in content.split(b"--" + boundary) if b'filename="' in part)
        file = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
    else:
        request = json.loads(content)
        if "inputs" in request:  # the Open Inference Protocol
            tensor = request["inputs"][0]
            return np.array(tensor["data"]).reshape(tensor["shape"])[0].transpose(1, 2, 0).astype(np.uint8)
        if isinstance(request["image"], list):
            return np.array(request["image"]).transpose(1, 2, 0).astype(np.uint8)
        file = base64.b64decode(request["image"].removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


class Handler(BaseHTTPRequestHandler):
    """One behaviour a path."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers.get("content-length", 0)))
        image = image_of(content, self.headers.get("content-type", ""))
        key = hashlib.sha256(image.tobytes()).hexdigest()
        with self.server.lock:
            self.server.log.write(f"{self.path} {key}\n")
            self.server.log.flush()
            count = self.server.counts[self.path] = self.server.counts.get(self.path, 0) + 1
            self.server.headers.append(dict(self.headers.items()))
        scores = scores_of(image)
        label = LABELS[int(np.argmax(scores))]
        listed = [{"label": name, "score": score} for name, score in zip(LABELS, scores, strict=True)]
        listed.sort(key=lambda entry: -entry["score"])
        path = self.path.partition("?")[0]
        ordinary = {
            "/label": {"result": {"label": label}},
            "/number": {"class": LABELS.index(label)},
            "/probabilities": {"scores": scores},
            "/named": dict(zip(LABELS, scores, strict=True)),
            "/hf": listed,
            "/top2": listed[:2],
            "/v2/models/m/infer": {"outputs": [{"name": "p", "shape": [1, 3], "datatype": "FP32", "data": scores}]},
            "/other": {"result": {"label": "zebra"}},
            "/nan": {"scores": [float("nan"), 0.5, 0.5]},
            "/short": {"scores": scores[:2]},
            "/deep": {"scores": 0},
            "/big": {"scores": scores, "more": "x" * 10_000_000},
            "/echo": {"result": {"label": self.headers.get("authorization", "")}},
        }
        if path == "/drift":
            ordinary[path] = {"result": {"label": label if count % 2 else LABELS[(LABELS.index(label) + 1) % 3]}}
        if match := re.fullmatch("/slow/([0-9.]+)", path):
            time.sleep(float(match[1]))
            ordinary[path] = {"result": {"label": label}}
        if match := re.fullmatch("/flaky/([a-z0-9]+)/([0-9]+)", path):  # fails so often, then answers
            failing = count <= int(match[2])
            path = f"/{match[1]}" if failing else "/label"
        if path == "/drop":
            self.close_connection = True
            self.connection.close()
            return
        if path in ("/429", "/500", "/503", "/400", "/302"):
            self.reply(int(path[1:]), b"no: " + self.headers.get("authorization", "").encode())
        elif path == "/garbage":
            self.reply(200, b"\x00\xff{[<html>")
        elif path == "/nested":
            self.reply(200, b"[" * 200_000)
        elif path == "/gzip":
            self.reply(200, b"\x1f\x8b", {"Content-Encoding": "gzip"})
        else:
            self.reply(200, json.dumps(ordinary[path]).encode())

    def reply(self, status, content, more=()):
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/label")
        for name, value in dict(more).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


class PredictionServer(ThreadingHTTPServer):
    """Serves until it is shut down; `requests` counts them by image."""

    daemon_threads = True

    def __init__(self, port, log):
        super().__init__(("127.0.0.1", port), Handler)
        self.log = pathlib.Path(log).open("a")  # noqa: SIM115
        self.headers = []
        self.counts = {}
        self.lock = threading.Lock()

    def handle_error(self, *_):
        pass  # clients that go away are part of the tests

    @property
    def address(self):
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"


@contextlib.contextmanager
def serving(log):
    """A server in a thread of this process, on a port of its own."""
    server = PredictionServer(0, log)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.log.close()


if __name__ == "__main__":
    server = PredictionServer(int(sys.argv[1]), sys.argv[2])
    print(server.address, flush=True)
    server.serve_forever()
