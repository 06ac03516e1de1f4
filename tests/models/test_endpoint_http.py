"""Services over HTTP: every protocol, and servers that misbehave."""

import pathlib
import time

import numpy as np
import pytest
import torch
from support.prediction_server import LABELS, scores_of, serving

import sac_fast
from sac_fast.errors import ModelError
from sac_fast.models import BlackBox, Endpoint, QueryLedger, Secrets

pytest.importorskip("httpx2", reason="needs httpx2, which is not installed")
pytest.importorskip("jmespath", reason="needs jmespath, which is not installed")


@pytest.fixture
def server(tmp_path):
    with serving(tmp_path / "log.txt") as made:
        yield made


@pytest.fixture
def probes():
    values = np.linspace(0, 255, 12).astype(np.uint8)
    pixels = np.stack([np.full((4, 5, 3), value, np.uint8) for value in values])
    return sac_fast.ProbeSet.from_arrays(pixels)


def box_of(server, path, **options):
    limits = {name: options.pop(name) for name in ("budget", "repeats", "secrets", "ledger") if name in options}
    endpoint = Endpoint(server.address + path, **{"labels": LABELS, "retries": 0, "timeout": 5, **options})
    return BlackBox.of_endpoint(endpoint, **limits)


def requests_of(server):
    return pathlib.Path(server.log.name).read_text().splitlines()


OPEN_INFERENCE = {"protocol": "open-inference"}
EXPECTED = {
    "labels": lambda image: [float(np.argmax(scores_of(image)))],
    "probabilities": scores_of,
    "top-k": lambda image: [s if s >= sorted(scores_of(image))[1] else 0.0 for s in scores_of(image)],
}


@pytest.mark.parametrize(
    ("path", "form", "options"),
    [
        ("/label", "labels", {"answer": "result.label"}),
        ("/number", "labels", {"answer": "class"}),
        ("/probabilities", "probabilities", {"answer": "scores"}),
        ("/probabilities", "probabilities", {"answer": "scores", "send": "multipart", "body": {"model": "a\r\nb"}}),
        ("/probabilities", "probabilities", {"answer": "scores", "send": "tensor"}),
        ("/probabilities", "probabilities", {"answer": "scores", "send": "bytes"}),
        ("/probabilities", "probabilities", {"answer": "scores", "body": {"image": "data:image/png;base64,{image}"}}),
        ("/named", "probabilities", {}),
        ("/hf", "probabilities", {"protocol": "hugging-face"}),
        ("/hf", "labels", {"protocol": "hugging-face"}),
        ("/top2", "top-k", {"protocol": "hugging-face"}),
        ("/v2/models/m/infer", "probabilities", OPEN_INFERENCE),
        (
            "/v2/models/m/infer",
            "probabilities",
            {**OPEN_INFERENCE, "datatype": "UINT8", "output_name": "p"},
        ),
    ],
)
def test_answers_become_outputs(server, probes, path, form, options):
    outputs = box_of(server, path, output_form=form, **options).ask(probes)
    expected = np.array([EXPECTED[form](image) for image in probes.images])
    np.testing.assert_array_equal(outputs.numpy(), expected)
    assert len(requests_of(server)) == len(probes)


def test_a_fingerprint_of_a_service_says_its_form(server, probes):
    labels = sac_fast.fingerprint(box_of(server, "/label", answer="result.label", output_form="labels"), probes)
    complete = sac_fast.fingerprint(box_of(server, "/hf", protocol="hugging-face", output_form="top-k"), probes)
    listed = sac_fast.fingerprint(box_of(server, "/top2", protocol="hugging-face", output_form="top-k"), probes)
    assert (labels.output_form, complete.output_form, listed.output_form) == ("labels", "probabilities", "top-k")
    assert labels.model_hash is None


FAILURES = {
    "/500": "status 500",
    "/429": "status 429",
    "/400": "status 400",
    "/302": "redirects are not followed",
    "/drop": "no answer",
    "/slow/3": "Timeout",
    "/garbage": "sound JSON",
    "/nested": "sound JSON",
    "/other": "got 'zebra'",
    "/nan": "finite numbers, got nan",
    "/short": "must have 3 numbers, one a class, got 2",
    "/big": "at most 1,048,576 bytes",
    "/gzip": "must not be compressed",
    "/deep": "a list of numbers, got 0",
}


@pytest.mark.parametrize("path", FAILURES)
def test_failures_are_told_and_nothing_is_recorded(server, probes, path, tmp_path):
    form = "labels" if path == "/other" else "probabilities"
    answer = "result.label" if path == "/other" else "scores"
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        options = {"answer": answer, "output_form": form, "timeout": 0.2, "concurrency": 1, "ledger": ledger}
        box = box_of(server, path, **options)
        with pytest.raises(ModelError, match=FAILURES[path]) as caught:
            box.ask(probes)
        assert caught.value.reason == "endpoint"
        assert len(str(caught.value)) < 500
        counts = box.counts
        assert (counts["asked"], counts["answered"]) == (1, 0)
        assert (counts["in doubt"] == 1) == (path in ("/drop", "/slow/3"))
        assert ledger.answers(1, "first") == {}


@pytest.mark.parametrize("kind", ["429", "500", "503", "drop", "garbage"])
def test_failed_requests_are_sent_again(server, probes, kind, monkeypatch):
    monkeypatch.setattr("sac_fast.models.endpoint_queries.random.uniform", lambda a, b: 0.02)
    box = box_of(server, f"/flaky/{kind}/2", answer="result.label", output_form="labels", retries=3, concurrency=1)
    outputs = box.ask(probes)
    assert outputs[:, 0].tolist() == [EXPECTED["labels"](image)[0] for image in probes.images]
    assert box.counts["asked"] == len(probes) + 2 == len(requests_of(server))
    assert box.counts["answered"] == len(probes)


def test_other_errors_are_not_sent_again(server, probes):
    box = box_of(server, "/other", answer="result.label", output_form="labels", retries=5, concurrency=1)
    with pytest.raises(ModelError, match="one of the 3 classes in labels, got 'zebra'"):
        box.ask(probes)
    assert len(requests_of(server)) == 1


def test_a_budget_stops_before_the_next_query(server, probes, tmp_path):
    options = {"answer": "result.label", "output_form": "labels", "concurrency": 3}
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        with pytest.raises(ModelError, match="budget of 7 queries is spent: 7 of 12") as caught:
            box_of(server, "/label", budget=7, ledger=ledger, **options).ask(probes)
        assert caught.value.reason == "budget"
        assert len(requests_of(server)) == 7
        box_of(server, "/label", budget=12, ledger=ledger, **options).ask(probes)
    lines = requests_of(server)
    assert len(lines) == len(set(lines)) == 12


def test_retries_count_in_the_budget(server, probes, monkeypatch):
    monkeypatch.setattr("sac_fast.models.endpoint_queries.random.uniform", lambda a, b: 0.01)
    box = box_of(server, "/500", retries=10, budget=4, output_form="labels", answer="x", concurrency=1)
    with pytest.raises(ModelError, match="budget of 4 queries is spent: 0 of 12"):
        box.ask(probes)
    assert len(requests_of(server)) == 4


def test_repeats_measure_drift(server, probes):
    steady = box_of(server, "/label", answer="result.label", output_form="labels", repeats=5)
    steady.ask(probes)
    steady.ask(probes)
    steady.ask(probes.subset(range(11, -1, -1)))
    assert (steady.drift().repeated, steady.drift().changed, steady.counts["asked"]) == (5, 0, 17)
    options = {"answer": "result.label", "output_form": "labels", "concurrency": 1, "repeats": 5}
    moving = box_of(server, "/drift", **options)  # an even number of probes: the same answers again, then not
    moving.ask(probes.subset(range(11)))
    assert (moving.drift().repeated, moving.drift().changed) == (5, 5)


def test_equal_images_are_asked_once(server, probes):
    box = box_of(server, "/label", answer="result.label", output_form="labels")
    outputs = box.ask(probes.subset([0, 1, 0, 0]))
    assert len(requests_of(server)) == 2
    assert torch.equal(outputs[[0, 2, 3]], outputs[[0, 0, 0]])


def test_the_rate_is_kept(server, probes):
    box = box_of(server, "/label", answer="result.label", output_form="labels", rate=40, concurrency=8)
    started = time.monotonic()
    box.ask(probes)
    assert time.monotonic() - started >= 11 / 40


def test_secrets_go_to_their_host_and_nowhere_else(server, probes, tmp_path):
    secrets = Secrets(["KEY=127.0.0.1"], {"KEY": "hush-hush"})
    options = {"headers": {"Authorization": "Bearer {secret:KEY}"}, "answer": "result.label", "output_form": "labels"}
    with QueryLedger(tmp_path / "l.sqlite") as ledger:
        box_of(server, "/label", secrets=secrets, ledger=ledger, **options).ask(probes)
        assert server.headers[0]["Authorization"] == "Bearer hush-hush"
        for path in ("/400", "/echo"):  # a service may say it back
            with pytest.raises(ModelError) as caught:
                box_of(server, path, secrets=secrets, ledger=ledger, concurrency=1, **options).ask(probes)
            assert "hush" not in str(caught.value)
    assert "hush" not in repr(secrets)
    assert all(b"hush-hush" not in file.read_bytes() for file in tmp_path.iterdir() if file.name != "log.txt")
    other = Secrets(["KEY=example.org"], {"KEY": "hush-hush"})
    for wrong in (other, Secrets(), Secrets(["KEY=127.0.0.1:1"], {"KEY": "hush-hush"})):
        with pytest.raises(ModelError, match="secret KEY must be allowed for 127"):
            box_of(server, "/label", secrets=wrong, **options)
