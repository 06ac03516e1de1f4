"""A case from file to verdicts: every kind of suspect, resumed, committed, refused."""

import json
import pathlib

import numpy as np
import pytest
import torch
from support.prediction_server import serving

import sac_fast
from sac_fast.audit.case import load_case
from sac_fast.audit.plan import plan_case
from sac_fast.audit.protocol import ProtocolError
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.probes.export import exported_name
from sac_fast.verify.case_folder import CaseFolder
from sac_fast.verify.rows import restrict_fingerprint as restrict
from sac_fast.verify.sibling_p_values import max_p_values

N, K = 120, 3


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A case's folder: probes, a source with 19 siblings, a copy and an honest model as recorded outputs."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (N, 1, 1, 1), dtype=np.uint8), 48, axis=1).reshape(N, 4, 4, 3)
    pixels[:, 0, 0] = np.arange(N)[:, None]  # all different
    probes = sac_fast.ProbeSet.from_arrays(pixels)
    probes.save("p.safetensors")
    task = 2 * rng.normal(size=(N, K))
    outputs = task + rng.normal(size=(21, N, K))
    pathlib.Path("siblings").mkdir()
    for i in range(20):
        about = {"name": f"member {i}", "probe_hash": probes.content_hash}
        made = sac_fast.Fingerprint(torch.from_numpy(outputs[i]), about)
        made.save("mine.safetensors" if i == 0 else f"siblings/{i:02}.safetensors")
    np.save("copy.npy", 2 * outputs[0])
    np.save("honest.npy", outputs[20])
    return tmp_path


HEAD = """
[source]
path = "mine.safetensors"
[probes]
images = "p.safetensors"
[siblings]
folder = "siblings"
"""
COPY = '[[suspects]]\npath = "copy.npy"\n'


def audit(text, name="case.toml", **options):
    pathlib.Path(name).write_text(text)
    return sac_fast.run_audit(name, **{"stage": "verdicts", "progress": False, **options})


def test_files_of_a_pattern_are_judged(folder):
    found = audit(HEAD + '[[suspects]]\npath = "[ch]o*.npy"\n')
    assert found["verdict"] == {"copy.npy": "derived", "honest.npy": "not distinguished"}
    assert found["p_value"]["copy.npy"] == 0.05
    case = CaseFolder(folder / "case-audit")
    assert json.loads(case.verdicts.read_text())["verdict"] == found["verdict"]
    roles = [row["role"] for row in found["models"]]
    assert roles == ["source", *["siblings"] * 19, "suspects", "suspects"]
    for row in found["models"]:
        assert sac_fast.Fingerprint.load(case.folder / row["fingerprint"]).probe_hash
    assert found["models"][-2]["file_sha256"].startswith("sha256:")


def test_a_suspect_that_cannot_be_read_is_told_and_the_others_are_judged(folder):
    (folder / "bad.npy").write_bytes(b"\x93NUMPY\x01\x00 nothing")
    found = audit(HEAD + '[[suspects]]\npath = "*.npy"\n')
    assert set(found["verdict"]) == {"copy.npy", "honest.npy"}
    assert list(found["failed"]) == ["bad.npy"]
    (folder / "mine.safetensors").write_bytes(b"")
    with pytest.raises(FileFormatError, match="empty"):
        audit(HEAD + COPY, "other.toml")


def test_fingerprints_stores_and_zoos_are_suspects_too(folder):
    fp = sac_fast.Fingerprint.load("siblings/01.safetensors")
    kept = torch.from_numpy(np.load("honest.npy"))
    sac_fast.Fingerprint(kept, {**fp.provenance, "name": "honest"}).save("kept.safetensors")
    sac_fast.scan_models("copy.npy", fp.probe_hash, "store", workers=1)
    found = audit(HEAD + '[[suspects]]\npath = "kept.safetensors"\n[[suspects]]\npath = "store"\nname = "theirs"\n')
    assert set(found["verdict"]) == {"kept.safetensors", "theirs"}
    assert found["verdict"]["theirs"] == "derived"


def test_recorded_answers_of_some_probes_are_judged_on_these(folder):
    probes = sac_fast.ProbeSet.load("p.safetensors")
    labels = sac_fast.Fingerprint.load("mine.safetensors").outputs.argmax(1).tolist()
    rows = [i for i in range(N) if i % 3]
    lines = [f"{exported_name(i, probes.images[i])},class {labels[i]}" for i in rows]
    pathlib.Path("answers.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    listed = 'labels = ["class 0", "class 1", "class 2"]'
    found = audit(HEAD + COPY + f'[[suspects]]\nanswers = "answers.csv"\n{listed}\n')
    assert found["verdict"]["answers.csv"] == "derived"
    assert found["verdict"]["copy.npy"] == "derived"
    (test,) = found["tests"]  # one family, each suspect on the probes that it answered
    assert test["rows"] is None
    assert set(test["suspects"]) == {"copy.npy", "answers.csv"}
    kept = sac_fast.Fingerprint.load("case-audit/fingerprints/suspects/answers%2Ecsv.safetensors")
    assert kept.provenance["probe_rows"] == rows
    alone = sac_fast.sibling_test(
        restrict(sac_fast.Fingerprint.load("mine.safetensors"), rows),
        [restrict(sac_fast.Fingerprint.load(file), rows) for file in sorted(folder.glob("siblings/*"))],
        {"answers.csv": restrict(kept, rows)},
    )
    judged = test["verdicts"]["siblings"]
    assert judged["profiles"]["answers.csv"] == pytest.approx(list(alone.profiles["answers.csv"]), rel=1e-12)
    together = max_p_values(np.array([judged["profiles"][name] for name in test["suspects"]]))
    assert [judged["adjusted"][name] for name in test["suspects"]] == together.tolist()


def test_services_are_asked_in_looks_and_not_again(folder, tmp_path):
    pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
    pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")
    with serving(tmp_path / "log.txt") as server:
        text = (
            HEAD
            + f"""
[queries]
looks = [40, 80]
repeats = 5
[[suspects]]
name = "service"
[suspects.service]
url = "{server.address}/label"
answer = "result.label"
output_form = "labels"
labels = ["dark", "middle", "bright"]
[[suspects]]
name = "broken"
service = {{ url = "{server.address}/500", answer = "x", retries = 0 }}
"""
        )
        plan_before = plan_case_of(text)
        found = audit(text)
        asked = pathlib.Path("log.txt").read_text().count("/label")
        assert audit(text)["verdict"] == found["verdict"]
        assert pathlib.Path("log.txt").read_text().count("/label") == asked in (45, 85)
    assert plan_before["services"][0]["queries"] == 85
    assert [look["alpha"] for look in plan_before["looks"]] == [0.0, 0.05]
    assert found["verdict"]["service"] in ("not distinguished", "inconclusive")
    assert "status 500" in found["failed"]["broken"]
    row = next(row for row in found["models"] if row["name"] == "service")
    assert row["endpoint"] == f"{server.address}/label"
    assert row["queries"]["queries"]["asked"] in (45, 85)
    assert row["queries"]["repeated"] == 5
    test = next(test for test in found["tests"] if "service" in test["suspects"])
    assert len(test["rows"]) in (40, 80)


def plan_case_of(text):
    pathlib.Path("plan.toml").write_text(text)
    return plan_case("plan.toml")


def test_a_python_function_is_a_suspect(folder):
    pathlib.Path("vendor_sdk.py").write_text(
        "import numpy as np\nrows = {}\ncalls = []\n"
        "def predict(images):\n    calls.append(1)\n    return rows[images.tobytes()]\n"
    )
    suspect = '[[suspects]]\npredict = "vendor_sdk:predict"\noutput_form = "logits"\n'
    text = HEAD + "[queries]\nlooks = [60]\nrepeats = 0\n" + suspect
    assert plan_case_of(text)["code"] == {"vendor_sdk:predict": "asks a service"}
    from sac_fast.models.code_path import allow_code_in

    allow_code_in(folder)
    import vendor_sdk

    outputs = np.load("copy.npy")
    images = sac_fast.ProbeSet.load("p.safetensors").images
    vendor_sdk.rows |= {image[None].tobytes(): outputs[i][None] for i, image in enumerate(images)}
    found = audit(text)
    assert found["verdict"] == {"vendor_sdk:predict": "derived"}
    assert len(vendor_sdk.calls) == 60
    audit(text)
    assert len(vendor_sdk.calls) == 60


def test_the_protocol_is_committed_to_before_suspects_are_looked_at(folder):
    made = audit(HEAD + COPY, stage="commit")
    assert made["protocol_hash"].startswith("sha256:")
    case = CaseFolder(folder / "case-audit")
    assert not case.verdicts.exists()
    assert not (case.folder / "fingerprints").exists()
    assert audit(HEAD + COPY)["protocol_hash"] == made["protocol_hash"]
    assert audit(HEAD + '[[suspects]]\npath = "honest.npy"\n')["protocol_hash"] == made["protocol_hash"]
    with pytest.raises(ProtocolError, match="got other alpha, looks"):
        audit("alpha = 0.1\n" + HEAD + COPY, stage="commit")
    with pytest.raises(ProtocolError, match="got other score"):
        audit('score = "correlations"\n' + HEAD + COPY, stage="commit")


def test_other_probes_in_one_folder_are_refused(folder):
    audit(HEAD + COPY, stage="probes")
    with pytest.raises(ModelError, match="as they were"):
        audit(HEAD.replace("[siblings]", "limit = 50\n[siblings]") + COPY)


def test_a_plan_runs_nothing(folder):
    text = (
        HEAD.replace('folder = "siblings"', 'train = "no_such_module:train"')
        + """
[[suspects]]
path = "missing.onnx"
[[suspects]]
service = { url = "https://example.org/x", answer = "a", headers = { Key = "{secret:TOKEN}" }, rate = 2.0 }
"""
    )
    plan = plan_case_of(text)
    assert plan["code"] == {"no_such_module:train": "trains siblings"}
    assert plan["hosts"] == {"https://example.org:443": ["TOKEN"]}
    assert (plan["ground"], plan["smallest_p"], plan["reaches_alpha"]) == ("siblings", 0.05, True)
    assert plan["missing"] == ["missing.onnx"]
    assert plan["services"][0]["minutes"] == pytest.approx(210 * 0.5 / 60)
    assert not (folder / "plan-audit").exists()


def test_too_few_siblings_are_told_in_the_plan(folder):
    text = HEAD.replace('folder = "siblings"', 'train = "m:train"\ncount = 9') + COPY
    assert plan_case_of(text)["reaches_alpha"] is False
    no_ground = plan_case_of('ground = "siblings"\n' + HEAD.replace('[siblings]\nfolder = "siblings"', "") + COPY)
    assert no_ground["ground"] is None


WRONG = {
    "x = 1\n" + HEAD: "unknown keys x",
    "[probes]\nimages = 'a'": r"table \[source\]",
    HEAD + "[[suspects]]\nname = 'a'": "one of path, service, answers and predict",
    HEAD + "[[suspects]]\npath = 'a'\npredict = 'b:c'": "one of path, service",
    HEAD + "[[suspects]]\npath = 3": "path of type str",
    HEAD + "[[suspects]]\npath = 'a'\ncolour = 'red'": "must have keys",
    HEAD + "[[independents]]\npath = 'a'\nkind = 'twin'": "kind must be one of",
    HEAD + "[queries]\nlooks = [200, 100]": "looks that rise",
    HEAD + "[queries]\nspending = 'all'": "spending must be one of",
    "alpha = 2\n" + HEAD: "alpha must lie",
    "ground = 'faith'\n" + HEAD: "ground must be one of",
    HEAD.replace("folder", "train = 'a:b'\nfolder"): "either train or folder",
    HEAD + "[[suspects]]\nservice = { url = 'http://example.org' }": "https://",
    "not toml": "case",
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_cases_are_refused(tmp_path, text):
    (tmp_path / "case.toml").write_text(text)
    with pytest.raises(FileFormatError, match=WRONG[text]):
        load_case(tmp_path / "case.toml")


def test_a_case_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "case.toml").write_bytes(b"url = 1\n\xff\xfe")
    with pytest.raises(FileFormatError, match=r"must be TOML, a text in UTF-8, got byte 0xff at position 8"):
        load_case(tmp_path / "case.toml")
