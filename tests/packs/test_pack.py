"""Packs: what is published, what is refused before it is read, and what a verdict from one says."""

import json
import resource
import struct

import numpy as np
import pytest
import torch

import sac_fast
from sac_fast.errors import FileFormatError, FingerprintError, ModelError, SacFastError
from sac_fast.io.container import save_container
from sac_fast.io.files import open_regular
from sac_fast.io.hashing import sha256_stream
from sac_fast.packs.make import find_members, make_pack
from sac_fast.packs.opened import _pack_from, open_pack
from sac_fast.packs.pack import pack_of, read_pack

N, K = 40, 3


@pytest.fixture(scope="module")
def probes():
    pixels = np.random.default_rng(0).integers(0, 256, (N, 4, 4, 3), dtype=np.uint8)
    return sac_fast.ProbeSet.from_arrays(pixels)


def model(probes, name, seed=None, **more):
    """A fingerprint with a secret in its provenance that must not be published."""
    outputs = torch.from_numpy(np.random.default_rng(sum(name.encode()) if seed is None else seed).normal(size=(N, K)))
    about = {"name": name, "probe_hash": probes.content_hash, "notes": ["SECRET"], "checkpoint": {"path": "SECRET"}}
    return sac_fast.Fingerprint(outputs, {**about, **more})


def hash_of(path):
    with open_regular(path) as handle:
        return sha256_stream(handle)


def read_here(path):
    """The pack without a worker."""
    with open_regular(path) as handle:
        arrays, about = read_pack(handle, "p")
    outputs = [torch.from_numpy(arrays[str(i)]) for i in range(len(arrays))]
    return pack_of(about, outputs, "p", hash_of(path))


def test_a_pack_holds_outputs_and_kinds_and_nothing_else(probes, tmp_path):
    theirs = [model(probes, "a", kind="same-data"), model(probes, "b", kind="other-data", output_form="logits")]
    file = tmp_path / "nulls.pack"
    hash = make_pack(theirs, probes, probes_at="https://example.org/p", note="for tests").save(file)
    assert hash == hash_of(file)
    assert b"SECRET" not in file.read_bytes()
    pack = open_pack(file, hash)
    assert pack.summary() == {
        "hash": hash,
        "created": pack.created,
        "note": "for tests",
        "probe_hash": probes.content_hash,
        "probes": N,
        "probes_at": "https://example.org/p",
        "independents": {"other-data": 1, "same-data": 1},
        "siblings": 0,
    }
    for before, after in zip(theirs, pack.fingerprints(), strict=True):
        assert torch.equal(before.outputs, after.outputs)
        assert (after.name, after.kind, after.probe_hash) == (before.name, before.kind, before.probe_hash)
        assert after.formed.declared == before.formed.declared
        assert after.provenance["pack"] == {"hash": hash, "created": pack.created}
    assert pack.fingerprints("siblings") == []


def test_siblings_are_packed_only_where_they_are_asked_for(probes, tmp_path):
    folder = tmp_path / "prints"
    folder.mkdir()
    model(probes, "null", kind="same-data").save(folder / "null.safetensors")
    model(probes, "brother", kind="sibling").save(folder / "brother.safetensors")
    alone, none = find_members([(None, folder)], probes.content_hash)
    assert ([fp.name for fp in alone], none) == (["null"], [])
    both = find_members([("other-data", folder)], probes.content_hash, with_siblings=True)
    assert [[(fp.name, fp.kind) for fp in some] for some in both] == [
        [("null", "other-data")],
        [("brother", "sibling")],
    ]
    with pytest.raises(FileFormatError, match="--with-siblings"):
        find_members([(None, folder / "brother.safetensors")], probes.content_hash)
    make_pack(both[0], probes, probes_at="here", siblings=both[1]).save(tmp_path / "p")
    assert [fp.name for fp in read_here(tmp_path / "p").fingerprints("siblings")] == ["brother"]


def test_sources_suspects_and_thefts_of_a_case_are_never_packed(probes, tmp_path):
    from sac_fast.report import save_case

    source, suspect = model(probes, "mine"), model(probes, "theirs")
    nulls = [model(probes, f"null {i}") for i in range(3)]
    siblings = [model(probes, f"brother {i}") for i in range(4)]
    theft = model(probes, "stolen")
    verdicts = sac_fast.verify_suspects(source, [suspect], nulls=nulls, siblings=siblings)
    save_case(
        tmp_path / "case", verdicts, source=source, suspects={"theirs": suspect}, nulls=nulls, siblings=siblings,
        thefts={"a": [theft]},
    )  # fmt: skip
    independents, none = find_members([(None, tmp_path / "case")], probes.content_hash)
    assert [fp.name for fp in independents] == ["null 0", "null 1", "null 2"]
    assert none == []
    _, brothers = find_members([(None, tmp_path / "case")], probes.content_hash, with_siblings=True)
    assert len(brothers) == 4


def test_of_a_labelled_zoo_the_independents_are_packed(tmp_path):
    from support.labelled_zoos import make_zoo

    zoo = make_zoo(tmp_path / "zoo", siblings=4)
    name = zoo.probes[0]
    own = zoo.load_probes(name)
    found, siblings = find_members([(None, tmp_path / "zoo")], own.content_hash, with_siblings=True)
    assert {fp.name for fp in found} == {member.name for member in zoo.of_role("independent")}
    assert {fp.kind for fp in found} == {member.origin for member in zoo.of_role("independent")}
    assert len(siblings) == len(zoo.of_role("sibling"))


def test_other_probes_are_refused(probes, tmp_path):
    other = sac_fast.ProbeSet.from_arrays(255 - probes.images)
    with pytest.raises(FingerprintError, match="must be of the probes"):
        make_pack([model(probes, "a")], other, probes_at="here")
    made = make_pack([model(probes, "a")], probes, probes_at="https://example.org/\x1b[31mp")
    with pytest.raises(FingerprintError, match=r"can be got.*example.org/\\x1b\[31mp"):
        made.on(other.content_hash)


def test_the_hash_is_needed_and_compared_before_anything_is_read(probes, tmp_path, monkeypatch):
    file = tmp_path / "p"
    hash = make_pack([model(probes, "a")], probes, probes_at="here").save(file)
    for wrong in (None, "", "sha256:12", hash.upper()):
        with pytest.raises(ModelError, match="needs the hash"):
            open_pack(file, wrong)
    monkeypatch.setattr("sac_fast.packs.opened._read_in_worker", lambda *_: pytest.fail("was read"))
    with pytest.raises(FileFormatError, match="must have the hash"):
        open_pack(file, "sha256:" + "0" * 64)
    monkeypatch.setattr("sac_fast.packs.opened.MAX_PACK_BYTES", 100)
    with pytest.raises(FileFormatError, match="at most 100 bytes"):
        open_pack(file, hash)


ABOUT = {
    "created": "2026-01-01T00:00:00+00:00",
    "note": None,
    "probes": {"hash": "sha256:" + "1" * 64, "count": 2, "at": "here"},
    "members": [
        {
            **{"name": "a", "role": "independents", "kind": None, "model_hash": None, "output_form": None},
            **{"output_form_declared": False, "preprocessing_hash": None},
        }
    ],
}
OUTPUTS = {"0": np.ones((2, 3))}
MEMBER = ABOUT["members"][0]
HOSTILE = {
    "no members": ({**ABOUT, "members": []}, {}, "1 … 4,096"),
    "another key": ({**ABOUT, "url": "x"}, OUTPUTS, "must have the keys"),
    "a date that is none": ({**ABOUT, "created": "<script>"}, OUTPUTS, "isoformat"),
    "a long text": ({**ABOUT, "note": "x" * 1001}, OUTPUTS, "1000 characters"),
    "a probe hash that is none": ({**ABOUT, "probes": {**ABOUT["probes"], "hash": "x"}}, OUTPUTS, "have a hash"),
    "an unknown role": ({**ABOUT, "members": [{**MEMBER, "role": "source"}]}, OUTPUTS, "role must be"),
    "a name that is none": ({**ABOUT, "members": [{**MEMBER, "name": 3}]}, OUTPUTS, "must be str"),
    "an array too many": (ABOUT, {**OUTPUTS, "1": np.ones((2, 3))}, "one array a member"),
    "an array of another name": (ABOUT, {"x": np.ones((2, 3))}, "one array a member"),
    "other rows": (ABOUT, {"0": np.ones((3, 3))}, "float outputs"),
    "integers": (ABOUT, {"0": np.ones((2, 3), dtype=np.int64)}, "float outputs"),
    "no columns": (ABOUT, {"0": np.ones((2, 0))}, "float outputs"),
    "NaN": (ABOUT, {"0": np.full((2, 3), np.nan)}, "finite"),
    "an unknown kind": ({**ABOUT, "members": [{**MEMBER, "kind": "twin"}]}, OUTPUTS, "kind must be"),
    "a form that cannot be": ({**ABOUT, "members": [{**MEMBER, "output_form": "labels"}]}, OUTPUTS, "labels"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_packs_are_refused_by_name(tmp_path, what):
    about, arrays, message = HOSTILE[what]
    save_container(tmp_path / "p", "pack", arrays, about)
    with pytest.raises(FileFormatError, match=message):
        read_here(tmp_path / "p").fingerprints()


def test_files_that_are_no_packs_are_refused(probes, tmp_path):
    file = tmp_path / "p"
    header = json.dumps({"0": {"dtype": "F64", "shape": [2, 3], "data_offsets": [0, 48]}}).encode()
    for content in (b"", b"PK\x03\x04", b"\xff" * 64, struct.pack("<Q", 1 << 40) + b"{", b"[" * 4096):
        file.write_bytes(content)
        with pytest.raises(FileFormatError):
            read_here(file)
    file.write_bytes(struct.pack("<Q", len(header)) + header + bytes(48))
    with pytest.raises(FileFormatError, match="sac_fast pack"):
        open_pack(file, hash_of(file))
    model(probes, "a").save(file)
    with pytest.raises(FileFormatError, match="kind 'fingerprint'"):
        read_here(file)
    make_pack([model(probes, "a")], probes, probes_at="here").save(file)
    with pytest.raises(SacFastError, match="pack of many"):
        sac_fast.open_model(sac_fast.ModelEntry("p", file))


def test_a_worker_that_is_lost_or_slow_is_an_error(probes, tmp_path, monkeypatch):
    hash = make_pack([model(probes, "a")], probes, probes_at="here").save(tmp_path / "p")
    monkeypatch.setattr("sac_fast.packs.opened._PROGRAM", "import os; os._exit(9)")
    with pytest.raises(FileFormatError, match="process that reads it ended"):
        open_pack(tmp_path / "p", hash)
    monkeypatch.setattr("sac_fast.packs.opened._PROGRAM", "import time; time.sleep(60)")
    with pytest.raises(FileFormatError, match="in time"):
        open_pack(tmp_path / "p", hash, timeout=0.5)


def test_the_worker_has_no_files_no_network_and_little_memory(probes, tmp_path, monkeypatch):
    file = tmp_path / "p"
    hash = make_pack([model(probes, "a")], probes, probes_at="here").save(file)
    spy = """
import json, sys; sys.path[:] = json.loads(sys.argv[5])
import os, resource, socket
from sac_fast.errors import FileFormatError
import sac_fast.packs.worker as worker
def tried(run):
    try:
        run()
    except (OSError, MemoryError) as error:
        return type(error).__name__
    return "allowed"
def read_pack(handle, name):
    found = [tried(lambda: open("/etc/passwd")), tried(lambda: open(%r)), tried(lambda: open(%r, "w"))]
    found += [tried(lambda: socket.socket()), tried(lambda: bytearray(2 << 30)), "SECRET_OF_MINE" in os.environ]
    raise FileFormatError(json.dumps([*found, resource.getrlimit(resource.RLIMIT_CPU)[0]]))
worker.read_pack = read_pack
worker.main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
"""
    monkeypatch.setattr("sac_fast.packs.opened._PROGRAM", spy % (str(file), str(tmp_path / "new")))
    monkeypatch.setenv("SECRET_OF_MINE", "x")
    with pytest.raises(FileFormatError) as caught:
        open_pack(file, hash, timeout=30)
    found = json.loads(str(caught.value).partition(": ")[2])
    from sac_fast.scan.sandbox import missing_parts

    denied = ["PermissionError"] * 4 if not missing_parts() else found[:4]
    assert found == [*denied, "MemoryError", False, 30]
    assert resource.getrlimit(resource.RLIMIT_CPU)[0] != 30


def test_replies_of_the_worker_are_not_believed():
    about = {key: value for key, value in ABOUT.items() if key != "members"}
    good = {"member": MEMBER, "dtype": "float64", "shape": [2, 3]}
    for header, body, message in (
        ({**good, "shape": [2, 1 << 40]}, b"", "bytes"),
        ({**good, "shape": "x"}, b"", "float outputs"),
        ({**good, "dtype": "object"}, bytes(48), "float outputs"),
        ({**good, "member": {}}, bytes(48), "must have the keys"),
        ({**good, "member": None}, bytes(48), "members"),
    ):
        frames = iter([({"about": about, "count": 1}, bytearray()), (header, bytearray(body))])
        with pytest.raises(FileFormatError, match=message):
            _pack_from(frames, "p", "sha256:" + "0" * 64)
    with pytest.raises(FileFormatError, match="another form"):
        _pack_from(iter([({"about": about}, bytearray())]), "p", "")


@pytest.mark.parametrize("count", [-1, 0, 4097, 1 << 60])
def test_a_worker_says_no_wild_number_of_members(count):
    about = {key: value for key, value in ABOUT.items() if key != "members"}
    frames = iter([({"about": about, "count": count}, bytearray())])  # another frame would be StopIteration
    with pytest.raises(FileFormatError, match="must hold 1 … 4,096 members"):
        _pack_from(frames, "p", "sha256:" + "0" * 64)


def test_a_verdict_from_a_pack_says_what_it_holds_under(probes, tmp_path):
    nulls = [model(probes, f"null {i}") for i in range(19)]
    hash = make_pack(nulls, probes, probes_at="here").save(tmp_path / "p")
    pack = read_here(tmp_path / "p")
    source, suspect = model(probes, "mine"), model(probes, "theirs")
    plain = sac_fast.verify_suspects(source, [suspect], nulls=nulls)
    found = sac_fast.verify_suspects(source, [suspect], nulls=pack.fingerprints())
    assert found.p_value == plain.p_value
    (more,) = found.conditions[len(plain.conditions) :]
    assert more.startswith(f"Valid if the suspect is older than the pack {hash}")
    assert pack.created in more
