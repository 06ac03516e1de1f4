"""Packed vectors of a store: made, added to, damaged, and asked for neighbours."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from support.vector_stores import PROBES, add, outputs_of

from sac_fast.errors import StoreError
from sac_fast.lineage.ranked import rank_from_vectors
from sac_fast.neighbours import ray_blocks
from sac_fast.neighbours.blocks import compute_block, nearest_in_blocks
from sac_fast.neighbours.search import nearest_vectors
from sac_fast.store import ModelRecord, ModelStore, check_store, vectors
from sac_fast.store.neighbour_lists import make_lists
from sac_fast.store.vector_files import Description, VectorFolder
from sac_fast.store.vectors import keep_vectors, open_vectors, update_vectors


def distances_of(outputs):
    rows = outputs / np.linalg.norm(outputs, axis=2, keepdims=True)
    flat = (rows @ rows.transpose(0, 2, 1)).reshape(len(outputs), -1).astype(float)
    return cdist(flat, flat, "cityblock") / outputs.shape[1] ** 2


def test_lists_are_the_nearest_after_an_addition(made):
    folder, outputs = made
    full = distances_of(outputs)
    np.fill_diagonal(full, np.inf)
    with ModelStore.open(folder, write=False) as store:
        found = open_vectors(store, PROBES)
        lists = found.lists()
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


@pytest.mark.parametrize("top", [5, 30])
def test_all_models_are_ranked_as_each_by_itself(made, top):
    folder, outputs = made
    full = distances_of(outputs)
    np.fill_diagonal(full, np.inf)
    with ModelStore.open(folder, write=False) as store:
        found = rank_from_vectors(store, PROBES, None, top)
        alone = rank_from_vectors(store, PROBES, ["m012", "m003"], top)
    assert list(found.relatives) == [f"m{number:03}" for number in range(64)]
    assert list(alone.relatives) == ["m012", "m003"]
    for number in range(64):
        relatives = found.relatives[f"m{number:03}"]
        np.testing.assert_allclose([one.distance for one in relatives], np.sort(full[number])[:top], atol=1e-6)
    assert found.relatives["m012"] == alone.relatives["m012"]
    assert (found.groups, found.forest, found.duplicates) == ((), (), {})


def test_copies_are_one_row_and_do_not_crowd_out_the_others(copied):
    outputs = outputs_of(64)
    with ModelStore.open(copied, write=True) as store:
        # 20 models with the outputs of the eighth: more than a list has room for
        add(store, np.repeat(outputs[7:8], 20, axis=0), 100)
        update_vectors(store, PROBES)
        found = rank_from_vectors(store, PROBES, None, 5)
        asked = rank_from_vectors(store, PROBES, ["m110"], 5)
    copies = tuple(f"m{number}" for number in range(100, 120))
    assert found.duplicates == {"m007": copies}
    assert found.groups == (("m007", *copies),)
    assert {(edge.a, edge.ground, edge.distance) for edge in found.forest} == {("m007", "equal", 0.0)}
    full = distances_of(outputs)[7]
    full[7] = np.inf
    for relatives in (found.relatives["m007"], asked.relatives["m110"]):
        np.testing.assert_allclose([one.distance for one in relatives], np.sort(full)[:5], atol=1e-6)
    assert not set(copies) & set(found.relatives)
    near = found.relatives[found.relatives["m007"][0].name]
    assert [one.name for one in near].count("m007") == 1


def test_what_is_looked_up_once_follows_what_is_written(copied):
    with ModelStore.open(copied, write=False) as reader:
        first = rank_from_vectors(reader, PROBES, ["m000"], 1).relatives["m000"][0].name
        with ModelStore.open(copied, write=True) as store:
            store.remove(first)
        assert rank_from_vectors(reader, PROBES, ["m000"], 1).relatives["m000"][0].name != first
        with ModelStore.open(copied, write=True) as store:
            add(store, outputs_of(1, seed=9), 200)
        assert rank_from_vectors(reader, PROBES, ["m000"], 1) is None
        with ModelStore.open(copied, write=True) as store:
            update_vectors(store, PROBES)
        assert rank_from_vectors(reader, PROBES, ["m200"], 1) is not None


def test_lists_after_additions_by_a_subset_are_those_of_all(tmp_path):
    """So many probes that a vector is longer than its subset, so many models that the subset is used."""
    rng = np.random.default_rng(0)
    parents = rng.standard_normal((45, 60, 5)).repeat(20, 0)
    outputs = (parents + 0.2 * rng.standard_normal(parents.shape)).astype(np.float32)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        add(store, outputs[:800])
        update_vectors(store, PROBES)
        with VectorFolder(store.files.root, PROBES) as folder:
            before = folder.describe()
        add(store, outputs[800:], 800)
        update_vectors(store, PROBES)
        with VectorFolder(store.files.root, PROBES) as folder:
            after = folder.describe()
        found = open_vectors(store, PROBES)
    assert (before.candidates, before.measured) == (25, 800)
    assert (after.candidates, after.measured, after.rows) == (25, 800, 900)
    near = nearest_vectors(found.whole(), None, 16)
    lists = found.lists()
    listed = (lists & np.uint64(0xFFFFFFFF)).astype(int)
    same = [len(set(a) & set(b)) for a, b in zip(listed.tolist(), near.indices.tolist(), strict=True)]
    assert np.mean(same) / 16 > 0.99


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
        ["relatives", folder, "--json", "--quiet"],
        ["relatives", folder, "--since", "2000-01-01", "--quiet"],
        ["relatives", folder, "--name", "m007", "--json", "--top", "2"],
    ):
        words = [sys.executable, "-c", code, *map(str, command)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder.parent)
        assert done.returncode == 0, (command, done.stderr)
    found = json.loads(done.stdout)
    assert [one["name"] for one in found["relatives"]["m007"]] == [f"m{i:03}" for i in np.argsort(full)[:2]]


def test_vectors_of_a_large_store_are_kept_complete(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "_MIN_PACKED", 30)
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        add(store, outputs_of(29))
        keep_vectors(store, PROBES, has_new=True)
        assert open_vectors(store, PROBES) is None
        add(store, outputs_of(1, seed=1), 40)
        keep_vectors(store, PROBES, has_new=False)  # a scan that was stopped before it came to them
        assert len(open_vectors(store, PROBES)) == 30
        monkeypatch.setattr(vectors, "update_vectors", None)
        keep_vectors(store, PROBES, has_new=False)


def test_lists_that_are_made_in_blocks_are_the_same(made, monkeypatch):
    computed = []

    class Blocks:
        def run(self, models, queries, blocks):
            for block in reversed(list(blocks)):
                computed.append(block)
                yield block, compute_block(models[block.models], queries[block.queries], block)

    monkeypatch.setattr(nearest_in_blocks, "__kwdefaults__", {"rows": 10})
    folder, _ = made
    with ModelStore.open(folder, write=False) as store:
        vectors = open_vectors(store, PROBES).whole()
    for candidates in (None, 20):
        for before in (0, 60):
            found = Description(vectors.n, candidates=candidates, measured=before)
            old = make_lists(vectors[:before], None, Description(vectors.n)) if before else None
            wanted = make_lists(vectors, old, found)
            computed.clear()
            assert np.array_equal(make_lists(vectors, old, found, Blocks()), wanted)
            assert computed


def test_index_on_ray_is_given_the_cluster(made, run, monkeypatch):
    given = []

    class Blocks:
        def __init__(self, address):
            given.append(address)

        def close(self):
            given.append("closed")

    def update(*arguments, blocks, **options):
        given.append(type(blocks))
        return 0

    monkeypatch.setattr(ray_blocks, "RayBlocks", Blocks)
    monkeypatch.setattr(vectors, "update_vectors", update)
    folder, _ = made
    for words, address in ((["--ray"], "auto"), (["--ray", "host:1"], "host:1"), (["--ray", "--quiet"], "auto")):
        given.clear()
        assert run("store", "index", folder, *words)[0] == 0
        assert given == [address, Blocks, "closed"]
