"""`check_report` finds every changed byte, and numbers that do not follow from the fingerprints."""

import json
import os
import subprocess

import numpy as np
import pytest
from support.report_cases import made, pool_case, random_outputs, sibling_case

from sac_fast import verify_suspects
from sac_fast.errors import SacFastError
from sac_fast.fingerprint import Fingerprint
from sac_fast.io.hashing import hash_json
from sac_fast.report import check_report, save_case, write_report
from sac_fast.report.files import write_sums
from sac_fast.verify.case_folder import CaseFolder, read_verdicts, write_verdicts

serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
pytest.importorskip("securesystemslib")


def write_keys(folder, name="key", private=None):
    private = private or ed25519.Ed25519PrivateKey.generate()
    plain = serialization.NoEncryption()
    (folder / f"{name}.pem").write_bytes(
        private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (folder / f"{name}.pub").write_bytes(
        private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return folder / f"{name}.pem", folder / f"{name}.pub"


@pytest.fixture
def signed(tmp_path):
    private, public = write_keys(tmp_path)
    folder = pool_case(tmp_path / "case")
    write_report(folder, pdf=False, sign=private)
    return folder, public


def seal_again(folder):
    """New hashes, as a forger would write them."""
    names = [line[66:] for line in (folder / "SHA256SUMS").read_text().splitlines()]
    write_sums(folder, [folder / name for name in names])


def test_a_report_is_sound(signed):
    folder, public = signed
    found = check_report(folder, key=public)
    assert (found.findings, found.sound, found.notes) == ((), True, ())
    assert found.numbers > 20
    assert len(found.signed_by) == 64
    without = check_report(folder)
    assert without.sound
    assert without.signed_by is None
    assert without.notes == ("self-consistent only: the signature was not verified, no key given",)


def test_sha256sum_reads_the_hashes(signed):
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=signed[0], capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize(
    "name",
    [
        "fingerprints/source/0000-model%200.safetensors",
        "fingerprints/independents/0003-null%203.safetensors",
        "report.json",
    ],
)
def test_every_changed_byte_is_found(signed, name):
    path = signed[0] / name
    raw = path.read_bytes()
    for place in np.linspace(0, len(raw) - 1, 12).astype(int):
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        assert any(name in finding for finding in check_report(signed[0]).findings), place
    path.write_bytes(raw)
    assert check_report(signed[0]).sound


def test_every_changed_byte_of_the_signature_is_found(signed):
    folder, public = signed
    path = folder / "report.dsse.json"
    raw = path.read_bytes()
    begin = raw.index(b'"signatures"')
    places = [*range(begin, len(raw)), *np.linspace(0, begin - 1, 60).astype(int)]
    for place in places:
        path.write_bytes(raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :])
        found = check_report(folder, key=public).findings if place % 40 == 0 else verified(folder, public)
        assert found, place


def test_random_flips_of_any_file_are_found(signed):
    """Every bit of every file counts, that of hashes, page and envelope too."""
    folder, public = signed
    rng = np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(files) >= 17  # twelve fingerprints, verdicts, report, page, hashes, signature
    for path in files:
        raw = path.read_bytes()
        for place in rng.integers(0, len(raw), 4):
            path.write_bytes(raw[:place] + bytes([raw[place] ^ 1 << rng.integers(8)]) + raw[place + 1 :])
            assert check_report(folder, key=public).findings, (path.name, place)
        path.write_bytes(raw)
    assert check_report(folder, key=public).sound


def verified(folder, public):
    from sac_fast.report.signature import check_signature

    return check_signature(folder, public)[1]


@pytest.mark.parametrize("field", ["p_value", "adjusted", "smallest_p"])
def test_a_number_that_does_not_follow_is_found(tmp_path, field):
    """With all hashes written anew, as a forger would."""
    folder = pool_case(tmp_path)
    content = json.loads((folder / "verdicts.json").read_text())
    verdicts = content["tests"][0]["verdicts"]
    verdicts[field] = {"suspect": 0.9} if isinstance(verdicts[field], dict) else 0.9
    if field in content:
        content[field] = verdicts[field]
    (folder / "verdicts.json").write_text(json.dumps(content, indent=1) + "\n")
    write_report(folder, pdf=False)
    findings = check_report(folder).findings
    assert any(field in finding and "0.9" in finding for finding in findings), findings


def test_a_value_deep_inside_is_found(tmp_path):
    folder = sibling_case(tmp_path)
    content = json.loads((folder / "verdicts.json").read_text())
    content["tests"][0]["verdicts"]["siblings"]["profiles"]["copy"][3] += 1e-4
    (folder / "verdicts.json").write_text(json.dumps(content, indent=1) + "\n")
    write_report(folder, pdf=False)
    (finding,) = check_report(folder).findings
    assert "siblings.profiles.copy[3]" in finding


def test_other_outputs_do_not_give_the_same_numbers(signed):
    folder, public = signed
    path = folder / "fingerprints" / "suspects" / "0000-suspect.safetensors"
    fp = Fingerprint.load(path)
    Fingerprint(fp.outputs.flip(0), fp.provenance).save(path)
    seal_again(folder)
    findings = check_report(folder, key=public).findings
    assert any("distance is stated as" in finding for finding in findings)
    assert "fingerprints/suspects/0000-suspect.safetensors is not as it was signed" in findings


@pytest.mark.parametrize("name", ["report.html", "report.json"])
def test_a_page_that_says_something_else_is_found(signed, name):
    folder, _ = signed
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("derived", "innocent"))
    seal_again(folder)
    assert any(name in finding for finding in check_report(folder).findings)


def test_another_key_does_not_verify(signed, tmp_path):
    _, other = write_keys(tmp_path, "other")
    (finding,) = check_report(signed[0], key=other).findings
    assert "the signature is not verified" in finding
    (signed[0] / "report.dsse.json").unlink()
    assert not check_report(signed[0], key=signed[1]).sound


def test_an_added_or_missing_file_is_found(signed):
    folder, public = signed
    text = (folder / "SHA256SUMS").read_text()
    (folder / "SHA256SUMS").write_text(
        "".join(line for line in text.splitlines(keepends=True) if "0001-null" not in line)
    )
    assert any("0001-null%201.safetensors is not named" in finding for finding in check_report(folder).findings)
    outside = folder.parent / "outside"
    outside.write_text("x")
    (folder / "SHA256SUMS").write_text(text)
    add_line(folder, "../outside")
    assert any("../outside lies outside" in finding for finding in check_report(folder).findings)
    (folder / "fingerprints" / "independents" / "0001-null%201.safetensors").unlink()
    assert not check_report(folder, key=public).sound


def add_line(folder, name):
    """One more name in SHA256SUMS, in its order."""
    lines = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    lines.append(f"{'0' * 64}  {name}\n")
    (folder / "SHA256SUMS").write_text("".join(sorted(lines, key=lambda line: line[66:])))


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (lambda extra, folder: os.mkfifo(extra), "zzz' must be a regular file, got a folder, a pipe or a device"),
        (lambda extra, folder: extra.mkdir(), "zzz' must be a regular file, got a folder, a pipe or a device"),
        (lambda extra, folder: extra.symlink_to("/dev/zero"), "zzz lies outside of the folder, or is a link"),
        (lambda extra, folder: extra.symlink_to("verdicts.json"), "zzz lies outside of the folder, or is a link"),
        (lambda extra, folder: extra.symlink_to("zzz"), "zzz': Too many levels of symbolic links"),
        (lambda extra, folder: os.link(folder / "report.json", extra), "must be a file of its own, got a second name"),
        (lambda extra, folder: os.truncate(os.open(extra, os.O_CREAT | os.O_WRONLY), 1 << 42), "must lie on the disk"),
    ],
    ids=["pipe", "folder", "device", "link", "loop", "second name", "four terabytes of holes"],
)
def test_files_that_cannot_be_hashed_once_are_findings(signed, make, finding):
    folder, _ = signed
    make(folder / "zzz", folder)
    add_line(folder, "zzz")
    check = check_report(folder)
    assert len(check.findings) == 1
    assert finding in check.findings[0]
    assert check.numbers == 0


def test_ecdsa_keys_and_keys_that_are_none(tmp_path):
    folder = pool_case(tmp_path / "case")
    private, public = write_keys(tmp_path, "ec", ec.generate_private_key(ec.SECP256R1()))
    write_report(folder, pdf=False, sign=private)
    assert check_report(folder, key=public).sound
    (tmp_path / "no.pem").write_text("no key")
    for call in (lambda: write_report(folder, sign=tmp_path / "no.pem"), lambda: check_report(folder, key=private)):
        with pytest.raises(SacFastError, match="must be a PEM file of a p"):
            call()


def test_looks_at_some_probes_are_repeated(tmp_path):
    """A service was asked for 40 of the 60 probes; a first look at 20 of them decided nothing."""
    outputs = random_outputs(22)
    task = 2 * outputs[21]
    everything = [made(f"model {i}", o + task) for i, o in enumerate(outputs[:20])]
    asked, rows = [row for row in range(60) if row % 3 != 2], list(range(0, 60, 3))
    full = {"copy": 2 * everything[0].outputs, "honest": outputs[20] + task}
    source, *siblings = [Fingerprint(fp.outputs[rows], fp.provenance) for fp in everything]
    verdicts = verify_suspects(source, {n: made(n, o[rows]) for n, o in full.items()}, siblings=siblings)
    kept = {n: made(n, o[asked], probe_rows=asked) for n, o in full.items()}
    save_case(tmp_path, verdicts, source=everything[0], suspects=kept, siblings=everything[1:])
    case = CaseFolder(tmp_path)
    content = {name: value for name, value in read_verdicts(case).items() if name not in ("kind", "format")}
    content["tests"][0] |= {"rows": rows, "suspects": ["copy"]}  # the look decides one of two
    protocol = {"alpha": 0.05}
    content["protocol_hash"] = hash_json(protocol)
    (tmp_path / "protocol.json").write_text(json.dumps({"protocol": protocol}))
    for field in ("verdict", "p_value", "adjusted", "reason"):
        del content[field]["honest"]
    write_verdicts(case, content)
    write_report(tmp_path, pdf=False)
    assert check_report(tmp_path).findings == ()
    (tmp_path / "protocol.json").write_text(json.dumps({"protocol": {"alpha": 0.1}}))
    write_report(tmp_path, pdf=False)
    (finding,) = check_report(tmp_path).findings
    assert "protocol.json has the hash" in finding
