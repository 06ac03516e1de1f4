"""A classifier of handwritten digits, as its owner may have one, and the suspects of the tutorial.

    python digits.py make      trains the models (about a minute), writes the images
    python digits.py serve     answers on port 8765: a service with labels, and one with probabilities

Only `build`, `other` and `train` concern sac_fast: they are the owner's own code.
"""

import base64
import hashlib
import io
import json
import pathlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import nn

import sac_fast

HERE = pathlib.Path(__file__).parent
PORT = 8765


def build():
    """The owner's network: one channel of 8 × 8 pixels, ten classes."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def other():
    """Somebody else's network."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def load():
    """Pixels (1797, 1, 8, 8) in 0 … 1 and labels; the first 900 are the owner's, the rest is the world's."""
    digits = load_digits()
    pixels = torch.from_numpy((digits.images * 255 / 16).round() / 255).float()[:, None]
    return pixels, torch.from_numpy(digits.target)


def fit(model, pixels, targets, epochs, rate=2e-3, loss=nn.functional.cross_entropy):
    """Train in place."""
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(epochs):
        for batch in torch.randperm(len(pixels)).split(64):
            optimiser.zero_grad()
            loss(model(pixels[batch]), targets[batch]).backward()
            optimiser.step()
    return model.eval()


def train(seed):
    """The owner's recipe: sac_fast calls it with other seeds to make siblings."""
    torch.manual_seed(seed)
    pixels, labels = load()
    model = fit(build(), pixels[:900], labels[:900], 15)
    accuracy = (model(pixels[900:]).argmax(1) == labels[900:]).double().mean()
    return model, float(accuracy)


def noisy(pixels, copies):
    """Images that a thief makes of digits: moved, mixed and noisy."""
    made = []
    for _ in range(copies):
        a, b = pixels[torch.randperm(len(pixels))], pixels[torch.randperm(len(pixels))]
        weight = torch.rand(len(pixels), 1, 1, 1) ** 2 / 2
        mixed = (1 - weight) * a + weight * b + 0.15 * torch.randn_like(a)
        made.append(torch.roll(mixed, tuple(torch.randint(-1, 2, (2,)).tolist()), (2, 3)).clamp(0, 1))
    return torch.cat(made)


def make():
    """Train the owner's model and three suspects; write the images on which they are compared."""
    torch.set_num_threads(1)
    pixels, labels = load()
    for folder in ("images", "suspects"):
        (HERE / folder).mkdir(exist_ok=True)
    mine, accuracy = train(3170529486)
    sac_fast.save_weights(HERE / "mine.safetensors", mine)
    print(f"mine.safetensors: {accuracy:.1%} right")

    torch.manual_seed(1)
    tuned = build()
    tuned.load_state_dict(mine.state_dict())
    fit(tuned, pixels[900:1300], labels[900:1300], 4, 5e-4)
    sac_fast.save_weights(HERE / "suspects" / "finetuned.safetensors", tuned)

    torch.manual_seed(2)
    queries = noisy(pixels[900:], 12)
    with torch.no_grad():
        answers = mine(queries).div(2).softmax(1)
    distilled = fit(build(), queries, answers, 12, loss=lambda z, p: nn.functional.cross_entropy(z / 2, p))
    options = {"input_names": ["x"], "output_names": ["y"], "dynamic_axes": {"x": {0: "n"}, "y": {0: "n"}}}
    torch.onnx.export(distilled, (pixels[:1],), str(HERE / "suspects" / "distilled.onnx"), dynamo=False, **options)

    torch.manual_seed(3)
    unrelated = fit(other(), pixels[900:], labels[900:], 25)
    torch.save(unrelated.state_dict(), HERE / "suspects" / "unrelated.pth")

    rng = np.random.default_rng(0)
    for index, image in enumerate(noisy(pixels, 1)[rng.permutation(len(pixels))[:1500]]):
        gray = (image[0] * 255).round().byte().numpy()
        Image.fromarray(gray).save(HERE / "images" / f"{index:04}.png")


class Service(BaseHTTPRequestHandler):
    """POST an image as base64: /labels gives the class alone (of the fine-tuned copy), /probabilities all scores."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        content = self.rfile.read(int(self.headers["content-length"]))
        with (HERE / "requests.log").open("a") as log:
            log.write(f"{self.path} {hashlib.sha256(content).hexdigest()}\n")
        file = io.BytesIO(base64.b64decode(json.loads(content)["image"]))
        pixels = torch.from_numpy(np.asarray(Image.open(file).convert("L"), np.float32) / 255)
        with torch.no_grad():
            scores = self.server.model(pixels[None, None]).softmax(1)[0]
        answer = {"label": f"digit {int(scores.argmax())}"} if self.path == "/labels" else {"scores": scores.tolist()}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve():
    """Serve a stolen model until interrupted."""
    torch.set_num_threads(1)
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Service)
    server.model = build().eval()
    sac_fast.load_weights(server.model, HERE / "suspects" / "finetuned.safetensors")
    print(f"http://127.0.0.1:{PORT}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    {"make": make, "serve": serve}[sys.argv[1]]()
