"""How much of a published network's labels a distilled one can give on photographs, and what limits it.

    python benchmarks/bench_pretrained.py FOLDER --only cheap                    # cuts the photographs
    python benchmarks/bench_distillation.py FOLDER --json benchmarks/results/distillation.json

First what there is without training: the share of the held-out photographs to which another network of the family, or
the source itself on a slightly changed photograph, gives the source's label. Then a thief with more queries than
`bench_pretrained.py` allows: all layers of another network's weights are trained on the source's probabilities for
crops that are new in every step, mirrored at random, with a cosine schedule. Training is kept in FOLDER: a run that was
stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pretrained.members import HELD_OUT, Workshop
from pretrained.networks import SOURCES, load_source, to_inputs
from pretrained.photographs import crops
from pretrained.thefts import STUDENTS, agreement
from torch import Tensor, nn
from torch.nn import functional

from sac_fast.bench.results import start_result, write_json
from sac_fast.errors import SacFastError
from sac_fast.probes import ProbeSet

KIND = "sac_fast distillation of a published network"
_BATCH = 16
_WARM_UP = 10  # steps
_EVERY = 30  # steps between two looks at the held-out photographs
_KEEP_EVERY = 10  # steps


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_distillation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of bench_pretrained.py")
    parser.add_argument("--source", choices=SOURCES, default="lite1", help="whose labels are learned (default: lite1)")
    parser.add_argument("--steps", type=int, default=120, help=f"of {_BATCH} images (default: 120)")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="of AdamW, at its highest (default: 3e-4)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after so many, to go on later")
    parser.add_argument("--seed", type=int, default=0, help="of the photographs' sides and all crops")
    parser.add_argument("--json", type=Path, required=True, metavar="FILE", help="where the results are written")
    asked = parser.parse_args(arguments)
    if asked.steps < 1:
        parser.error(f"--steps must be at least 1, got {asked.steps}")
    if not asked.learning_rate > 0:
        parser.error(f"--learning-rate must be positive, got {asked.learning_rate}")
    if not asked.json.parent.is_dir():
        parser.error(f"the folder of --json must exist, got {str(asked.json.parent)!r}")
    return asked


def jpeg(images: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """All images compressed once."""
    compressed: NDArray[np.uint8] = ProbeSet.from_arrays(images, layout="NHWC").jpeg(quality=quality).images.copy()
    return compressed


def shifted(images: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """All images moved down and to the right, the border mirrored."""
    side = images.shape[1]
    return np.pad(images, ((0, 0), (pixels, 0), (pixels, 0), (0, 0)), mode="reflect")[:, :side, :side]


#: Changes of a photograph after which a source is compared with itself.
SELF: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    "shifted by 4 pixels": lambda images: shifted(images, 4),
    "shifted by 8 pixels": lambda images: shifted(images, 8),
    "mirrored": lambda images: np.ascontiguousarray(images[:, :, ::-1]),
    "JPEG, quality 75": lambda images: jpeg(images, 75),
    "JPEG, quality 15": lambda images: jpeg(images, 15),
}


@torch.no_grad()
def logits_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """(n, 1000), in evaluation mode."""
    return torch.cat([network.eval()(batch) for batch in inputs.split(_BATCH)])


def ceilings(source: str, images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Agreement with the source of the other networks as published, and of the source on changed photographs."""
    network, inputs = load_source(source), to_inputs(images)
    own = logits_of(network, inputs)
    rows = [
        {"compared": f"{other}, as published", "agreement": agreement(logits_of(load_source(other), inputs), own)}
        for other in SOURCES
        if other != source
    ]
    for name, change in SELF.items():
        changed = logits_of(network, to_inputs(change(images)))
        rows.append({"compared": f"{source} itself, {name}", "agreement": agreement(changed, own)})
    return [{"source": source, **row} for row in rows]


class Distillation:
    """A student, the network of `STUDENTS`, that learns the source's probabilities.

    Args:
        source: its name.
        kept: file of the training.
        asked: steps, learning rate, seed.
        held_out: inputs on which the agreement is measured.
    """

    def __init__(self, source: str, kept: Path, asked: argparse.Namespace, held_out: Tensor) -> None:
        self._source, self.student = load_source(source).eval(), load_source(STUDENTS[source])
        self._kept, self._asked, self._held_out = kept, asked, held_out
        self._targets = logits_of(self._source, held_out)
        self._optimizer = torch.optim.AdamW(self.student.parameters(), weight_decay=0.0)
        self.done, self.seconds = 0, 0.0
        self.curve: list[dict[str, Any]] = []
        self._losses: list[float] = []
        decides = {"source": source, **{name: getattr(asked, name) for name in ("steps", "learning_rate", "seed")}}
        self._about = decides
        if kept.is_file():
            state = torch.load(kept, weights_only=True)
            if state["about"] != decides:
                raise ValueError(f"{kept.name} must be of this training, got {state['about']}")
            self.student.load_state_dict(state["student"])
            self._optimizer.load_state_dict(state["optimizer"])
            self.done, self.seconds, self.curve = state["done"], state["seconds"], state["curve"]
            self._losses = state["losses"]
        else:
            self._look()

    def run(self, photographs: Path, seconds: float) -> None:
        """Train until all steps are done or the time is over."""
        before, begun, start = self.seconds, time.perf_counter(), time.process_time()
        while self.done < self._asked.steps and time.perf_counter() - begun < seconds:
            self._step(photographs)
            self.seconds = before + time.process_time() - start
            if self.done % _EVERY == 0 or self.done == self._asked.steps:
                self._look()
            if self.done % _KEEP_EVERY == 0 or self.done == self._asked.steps:
                self._keep()

    def _step(self, photographs: Path) -> None:
        images = crops(photographs, _BATCH, (self._asked.seed, 2, self.done), self._asked.seed)
        flips = np.random.default_rng((self._asked.seed, 3, self.done)).random(_BATCH) < 0.5
        images[flips] = images[flips][:, :, ::-1]
        inputs = to_inputs(images)
        with torch.no_grad():
            targets = self._source(inputs).softmax(dim=1)
        warm = min(1.0, (self.done + 1) / _WARM_UP)
        cosine = 0.5 * (1 + math.cos(math.pi * self.done / self._asked.steps))
        for group in self._optimizer.param_groups:
            group["lr"] = warm * cosine * self._asked.learning_rate
        # batch normalisation keeps its statistics
        loss = functional.kl_div(self.student.eval()(inputs).log_softmax(dim=1), targets, reduction="batchmean")
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self._optimizer.step()
        self._losses.append(float(loss.detach()))
        self.done += 1

    def _look(self) -> None:
        logits = logits_of(self.student, self._held_out)
        divergence = functional.kl_div(
            logits.log_softmax(dim=1), self._targets.softmax(dim=1), reduction="batchmean"
        )  # fmt: skip
        row = {
            "steps": self.done,
            "images": self.done * _BATCH,
            "agreement": agreement(logits, self._targets),
            "divergence": float(divergence),
            "training_divergence": float(np.mean(self._losses[-_EVERY:])) if self._losses else None,
            "cpu_seconds": round(self.seconds, 1),
        }
        self.curve.append(row)
        print(time.strftime("%T"), row, file=sys.stderr, flush=True)

    def _keep(self) -> None:
        part = self._kept.with_suffix(".part")
        state = {"about": self._about, "student": self.student.state_dict(), "optimizer": self._optimizer.state_dict()}
        state |= {"done": self.done, "seconds": self.seconds, "curve": self.curve, "losses": self._losses}
        torch.save(state, part)
        os.replace(part, self._kept)


def run(asked: argparse.Namespace) -> dict[str, Any] | None:
    """Everything; None where the training is not done yet."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    result = start_result(KIND, 1)
    workshop = Workshop(asked.folder, asked.folder / "photographs", asked.seed)
    held_out = workshop.sides[HELD_OUT].images
    kept = asked.folder / f"distillation-{asked.source}.pt"
    training = Distillation(asked.source, kept, asked, to_inputs(held_out))
    training.run(asked.folder / "photographs", asked.seconds)
    if training.done < asked.steps:
        return None
    return result | {
        "source": asked.source,
        "student": STUDENTS[asked.source],
        "held_out": len(held_out),
        "options": {"steps": asked.steps, "learning_rate": asked.learning_rate, "seed": asked.seed, "batch": _BATCH},
        "ceilings": ceilings(asked.source, held_out),
        "curve": training.curve,
        "seconds": time.perf_counter() - start,
    }


def main() -> None:
    asked = parse()
    try:
        results = run(asked)
        if results is None:
            print("bench_distillation: not done yet; run it again to go on", file=sys.stderr)
        else:
            write_json(results, asked.json, row_lines=True)
    except (SacFastError, ValueError, RuntimeError, OSError) as error:
        print(f"bench_distillation: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
