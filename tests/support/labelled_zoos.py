"""A labelled zoo of invented answers: no model is trained, yet thieves resemble the source and independents do not."""

import hashlib

import numpy as np
import torch

from sac_fast.fingerprint import Fingerprint
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.probes import ProbeSet

PROBES = ("plain", "jpeg-q15", "jpeg-q7", "misclassified")
CLASSES = 5


def members(independents=15, thieves=3, siblings=0):
    """Source and siblings; independents of three kinds and three architectures; thieves of four attacks."""
    made = [ZooMember("source", "source", "source", "nets:a", {}, 0, 0.9)]
    made += [ZooMember(f"sibling-{i}", "sibling", "sibling", "nets:a", {}, 100 + i, 0.9) for i in range(siblings)]
    kinds = ("same-data-same-architecture", "same-data", "other-data")
    for i in range(independents):
        kind = kinds[i % 3]
        architecture = "nets:a" if kind == kinds[0] else f"nets:{'bc'[i % 2]}"
        made.append(ZooMember(f"independent-{i}", "independent", kind, architecture, {}, i, 0.8 + 0.01 * i))
    for attack in ("finetune-all", "extract-labels", "transfer-all", "adaptive-correlation"):
        for i in range(thieves):
            architecture = f"nets:{'abc'[i % 3]}" if attack == "extract-labels" else "nets:a"
            arguments = {}
            if attack == "transfer-all":
                architecture, arguments = "heads:with_head", {"model": "nets:a"}
            made.append(ZooMember(f"{attack}-{i}", "stolen", attack, architecture, arguments, i, None))
    return tuple(made)


def answers(member, truth, own_share, generator, source):
    """What all models know, and what only the source and its thieves know."""
    n = len(truth)
    task = 2.0 * np.eye(CLASSES)[truth]
    if member.role == "source":
        return source
    alone = own_share * generator.normal(size=(n, CLASSES))
    if member.role in ("independent", "sibling"):
        return task + alone
    mixed = task + 0.8 * (source - task) + 0.4 * alone
    return np.maximum(mixed[:, :3], mixed[:, 2:5]) if member.origin == "transfer-all" else mixed


def make_zoo(folder, n=80, seed=0, task="invented", **sizes):
    """Write the zoo; its fingerprints and probes are there, models are not."""
    generator = np.random.default_rng(seed)
    zoo = LabelledZoo(folder, {"name": task, "classes": CLASSES}, {"mean": [0.5]}, members(**sizes), PROBES)
    zoo.save()
    for name in PROBES:
        truth = generator.integers(CLASSES, size=n)
        probes = ProbeSet.from_arrays(
            generator.integers(0, 256, size=(n, 4, 4, 3), dtype=np.uint8), truth, layout="NHWC", name=name
        )
        probes.save(zoo.probes_file(name))
        source = 2.0 * np.eye(CLASSES)[truth] + 1.5 * generator.normal(size=(n, CLASSES))
        for member in zoo.members:
            outputs = answers(member, truth, 1.5, generator, source)
            provenance = {
                "name": member.name,
                "probe_hash": probes.content_hash,
                "model_hash": "sha256:" + hashlib.sha256(member.name.encode()).hexdigest(),
                "preprocessing_hash": "sha256:" + "1" * 64,
            }
            Fingerprint(torch.from_numpy(outputs).float(), provenance).save(zoo.fingerprint_file(name, member))
    return zoo
