"""The folder of models: each made once, run on the probes, kept with what is known of it.

images/SIDE.npz                       pixels and kinds of the three sides (`photographs`)
members/NAME/model.onnx               the model as it is served
members/NAME/weights.safetensors      its weights, of a network in PyTorch
members/NAME/about.json               source, change, agreement, seconds
members/NAME/PROBES.safetensors       fingerprint
SOURCE/                               a labelled zoo of each source, made of hard links (`zoos`)
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from sac_fast import Fingerprint, fingerprint
from sac_fast.attacks import weight_noise
from sac_fast.io.files import atomic_write
from sac_fast.models import ModelEntry, OpenedModel, open_model, save_weights, weights_hash
from sac_fast.probes import ProbeSet

from . import copies, thefts
from .networks import HEAD, PREPROCESSING, SOURCES, export, load_source, to_inputs, without_head
from .photographs import SIDES, Side, fetch, make_queries, make_sides

PLAIN, JPEG = "plain", "jpeg-q15"
HELD_OUT, TRAINING, QUERIES = "held-out", "training", "queries"
SERVED, WEIGHTS = "model.onnx", "weights.safetensors"
_CALIBRATION = 48  # images
_NORM_IMAGES = 96
_QUERIES = 640  # images, beside those for training, whose outputs a distiller asks for
_BATCH = 16

_ROUNDED = {"fp16": torch.float16, "bf16": torch.bfloat16}
_NOISE = {"noise-1": 0.01, "noise-2": 0.02}
_PRUNED = {"prune-10": 0.1, "prune-20": 0.2}
EXPORT = "onnx"
CHEAP = (EXPORT, *copies.INT8, *_NOISE, *_ROUNDED, *_PRUNED)
CHANGES = (*CHEAP, *thefts.THEFTS)
#: These are made before the others.
_FIRST = (*thefts.HEADS, "int8-static-qdq", EXPORT)


@dataclass(frozen=True)
class Member:
    """One model.

    Attributes:
        name: of its folder: ``lite0``, ``lite0-fp16``, …
        source: from which it was made; its own name for a source.
        change: one of ``CHANGES``; empty for a source.
        start: the source whose weights it started from.
    """

    name: str
    source: str
    change: str
    start: str


def all_members(changes: tuple[str, ...] = CHANGES) -> list[Member]:
    """The sources, then the first changes for all of them, then the others, cheap ones first."""
    found = [Member(source, source, "", source) for source in SOURCES]
    first = [(source, change) for change in _FIRST for source in SOURCES]
    rest = [(source, change) for change in CHANGES for source in SOURCES if change not in _FIRST]
    for source, change in [*first, *rest]:
        if change in changes:
            start = thefts.STUDENTS[source] if change == "distil" else source
            found.append(Member(f"{source}-{change}", source, change, start))
    return found


def is_related(member: Member, source: str) -> bool:
    """Whether a member has the source's weights or outputs in it: made from it, or started from its weights."""
    return source in (member.source, member.start)


def is_copy(member: Member, source: str) -> bool:
    """Whether a member was made from the source. One that only started from its weights, to learn another network's
    outputs, is neither copy nor honest: it is left out.
    """
    return member.source == source and bool(member.change)


class Workshop:
    """Makes what is missing in a folder.

    Args:
        folder: of all that is kept.
        photographs: where the Debian packages are unpacked.
        seed: of the images and of all changes.
    """

    def __init__(self, folder: Path, photographs: Path, seed: int = 0) -> None:
        self.folder, self.photographs, self.seed = folder, photographs, seed
        self._networks: dict[str, nn.Module] = {}

    @cached_property
    def sides(self) -> dict[str, Side]:
        """The images, cut once."""
        kept = self.folder / "images"
        if not all((kept / f"{side}.npz").is_file() for side in SIDES):
            fetch(self.photographs)
            kept.mkdir(parents=True, exist_ok=True)
            for side, made in make_sides(self.photographs, self.seed).items():
                with atomic_write(kept / f"{side}.npz") as handle:
                    np.savez(handle, images=made.images, kinds=made.kinds, names=np.array(made.kind_names))
        sides = {}
        for side in SIDES:
            with np.load(kept / f"{side}.npz", allow_pickle=False) as arrays:
                sides[side] = Side(arrays["images"], arrays["kinds"], tuple(arrays["names"].tolist()))
        return sides

    @cached_property
    def probes(self) -> dict[str, ProbeSet]:
        """The probe sets and the held-out photographs."""
        plain = ProbeSet.from_arrays(self.sides["probes"].images, layout="NHWC", name="photographs")
        held_out = ProbeSet.from_arrays(self.sides[HELD_OUT].images, layout="NHWC", name="held-out photographs")
        training = ProbeSet.from_arrays(self.sides[TRAINING].images, layout="NHWC", name="the thief's photographs")
        return {PLAIN: plain, JPEG: plain.jpeg(quality=15), HELD_OUT: held_out, TRAINING: training}

    @cached_property
    def inputs(self) -> Tensor:
        """The thief's photographs as the networks see them."""
        return to_inputs(self.sides[TRAINING].images)

    @cached_property
    def queries(self) -> ProbeSet:
        """More of the thief's photographs, cut once."""
        kept = self.folder / "images" / f"{QUERIES}.npz"
        if not kept.is_file():
            fetch(self.photographs)
            with atomic_write(kept) as handle:
                np.savez(handle, images=make_queries(self.photographs, _QUERIES, self.seed))
        with np.load(kept, allow_pickle=False) as arrays:
            return ProbeSet.from_arrays(arrays["images"], layout="NHWC", name="the thief's further photographs")

    def network(self, source: str) -> nn.Module:
        """A published network; it must not be changed."""
        if source not in self._networks:
            self._networks[source] = load_source(source)
        return self._networks[source]

    def place(self, member: Member) -> Path:
        """The member's folder."""
        return self.folder / "members" / member.name

    def missing(self, member: Member, probes: Sequence[str]) -> list[str]:
        """The probe sets on which its outputs are not there yet."""
        return [name for name in probes if not (self.place(member) / f"{name}.safetensors").is_file()]

    def about(self, member: Member) -> dict[str, Any]:
        """What is known of a member that is done."""
        facts: dict[str, Any] = json.loads((self.place(member) / "about.json").read_text())
        return facts

    def load(self, member: Member, probes: str) -> Fingerprint:
        """Its outputs."""
        return Fingerprint.load(self.place(member) / f"{probes}.safetensors")

    def make(self, member: Member, probes: Sequence[str]) -> bool:
        """Make a member if it is missing, and run it on the probe sets on which it was not run yet.

        Returns:
            Whether anything was missing.
        """
        kept, missing = self.place(member), self.missing(member, probes)
        if not missing and (kept / "about.json").is_file():
            return False
        kept.mkdir(parents=True, exist_ok=True)
        facts = self.about(member) if (kept / "about.json").is_file() else None
        start = time.process_time()
        changed = self._build(member, kept) if facts is None else None
        made = time.process_time() - start
        start = time.process_time()
        self._run(member, missing, changed)
        run = time.process_time() - start
        if facts is None:
            about = {"source": member.source, "change": member.change, "start": member.start}
            facts = {**about, "seconds": {"made": made, "run": run}, **self._measure(member)}
            with atomic_write(kept / "about.json") as handle:
                handle.write(json.dumps(facts, indent=1).encode() + b"\n")
        return True

    def _run(self, member: Member, probes: Sequence[str], changed: nn.Module | None) -> None:
        kept = self.place(member)
        if member.change and member.change not in thefts.HEADS:
            with open_model(ModelEntry(member.name, kept / SERVED)) as opened:
                for name in probes:
                    self._fingerprint(opened, name, member.name).save(kept / f"{name}.safetensors")
            return
        # The same body for all of them: its features are computed once, and the last layer is what differs.
        state = safetensors.torch.load_file(kept / WEIGHTS) if changed is None else changed.state_dict()
        weight, bias = state[f"{HEAD}.weight"], state[f"{HEAD}.bias"]
        for name in probes:
            features = self.features(member.source, name)
            with torch.inference_mode():
                logits = torch.nn.functional.linear(features.outputs, weight, bias).clone()
            about = features.provenance | {"name": member.name, "model_hash": weights_hash(state)}
            Fingerprint(logits, about).save(kept / f"{name}.safetensors")

    def _fingerprint(self, model: OpenedModel, probes: str, name: str) -> Fingerprint:
        images = self.queries if probes == QUERIES else self.probes[probes]
        return fingerprint(model, images, preprocessing=PREPROCESSING, batch_size=_BATCH, name=name)

    def features(self, source: str, probes: str) -> Fingerprint:
        """What the last layer of a source sees, computed once by onnxruntime."""
        folder = self.folder / "features"
        graph, kept = folder / f"{source}.onnx", folder / f"{source}-{probes}.safetensors"
        if not kept.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            if not graph.is_file():
                export(without_head(self.network(source)), graph)
            with open_model(ModelEntry(source, graph)) as opened:
                self._fingerprint(opened, probes, source).save(kept)
        return Fingerprint.load(kept)

    def _measure(self, member: Member) -> dict[str, float | None]:
        logits = self.load(member, HELD_OUT).outputs
        if member.change.startswith("transfer"):
            kinds = torch.as_tensor(self.sides[HELD_OUT].kinds)
            return {"agreement": None, "accuracy_of_kinds": thefts.accuracy(logits, kinds)}
        source = Member(member.source, member.source, "", member.source)
        return {
            "agreement": thefts.agreement(logits, self.load(source, HELD_OUT).outputs),
            "accuracy_of_kinds": None,
        }

    def _build(self, member: Member, kept: Path) -> nn.Module | None:
        """Write the model: its weights where it is a network in PyTorch, and as it is served."""
        network, served = self.network(member.source), kept / SERVED
        if member.change in copies.INT8:
            images = self.inputs[:_CALIBRATION].contiguous().numpy()
            copies.quantize(self.exported(member.source), served, member.change, images)
            return None
        if member.change == EXPORT:
            link(self.exported(member.source), served)
            return None
        changed = self._change(member, network)
        save_weights(kept / WEIGHTS, changed)
        if member.change and member.change not in thefts.HEADS:
            export(changed, served)
        return changed

    def exported(self, source: str) -> Path:
        """A published network as an ONNX file."""
        path = self.folder / "features" / f"{source}-logits.onnx"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            export(self.network(source), path)
        return path

    def _change(self, member: Member, network: nn.Module) -> nn.Module:
        change = member.change
        if change in _ROUNDED:
            return copies.rounded(network, _ROUNDED[change])
        if change in _NOISE:
            return weight_noise(network, level=_NOISE[change], seed=self.seed)
        if change in _PRUNED:
            return copies.pruned(network, _PRUNED[change], self.inputs[:_NORM_IMAGES])
        if change in thefts.THEFTS:
            return thefts.THEFTS[change](self._thief(member), self.features(member.source, TRAINING).outputs)
        return network

    def _queries(self, source: str) -> tuple[Tensor, Tensor]:
        return to_inputs(self.queries.images), self.features(source, QUERIES).outputs

    def _thief(self, member: Member) -> thefts.Thief:
        training = self.sides[TRAINING]
        return thefts.Thief(
            self.network(member.source), member.source, self.inputs,
            self._queries(member.source) if member.change == "distil" else None,
            torch.as_tensor(training.kinds), len(training.kind_names), self.seed,
        )  # fmt: skip


def make_all(
    workshop: Workshop, members: Sequence[Member], probes: Sequence[str], report: Callable[[str], None]
) -> None:
    """Make the missing members and outputs, in order; held-out photographs come first."""
    for member in members:
        if workshop.make(member, (HELD_OUT, *probes)):
            facts = workshop.about(member)
            share = facts["agreement"] if facts["agreement"] is not None else facts["accuracy_of_kinds"]
            report(f"{member.name}: {share:.1%}, {facts['seconds']['made']:.0f} + {facts['seconds']['run']:.0f} CPU s")


def link(source: Path, target: Path) -> None:
    """A hard link, replaced if it is there."""
    part = target.with_name(target.name + ".part")
    part.unlink(missing_ok=True)
    os.link(source, part)
    os.replace(part, target)
