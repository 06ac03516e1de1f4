"""Finding and repairing damage."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from support.store_folders import change, statuses
from support.store_models import model, result, sha

from sac_fast.errors import StoreDamagedError, StoreError, StoreLockedError
from sac_fast.store import ModelStore, check_store
from sac_fast.store.codec import encode

pytestmark = pytest.mark.usefixtures("files_of_their_own")


def file_of(folder: Path, name: str) -> Path:
    with ModelStore.open(folder, write=False) as store:
        digits = store.record_for(name).outputs_file
    return folder / "outputs" / digits[:2] / f"{digits}.safetensors"


def kinds(folder: Path, **options: bool) -> list[str]:
    return [found.kind for found in check_store(folder, **options).findings]


def test_a_sound_store(folder):
    report = check_store(folder)
    assert (report.clean, report.results, report.notes) == (True, 3, ())


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EIO, errno.ENOMEM, errno.EACCES])
@pytest.mark.parametrize("orphaned", [False, True])
def test_what_cannot_be_read_now_is_no_damage(folder, monkeypatch, code, orphaned):
    path = file_of(folder, "model-0002")
    if orphaned:
        change(folder, "DELETE FROM results", "DELETE FROM models")
    before, known = path.read_bytes(), statuses(folder)
    real = os.open

    def failing(name, *arguments, **options):
        if name == path.name:
            raise OSError(code, os.strerror(code))
        return real(name, *arguments, **options)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(StoreError, match=f"cannot read.*{os.strerror(code)}.*left as it is"):
        check_store(folder, repair=True)
    if not orphaned:
        with (
            ModelStore.open(folder, write=False) as store,
            pytest.raises(StoreError, match=os.strerror(code)) as caught,
        ):
            store.outputs(store.record_for("model-0002"))
        assert "damaged" not in str(caught.value)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert not (folder / "quarantine").exists()
    assert statuses(folder) == known
    assert check_store(folder, repair=True).sound


@pytest.mark.parametrize("damage", ["missing", "damaged", "truncated", "link", "pipe", "folder"])
def test_lost_outputs_are_redone(folder, damage):
    path = file_of(folder, "model-0002")
    if damage == "damaged":
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
        if damage == "link":
            (folder.parent / "secret").write_text("secret")
            path.symlink_to(folder.parent / "secret")
        elif damage == "pipe":
            os.mkfifo(path)
        elif damage == "folder":
            path.mkdir()
    with (
        ModelStore.open(folder, write=False) as store,
        pytest.raises(StoreError, match=r"missing or damaged.*--repair"),
    ):
        store.outputs(store.record_for("model-0002"))
    kind = "missing" if damage == "missing" else "damaged"
    assert kinds(folder) == [kind]
    assert statuses(folder)["model-0002"] == "done"  # without --repair nothing changes
    (found,) = check_store(folder, repair=True).findings
    assert found.kind == kind
    assert "1 model marked to be run again" in found.repair
    assert check_store(folder).clean
    assert (folder / "quarantine" / path.name).is_symlink() == (damage == "link")
    assert os.path.lexists(folder / "quarantine" / path.name) == (damage != "missing")
    with ModelStore.open(folder, write=True) as store:
        record = store.record_for("model-0002")
        assert (record.status, record.reason) == ("redo", f"outputs-{kind}")
        assert not store.has_result(model(2).key)
        store.add_results([result(2)])
    assert statuses(folder)["model-0002"] == "done"
    assert check_store(folder).clean
    if damage == "link":
        assert (folder.parent / "secret").read_text() == "secret"


def test_orphans_are_taken_up_by_their_key(folder):
    path = file_of(folder, "model-0002")
    change(
        folder,
        "DELETE FROM models WHERE name = 'model-0002'",
        f"DELETE FROM results WHERE key LIKE '%' || '{sha(2)}' || '%'",
    )
    assert kinds(folder) == ["orphaned"]
    (found,) = check_store(folder, repair=True).findings
    assert found.repair.startswith("restored")
    assert check_store(folder).clean
    with ModelStore.open(folder, write=True) as store:
        assert store.has_result(model(2).key)
        store.add_results([(model(2).key, model(2), result(2)[2] + 1)])  # the restored outputs are kept
        assert store.outputs(store.record_for("model-0002")).tolist() == result(2)[2].tolist()
    assert path.exists()


def test_orphans_of_known_keys_and_rubbish(folder):
    key, _, outputs = result(1)
    with ModelStore.open(folder, write=True) as store:
        ((name, _),) = store.add_blobs([encode(key, outputs + 1)])
        store.after_commit()
    rubbish = folder / "outputs" / "ab" / ("ab" * 32 + ".safetensors")
    rubbish.parent.mkdir(exist_ok=True)
    rubbish.write_bytes(b"rubbish")
    assert kinds(folder) == ["orphaned", "orphaned"]
    done = {Path(found.what).stem: found.repair for found in check_store(folder, repair=True).findings}
    assert done[name] == "deleted: its key has a result already"
    assert done["ab" * 32].startswith("moved to quarantine/")
    assert check_store(folder).clean
    assert (folder / "quarantine" / rubbish.name).read_bytes() == b"rubbish"


def test_foreign_and_left_over_files(folder):
    secret = folder.parent / "secret"
    secret.mkdir()
    (secret / ("ab" * 32 + ".safetensors")).write_text("mine")
    (folder / "outputs" / "ab").exists() or (folder / "outputs" / "ab").symlink_to(secret)
    (folder / "outputs" / "\x1b[2Jnote").write_text("?")
    (folder / "incoming" / "half.tmp").write_bytes(b"1")
    (folder / "incoming" / "a folder").mkdir()
    assert sorted(kinds(folder)) == ["foreign", "foreign", "left-over", "left-over"]
    assert check_store(folder, repair=True).sound
    assert check_store(folder).clean
    assert (secret / ("ab" * 32 + ".safetensors")).read_text() == "mine"
    (folder / "incoming" / "half.tmp").write_bytes(b"1")
    ModelStore.open(folder, write=True).close()
    assert not (folder / "incoming" / "half.tmp").exists()


@pytest.mark.parametrize("damage", ["zeros", "rubbish", "truncated", "lost", "page"])
def test_damaged_database(folder, damage, run):
    path = folder / "zoo.sqlite"
    data = path.read_bytes()
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(
            {
                "zeros": bytes(len(data)),
                "rubbish": b"x" * len(data),
                "truncated": data[: len(data) // 2],
                "page": data[: 4096 * 4] + b"\xff" * 4096 + data[4096 * 5 :],
            }[damage]
        )
    code, out, _ = run("store", "check", folder, "-q")
    assert code == 5
    assert "database: zoo.sqlite" in out
    assert "damaged" in out
    if damage in ("zeros", "rubbish", "lost"):
        with pytest.raises(StoreDamagedError, match="sac-fast store check --repair"):
            ModelStore.open(folder, write=True)
    report = check_store(folder, repair=True)
    assert report.sound
    assert [found.kind for found in report.findings] == ["database", "orphaned", "orphaned", "orphaned"]
    assert check_store(folder).clean
    if damage != "lost":
        assert (folder / "quarantine" / "zoo.sqlite").exists()
    with ModelStore.open(folder, write=True) as store:
        assert all(store.has_result(model(i).key) for i in (1, 2, 3))


def test_nothing_is_judged_that_is_just_written(folder):
    with ModelStore.open(folder, write=True) as store:
        store.add_blobs([encode(*(result(9)[i] for i in (0, 2)))])
        (folder / "incoming" / "half.tmp").write_bytes(b"1")
        report = check_store(folder)
        assert report.clean
        assert f"process {os.getpid()} writes" in report.notes[0]
        with pytest.raises(StoreLockedError):
            check_store(folder, repair=True)


def test_read_only_folder(folder, run, monkeypatch):
    """As on a read-only medium: no log, and no right to make one."""
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    assert json.loads(run("store", "ls", folder, "--json")[1])["models"][0]["name"] == "model-0001"
    assert not (folder / "zoo.sqlite-shm").exists()


def test_a_store_with_the_quarantine_of_earlier_versions(folder):
    (folder / "aside").mkdir()
    (folder / "aside" / "zoo.sqlite").write_bytes(b"x")
    path = file_of(folder, "model-0002")
    path.write_bytes(b"y")
    assert kinds(folder) == ["damaged"]
    assert check_store(folder, repair=True).sound
    assert (folder / "quarantine" / path.name).read_bytes() == b"y"
    assert (folder / "aside" / "zoo.sqlite").read_bytes() == b"x"
    assert check_store(folder).clean
