"""Files that version 0.1 wrote still load, to the values that it read from them (see tests/data/README.md)."""

import shutil
from pathlib import Path

import pytest

from sac_fast.fingerprint import Fingerprint
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.models import ModelEntry, list_entries, load_model, open_model, weights_hash
from sac_fast.probes import ProbeSet
from sac_fast.scores import Calibration
from sac_fast.store import ModelStore
from sac_fast.store.check import check_store

OLD = Path(__file__).parent / "data" / "v0.1"
VGG = "sac_fast.testbed.architectures:vgg"
PROBE_HASH = "sha256:a31aae997ebab964e8ab018bb912882ce65f6ffbaa4b969194133f2625d2e4d2"
VGG_1 = "sha256:19f613bc3ac6f19278f50f634ee620d4c217972fb838b046106689bf34c2411f"
VGG_2 = "sha256:03bce3968c2f116b66cf6574ea3eca6ce0291a04192145c1c500ac4b0bae44a6"


def test_probe_set():
    probes = ProbeSet.load(OLD / "probes.safetensors")
    assert probes.content_hash == PROBE_HASH
    assert probes.images.shape == (6, 16, 16, 3)
    assert probes.labels.tolist() == [0, 1, 2, 3, 0, 1]
    assert int(probes.images.sum()) == 585190
    assert probes.provenance["source"]["name"] == "six"


def test_fingerprints():
    first, second = (Fingerprint.load(OLD / f"vgg-{seed}.safetensors") for seed in (1, 2))
    assert (first.name, first.model_hash, first.probe_hash) == ("vgg-1", VGG_1, PROBE_HASH)
    assert (second.name, second.model_hash, second.probe_hash) == ("vgg-2", VGG_2, PROBE_HASH)
    assert first.outputs[0].tolist() == [
        -0.07493611425161362, 0.2514042556285858, -0.07174358516931534, 0.32551077008247375,
    ]  # fmt: skip
    assert first.provenance["preprocessing"]["std"] == [0.25, 0.25, 0.25]
    assert first.provenance["versions"]["sac_fast"] == "0.1.0"
    assert first.distance(second) == pytest.approx(2.0340978e-05, abs=1e-6)
    opened = open_model(ModelEntry("old", OLD / "vgg-1.safetensors"))
    assert (opened.format, opened.probe_hash, opened.recorded) == ("fingerprint", PROBE_HASH, True)


def test_weights():
    model = load_model(VGG, weights=OLD / "models" / "vgg-1.safetensors", kwargs={"classes": 4, "width": 2})
    assert weights_hash(model) == VGG_1


def test_calibration():
    made = Calibration.load(OLD / "calibration.safetensors")
    assert [(s.transform, s.metric, s.by_class) for s in made.statistics] == [
        ("labels", "pearson", True),
        ("softmax(1)", "pearson", False),
    ]
    assert made.weights.weights.tolist() == [0.42992987922598946, 0.7774407320389992]
    assert made.weights.intercept == -4.265140664747447
    assert made.source_hash == "sha256:41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d"
    assert made.probe_hashes == {
        "misclassified": "sha256:a925de1c031e97fa2d46abe2e98e0b3c7ea561931b46b555cd513d6fc85e3d54"
    }
    assert made.null == {
        "independent-3": 5.895616743072997,
        "independent-4": 5.1234254710682094,
        "independent-5": 4.655466309231826,
        "independent-9": 6.2245538994316645,
        "independent-10": 3.717807468906419,
        "independent-11": 4.52988307645534,
    }
    assert sorted(made.cohort["misclassified"]) == [f"independent-{i}" for i in (0, 1, 2, 6, 7, 8)]
    assert made.attacks == {"finetune-all": 3, "extract-labels": 3}


def test_calibration_measures_as_before():
    made = Calibration.load(OLD / "calibration.safetensors")
    source, other = made.source["misclassified"], made.cohort["misclassified"]["independent-0"]
    measured = made.distances({"mixed": {"misclassified": source + other}, "source": {"misclassified": source}})
    assert measured == pytest.approx({"mixed": 0.7381760828662401, "source": 4.545143495447267e-06}, rel=1e-4)


@pytest.fixture
def store(tmp_path):
    shutil.copytree(OLD / "store", tmp_path / "store")
    with ModelStore.open(tmp_path / "store", write=False) as opened:
        yield opened


def test_store_holds_what_the_scan_found(store):
    records = {record.name: record for record in store.records()}
    found = {name: (record.status, record.reason, record.format, record.model_hash) for name, record in records.items()}
    assert found == {
        "broken.safetensors": ("failed", "truncated", "", None),
        "recorded.npy": (
            "done", None, "npy", "sha256:5fbe2923331cfc1f7504c0389213a14112a1f04509e6fa1ef4678a6cc6926ff4",
        ),
        "vgg-1.safetensors": ("done", None, "safetensors", VGG_1),
        "vgg-2.safetensors": ("done", None, "safetensors", VGG_2),
    }  # fmt: skip
    assert records["vgg-1.safetensors"].architecture == VGG
    assert records["vgg-1.safetensors"].kwargs == {"classes": 4, "width": 2}
    assert records["vgg-1.safetensors"].key.digest == "04526c75bec421238ec7209edd1f6b385c38ccafc9aa13390e6b28f60c526a76"
    squares = [[float((3 * i + j) ** 2) for j in range(3)] for i in range(6)]
    assert store.outputs(records["recorded.npy"]).tolist() == squares
    assert store.outputs(records["vgg-2.safetensors"]).sum().item() == pytest.approx(2.9311652183532715, rel=1e-6)


def test_store_is_sound_and_can_be_written_to(tmp_path):
    shutil.copytree(OLD / "store", tmp_path / "store")
    assert check_store(tmp_path / "store").findings == ()
    with ModelStore.open(tmp_path / "store", write=True) as store:
        assert store.remove("broken.safetensors") == 1
    with ModelStore.open(tmp_path / "store", write=False) as store:
        assert [record.name for record in store.records()] == ["recorded.npy", "vgg-1.safetensors", "vgg-2.safetensors"]


def members(zoo):
    return [(m.name, m.role, m.origin, m.architecture, m.seed, m.accuracy) for m in zoo.members]


def test_labelled_zoo_of_a_testbed():
    zoo = LabelledZoo.load(OLD / "testbed")
    assert zoo.task["hash"] == "sha256:9d0bfd00ede36ed7ba7d3d5d32f5be5c3bc1d5c9b5fb2099c78e437fc91d72be"
    assert zoo.probes == (
        "plain", "jpeg-q25", "jpeg-q18", "jpeg-q15", "jpeg-q10", "jpeg-q7", "misclassified", "cutmix",
    )  # fmt: skip
    assert members(zoo) == [
        ("source", "source", "source", VGG, 0, 1 / 3),
        ("other-data-01-vgg", "independent", "other-data", VGG, 100, 1 / 3),
        ("finetune-all-01-vgg", "stolen", "finetune-all", VGG, 400, 1 / 3),
        ("transfer-last-01-vgg", "stolen", "transfer-last", "sac_fast.attacks.transfer:with_head", 1600, 0.5),
    ]
    assert zoo.load_probes("cutmix").content_hash == (
        "sha256:8d7508d49895d2d159f9e691554b20efbacfe36c2c5da469fac87cb6e48d0ab6"
    )
    sums = [zoo.load_fingerprint("jpeg-q15", member).outputs.sum().item() for member in zoo.members]
    assert sums == pytest.approx(
        [0.35744577646255493, 0.06903357803821564, 0.35138922929763794, 0.8877874612808228], rel=1e-6
    )


@pytest.mark.parametrize("folder", ["testbed", "simulation"])
def test_models_of_labelled_zoos_are_built_from_their_stored_specs(folder):
    zoo = LabelledZoo.load(OLD / folder)
    for member in zoo.members:
        model = load_model(member.architecture, weights=zoo.weights_file(member), kwargs=member.architecture_args)
        assert weights_hash(model) == zoo.load_fingerprint(zoo.probes[0], member).model_hash


def test_labelled_zoo_of_a_simulation():
    zoo = LabelledZoo.load(OLD / "simulation")
    assert zoo.task["images"] == "sha256:7c27b29e16830f4db16464137a7164551b0515448e826e22c4330a741e8c4d1e"
    assert members(zoo) == [
        ("source", "source", "source", VGG, 0, 0.375),
        ("finetune-all-1", "stolen", "finetune-all", VGG, 489628338, 0.375),
        ("extract-labels-vgg-1", "stolen", "extract-labels", VGG, 460685653, 0.25),
        ("other-data-vgg-1", "independent", "other-data", VGG, 414287046, 0.25),
    ]
    assert zoo.source.details["weights"] == VGG_1
    assert zoo.load_probes("six").content_hash == PROBE_HASH
    sums = [zoo.load_fingerprint("six", member).outputs.sum().item() for member in zoo.members]
    assert sums == pytest.approx(
        [2.6019809246063232, 3.264357566833496, 0.6206417679786682, -1.5818302631378174], rel=1e-6
    )


def test_manifest_of_a_demo():
    entries = list_entries(OLD / "demo" / "zoo.csv")
    assert [entry.name for entry in entries] == [
        "source", "independent-01-plain-defender", "independent-02-plain-attacker", "finetune-all-1",
        "finetune-last-1", "extract-labels-plain", "extract-probabilities-plain",
    ]  # fmt: skip
    assert {(entry.architecture, str(entry.kwargs)) for entry in entries} == {
        ("sac_fast.demo.architectures:plain", "{'classes': 10}")
    }
    assert {entry.preprocessing.mean for entry in entries} == {(0.5, 0.5, 0.5)}
    assert [entry.tags for entry in entries][:3] == [("source",), ("independent",), ("independent",)]
    assert load_model(entries[0].architecture, kwargs=entries[0].kwargs)[-1].out_features == 10


def test_all_files_are_listed_with_how_they_were_made():
    text = (OLD.parent / "README.md").read_text(encoding="utf-8")
    for path in OLD.iterdir():
        assert f"`{path.name}{'/' if path.is_dir() else ''}`" in text
