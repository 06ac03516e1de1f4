"""Siblings: trained under drawn seeds, resumed, adopted, and what is wrong with them said."""

import hashlib
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.siblings import CODE, accurate, make_probes, network, train

from sac_fast.errors import ModelError
from sac_fast.fingerprint import Fingerprint, fingerprint
from sac_fast.labelled_zoo import engine
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.plan import Architecture
from sac_fast.labelled_zoo.siblings import make_siblings
from sac_fast.labelled_zoo.siblings_folder import SiblingFolder, sibling_fingerprints
from sac_fast.models import ModelEntry, Preprocessing, list_entries, load_weights, save_weights
from sac_fast.models.code_path import allow_code_in

pytestmark = pytest.mark.usefixtures("one_process")
PROBES = make_probes(0)


def make(out, train=train, count=3, **options):
    return make_siblings(
        train, out, count=count, probes=options.pop("probes", {"p": PROBES}), progress=False, **options
    )


# ---- trainings


def test_siblings_are_what_the_code_makes_of_their_seeds(tmp_path):
    made = make(tmp_path, train=accurate, preprocessing=Preprocessing(mean=(0.5,), std=(0.25,)))
    assert made["made"] == ["sibling-01", "sibling-02", "sibling-03"]
    assert (made["failed"], made["warnings"]) == ({}, [])
    assert made["notes"][0] == "against these 3 siblings the exact p-value of a suspect is 1/4 or more"
    seeds = [member["seed"] for member in made["members"]]
    assert len(set(seeds)) == 3
    pixels = (PROBES.images.transpose(0, 3, 1, 2).reshape(len(PROBES), -1) / 255.0 - 0.5) / 0.25
    for member in made["members"]:
        torch.manual_seed(member["seed"])
        expected = network()
        found = network()
        load_weights(found, tmp_path / "models" / f"{member['name']}.safetensors")
        assert torch.equal(found[1].weight, expected[1].weight)
        saved = Fingerprint.load(tmp_path / "fingerprints" / "p" / f"{member['name']}.safetensors")
        weight, bias = (value.detach().double().numpy() for value in (expected[1].weight, expected[1].bias))
        assert np.allclose(saved.outputs.numpy(), pixels @ weight.T + bias, rtol=0, atol=1e-5)
        assert saved.provenance["kind"] == "sibling"
        training = saved.provenance["training"]
        assert training["accuracy"] == member["accuracy"] == 0.25 + member["seed"] / 2**33
        assert training["code_hash"] == "sha256:" + hashlib.sha256(Path(CODE).read_bytes()).hexdigest()
        assert training["train"] == "support.siblings:accurate"
        assert training["versions"]["torch"] == torch.__version__
        assert (member["role"], training["how"]) == ("sibling", "trained")


def test_a_run_resumes_and_extends_with_its_seeds(tmp_path):
    first = make(tmp_path)
    (tmp_path / "models" / "sibling-02.safetensors").write_bytes(b"damaged")
    second = make(tmp_path, count=4)
    assert second["made"] == ["sibling-02", "sibling-04"]
    assert second["kept"] == ["sibling-01", "sibling-03"]
    assert second["commitment"] == first["commitment"]
    seeds = [[member["seed"] for member in made["members"]] for made in (first, second)]
    assert seeds[1][:3] == seeds[0]
    weights = [[member["details"]["weights"] for member in made["members"]] for made in (first, second)]
    assert weights[1][:3] == weights[0]


def test_a_training_that_fails_is_reported_and_trained_again_with_its_seed(tmp_path):
    failing = set()

    def sometimes(seed):
        if seed in failing:
            raise ArithmeticError("diverged")
        return train(seed)

    made = make(tmp_path, train=sometimes, count=1)
    failing.add(made["members"][0]["seed"])
    (tmp_path / "models" / "sibling-01.safetensors").unlink()
    made = make(tmp_path, train=sometimes, count=2)
    assert made["made"] == ["sibling-02"]
    line = sometimes.__code__.co_firstlineno + 2
    assert made["failed"] == {
        "sibling-01": f"ModelError: train failed at test_make_siblings.py:{line}: ArithmeticError: diverged"
    }
    seed = failing.pop()
    made = make(tmp_path, train=sometimes, count=2)
    assert (made["made"], made["failed"]) == (["sibling-01"], {})
    assert made["members"][0]["seed"] == seed


@pytest.mark.parametrize("returned", [None, 3, "model", (network(), 1.5), (network(), "good"), (network(), 0.5, 1)])
def test_what_is_no_model_is_refused(tmp_path, returned):
    made = make(tmp_path, train=lambda seed: returned, count=1)
    assert "train must return an nn.Module, or a pair" in made["failed"]["sibling-01"]


def test_a_folder_in_which_nothing_was_made_takes_other_options(tmp_path):
    """A wrong size made every training fail, and the right one was refused: the folder was of another."""
    wrong, others = Preprocessing(size=(3, 3)), PROBES.subset(range(3))
    assert len(make(tmp_path, preprocessing=wrong)["failed"]) == 3
    seeds = SiblingFolder.load(tmp_path).seeds
    assert make(tmp_path, probes={"p": others})["failed"] == {}
    zoo = SiblingFolder.load(tmp_path)
    assert (zoo.seeds, zoo.load_probes("p").content_hash) == (seeds, others.content_hash)
    with pytest.raises(OutputFolderError, match="same preprocessing"):
        make(tmp_path, preprocessing=wrong)


def test_owned_models_of_one_name_are_refused_before_a_folder_is_made(tmp_path):
    for name in ("a b.npy", "a-b.npy"):
        np.save(tmp_path / name, np.eye(6, 3, dtype=np.float32))
    owned = [ModelEntry(name, tmp_path / name) for name in ("a b.npy", "a-b.npy")]
    with pytest.raises(ValueError, match="must have names that differ"):
        make_siblings(None, tmp_path / "s", owned=owned, progress=False)
    assert not (tmp_path / "s").exists()


def test_global_states_are_seeded_before_the_call(tmp_path):
    """Code that draws from them without seeding is another sibling each time."""
    made = make(tmp_path, train=lambda seed: network())
    for member in made["members"]:
        torch.manual_seed(member["seed"])
        expected, found = network(), network()
        load_weights(found, tmp_path / "models" / f"{member['name']}.safetensors")
        assert torch.equal(found[1].weight, expected[1].weight)


def test_the_last_phase_is_trained_again_from_a_checkpoint(tmp_path):
    save_weights(tmp_path / "half.safetensors", network())
    seen = []

    def tuned(seed, checkpoint):
        seen.append(checkpoint)
        model = network()
        load_weights(model, checkpoint)
        with torch.no_grad():
            model[1].bias += seed % 99_991  # two seeds in a hundred would share a smaller remainder
        return model

    made = make(tmp_path / "out", train=tuned, fork=tmp_path / "half.safetensors")
    assert set(seen) == {str(tmp_path / "half.safetensors")}
    assert "extracted from the source's answers, not what was fine-tuned" in made["notes"][0]
    assert made["warnings"] == []
    digest = "sha256:" + hashlib.sha256((tmp_path / "half.safetensors").read_bytes()).hexdigest()
    assert {member["details"]["fork"] for member in made["members"]} == {digest}
    assert {member["details"]["how"] for member in made["members"]} == {"forked"}
    save_weights(tmp_path / "other.safetensors", network())
    for fork in (tmp_path / "other.safetensors", None):
        with pytest.raises(OutputFolderError, match="fork must be that of the siblings"):
            make(tmp_path / "out", train=tuned, fork=fork)


def test_the_device_goes_to_code_that_takes_one(tmp_path):
    devices = []

    def placed(seed, device):
        devices.append(device)
        return train(seed)

    make(tmp_path / "a", train=placed, count=1, device="cpu")
    assert devices == ["cpu"]
    with pytest.raises(ModelError, match=r"train must take the argument device .* got 'cuda'"):
        make(tmp_path / "b", device="cuda")
    assert not (tmp_path / "b").exists()


# ---- models that are there


def test_owned_models_become_siblings(tmp_path):
    have = tmp_path / "have"
    have.mkdir()
    torch.manual_seed(1)
    model = network()
    save_weights(have / "first run.safetensors", model)
    torch.save(network().state_dict(), have / "second.pt")
    np.save(have / "recorded.npy", np.ones((len(PROBES), 4)) * np.arange(4))
    fingerprint(network(), PROBES, name="mine").save(have / "print.safetensors")
    fingerprint(network(), make_probes(9), name="other").save(have / "wrong.safetensors")
    entries = list_entries(have, architecture="support.siblings:network")
    entries = [
        e if "first" in e.name or "second" in e.name else ModelEntry(e.name, e.path, preprocessing=e.preprocessing)
        for e in entries
    ]
    made = make(tmp_path / "out", train=None, owned=entries)
    names = ["owned-first-run", "owned-print", "owned-recorded", "owned-second"]
    assert sorted(made["made"]) == names
    assert made["failed"].keys() == {"owned-wrong"}
    assert "must be of the probes 'p'" in made["failed"]["owned-wrong"]
    assert "not known by which code" in made["notes"][1]
    prints = {found.name: found for found in sibling_fingerprints(tmp_path / "out", PROBES.content_hash)}
    assert sorted(prints) == names
    expected = fingerprint(model, PROBES).outputs
    assert torch.allclose(prints["owned-first-run"].outputs, expected, rtol=0, atol=1e-6)
    assert torch.equal(prints["owned-recorded"].outputs, torch.arange(4.0).repeat(len(PROBES), 1).double())
    assert {found.provenance["kind"] for found in prints.values()} == {"sibling"}
    assert {path.stem for path in (tmp_path / "out" / "models").iterdir()} == {"owned-first-run", "owned-second"}
    again = make(tmp_path / "out", train=None, owned=entries)
    assert sorted(again["kept"]) == names
    both = make(tmp_path / "out", owned=entries, count=2)
    assert both["made"] == ["sibling-01", "sibling-02"]


# ---- what is wrong with siblings


def fixed(seed):
    torch.manual_seed(42)
    model = network()
    with torch.no_grad():
        model[1].weight += 1e-3 * torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 108))).float()
    return model


def constant(seed):
    torch.manual_seed(711180361)
    return network()


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (constant, ["sibling-01 and sibling-02 and sibling-03 have equal weights: train must take all that is random"]),
        (
            fixed,
            [
                "train seeded torch with 42 in 3 of 3 siblings",
                "share their start (median cosine of their weights 1.00)",
            ],
        ),
    ],
)
def test_code_that_does_not_use_its_seed_is_warned_of(tmp_path, code, words):
    warnings = make(tmp_path, train=code)["warnings"]
    assert len(warnings) == len(words)
    assert all(word in warning for word, warning in zip(words, warnings, strict=True))


def test_a_source_with_a_usual_seed_or_among_the_siblings_is_warned_of(tmp_path):
    model = Architecture("support.siblings:network")
    for name, seed in (("usual", 42), ("own", 711180361)):
        torch.manual_seed(seed)
        save_weights(tmp_path / f"{name}.safetensors", network())
    made = make(tmp_path / "a", count=1, model=model, source=tmp_path / "usual.safetensors")
    assert ["starts from the usual seed 42" in warning for warning in made["warnings"]] == [True]
    assert make(tmp_path / "a", count=1, model=model, source=tmp_path / "own.safetensors")["warnings"] == []
    again = make(tmp_path / "a", count=1, model=model, source=tmp_path / "a" / "models" / "sibling-01.safetensors")
    assert again["warnings"] == ["sibling-01 has the weights of the source"]


def test_other_code_and_other_versions_are_told(tmp_path, monkeypatch):
    (tmp_path / "code_of_siblings.py").write_text(Path(CODE).read_text())
    monkeypatch.setattr("sys.meta_path", [*__import__("sys").meta_path])
    allow_code_in(tmp_path)
    make(tmp_path / "out", train="code_of_siblings:train", count=1)
    (tmp_path / "code_of_siblings.py").write_text(Path(CODE).read_text() + "\n# changed\n")
    monkeypatch.setattr("sac_fast.labelled_zoo.siblings_trainer.package_version", lambda: "9.9")
    made = make(tmp_path / "out", train="code_of_siblings:train", count=2)
    assert made["warnings"] == [
        "siblings were made by 2 different versions of the training code: the test is exact for one only",
        "siblings were made by 2 different sets of library versions: the test is exact for one only",
    ]
    with pytest.raises(OutputFolderError, match="train must be that of the siblings"):
        make(tmp_path / "out", train="code_of_siblings:accurate")


# ---- processes


def test_an_interrupted_run_ends_the_training_that_is_at_work(tmp_path, monkeypatch):
    """The code cannot be asked to stop: its process ends."""
    monkeypatch.undo()  # in processes of their own

    def interrupt(iterable, *args, **options):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "track", interrupt)
    monkeypatch.setenv("SIBLINGS_SLEEP", str(tmp_path / "marker"))
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "out", train="support.siblings:sleeps_after_the_first", count=2, workers=1)
    assert time.monotonic() - start < 60
    assert multiprocessing.active_children() == []
    assert [path.name for path in (tmp_path / "out" / "models").iterdir()] == ["sibling-01.safetensors"]
