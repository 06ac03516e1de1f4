"""One α for a case of files and services, independents behind services, weights and claims."""

import json
import pathlib

import numpy as np
import pytest
import torch
from support.prediction_server import LABELS, scores_of, serving

import sac_fast
from sac_fast.audit.case import load_case
from sac_fast.audit.family import plan_family
from sac_fast.audit.gather import Found
from sac_fast.audit.plan import plan_case
from sac_fast.audit.protocol import ProtocolError
from sac_fast.audit.specs import ModelSpec
from sac_fast.audit.weights import compare_files
from sac_fast.errors import FileFormatError, ModelError
from sac_fast.report import check_report, write_report
from sac_fast.verify.case_folder import CaseFolder

FILE, SERVICE = ModelSpec(path="a.npy"), ModelSpec(predict="a:b")
N = 90


def planned(suspects, smallest, wanted="auto", alpha=0.05):
    found = plan_family(wanted, suspects, (100, 200), smallest, alpha, "exact")
    return found.files, found.services, found.together, found.looks.alphas


def test_alpha_is_of_the_case():
    assert planned([FILE], 1 / 20) == (0.05, 0.0, False, (0.0, 0.05))
    assert planned([], 1 / 20)[:3] == (0.05, 0.0, False)
    assert planned([SERVICE], 1 / 20) == (0.0, 0.05, False, (0.0, 0.05))
    assert planned([SERVICE], 1 / 40) == (0.0, 0.05, False, (0.025, 0.025))
    # one exact p-value of 1/20 cannot be halved: one family, after the last query
    assert planned([FILE, SERVICE], 1 / 20) == (0.05, 0.0, True, (0.05,))
    assert planned([FILE, SERVICE], 1 / 40) == (0.025, 0.025, False, (0.0, 0.025))
    assert planned([FILE, SERVICE], 1 / 100)[3] == (0.0125, 0.0125)
    # Student's t reaches every part
    assert planned([FILE, SERVICE], 1 / 10) == (0.025, 0.025, False, (0.0125, 0.0125))
    assert planned([FILE], 1 / 20, "apart") == (0.025, 0.025, False, (0.0125, 0.0125))
    assert planned([FILE, SERVICE], 1 / 40, "together") == (0.05, 0.0, True, (0.05,))
    for siblings in range(4, 200):
        files, services, _, looks = planned([FILE, SERVICE], 1 / (siblings + 1))
        assert files + services <= 0.05 + 1e-12
        assert sum(looks) <= max(files, services) + 1e-12
    with pytest.raises(ModelError, match="family must leave α"):
        planned([FILE, SERVICE], 1 / 20, "files")
    with pytest.raises(ModelError, match="family must leave α"):
        planned([FILE], 1 / 20, "services")


@pytest.fixture
def server(tmp_path):
    pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
    pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")
    with serving(tmp_path / "log.txt") as served:
        yield served


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Probes and members, of whom the source answers as the service does."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    pixels = np.repeat(rng.integers(0, 256, (N, 1, 1, 1), dtype=np.uint8), 48, axis=1).reshape(N, 4, 4, 3)
    pixels[:, 0, 0] = np.arange(N)[:, None]
    probes = sac_fast.ProbeSet.from_arrays(pixels)
    probes.save("p.safetensors")
    served = 1.0 + np.log([scores_of(image) for image in probes.images])
    for place, count in (("siblings", 20), ("nulls", 10)):
        pathlib.Path(place).mkdir()
        for i in range(count):
            outputs = served + (0.0 if (place, i) == ("siblings", 0) else 3.0) * rng.normal(size=served.shape)
            about = {"name": f"{place} {i}", "probe_hash": probes.content_hash}
            made = sac_fast.Fingerprint(torch.from_numpy(outputs), about)
            made.save("mine.safetensors" if (place, i) == ("siblings", 0) else f"{place}/{i:02}.safetensors")
    np.save("copy.npy", 2 * served)
    np.save("honest.npy", served + 3.0 * rng.normal(size=served.shape))
    return tmp_path


HEAD = """
[source]
path = "mine.safetensors"
[probes]
images = "p.safetensors"
"""
FILES = '[[suspects]]\npath = "*.npy"\n'


def service(role, address, path="label", **more):
    labels = f'answer = "result.label"\noutput_form = "labels"\nlabels = {json.dumps(LABELS)}\n'
    how = labels if path in ("label", "other") else 'answer = "scores"\noutput_form = "probabilities"\n'
    fields = "".join(f"{key} = {json.dumps(value)}\n" for key, value in more.items())
    return f'[[{role}]]\n{fields}[{role}.service]\nurl = "{address}/{path}"\n{how}'


def audit(text, name="case.toml", **options):
    pathlib.Path(name).write_text(text)
    return sac_fast.run_audit(name, **{"stage": "verdicts", "progress": False, **options})


def assert_sound(case):
    """Every number of the case follows from its fingerprints."""
    write_report(case, pdf=False)
    assert check_report(case).findings == ()


def test_files_and_services_are_one_family_with_few_siblings(folder, server):
    text = "[queries]\nlooks = [30, 60]\nrepeats = 0\n" + HEAD + '[siblings]\nfolder = "siblings"\n' + FILES
    text += service("suspects", server.address, name="theirs")
    pathlib.Path("plan.toml").write_text(text)
    plan = plan_case("plan.toml")
    assert plan["family"] == {"files": 0.05, "services": 0.0, "together": True}
    assert plan["looks"] == [{"queries": 60, "alpha": 0.05}]
    found = audit(text)
    (test,) = found["tests"]
    assert test["alpha"] == 0.05
    assert set(test["suspects"]) == {"copy.npy", "honest.npy", "theirs"}
    assert found["verdict"] == {"copy.npy": "derived", "honest.npy": "not distinguished", "theirs": "derived"}
    assert pathlib.Path("log.txt").read_text().count("/label") == 60
    assert "one family" in found["warnings"][-1]
    assert_sound(folder / "case-audit")
    # the split cannot be chosen after a look at some of the suspects
    with pytest.raises(ProtocolError, match="got other looks, family"):
        audit(text.replace(FILES, ""))


def test_files_and_services_share_alpha_where_both_parts_can_be_reached(folder, server):
    text = "alpha = 0.1\n" + HEAD + '[siblings]\nfolder = "siblings"\n[queries]\nlooks = [30, 60]\n' + FILES
    found = audit(text + service("suspects", server.address, name="theirs"))
    assert [test["alpha"] for test in found["tests"]] == [0.05, 0.05]
    assert found["verdict"]["theirs"] == found["verdict"]["copy.npy"] == "derived"
    assert "files at 0.05, services at 0.05 over all looks" in found["warnings"][-1]
    assert_sound(folder / "case-audit")


def test_independents_behind_services_are_nulls(folder, server):
    pathlib.Path("vendors.py").write_text(
        "import numpy as np\n"
        "def made(seed):\n    def predict(images):\n"
        "        rng = np.random.default_rng([seed, int(images[0, 0, 0, 0])])\n"
        "        return np.exp(rng.normal(size=(1, 3)))\n    return predict\n"
        + "".join(f"null_{i} = made({i})\n" for i in range(9))
    )
    text = 'alpha = 0.1\nkinds = ["same-data"]\n[queries]\nlooks = [30, 60]\nrepeats = 2\n' + HEAD
    for i in range(9):
        text += f'[[independents]]\npredict = "vendors:null_{i}"\noutput_form = "logits"\nkind = "same-data"\n'
    text += service("independents", server.address, "probabilities", name="public", kind="same-data")
    pathlib.Path("plan.toml").write_text(text + FILES)
    plan = plan_case("plan.toml")
    assert plan["hosts"] == {server.address: []}
    assert [row["queries"] for row in plan["services"]] == [62] * 10
    assert plan["smallest_p"] == pytest.approx(1 / 11)
    found = audit(text + FILES)
    rows = [row for row in found["models"] if row["role"] == "independents"]
    assert len(rows) == 10
    assert rows[-1]["endpoint"] == f"{server.address}/probabilities"
    assert all(row["queries"]["queries"]["asked"] == 62 for row in rows)
    # all nulls answered 60 probes, so that files are compared on these
    (test,) = found["tests"]
    # the public one answers with probabilities alone, which logits are not compared with
    names = {f"vendors:null_{i}" for i in range(9)}
    assert set(test["verdicts"]["pool"]["honest.npy"]["null_distances"]) == names
    assert "answered some of the probes" in found["warnings"][0]
    assert not any("before this protocol" in text for text in found["warnings"])
    assert_sound(folder / "case-audit")
    asked = len(pathlib.Path("log.txt").read_text().splitlines())
    assert audit(text + FILES)["p_value"] == found["p_value"]
    assert len(pathlib.Path("log.txt").read_text().splitlines()) == asked == 62
    with pytest.raises(ModelError, match="independents 'wrong' must answer"):
        audit(HEAD + service("independents", server.address, "other", name="wrong") + FILES, "other.toml")


def test_recorded_answers_are_independents(folder):
    from sac_fast.probes.export import exported_name

    probes = sac_fast.ProbeSet.load("p.safetensors")
    rng = np.random.default_rng(1)
    rows = list(range(0, N, 2))
    lines = [f"{exported_name(i, probes.images[i])},{rng.integers(3)}" for i in rows]
    pathlib.Path("person.csv").write_text("file,label\n" + "\n".join(lines) + "\n")
    text = HEAD + '[[independents]]\npath = "nulls/*"\n[[independents]]\nanswers = "person.csv"\n' + FILES
    found = audit(text)
    (test,) = found["tests"]
    # ten others have all probes; the answers to half of them serve nobody here
    assert len(test["verdicts"]["pool"]["honest.npy"]["null_distances"]) == 10
    assert "person.csv answered some of the probes" in found["warnings"][0]
    assert len(CaseFolder(folder / "case-audit").fingerprint("independents", "person.csv").read_bytes()) > 0


def test_weights_and_claims_stand_beside_the_verdicts(folder):
    generator = torch.Generator().manual_seed(0)
    pathlib.Path("nets.py").write_text(
        "import torch\n"
        "def build():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(48, 32), torch.nn.ReLU(), "
        "torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))\n"
    )
    from sac_fast.models.code_path import allow_code_in

    allow_code_in(folder)
    import nets

    pathlib.Path("theirs").mkdir()
    made = {}
    for name in ("mine", "theirs/tuned", "theirs/other"):
        net = nets.build()
        with torch.no_grad():
            for value in net.parameters():
                value.copy_(torch.randn(value.shape, generator=generator) / 4)
        made[name] = {key: value.clone() for key, value in net.state_dict().items()}
    made["theirs/tuned"] = {
        key: value + 0.02 * torch.randn(value.shape, generator=generator) for key, value in made["mine"].items()
    }
    from safetensors.torch import save_file

    for name, state in made.items():
        save_file(state, f"{name}.safetensors", {"base_model": "me/mine"} if name != "mine" else None)
    text = HEAD.replace('"mine.safetensors"', '"mine.safetensors"\narchitecture = "nets:build"')
    text += '[[independents]]\npath = "nulls/*"\n[[suspects]]\npath = "theirs"\narchitecture = "nets:build"\n'
    found = audit(text)
    (test,) = found["tests"]
    weights = test["verdicts"]["weights"]
    assert weights["tuned.safetensors"]["verdict"] == "weights related"
    assert weights["other.safetensors"]["verdict"] == "not distinguished"
    claims = {name: [claim["verdict"] for claim in some] for name, some in test["claims"].items()}
    assert claims["tuned.safetensors"] == ["consistent"]
    assert claims["other.safetensors"] == ["contradicted"]
    assert_sound(folder / "case-audit")
    page = pathlib.Path("case-audit/report.html").read_text()
    assert "contradicted" in page
    assert "consistent" in page
    pathlib.Path("off.toml").write_text("weights = false\n" + text)
    source, tuned = (
        Found(name, ModelSpec(path=name), entry=sac_fast.ModelEntry(name, pathlib.Path(name)))
        for name in ("mine.safetensors", "theirs/tuned.safetensors")
    )
    assert list(compare_files(load_case("case.toml"), source, [tuned])[0]) == ["theirs/tuned.safetensors"]
    assert compare_files(load_case("off.toml"), source, [tuned]) == ({}, {})


def test_wrong_keys_are_refused(folder):
    for line in ('family = "all"', 'weights = "yes"', "ancestor = 3"):
        with pytest.raises(FileFormatError, match=line.partition(" ")[0]):
            audit(line + "\n" + HEAD + FILES, "bad.toml")


def test_labelled_zoos_are_suspects_and_independents(tmp_path, monkeypatch):
    from support.labelled_zoos import make_zoo

    monkeypatch.chdir(tmp_path)
    zoo = make_zoo(tmp_path / "zoo", n=120, siblings=19)
    probes = zoo.probes[0]
    head = f"""
[source]
path = "zoo/fingerprints/{probes}/{zoo.source.name}.safetensors"
[probes]
images = "zoo/probes/{probes}.safetensors"
[[suspects]]
path = "zoo"
"""
    found = audit(head + '[siblings]\nfolder = "zoo"\n')
    assert set(found["verdict"]) == {m.name for m in (*zoo.of_role("stolen"), *zoo.of_role("independent"))}
    assert found["verdict"]["finetune-all-1"] == "derived"
    thief = f"zoo/fingerprints/{probes}/{zoo.of_role('stolen')[0].name}.safetensors"
    text = head.replace('path = "zoo"\n', f'path = "{thief}"\n') + '[[independents]]\npath = "zoo"\n'
    (test,) = audit(text, "pool.toml")["tests"]
    (pool,) = test["verdicts"]["pool"].values()
    names = {member.name: member.origin for member in zoo.of_role("independent")}
    assert pool["null_kinds"].items() <= names.items()
