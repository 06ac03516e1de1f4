"""Services and recorded answers, as a user types them."""

import json
import pathlib

import numpy as np
import pytest
from support.prediction_server import LABELS, scores_of, serving

import sac_fast


@pytest.fixture
def probes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.stack([np.full((4, 5, 3), value, np.uint8) for value in (0, 40, 100, 140, 200, 255)])
    made = sac_fast.ProbeSet.from_arrays(pixels)
    made.save("p.safetensors")
    return made


@pytest.fixture
def files(probes, run):
    code, out, _ = run("probes", "export", "p.safetensors", "images", "--json")
    found = json.loads(out)
    assert (code, found.pop("schema")) == (0, "sac_fast.probes.export/1")
    assert found == {"folder": "images", "images": 6, "exact": True}
    return sorted(file.name for file in pathlib.Path("images").glob("*.png"))


def read(run, content, *options, name="answers.csv"):
    pathlib.Path(name).write_text(content)
    pathlib.Path("labels.txt").write_text("dark\nmiddle\nbright\n")
    arguments = ("--answers", name, "--probes", "p.safetensors", "--out", "s.safetensors", "--force")
    return run("fingerprint", *arguments, "--class-names", "labels.txt", *options)


EXPECTED = [0, 0, 1, 1, 2, 2]
NAMED = [LABELS[place] for place in EXPECTED]


@pytest.mark.parametrize("kind", ["names", "numbers", "json", "list", "lines"])
def test_answers_of_a_person_become_a_fingerprint(files, run, kind):
    content, name = {
        "names": ("file,label\n" + "".join(f"{f},{n}\n" for f, n in zip(files, NAMED, strict=True)), "a.csv"),
        "numbers": ("label,file\n" + "".join(f"{n},x/{f}\n" for f, n in zip(files, EXPECTED, strict=True)), "a.csv"),
        "json": (json.dumps(dict(zip(files[::-1], NAMED[::-1], strict=True))), "a.json"),
        "list": (json.dumps([{"file": f, "label": n} for f, n in zip(files, NAMED, strict=True)]), "a.json"),
        "lines": ("\n".join(json.dumps({"file": f, "label": n}) for f, n in zip(files, NAMED, strict=True)), "a.jsonl"),
    }[kind]
    code, _, err = read(run, content, name=name)
    assert (code, err) == (0, "")
    made = sac_fast.Fingerprint.load("s.safetensors")
    assert (made.output_form, made.outputs.flatten().tolist()) == ("labels", EXPECTED)


@pytest.mark.parametrize("kind", ["wide", "long", "columns", "top"])
def test_scores_of_a_person_become_a_fingerprint(files, probes, run, kind):
    rows = [scores_of(image) for image in probes.images]
    listed = [sorted(zip(row, LABELS, strict=True), reverse=True) for row in rows]
    zipped = list(zip(files, listed, strict=True))
    content = {
        "wide": "file,label1,score1,label2,score2\n"
        + "".join(f"{f},{a[1]},{a[0]},{b[1]},{b[0]}\n" for f, (a, b, _) in zipped),
        "long": "file,label,score\n" + "".join(f"{f},{n},{s}\n" for f, few in zipped for s, n in few[:2]),
        "columns": "file,bright,middle,dark\n"
        + "".join(f"{f},{row[2]},{row[1]},{row[0]}\n" for f, row in zip(files, rows, strict=True)),
        "top": json.dumps([{"file": f, "top": [{"label": n, "score": s} for s, n in few[:2]]} for f, few in zipped]),
    }[kind]
    code, _, err = read(run, content, name="a.json" if kind == "top" else "a.csv")
    assert (code, err) == (0, "")
    made = sac_fast.Fingerprint.load("s.safetensors")
    kept = np.array(rows) if kind == "columns" else np.array([[s if s >= sorted(r)[1] else 0 for s in r] for r in rows])
    np.testing.assert_array_equal(made.outputs.numpy(), kept)
    assert made.output_form == ("probabilities" if kind == "columns" else "top-k")


WRONG = {
    "one probe is missing": (lambda files: files[:-1], "must answer all 6 probes"),
    "another file": (lambda files: [*files[:-1], "00005-00000000.png"], "one that was exported from these 6"),
    "a file twice": (lambda files: [*files[:-1], files[0]], "each file once"),
    "no exported file": (lambda files: [*files[:-1], "me.png"], "one that was exported"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_answers_of_a_person_are_told(files, run, case):
    change, message = WRONG[case]
    rows = "".join(f"{f},{n}\n" for f, n in zip(change(files), NAMED, strict=False))
    code, _, err = read(run, "file,label\n" + rows)
    assert code == 1
    assert message in err


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        ("file,label\n", "a.csv", "at least one answer"),
        ("label\ncat\n", "a.csv", "names of columns"),
        ("file,label\na,b,c\n", "a.csv", "2 cells"),
        ("file,x\na,b\n", "a.csv", "must hold numbers"),
        ("{}", "a.json", "at least one answer"),
        ("[1]", "a.json", "must hold objects"),
        ('[{"file": "a"}]', "a.json", "label, scores or top"),
        ("[" * 100_000, "a.json", "sound JSON"),
        ("file", "a.txt", "must end in"),
        ('{"a": "x", "b": [1]}', "a.json", "of one form"),
    ],
)
def test_other_files_are_refused(files, run, content, name, message):
    code, _, err = read(run, content, name=name)
    assert code == 1
    assert message in err


def test_a_folder_that_holds_something_is_not_written_to(files, run):
    code, _, err = run("probes", "export", "p.safetensors", "images")
    assert code == 1
    assert "missing or empty" in err


def test_a_service_is_asked_once(probes, run, tmp_path):
    pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
    pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")
    with serving(tmp_path / "log.txt") as server:
        pathlib.Path("service.toml").write_text(
            f'url = "{server.address}/label"\nanswer = "result.label"\noutput_form = "labels"\n'
            f'labels = ["dark", "middle", "bright"]\n'
        )
        command = ("fingerprint", "service.toml", "--probes", "p.safetensors", "--out", "s.safetensors", "--force")
        code, _, err = run(*command, "--budget", "4", "-q")
        assert code == 1
        assert "budget of 4 queries is spent: 4 of 6" in err
        code, out, _ = run(*command, "--budget", "8", "--repeats", "2", "--json", "-q")
        assert code == 0
        assert json.loads(out)["service"]["queries"]["asked"] == 8
        assert run(*command, "-q")[0] == 0
        assert len(pathlib.Path(server.log.name).read_text().splitlines()) == 8
        made = sac_fast.Fingerprint.load("s.safetensors")
        assert made.outputs.flatten().tolist() == EXPECTED
        for wrong in (("--secret", "hunter2"), ("--secret", "NOT_SET_HERE=127.0.0.1")):
            code, _, err = run(*command, *wrong)
            assert code == 2
            assert "hunter2" not in err


@pytest.mark.parametrize(
    "options",
    [("--budget", "3"), ("--secret", "A=b"), ("--repeats", "3"), ("--class-names", "labels.txt"), ("--answers", "a")],
)
def test_options_that_do_not_apply_are_refused(probes, run, options):
    for name in ("labels.txt", "a", "m.npy"):
        pathlib.Path(name).write_text("x")
    code, _, err = run("fingerprint", "m.npy", "--probes", "p.safetensors", "--out", "o.safetensors", *options)
    assert code == 2
    assert options[0] in err or "MODEL" in err
