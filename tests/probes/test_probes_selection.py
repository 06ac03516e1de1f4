"""Which images become probes: committed draws, balance, near-duplicates, misclassified, references."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import sac_fast
from sac_fast.errors import ProbeError
from sac_fast.probes import (
    ProbeSet,
    balanced,
    commitment,
    committed,
    committed_order,
    dataset_hash,
    distinct,
    misclassified,
    perceptual_hash,
    split_references,
)

Array = np.ndarray[Any, np.dtype[Any]]


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def sha(text: str | bytes) -> str:
    return hashlib.sha256(text if isinstance(text, bytes) else text.encode()).hexdigest()


def write(path: Path, pixels: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def names(probes: ProbeSet) -> list[str]:
    return [entry["name"] for entry in probes.provenance["source"]["images"]]


# --- committed -------------------------------------------------------------------------------------------


def test_commitment_and_dataset_hash_are_what_the_document_says() -> None:
    # printf "sac_fast commitment 1\nx" | sha256sum
    assert commitment("x") == "sha256:cde361b06dd9fc6c4ec793e5c33b1cff1014c386af9621e7382783a86abb159a"
    a, b = sha("a"), sha("b")
    assert b < a  # 3e23… and ca97…
    assert dataset_hash(["sha256:" + a, "sha256:" + b, "sha256:" + a]) == "sha256:" + sha(f"{b}\n{a}\n")


def test_committed_order_by_hand() -> None:
    digests = [sha(str(i)) for i in range(20)]
    whole = sha("".join(digit + "\n" for digit in sorted(digests)))
    keys = [sha(f"sac_fast committed draw 1\nmy seed\n{whole}\n{digit}") for digit in digests]
    expected = sorted(range(20), key=keys.__getitem__)
    assert committed_order("my seed", ["sha256:" + digit for digit in digests]) == expected
    # the order of the dataset and repeated images change nothing
    turned = ["sha256:" + digit for digit in [*digests[::-1], digests[3]]]
    assert [turned[i] for i in committed_order("my seed", turned)] == ["sha256:" + digests[i] for i in expected]
    assert committed_order("other", ["sha256:" + digit for digit in digests]) != expected


@pytest.mark.parametrize("seed", ["", "two\nlines", 5])
def test_seeds_that_cannot_be_committed_to(seed: Any) -> None:
    with pytest.raises(ProbeError, match="seed of a committed draw must be one line of text"):
        commitment(seed)
    with pytest.raises(ProbeError, match="seed of a committed draw must be text that UTF-8 can hold"):
        commitment("\ud800")


def test_committed_draw_of_a_folder_and_of_a_set_agree(tmp_path: Path) -> None:
    for i in range(9):
        write(tmp_path / f"{i}.png", noise(4, 4, 3, seed=i))
    shutil.copy(tmp_path / "4.png", tmp_path / "copy.png")
    drawn = ProbeSet.from_folder(tmp_path, limit=4, commit_seed="s")
    again = committed(ProbeSet.from_folder(tmp_path), 4, "s")
    np.testing.assert_array_equal(drawn.images, again.images)
    digests = ["sha256:" + sha(path.read_bytes()) for path in sorted(tmp_path.iterdir())]
    files = sorted(path.name for path in tmp_path.iterdir())
    assert names(drawn) == [files[i] for i in committed_order("s", digests)[:4]]
    (how,) = drawn.provenance["selection"]
    assert how == {
        "kind": "committed",
        "seed": "s",
        "commitment": commitment("s"),
        "dataset_hash": dataset_hash(digests),
        "of": 10,
        "whole": True,
        "count": 4,
        "per_class": None,
    }
    with pytest.raises(ProbeError, match=r"count must be in 1\.\.9, the different images, got 10"):
        committed(ProbeSet.from_folder(tmp_path), 10, "s")
    with pytest.raises(ProbeError, match=r"count must be in 1\.\.9, the different images, got '3'"):
        committed(ProbeSet.from_folder(tmp_path), "3", "s")  # type: ignore[arg-type]
    for wrong in ({"limit": 3, "seed": 1}, {}):
        with pytest.raises(ProbeError, match="commit_seed must come with limit or per_class and without seed"):
            ProbeSet.from_folder(tmp_path, commit_seed="s", **wrong)


# --- classes ---------------------------------------------------------------------------------------------


def test_balanced() -> None:
    labels = [0, 1, 0, 0, 1, 2, 2, 0]
    probes = ProbeSet.from_arrays(noise(8, 4, 4, 3), labels)
    first = balanced(probes, 2)
    assert names(first) == ["0", "1", "2", "4", "5", "6"]
    assert first.provenance["selection"] == [{"kind": "balanced", "per_class": 2, "seed": None, "classes": 3, "of": 8}]
    assert balanced(probes, np.int8(1), seed=np.int64(3)).provenance["selection"][0]["seed"] == 3  # type: ignore[arg-type]
    draws = {tuple(names(balanced(probes, 1, seed=seed))) for seed in range(30)}
    assert len(draws) > 5
    for draw in draws:
        assert sorted(labels[int(name)] for name in draw) == [0, 1, 2]
    with pytest.raises(ProbeError, match=r"at least 3 images, got fewer in 2: 1 \(2\), 2 \(2\)"):
        balanced(probes, 3)
    with pytest.raises(ProbeError, match="must have labels to be balanced"):
        balanced(ProbeSet.from_arrays(noise(2, 4, 4, 3)), 1)


def test_balanced_folder(tmp_path: Path) -> None:
    for seed, name in enumerate(("a/1", "a/2", "a/3", "b/1", "b/2")):
        write(tmp_path / f"{name}.png", noise(4, 4, 3, seed=seed))
    probes = ProbeSet.from_folder(tmp_path, labels="folder", per_class=2)
    assert names(probes) == ["a/1.png", "a/2.png", "b/1.png", "b/2.png"]
    drawn = ProbeSet.from_folder(tmp_path, labels="folder", per_class=1, commit_seed="s")
    assert drawn.labels is not None
    assert sorted(drawn.labels.tolist()) == [0, 1]
    with pytest.raises(ProbeError, match=r"every class must have at least 3 images, got fewer in 1: 'b' \(2\)"):
        ProbeSet.from_folder(tmp_path, labels="folder", per_class=3)
    with pytest.raises(ProbeError, match='per_class must come with labels="folder"'):
        ProbeSet.from_folder(tmp_path, per_class=1)
    write(tmp_path / "c/again.png", noise(4, 4, 3, seed=0))  # a/1 once more: a committed draw counts it once
    with pytest.raises(ProbeError, match=r"every class must have at least 1 images, got fewer in 1: 'c' \(0\)"):
        ProbeSet.from_folder(tmp_path, labels="folder", per_class=1, commit_seed="s")


# --- duplicates ------------------------------------------------------------------------------------------


def test_perceptual_hash_by_hand() -> None:
    ramp = np.repeat(np.arange(18, 0, -1, dtype=np.uint8)[None, :, None], 3, 2).repeat(16, 0)  # falls to the right
    bits = perceptual_hash(ramp[None])[0]
    assert bits[:64].all()
    assert not bits[64:].any()
    bits = perceptual_hash(ramp.transpose(1, 0, 2)[None])[0]
    assert not bits[:64].any()
    assert bits[64:].all()
    assert perceptual_hash(noise(1, 1, 1, 3)).shape == (1, 128)


def test_distinct_finds_copies_and_near_copies() -> None:
    y, x = np.mgrid[:64, :64]
    base = [
        (128 + 60 * np.sin(x / (4 + i) + i) + 60 * np.cos(y / (3 + 2 * i)))[..., None] + np.zeros(3) for i in range(4)
    ]
    images = [image.astype(np.uint8) for image in base]
    brighter = (base[2] + 6).clip(0, 255).astype(np.uint8)
    compressed = ProbeSet.from_arrays(images[1][None]).jpeg(quality=60).images[0]
    probes = ProbeSet.from_arrays(np.stack([*images, brighter, images[0], compressed]))
    left = distinct(probes)
    assert names(left) == ["0", "1", "2", "3"]
    assert left.provenance["selection"][0]["dropped"] == [
        {"name": "4", "like": "2", "identical": False},
        {"name": "5", "like": "0", "identical": True},
        {"name": "6", "like": "1", "identical": False},
    ]
    assert distinct(probes, threshold=np.int64(6)).provenance == left.provenance  # type: ignore[arg-type]
    assert names(distinct(probes, threshold=-1)) == ["0", "1", "2", "3", "4", "6"]
    assert len(distinct(ProbeSet.from_arrays(noise(600, 12, 12, 3)))) == 600
    with pytest.raises(ProbeError, match=r"threshold must be an integer in -1\.\.64, got 65"):
        distinct(probes, threshold=65)


# --- misclassified ---------------------------------------------------------------------------------------


def answered(probes: ProbeSet, predictions: list[int], name: str) -> sac_fast.Fingerprint:
    outputs = torch.eye(3)[predictions]
    return sac_fast.fingerprint(lambda x: outputs[: len(x)], probes, name=name)


def test_misclassified_by_the_source_or_by_most_surrogates() -> None:
    probes = ProbeSet.from_arrays(noise(4, 4, 4, 3), [0, 1, 2, 0])
    source = answered(probes, [0, 2, 2, 1], "source")
    wrong = misclassified(probes, source)
    assert names(wrong) == ["1", "3"]
    assert wrong.labels is not None
    assert wrong.labels.tolist() == [1, 0]
    (how,) = wrong.provenance["selection"]
    assert (how["by"], how["of"], how["probes"]) == ("source", 4, probes.content_hash)
    assert how["models"] == [{"name": "source", "model_hash": None}]
    others = [answered(probes, [1, 2, 2, 0], "a"), answered(probes, [1, 1, 2, 1], "b")]
    assert names(misclassified(probes, [source, *others])) == ["0", "1", "3"]  # wrong: 2, 2, 0, 2 of 3
    with pytest.raises(ProbeError, match="some of 4 probes must be classified wrongly by most of 2, got none"):
        misclassified(probes, [answered(probes, [0, 1, 2, 0], "right"), others[0]])  # one of two is no majority


def test_misclassified_takes_class_numbers() -> None:
    probes = ProbeSet.from_arrays(noise(4, 8, 8, 3), labels=[0, 5, 2, 1])
    about = {"name": "labels only", "probe_hash": probes.content_hash}
    source = sac_fast.Fingerprint(torch.tensor([[0.0], [4.0], [2.0], [9.0]]), about)
    assert misclassified(probes, source).labels.tolist() == [5, 1]


def test_misclassified_checks() -> None:
    probes = ProbeSet.from_arrays(noise(4, 4, 4, 3), [0, 1, 2, 0])
    other = ProbeSet.from_arrays(noise(4, 4, 4, 3, seed=1), [0, 1, 2, 0])
    with pytest.raises(ProbeError, match=f"outputs of 'x' must be on the probes {probes.content_hash}"):
        misclassified(probes, answered(other, [0, 0, 0, 0], "x"))
    with pytest.raises(ProbeError, match="must have labels"):
        misclassified(ProbeSet.from_arrays(noise(4, 4, 4, 3)), [])
    with pytest.raises(ProbeError, match="fingerprints must be of at least one model"):
        misclassified(probes, [])
    wide = ProbeSet.from_arrays(noise(4, 4, 4, 3), [0, 1, 7, 0])
    with pytest.raises(ProbeError, match=r"labels must be in 0\.\.2, the outputs of 'x', got 0\.\.7"):
        misclassified(wide, answered(wide, [0, 0, 0, 0], "x"))


def test_misclassified_takes_any_float_and_checks_the_shape() -> None:
    probes = ProbeSet.from_arrays(noise(4, 4, 4, 3), [0, 1, 2, 0])

    def told(outputs: torch.Tensor) -> Any:
        return SimpleNamespace(outputs=outputs, provenance={"name": "x", "probe_hash": probes.content_hash})

    outputs = torch.eye(3)[[0, 2, 2, 1]]
    for form in (outputs.bfloat16(), outputs.clone().requires_grad_()):
        assert names(misclassified(probes, told(form))) == ["1", "3"]
    for wrong, shape in ((outputs[:3], r"\(3, 3\)"), (outputs[:1], r"\(1, 3\)"), (outputs[0], r"\(3,\)")):
        with pytest.raises(ProbeError, match=rf"outputs of 'x' must have shape \(4, outputs\), got {shape}"):
            misclassified(probes, told(wrong))


# --- references ------------------------------------------------------------------------------------------


def test_references_are_no_probes_and_go_round_the_classes() -> None:
    labels = [0] * 10 + [1] * 3 + [2] * 3
    probes = ProbeSet.from_arrays(noise(16, 4, 4, 3), labels)
    references, rest = split_references(probes, 5, seed=1)
    assert sorted(names(references) + names(rest), key=int) == [str(i) for i in range(16)]
    assert references.labels is not None
    assert sorted(references.labels[:3].tolist()) == [0, 1, 2]
    assert sorted(np.bincount(references.labels).tolist()) == [1, 2, 2]
    assert names(rest) == sorted(names(rest), key=int)
    assert names(split_references(probes, 5, seed=2)[0]) != names(references)
    with pytest.raises(ProbeError, match=r"count must be an integer in 1\.\.15, got 16"):
        split_references(probes, 16)
