"""Input on which work or memory once grew faster than the input itself."""

from __future__ import annotations

import io
import pickle
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.bounded import bounded
from support.store_models import PROBES, result

from sac_fast.errors import FileFormatError, ProbeError
from sac_fast.io.text import escape_text
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.lineage.graph import _labels
from sac_fast.probes.items import list_items
from sac_fast.scores.transforms import parse_transform
from sac_fast.store import ModelStore, check_store
from sac_fast.store.stored import stored_outputs
from sac_fast.testbed.cifar import read_pickled_batch
from sac_fast.testbed.images import read_images


def test_names_of_a_labelled_zoo(tmp_path: Path) -> None:
    members = [ZooMember(f"m{number}", "stolen", "x", "torch.nn:Linear", {}) for number in range(20_000)]
    start = time.process_time()
    with pytest.raises(ValueError, match="members must have different names, got 'm7' twice"):
        LabelledZoo(tmp_path, {}, {}, (*members, members[7]))
    assert time.process_time() - start < 2


def test_names_that_look_alike_in_a_graph() -> None:
    # Each of 13 characters raw or escaped: 8,192 names of one appearance.
    names = ["".join(r"\x1b" if code >> bit & 1 else "\x1b" for bit in range(13)) for code in range(1 << 13)]
    start = time.process_time()
    labels = _labels(names)
    assert time.process_time() - start < 2
    assert len(set(labels.values())) == len(names)
    plain = escape_text(names[0])
    assert {f"{plain} ({number})" for number in range(2, 1 << 13)} < set(labels.values())


def test_a_label_that_makes_millions_of_classes(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((2, 8, 8, 3), np.uint8)
        file["label"] = np.array([0, 20_000_000])
    with bounded(), pytest.raises(ProbeError, match="labels must be below 100,000, got 20,000,000"):
        read_images(tmp_path / "a.h5", 8)


@pytest.mark.parametrize("index", [b"r" + (1 << 31).to_bytes(4, "little"), b"p99999999\n"])
def test_a_pickle_that_reserves_a_place_far_away(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "batch").write_bytes(b"\x80\x02}" + index + b".")
    with bounded(), pytest.raises(FileFormatError, match="places in the memo"):
        read_pickled_batch(tmp_path / "batch")
    (tmp_path / "batch").write_bytes(pickle.dumps({}, 2))
    with pytest.raises(FileFormatError, match="data"):
        read_pickled_batch(tmp_path / "batch")


def test_a_statistic_of_a_thousand_steps() -> None:
    assert len(parse_transform("+".join(["softmax"] * 8))) == 8
    with pytest.raises(ValueError, match="transform must have at most 8 steps, got 1,000"):
        parse_transform("+".join(["softmax"] * 1000))


def test_members_of_negative_size_and_names_of_holes(tmp_path: Path) -> None:
    header = tarfile.TarInfo("a.png")
    header.size = -512
    raw = header.tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "negative.tar").write_bytes(raw + bytes(1024))
    with bounded(seconds=2), pytest.raises(ProbeError, match=r"negative|natural|sound"):
        list_items([tmp_path / "negative.tar"])
    long = tarfile.TarInfo("././@LongLink")
    long.type, long.size = tarfile.GNUTYPE_LONGNAME, 2 << 30
    with (tmp_path / "long.tar").open("wb") as handle:
        handle.write(long.tobuf(tarfile.GNU_FORMAT))
        handle.truncate(3 << 30)
    with bounded(), pytest.raises(ProbeError, match="must lie on the disk"):
        list_items([tmp_path / "long.tar"])


def test_many_models_of_one_long_key(tmp_path: Path) -> None:
    with ModelStore.open(tmp_path / "s", write=True, create=True) as store:
        store.add_results([result(1)])
        (digest,) = store.connection.execute("SELECT digest FROM results").fetchone()
        for number in range(2, 300):
            store.connection.execute(
                "INSERT INTO models SELECT ?, probe_hash, status, digest, reason, message, details FROM models LIMIT 1",
                (f"copy {number}",),
            )
        store.connection.execute("UPDATE results SET key = ? WHERE digest = ?", ("k" * (2_000_000), digest))
    with ModelStore.open(tmp_path / "s", write=False) as store, bounded(2 << 20, seconds=60):
        assert len(list(store.records())) == 299
    assert any(
        "the result of the row that names it" in finding.detail for finding in check_store(tmp_path / "s").findings
    )


def test_one_model_of_other_rows_ends_no_search(tmp_path: Path) -> None:
    with ModelStore.open(tmp_path / "s", write=True, create=True) as store:
        store.add_results([result(number) for number in range(4)])
        key, record, _ = result(9)
        store.add_results([(key, record, torch.zeros(41, 3))])
        found = stored_outputs(store, PROBES)
    assert found.names == ("model-0000", "model-0001", "model-0002", "model-0003")
    assert found.notes == ("models with another number of rows than 6 are left out: 'model-0009' (41)",)


def test_an_empty_tar_is_none_of_these(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        header = tarfile.TarInfo("a.png")
        header.size = 3
        archive.addfile(header, io.BytesIO(b"abc"))
    assert [item.name for item in list_items([tmp_path / "a.tar"])[1]] == ["a.tar/a.png"]
