"""Packed vectors of a store: made, added to, damaged, and asked for neighbours."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from sac_fast.errors import StoreError
from sac_fast.lineage.ranked import rank_from_vectors
from sac_fast.scan import results
from sac_fast.store import ModelRecord, ModelStore, check_store, stored_rows, vectors
from sac_fast.store.vectors import open_vectors, update_vectors

PROBES = "sha256:" + "5" * 64


def outputs_of(count, seed=0, n=40, k=5):
    rng = np.random.default_rng(seed)
    parents = rng.standard_normal((-(-count // 4), n, k)).repeat(4, 0)[:count]
    return (parents + 0.2 * rng.standard_normal((count, n, k))).astype(np.float32)


def add(store, outputs, first=0, **values):
    results = []
    for number, one in enumerate(outputs, first):
        fields = {"name": f"m{number:03}", "path": f"m{number}.npy", "probe_hash": PROBES, "format": "npy"} | values
        record = ModelRecord(model_hash=f"sha256:{number:064x}", **fields)
        results.append((record.key, record, torch.from_numpy(one)))
    store.add_results(results)


def distances_of(outputs):
    rows = outputs / np.linalg.norm(outputs, axis=2, keepdims=True)
    flat = (rows @ rows.transpose(0, 2, 1)).reshape(len(outputs), -1).astype(float)
    return cdist(flat, flat, "cityblock") / outputs.shape[1] ** 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors") / "store"
    outputs = outputs_of(64)
    with ModelStore.open(folder, write=True, create=True) as store:
        add(store, outputs[:60])
        assert update_vectors(store, PROBES) == 60
        add(store, outputs[60:], 60)
        assert update_vectors(store, PROBES) == 4
        assert update_vectors(store, PROBES) == 0
    return folder, outputs


@pytest.fixture
def copied(made, tmp_path):
    shutil.copytree(made[0], tmp_path / "store")
    return tmp_path / "store"


def test_lists_are_the_nearest_after_an_addition(made):
    folder, outputs = made
    full = distances_of(outputs)
    np.fill_diagonal(full, np.inf)
    with ModelStore.open(folder, write=False) as store:
        found = open_vectors(store, PROBES)
        lists = found.lists(0, 64)
        assert lists.shape == (64, 16)
        names = {bytes.fromhex(d): int(n[1:]) for n, d in store.rows("SELECT name, digest FROM models")}
        number = np.array([names[one.tobytes()] for one in found.digests])
        for row in range(64):
            listed = number[(lists[row] & np.uint64(0xFFFFFFFF)).astype(int)]
            np.testing.assert_allclose(full[number[row], listed], np.sort(full[number[row]])[:16], atol=1e-3)


@pytest.mark.parametrize("top", [3, 40])
def test_ranking_opens_few_outputs_and_has_exact_distances(made, top, monkeypatch):
    folder, outputs = made
    full = distances_of(outputs)[61]
    full[61] = np.inf
    opened = []
    with ModelStore.open(folder, write=False) as store:
        read = store.output_array
        monkeypatch.setattr(store, "output_array", lambda record: opened.append(record.name) or read(record))
        found = rank_from_vectors(store, PROBES, ["m061"], top)
    relatives = found.relatives["m061"]
    np.testing.assert_allclose([one.distance for one in relatives], np.sort(full)[:top], atol=1e-6)
    assert [one.name for one in relatives[:3]] == [f"m{i:03}" for i in np.argsort(full)[:3]]
    assert len(opened) <= top + 7


def test_removed_models_are_no_neighbours_and_copies_have_one_row(copied):
    with ModelStore.open(copied, write=True) as store:
        first = rank_from_vectors(store, PROBES, ["m000"], 3).relatives["m000"]
        store.remove(first[0].name)
        record = store.record_for(first[1].name, PROBES)
        store.add_results([(record.key, ModelRecord(**{**vars_of(record), "name": "copy"}), store.outputs(record))])
        again = rank_from_vectors(store, PROBES, ["m000"], 2)
    assert [one.name for one in again.relatives["m000"]] == ["copy", first[2].name]
    assert again.duplicates == {"copy": (first[1].name,)}


def vars_of(record):
    kept = ("path", "probe_hash", "format", "model_hash")
    return {name: getattr(record, name) for name in kept}


@pytest.mark.parametrize(
    ("values", "tags"),
    [({"tags": ("independent",)}, ("independent",)), ({"preprocessing_hash": "sha256:" + "a" * 64}, ())],
)
def test_where_there_is_evidence_a_ranking_is_not_enough(copied, values, tags):
    with ModelStore.open(copied, write=True) as store:
        add(store, outputs_of(1, seed=3), 90, **values)
        update_vectors(store, PROBES)
        assert rank_from_vectors(store, PROBES, ["m000"], 3, tags) is None
        assert rank_from_vectors(store, PROBES, ["m000"], 3, (), with_files=False) is not None


def test_models_without_vectors_and_labels_are_left_to_the_other_search(copied):
    with ModelStore.open(copied, write=True) as store:
        add(store, outputs_of(1, seed=3), 90)
        assert rank_from_vectors(store, PROBES, ["m000"], 3) is None
        add(store, np.eye(5, dtype=np.float32)[None, np.arange(40) % 5], 91)
        update_vectors(store, PROBES)
        assert rank_from_vectors(store, PROBES, ["m000"], 3) is None


def test_half_an_addition_does_not_count(copied):
    base = copied / "vectors" / "5555555555555555"
    for name in ("head.u8", "tail.u8", "digests.bin"):
        with open(base / name, "ab") as handle:
            handle.write(b"\x07" * 1000)
    (base / "near-0000000000000000.u64.abcd.tmp").write_bytes(b"x")
    outputs = outputs_of(66)
    with ModelStore.open(copied, write=True) as store:
        assert rank_from_vectors(store, PROBES, ["m000"], 3) is not None
        add(store, outputs[64:], 64)
        assert update_vectors(store, PROBES) == 2
        assert sorted(os.listdir(base))[:2] == ["digests.bin", "head.u8"]
        assert len(os.listdir(base)) == 6
    assert check_store(copied).clean


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("head.u8", b"one bit"),
        ("vectors.json", b"{"),
        ("vectors.json", b'{"format":1,"n":99999999,"rows":1,"segments":[[1,"a"]]}'),
        ("order.i32", bytes(4 * 820)),
        ("digests.bin", None),
    ],
)
def test_damaged_vectors_are_found_and_made_again(copied, name, content):
    base = copied / "vectors" / "5555555555555555"
    if content is None:
        (base / name).unlink()
    else:
        if name == "head.u8":
            data = (base / name).read_bytes()
            content = bytes([data[0] ^ 1]) + data[1:]
        (base / name).write_bytes(content)
    report = check_store(copied)
    assert [found.what for found in report.findings] == ["vectors/5555555555555555"]
    assert check_store(copied, repair=True).sound
    with ModelStore.open(copied, write=True) as store:
        assert open_vectors(store, PROBES) is None
        assert update_vectors(store, PROBES) == 64
    assert check_store(copied).clean


@pytest.mark.parametrize("name", ["head.u8", "tail.u8", "near"])
@pytest.mark.parametrize("size", [0, 1000, 4096])
def test_files_that_are_shortened_after_their_check_are_damaged(copied, name, size):
    """A mapping of the file would end the process by SIGBUS where whole pages are gone."""
    (path,) = (copied / "vectors" / "5555555555555555").glob(f"{name}*")
    with ModelStore.open(copied, write=True) as store:
        found = open_vectors(store, PROBES)
        before = found.nearest(50, 3, np.zeros(64, bool))[0]
        os.truncate(path, size)
        for row, top in ((63, 3), (63, 40)):
            if name == "near" or top == 40:
                with pytest.raises(ValueError, match=rf"{name}.*must have"):
                    found.nearest(row, top, np.zeros(64, bool))
        with pytest.raises(StoreError, match="store index --rebuild"):
            open_vectors(store, PROBES)
        assert update_vectors(store, PROBES) == 64
        assert set(open_vectors(store, PROBES).digests.tolist()) == set(found.digests.tolist())
    assert len(before) == 3


def test_a_sweep_in_blocks_finds_the_same(made, monkeypatch):
    with ModelStore.open(made[0], write=False) as store:
        found = open_vectors(store, PROBES)
        dead = np.zeros(64, bool)
        dead[5:9] = True
        expected = [found.nearest(row, 40, dead) for row in range(64)]
        monkeypatch.setattr(stored_rows, "_BLOCK_BYTES", 7 * found.head.shape[1])
        monkeypatch.setattr(vectors, "_CANDIDATES", 1)
        for row, (rows, distances) in enumerate(expected):
            again = found.nearest(row, 40, dead)
            np.testing.assert_array_equal(again[0], rows)
            np.testing.assert_array_equal(again[1], distances)


def test_links_are_not_followed(copied, tmp_path):
    base = copied / "vectors" / "5555555555555555"
    shutil.move(base / "head.u8", tmp_path / "elsewhere")
    (base / "head.u8").symlink_to(tmp_path / "elsewhere")
    with ModelStore.open(copied, write=False) as store, pytest.raises(StoreError, match="store index --rebuild"):
        open_vectors(store, PROBES)


def test_commands_that_run_no_network_import_no_torch(made):
    folder, outputs = made
    full = distances_of(outputs)[7]
    full[7] = np.inf
    code = (
        "import sys\n"
        "from sac_fast.cli.main import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "heavy = [name for name in ('torch', 'scipy.stats', 'sklearn', 'networkx') if name in sys.modules]\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    for command in (
        ["store", "ls", folder],
        ["store", "show", folder, "m001"],
        ["store", "check", folder],
        ["store", "export", folder, folder.parent / "models.csv", "--force"],
        ["relatives", folder, "--name", "m007", "--json", "--top", "2"],
    ):
        words = [sys.executable, "-c", code, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder.parent)
        assert done.returncode == 0, (command, done.stderr)
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["relatives"]["m007"]] == [f"m{i:03}" for i in np.argsort(full)[:2]]


def test_a_scan_packs_the_vectors_of_a_large_store(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "_MIN_PACKED", 30)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        writer = results.ResultWriter(store, results.SourceComparison((), "cosine", "l1"))
        add(store, outputs_of(29))
        writer.update_vectors(PROBES)
        assert open_vectors(store, PROBES) is None
        add(store, outputs_of(1, seed=1), 40)
        writer.update_vectors(PROBES)
        assert len(open_vectors(store, PROBES)) == 30
        writer.close()
