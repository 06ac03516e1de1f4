"""The face task: real faces, views, verification, fingerprints by reference images."""

import dataclasses
import signal
import threading
from collections import Counter
from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_curve
from torch import nn

from sac_fast.errors import ProbeError
from sac_fast.labelled_zoo import engine, photographs, trainer
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.models import load_model, similarities
from sac_fast.probes import ProbeSet
from sac_fast.testbed import faces, plan, run, sources, tasks, verification
from sac_fast.testbed import trainer as trainer_of_testbed
from sac_fast.testbed.sources import SOURCES, Source

VIEWS = faces.Views(train=3, test=3, pool=3, references=1)
SIZE = plan.Size(
    images=240,
    tuning=120,
    independents={"other-data": (1, ("vgg",)), "same-data": (1, ("mixer",))},
    stolen={"extract-similarities": (1, ("resnet",)), "transfer-all": (1, ("vgg",)), "quantize-int8": (1, ("vgg",))},
    probes=20,
)
KINDS = {"vgg": {"width": 4}, "resnet": {"width": 4}, "mixer": {"tile": 8, "channels": 8}}


@pytest.fixture(scope="module")
def task():
    return faces.make_faces(0, VIEWS)


@pytest.fixture(scope="module")
def zoo(task, tmp_path_factory):
    """A finished miniature, made in this process."""
    patch = pytest.MonkeyPatch()

    def here(jobs, make, start, arguments, *, workers=None, after=None):
        start(*arguments, threading.Event())
        for job in jobs:
            yield job, make(job)

    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    patch.setattr(engine, "in_processes", here)
    patch.setattr(trainer, "_trainer", None)
    yield run.run_testbed(tmp_path_factory.mktemp("faces"), task, size=SIZE, architectures=KINDS, progress=False)
    patch.undo()
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, handler)


def test_faces_are_those_of_scikit_image():
    from skimage.data import lfw_subset

    assert np.array_equal(faces.read_faces(), np.rint(255 * lfw_subset()[:100]).astype(np.uint8))


def test_missing_or_other_faces_are_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ProbeError, match=r"must come from the package skimage.*sac-fast\[demo\]"):
        faces.read_faces()
    spec = ModuleSpec("skimage", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(photographs.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(ProbeError, match="must be readable at"):
        faces.read_faces()
    (tmp_path / "data").mkdir()
    np.save(tmp_path / "data" / "lfw_subset.npy", np.zeros((2, 25, 25)))
    with pytest.raises(ProbeError, match=r"must be floats \(200, 25, 25\), got float64 \(2, 25, 25\)"):
        faces.read_faces()
    np.save(tmp_path / "data" / "lfw_subset.npy", np.array([{"code": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ProbeError, match="must be readable at"):
        faces.read_faces()


def test_no_person_is_on_two_sides(task):
    """The people of each side, by name where a side has classes; 100 in all."""
    people = task.facts["people"]
    assert people == {"defender": 40, "attacker": 30, "probes": 20, "references": 10}
    assert not set(task.classes) & set(task.transfer_classes)
    assert (len(task.classes), len(task.transfer_classes), len(task.references)) == (40, 30, 10)
    assert [len(getattr(task, side)) for side in ("defender", "attacker", "test", "pool")] == [120, 90, 60, 60]
    assert np.bincount(task.test.labels).tolist() == [3] * 20


def test_halves_exchange_the_people_and_keep_the_probes():
    whole = tasks.make_sources_task("faces", quick=True).task
    a, b = whole.on_half("a"), whole.on_half("b")
    assert a.facts["people"] == {"defender": 35, "attacker": 35, "probes": 20, "references": 10}
    assert (a.classes, a.transfer_classes) == (b.transfer_classes, b.classes)
    assert len(set(a.classes) & set(b.classes)) == 0
    assert np.array_equal(a.defender.pixels, b.attacker.pixels)
    assert np.array_equal(a.attacker.pixels, b.defender.pixels)
    assert np.array_equal(np.unique(b.defender.labels), np.arange(35))
    # the thief does not know who is on his photographs, the trainer of other data does
    assert set(b.attacker.labels) == {0}
    assert np.array_equal(b.transfer.labels, a.defender.labels)
    assert (a.pool, a.test) == (b.pool, b.test)
    assert np.array_equal(a.references, b.references)
    alone = dataclasses.replace(whole, other_half=None)
    with pytest.raises(ProbeError, match="half of a task of verification must be 'a', got 'b'"):
        alone.on_half("b")


def test_several_sources_have_thefts_of_a_verifier_and_no_other_classes():
    made = tasks.make_sources_task("faces", quick=True)
    attacks = trainer_of_testbed.attacks_on(made.task)
    models = sources.plan_source(
        SOURCES[2], dataclasses.replace(made.size, honest=None), tuple(made.architectures), lambda name: 0,
        first=True, attacks=attacks,
    )  # fmt: skip
    assert Counter(m.origin for m in models if m.role == "stolen") == {
        "extract-labels": 2, "extract-soft-t1": 2, "extract-similarities": 3, "transfer-all": 2, "quantize-int8": 1,
        "weight-noise": 2,
    }  # fmt: skip
    assert Counter(m.origin for m in models if m.role == "independent") == {
        "same-data-same-architecture": 5, "other-data": 5, "same-data": 2,
    }  # fmt: skip
    assert not any(m.backbone for m in models)


# Origin and side of the data at home; source -> what it is to that source.
@pytest.mark.parametrize(
    ("origin", "data", "home", "source", "kind"),
    [
        ("other-data", "transfer", Source("vgg", "a"), Source("mobilenet", "b"), "same-data"),
        ("other-data", "transfer", Source("vgg", "a"), Source("vgg", "b"), "same-data-same-architecture"),
        ("other-data", "transfer", Source("vgg", "a"), Source("resnet", "a"), "other-data"),
        ("sibling", "defender", Source("vgg", "a"), Source("vgg", "b"), "other-data"),
    ],
)
def test_other_people_are_other_data_to_one_source_and_the_same_to_another(origin, data, home, source, kind):
    role = "sibling" if origin == "sibling" else "independent"
    member = ZooMember("m", role, origin, "a:b", details={"kind": "vgg", "data": data})
    assert sources.relative_kind(member, home, source) == kind


def test_views_are_gray_seeded_and_of_the_face():
    face = faces.read_faces()[9]
    views = [faces.view(face, np.random.default_rng(seed)) for seed in range(60)]
    assert all(v.shape == (32, 32, 3) and (v == v[..., :1]).all() for v in views)
    assert np.array_equal(views[3], faces.view(face, np.random.default_rng(3)))
    mean = np.mean([v[..., 0] for v in views], axis=0)
    # mirrored in half of the cases, so the mean view is nearly symmetric, and like the face and its mirror image
    symmetric = Image.fromarray(((face + face[:, ::-1].astype(int)) // 2).astype(np.uint8))
    scaled = np.asarray(symmetric.crop((1, 1, 24, 24)).resize((32, 32)), dtype=float)
    assert np.corrcoef(mean.ravel(), scaled.ravel())[0, 1] > 0.8


def test_fingerprints_are_similarities_to_the_references(zoo, task):
    references = ProbeSet.load(zoo.folder / "probes" / "references.safetensors")
    assert np.array_equal(references.images, task.references)
    assert "misclassified" not in zoo.probes
    assert set(zoo.probes) == {"plain", "jpeg-q25", "jpeg-q18", "jpeg-q15", "jpeg-q10", "jpeg-q7", "cutmix"}
    for member in zoo.members:
        model = load_model(member.architecture, weights=zoo.weights_file(member), kwargs=member.architecture_args)
        bare = verification.embedder(model.eval())
        with torch.inference_mode():
            rows, known = (
                bare(task.preprocessing(torch.from_numpy(images.copy())))
                for images in (zoo.load_probes("plain").images, references.images)
            )
        kept = zoo.load_fingerprint("plain", member)
        assert kept.outputs.shape == (20, 10)
        assert kept.provenance["output_form"] == "similarities"
        torch.testing.assert_close(kept.outputs, similarities(rows, known), atol=1e-4, rtol=1e-4)


def test_label_sets_are_those_of_who_trained(zoo):
    outputs = {m.origin: m.architecture_args.get("outputs", m.architecture_args.get("classes")) for m in zoo.members}
    assert outputs == {
        "source": 40, "other-data": 30, "same-data": 40, "extract-similarities": 40, "transfer-all": 30,
        "quantize-int8": 40,
    }  # fmt: skip
    assert LabelledZoo.load(zoo.folder) == zoo


def test_embedder_takes_the_last_layer_off_and_leaves_the_model():
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(5, 4)
    assert torch.equal(verification.embedder(model)(x), model[2](model[1](x)))
    assert model(x).shape == (5, 2)


def test_imitation_brings_the_students_similarities_to_the_sources():
    task = faces.make_faces(0, faces.Views(train=6, test=2, pool=2, references=1))
    images = task.preprocessing(torch.from_numpy(task.attacker.pixels))

    def build(classes, seed=0):
        torch.manual_seed(seed)
        return load_model(plan.model_spec("vgg"), kwargs={"classes": classes, "width": 8})

    def cosines(model):
        with torch.inference_mode():
            rows = torch.nn.functional.normalize(verification.embedder(model.eval())(images), dim=1)
        return rows @ rows.T

    from sac_fast.attacks import TrainingConfig, train
    from sac_fast.attacks.attack import AttackContext

    with torch.random.fork_rng():
        pixels = task.preprocessing(torch.from_numpy(task.defender.pixels))
        labels = torch.from_numpy(task.defender.labels)
        source = train(build(40, 1), pixels, labels, config=TrainingConfig(epochs=10, batch_size=60), seed=0)
        attack = verification.VERIFIER_ATTACKS["extract-similarities"]
        context = AttackContext(config=TrainingConfig(epochs=15, batch_size=60))
        stolen = attack.make(source, lambda classes: build(classes, 7), images, None, context=context)
        fresh = build(40, 7)
    before, after = (float((cosines(m) - cosines(source)).abs().mean()) for m in (fresh, stolen))
    assert after < 0.5 * before
    assert stolen(images[:2]).shape == (2, 40)  # the head is back


# ---- accuracy of verification


def test_verification_accuracy_is_that_of_scikit_learns_curve():
    rng = np.random.default_rng(0)
    for _ in range(5):
        people = np.repeat(np.arange(6), 4)
        rows = rng.normal(size=(24, 5)) + 1.2 * rng.normal(size=(6, 5))[people]
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        first, second = np.triu_indices(24, 1)
        fpr, tpr, _ = roc_curve(people[first] == people[second], (unit @ unit.T)[first, second])
        got = verification.verification_accuracy(torch.from_numpy(rows), torch.from_numpy(people))
        assert got == pytest.approx(max((tpr + 1 - fpr) / 2), abs=1e-12)


def test_verification_accuracy_by_hand():
    people = torch.tensor([0, 0, 1, 1])
    apart = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    assert verification.verification_accuracy(apart, people) == 1.0
    assert verification.verification_accuracy(torch.ones(4, 2), people) == 0.5  # all equal: chance
    # angles 0, 40 and 70, 90 degrees: within 40 lie both pairs of one person and one (40, 70) of four of two
    angles = torch.deg2rad(torch.tensor([0.0, 40.0, 70.0, 90.0]))
    fan = torch.stack([angles.cos(), angles.sin()], 1)
    assert verification.verification_accuracy(fan, people) == pytest.approx((1 + 3 / 4) / 2)
    with pytest.raises(ValueError, match="pairs of one and of two, got 0 and 6"):
        verification.verification_accuracy(apart, torch.arange(4))
