"""A labelled zoo scored by benchmarks/bench_baselines.py: own models, kept scores, the command."""

import dataclasses
import json
import re
import sys

import bench_baselines
import pytest
import torch
<<<<<<< HEAD
from scipy.spatial.distance import cosine, jensenshannon
from torch import nn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
if str(BENCHMARKS) not in sys.path:
    sys.path.insert(0, str(BENCHMARKS))

import bench_baselines  # noqa: E402
from baselines import METHODS, OwnModels, PixelModel, Task, cae, deepjudge, ipguard, modeldiff, to_pixels, uap, zest  # noqa: E402
from baselines.defender import answers  # noqa: E402
from baselines.own_models import Architecture, architectures, train_own_models  # noqa: E402
from baselines.perturb import ascend, frozen  # noqa: E402
from baselines.run import Kept, run_methods  # noqa: E402
from baselines.summary import summarise, table  # noqa: E402

from sac_fast.attacks import TrainingConfig  # noqa: E402
from sac_fast.errors import FileFormatError, ModelError  # noqa: E402
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember  # noqa: E402
from sac_fast.models import Preprocessing, save_weights  # noqa: E402
from sac_fast.probes import ProbeSet  # noqa: E402

SIDE, CLASSES = 8, 3


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors this small gain nothing from a second thread, and on a busy machine wait for it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Centre(nn.Module):
    """Pixels about 0, and large, so that untrained networks tell all classes."""

    def forward(self, x):
        return 8 * (x - 0.5)


class Net(nn.Sequential):
    """A convolution and two linear layers, under a seed of its own; named in the zoo of the tests."""

    def __init__(self, classes=CLASSES, seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(
                Centre(),
                nn.Conv2d(3, 4, 3, stride=2),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(36, 8),
                nn.ReLU(),
                nn.Linear(8, classes),
            )
            # The first layers' biases would decide for one class.
            for layer in (self[1], self[4], self[6]):
                layer.bias.data.zero_()


class Linear(nn.Module):
    """Logits ``weights @ pixels``, of given weights (k, 3·H·W)."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(torch.as_tensor(weights, dtype=torch.float32))

    def forward(self, x):
        return x.flatten(1) @ self.weights.T


class Answers(nn.Module):
    """Given logits, whatever is asked."""

    def __init__(self, logits):
        super().__init__()
        self.register_buffer("logits", torch.as_tensor(logits, dtype=torch.float32))

    def forward(self, x):
        return self.logits[: len(x)]


def pixels(count, seed=0, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def task(count=48, errors=30, seed=0):
    images, wrong = pixels(count, seed), pixels(errors, seed + 1)
    right = answers(Net(), images).argmax(1)
    # One image in four is labelled otherwise than the source says; of the errors all but three are.
    labels = torch.where(torch.arange(count) % 4 == 0, (right + 1) % CLASSES, right)
    said = answers(Net(), wrong).argmax(1)
    error_labels = torch.where(torch.arange(errors) < 3, said, (said + 1) % CLASSES)
    return Task(images[:32], labels[:32], images[32:], labels[32:], wrong, error_labels)


OWN = OwnModels((Net(seed=1), Net(seed=2)), (Net(seed=3), Net(seed=4)))


# --- every method ----------------------------------------------------------------------------------------


@pytest.fixture
def short(monkeypatch):
    """Nothing but less work."""
    monkeypatch.setattr(uap, "STEPS", 20)
    monkeypatch.setattr(uap, "PASSES", 2)
    monkeypatch.setattr(ipguard, "STEPS", 30)
    monkeypatch.setattr(zest, "superpixels", lambda image: np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 16)


@pytest.mark.parametrize("name", METHODS)
def test_the_source_scores_0_and_no_other_scores_less(short, name):
    source = Net()
    before = {key: value.clone() for key, value in source.state_dict().items()}
    print_of = METHODS[name].prepare(source, task(), OWN, 40, 0)
    assert print_of.score(source) == pytest.approx(0, abs=1e-12)
    others = [print_of.score(Net(seed=seed)) for seed in range(5, 10)]
    assert min(others) >= 0
    assert max(others) > 1e-3
    assert all(torch.equal(before[key], value) for key, value in source.state_dict().items())
    assert all(parameter.requires_grad for parameter in source.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_the_number_of_questions_is_what_is_told_and_within_the_budget(short, name):
    asked = 0

    class Counting(Net):
        def forward(self, x):
            nonlocal asked
            asked += len(x)
            assert float(x.min()) >= 0
            assert float(x.max()) <= 1
            return super().forward(x)

    print_of = METHODS[name].prepare(Net(), task(), OWN, 40, 0)
    print_of.score(Counting(seed=7))
    assert asked == print_of.queries
    assert 27 <= asked <= 40


@pytest.mark.parametrize("name", METHODS)
def test_the_same_seed_gives_the_same_fingerprint(short, name):
    state = torch.random.get_rng_state()
    scores = [METHODS[name].prepare(Net(), task(), OWN, 36, seed).score(Net(seed=7)) for seed in (3, 3)]
    assert scores[0] == scores[1]
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", [name for name in METHODS if not METHODS[name].any_classes])
def test_another_number_of_classes_is_refused_where_it_says_nothing(short, name):
    print_of = METHODS[name].prepare(Net(), task(), OWN, 36, 0)
    with pytest.raises(ModelError, match="must answer with 3 classes like the source, got 5"):
        print_of.score(Net(classes=5))


@pytest.mark.parametrize("budget", [0, -1, 2.0, True])
@pytest.mark.parametrize("name", METHODS)
def test_a_budget_that_is_none_is_refused(name, budget):
    with pytest.raises(ValueError, match="budget must be an integer of at least"):
        METHODS[name].prepare(Net(), task(), OWN, budget, 0)


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].own_models])
def test_own_models_of_both_kinds_are_needed(name):
    with pytest.raises(ValueError, match="own must hold stolen and independent models, got 2 and 0"):
        METHODS[name].prepare(Net(), task(), OwnModels(OWN.stolen, ()), 36, 0)


# --- AKH -------------------------------------------------------------------------------------------------


def test_akh_counts_the_labels_that_differ():
    source = Answers([[3, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [3, 0, 0]])
    true = torch.tensor([1, 2, 0, 0, 1])
    some = Task(pixels(5), torch.zeros(5, dtype=torch.int64), errors=pixels(5), error_labels=true)
    print_of = METHODS["akh"].prepare(source, some, OwnModels(), 5, 0)
    assert print_of.queries == 5
    ordered = dataclasses.replace(print_of, labels=torch.tensor([0, 0, 1, 2, 0]))
    # Labels 0, 2, 1, 0, 0 of the suspect against 0, 0, 1, 2, 0: the second and the fourth differ.
    suspect = Answers([[3, 0, 0], [0, 0, 3], [0, 3, 0], [3, 0, 0], [3, 0, 0]])
    assert ordered.score(suspect) == 0.4


def test_akh_asks_only_what_the_source_gets_wrong():
    given = task()
    print_of = METHODS["akh"].prepare(Net(), given, OwnModels(), 100, 0)
    assert print_of.queries == 27  # of 30 errors the source gets three right
    wrong = {tuple(image.flatten().tolist()) for image in given.errors[3:]}
    assert {tuple(image.flatten().tolist()) for image in print_of.images} == wrong


def test_akh_without_errors_is_refused():
    with pytest.raises(ValueError, match="task must have errors"):
        METHODS["akh"].prepare(Net(), Task(pixels(4), torch.zeros(4, dtype=torch.int64)), OwnModels(), 5, 0)


# --- IPGuard ---------------------------------------------------------------------------------------------


def test_ipguard_loss_by_hand():
    logits = torch.tensor([[4.0, 1.0, 2.0], [1.0, 3.0, 0.0], [1.0, 3.0, 2.5]])
    i, j = torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1])
    # (4 − 1 + 0.5) + 0;  0 + 0;  0 + (2.5 − 1)
    assert ipguard.boundary_loss(logits, i, j, 0.5).tolist() == [3.5, 0.0, 1.5]


def test_ipguard_points_lie_where_the_two_largest_logits_differ_by_the_margin():
    # Logits are sums over the three colour planes, the second of which is far behind and stays so: the gradient is
    # constant, one step of Adam moves an entry by the learning rate, and Z_j − Z_i by 2 · 16 · 0.01 = 0.32.
    model = Linear(torch.eye(3).repeat_interleave(16, 1))
    images = 0.2 * pixels(20, side=4) + 0.4
    images[:, 0] += 0.2
    images[:, 1] -= 0.4
    images[:, 2] -= 0.2
    start = answers(model, images)
    first, target = torch.zeros(20, dtype=torch.int64), torch.full((20,), 2)
    assert (start.argmax(1) == 0).all()
    points, arrived = ipguard.boundary_points(model, images, first, target, margin=1.0, learning_rate=0.01, steps=99)
    assert arrived.all()
    z = answers(model, points)
    lead = z[:, 2] - z[:, 0]
    assert (z.argmax(1) == 2).all()
    assert (z[:, 0] >= z[:, 1]).all()
    assert ((lead >= 1.0) & (lead <= 1.0 + 0.3201)).all()


def test_ipguard_steps_are_adams_whichever_rows_have_arrived():
    """A point gets the same steps alone as among others that arrive sooner."""
    model, images = Net(), pixels(12)
    z = answers(model, images)
    together, _ = ipguard.boundary_points(model, images, z.argmax(1), z.argmin(1), 0.05, 0.01, 60)
    for row in range(12):
        one = slice(row, row + 1)
        alone, _ = ipguard.boundary_points(model, images[one], z[one].argmax(1), z[one].argmin(1), 0.05, 0.01, 60)
        assert torch.allclose(together[one], alone, atol=1e-4)


# --- ModelDiff -------------------------------------------------------------------------------------------


def test_modeldiff_decision_distances_by_hand():
    clean = torch.tensor([[1.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    perturbed = torch.tensor([[0.0, 2.0], [4.0, 3.0], [-2.0, -2.0]])
    # cos = 0, 24/25, −1
    assert modeldiff.decision_distances(clean, perturbed).tolist() == pytest.approx([1.0, 0.04, 2.0], abs=1e-12)


def test_modeldiff_distance_is_scipys_cosine():
    a, b = torch.rand(9, dtype=torch.float64), torch.rand(9, dtype=torch.float64)
    assert modeldiff.vector_distance(a, b) == pytest.approx(cosine(a.numpy(), b.numpy()), abs=1e-12)


def test_modeldiff_takes_other_classes_and_its_pairs_lie_far_apart():
    source = Net()
    print_of = modeldiff.prepare(source, task(), OwnModels(), 40, 0)
    assert 0 <= print_of.score(Net(classes=7, seed=5)) <= 2
    change = (print_of.perturbed - print_of.clean).abs().max()
    assert float(change) <= modeldiff.EPSILON + 1e-6
    noise = modeldiff.EPSILON * pixels(20, 3).sub(0.5).sign()
    noisy = modeldiff.decision_distances(answers(source, print_of.clean), answers(source, print_of.clean + noise))
    assert print_of.vector.mean() > 2 * noisy.mean()


# --- DeepJudge -------------------------------------------------------------------------------------------


def test_deepjudge_jensen_shannon_is_scipys():
    p, q = (torch.softmax(3 * torch.randn(6, 4, dtype=torch.float64), 1) for _ in range(2))
    expected = jensenshannon(p.numpy(), q.numpy(), axis=1) ** 2
    assert deepjudge.jensen_shannon(p, q).numpy() == pytest.approx(expected, abs=1e-12)
    certain = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert deepjudge.jensen_shannon(certain, certain.flip(1)).item() == pytest.approx(math.log(2), abs=1e-15)
    assert deepjudge.jensen_shannon(certain, certain).item() == 0


def test_deepjudge_metrics_by_hand():
    images, labels = pixels(4), torch.tensor([0, 1, 1, 2])
    source = torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0]])  # right: the first, ¼
    suspect = Answers([[1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]])  # right: the first three, ¾
    assert deepjudge.DeepJudge("robd", images, labels, source).score(suspect) == 0.5
    told = [jensenshannon(*(np.exp(row) / np.exp(row).sum() for row in pair)) ** 2
            for pair in zip(source.numpy(), suspect.logits.numpy(), strict=True)]  # fmt: skip
    assert deepjudge.DeepJudge("jsd", images, labels, source).score(suspect) == pytest.approx(np.mean(told), abs=1e-7)


def test_deepjudge_seeds_are_those_of_which_the_source_is_right_and_most_certain(monkeypatch):
    monkeypatch.setattr(deepjudge, "ascend", lambda loss, images, *_: images)
    images = pixels(4)
    source = Answers([[5, 0, 0], [0, 1, 0], [9, 0, 0], [0, 3, 0]])  # certain: third, first, fourth, second
    labels = torch.tensor([0, 1, 1, 1])  # the third is wrong
    some = Task(images, labels)
    monkeypatch.setattr(Task, "draw", lambda *_: (images, labels))  # in this order
    print_of = deepjudge.prepare(source, some, OwnModels(), 2, 0, metric="robd")
    assert torch.equal(print_of.images, images[[0, 3]])
    assert print_of.labels.tolist() == [0, 1]


# --- perturbations ---------------------------------------------------------------------------------------


def test_ascend_reaches_the_corner_of_the_ball_of_a_linear_objective():
    weights = torch.where(pixels(1, 2) < 0.5, -1.0, 1.0)
    images = 0.5 * pixels(5) + 0.25
    moved = ascend(lambda x, rows: (x * weights).sum(), images, epsilon=0.1, step=0.05, steps=5, seed=0)
    assert torch.allclose(moved, images + 0.1 * weights, atol=1e-6)
    clipped = ascend(lambda x, rows: x.sum(), images, epsilon=2.0, step=1.0, steps=3, seed=0)
    assert torch.equal(clipped, torch.ones_like(images))


def test_frozen_gives_modes_and_gradients_back_also_after_an_error():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    model[0].bias.requires_grad_(False)
    model.train()
    model[1].eval()

    def look_and_fail():
        with frozen(model):
            assert not any(p.requires_grad for p in model.parameters())
            assert not model.training
            {}["missing"]

    with pytest.raises(KeyError):
        look_and_fail()
    assert model.training
    assert not model[1].training
    assert [p.requires_grad for p in model.parameters()] == [True, False]


# --- UAP -------------------------------------------------------------------------------------------------


def test_uap_is_bounded_and_fools_more_than_noise_of_the_same_size():
    source, images = Net(), pixels(200)
    labels = answers(source, images).argmax(1)
    v = uap.universal_perturbation(source, images, labels, 0.05, 5)
    assert v.shape == (1, 3, SIDE, SIDE)
    assert float(v.abs().max()) <= np.float32(0.05)
    fooled = (answers(source, (images + v).clamp(0, 1)).argmax(1) != labels).float().mean()
    noise = 0.05 * (pixels(1, 9) - 0.5).sign()
    by_noise = (answers(source, (images + noise).clamp(0, 1)).argmax(1) != labels).float().mean()
    assert fooled > by_noise + 0.1


def test_uap_contrastive_loss_by_hand():
    codes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    kinds = torch.tensor([0, 0, 1, 1])
    # Every row has one of its kind, with cosine 1, and two others, with cosine 0.
    expected = -math.log(math.e**2 / (math.e**2 + 2))
    assert uap.contrastive_loss(codes, kinds, 0.5).item() == pytest.approx(expected, abs=1e-6)
    mixed = uap.contrastive_loss(codes, torch.tensor([0, 1, 0, 1]), 0.5).item()
    assert mixed == pytest.approx(-math.log(1 / (math.e**2 + 2)), abs=1e-6)


def test_uap_views_take_one_image_of_each_cluster():
    given = task()
    print_of = uap.prepare(Net(), given, OWN, 40, 0)
    assert print_of.views.shape == (1, 20, 3, SIDE, SIDE)
    assert len({tuple(image.flatten().tolist()) for image in print_of.views[0]}) == 20


# --- CAE -------------------------------------------------------------------------------------------------


def test_cae_conferrability_by_hand():
    labels = torch.tensor([0, 1, 2, 0])
    stolen = torch.tensor([[0, 1, 2, 1], [0, 1, 0, 1]])
    independent = torch.tensor([[1, 1, 2, 1], [2, 1, 0, 1]])
    # all and none agree: 1; all and all: 0; half and half: ¼; none: 0
    assert cae.conferrability(labels, stolen, independent).tolist() == [1.0, 0.0, 0.25, 0.0]


def test_cae_images_confer_more_than_those_they_start_from():
    given = task()
    print_of = cae.prepare(Net(), given, OWN, 24, 0)
    start, _ = given.draw(30, 0)

    def mean(images):
        labels = answers(Net(), images).argmax(1)
        kinds = (OWN.stolen, OWN.independent)
        told = [torch.stack([answers(model, images).argmax(1) for model in models]) for models in kinds]
        return cae.conferrability(labels, *told).mean()

    assert mean(print_of.images) > mean(start) + 0.1
    nearest = torch.cdist(print_of.images.flatten(1), start.flatten(1), p=float("inf")).amin(1)
    assert float(nearest.max()) <= cae.EPSILON + 1e-5


# --- Zest ------------------------------------------------------------------------------------------------


def test_lime_recovers_the_weights_of_a_linear_model():
    image = pixels(1)[0]
    segments = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 16
    masks = torch.rand(40, 4, generator=torch.Generator().manual_seed(1)) < 0.5
    weights = torch.randn(2, 3 * SIDE * SIDE, generator=torch.Generator().manual_seed(2))
    made = zest.lime(image, segments, masks)
    found = made.solver @ answers(Linear(weights), made.images).double()
    # A superpixel's weight is what the model loses when its pixels take their mean colour.
    expected = torch.zeros(4, 2, dtype=torch.float64)
    for s in range(4):
        inside = torch.from_numpy(segments == s)
        mean = image[:, inside].mean(1, keepdim=True)
        change = torch.zeros_like(image)
        change[:, inside] = image[:, inside] - mean
        expected[s] = (weights @ change.flatten()).double()
    assert torch.allclose(found, expected, atol=1e-4)


def test_lime_weighs_masks_as_its_paper_does():
    image, segments = pixels(1)[0], np.arange(SIDE * SIDE).reshape(SIDE, SIDE) // 32
    masks = torch.tensor([[True, True], [True, False], [False, True], [False, False]])
    made = zest.lime(image, segments, masks)
    outputs = np.array([1.0, 0.5, 0.2, 0.9])
    kernel = np.exp(-(np.array([0, 1 - math.sqrt(0.5), 1 - math.sqrt(0.5), 1]) ** 2) / 0.25**2)
    design = np.column_stack([masks.numpy(), np.ones(4)])
    expected = np.linalg.lstsq(design * np.sqrt(kernel)[:, None], outputs * np.sqrt(kernel), rcond=None)[0][:2]
    assert (made.solver @ torch.from_numpy(outputs)).numpy() == pytest.approx(expected, abs=1e-5)


def test_superpixels_are_numbered_without_gaps():
    blocks = pixels(1, side=4)[0].repeat_interleave(8, 1).repeat_interleave(8, 2)
    found = zest.superpixels(blocks)
    assert found.shape == (32, 32)
    assert np.array_equal(np.unique(found), np.arange(found.max() + 1))
    assert 2 <= found.max() + 1 <= 2 * zest.SUPERPIXELS


# --- the defender's things -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how",
    [
        Preprocessing(mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)),
        Preprocessing(colour_order="BGR", layout="NHWC"),
        Preprocessing(colour_order="GRAY", size=(5, 6)),
    ],
)
def test_pixel_models_see_what_the_preprocessing_gives(how):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    seen = PixelModel(nn.Identity(), how.to_dict())(to_pixels(images))
    assert torch.allclose(seen, how(torch.from_numpy(images)), atol=1e-6)


def test_a_pixel_model_saves_the_network_only():
    assert set(PixelModel(Net(), None).state_dict()) == {f"network.{key}" for key in Net().state_dict()}


def test_draw_takes_held_out_images_first_and_none_twice():
    given = task()
    images, labels = given.draw(16, 0)
    pairs = [(images, labels), (given.held_out, given.held_out_labels)]
    drawn, held = ({tuple(x.flatten().tolist()): int(y) for x, y in zip(*pair, strict=True)} for pair in pairs)
    assert drawn == held
    images, labels = given.draw(1000, 0)
    assert len(images) == len(labels) == 48
    assert len({tuple(image.flatten().tolist()) for image in images}) == 48


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": torch.zeros(3)}, "labels must be int64"),
        ({"images": pixels(4)[0]}, "images of labels must be float"),
        ({"errors": pixels(4)}, "images and error_labels must be given together"),
        ({"held_out_labels": torch.zeros(3, dtype=torch.int64)}, "images and held_out_labels must be given together"),
    ],
)
def test_a_task_that_does_not_fit_is_refused(changes, message):
    fields = {"images": pixels(4), "labels": torch.zeros(4, dtype=torch.int64), **changes}
    with pytest.raises(ValueError, match=message):
        Task(**fields)


SPEC = f"{__name__}:Net"
=======
from baselines import OwnModels, PixelModel
from baselines.defender import answers
from baselines.own_models import Architecture, architectures, train_own_models
from baselines.run import Kept, run_methods
from baselines.summary import summarise, table
from support.baseline_models import OWN, Net, pixels, task

from sac_fast.attacks import Recipe
from sac_fast.errors import FileFormatError
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.models import Preprocessing, save_weights
from sac_fast.probes import ProbeSet

SPEC = f"{Net.__module__}:Net"
>>>>>>> ci


def test_own_models_are_kept_and_read_back(tmp_path):
    known = [
        Architecture(SPEC, {"seed": 1}, TrainingConfig(learning_rate=0.05)),
        Architecture(SPEC, {"seed": 2}, TrainingConfig()),
    ]
    source = PixelModel(Net(), None)
    first = train_own_models(source, task(), known, tmp_path, count=4, seen=64)
    assert (len(first.stolen), len(first.independent)) == (4, 4)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    again = train_own_models(source, task(), known, tmp_path, count=4, seen=64)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == files
    images = pixels(6, 8)
    for one, two in zip((*first.stolen, *first.independent), (*again.stolen, *again.independent), strict=True):
        assert torch.equal(answers(one, images), answers(two, images))
        assert not torch.equal(answers(one, images), answers(source, images))
    # Another source is another defender.
    train_own_models(PixelModel(Net(seed=9), None), task(), known, tmp_path, count=1, seen=64)
    assert (tmp_path / "stolen-01.json").stat().st_mtime_ns != files[tmp_path / "stolen-01.json"]


# --- a zoo -----------------------------------------------------------------------------------------------


def make_zoo(folder):
    members = [
        ZooMember("source", "source", "source", SPEC),
        ZooMember("near", "stolen", "weight-noise", SPEC, {"seed": 0}),
        ZooMember("moved", "stolen", "transfer-all", SPEC, {"classes": 5}),
        *(ZooMember(f"far-{i}", "independent", "same-data", SPEC, {"seed": i}) for i in (5, 6)),
        ZooMember("other", "independent", "other-data", SPEC, {"seed": 7}),
    ]
    zoo = LabelledZoo(folder, {"name": "test"}, Preprocessing().to_dict(), tuple(members), ("plain", "misclassified"))
    zoo.save()
    for member in members:
        net = Net(**member.architecture_args)
        if member.name == "near":
            net[-1].bias.data += 0.01
        save_weights(zoo.weights_file(member), net)
    given = task()
    for name, images, labels in (
        ("plain", given.held_out, given.held_out_labels),
        ("misclassified", given.errors, given.error_labels),
    ):
        whole = (255 * images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        ProbeSet.from_arrays(whole, labels.numpy(), layout="NHWC").save(zoo.probes_file(name))
    trained = (255 * given.images).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    ProbeSet.from_arrays(trained, given.labels.numpy(), layout="NHWC").save(folder / "trained.safetensors")
    return zoo


def test_a_zoo_is_scored_and_what_is_scored_is_kept(tmp_path):
    zoo = make_zoo(tmp_path)
    wanted = [("akh", 20), ("modeldiff", 20)]
    kept = Kept(tmp_path / "scores.jsonl")
    akh, diff = run_methods(zoo, task(), OwnModels(), wanted, kept)
    assert akh["queries"] == diff["queries"] == 20
    assert akh["scores"]["moved"] is None
    assert akh["auc"]["not_applicable"] == ["moved"]
    assert diff["auc"]["not_applicable"] == []
    assert akh["scores"]["near"] < min(akh["scores"][name] for name in ("far-5", "far-6", "other"))
    assert akh["auc"]["overall"] == akh["auc"]["by_attack"]["weight-noise"] == 1.0
    assert akh["auc"]["by_attack"]["transfer-all"] is None

    lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert len(lines) == 2 + 4 + 5
    # A run that was stopped in the middle of a line loses that one score and no other.
    (tmp_path / "scores.jsonl").write_text("\n".join(lines)[:-5])
    again = run_methods(zoo, task(), OwnModels(), wanted, Kept(tmp_path / "scores.jsonl"))
    assert [r["scores"] for r in again] == [akh["scores"], diff["scores"]]
    assert (
        len((tmp_path / "scores.jsonl").read_text().splitlines()) == len(lines) + 2
    )  # the broken one, made and scored
    # Own models count only where the method has them.
    before = len((tmp_path / "scores.jsonl").read_text().splitlines())
    run_methods(zoo, task(), OWN, wanted, Kept(tmp_path / "scores.jsonl"))
    assert len((tmp_path / "scores.jsonl").read_text().splitlines()) == before
    # What is not kept for all members is left out where nothing shall be scored.
    more = [*wanted, ("ipguard", 20), ("akh", 21)]
    reported = run_methods(zoo, task(), OwnModels(), more, Kept(tmp_path / "scores.jsonl"), only_kept=True)
    assert [r["scores"] for r in reported] == [akh["scores"], diff["scores"]]
    # Other images, another seed: nothing kept fits.
    kept = Kept(tmp_path / "scores.jsonl")
    before = len(kept.scored)
    run_methods(zoo, task(seed=5), OwnModels(), wanted[:1], kept)
    run_methods(zoo, task(), OwnModels(), wanted[:1], kept, seed=1)
    assert len(kept.scored) == before + 8


def test_architectures_are_the_sources_first_with_their_recipes(tmp_path):
    zoo = make_zoo(tmp_path)
    with_recipe = dataclasses.replace(
        zoo.members[0],
        architecture_args={"classes": 3},
        details={"recipe": dataclasses.asdict(TrainingConfig(epochs=3))},
    )
    members = (with_recipe, *zoo.members[1:], ZooMember("x", "stolen", "y", SPEC, {"classes": 3, "seed": 8}))
    found = architectures(dataclasses.replace(zoo, members=members))
    assert [a.arguments for a in found] == [{"classes": 3}, {"classes": 3, "seed": 8}]
    assert found[0].recipe.epochs == 3
    strange = dataclasses.replace(with_recipe, details={"recipe": {"surprise": 1}})
    with pytest.raises(FileFormatError, match="recipe of 'source' must hold the fields of TrainingConfig"):
        architectures(dataclasses.replace(zoo, members=(strange, *zoo.members[1:])))


def test_summary_by_hand():
    members = [
        ZooMember("s", "source", "source", "m:f"),
        ZooMember("a1", "stolen", "attack-a", "m:f"),
        ZooMember("a2", "stolen", "attack-a", "m:f"),
        ZooMember("b", "stolen", "adaptive-b", "m:f"),
        ZooMember("c", "stolen", "transfer-c", "m:f"),
        ZooMember("i1", "independent", "same-data", "m:f"),
        ZooMember("i2", "independent", "other-data", "m:f"),
    ]
    scores = {"a1": 0.1, "a2": 0.5, "b": 0.9, "c": None, "i1": 0.4, "i2": 0.8}
    got = summarise(scores, members)
    assert got["by_attack"] == {"attack-a": 0.75, "adaptive-b": 0.0, "transfer-c": None}
    assert got["overall"] == 0.5  # pairs won: 2 of a1, 1 of a2, 0 of b, of 6
    assert got["by_null_kind"] == {"other-data": pytest.approx(2 / 3), "same-data": pytest.approx(1 / 3)}
    assert got["mean_over_attacks"] == 0.375
    assert got["mean_over_non_adaptive_attacks"] == 0.75
    assert got["by_attack_and_null_kind"]["attack-a"] == {"other-data": 1.0, "same-data": 0.5}
    assert got["counts"] == {"stolen": 3, "independent": 2}
    assert got["not_applicable"] == ["c"]
    line = {"title": "T", "queries": 7, "prepare_cpu_seconds": 1.25, "median_suspect_cpu_seconds": 0.0125, "auc": got}
    head, _, row = table([line]).splitlines()
    assert head.split(" | ")[-3:] == ["adaptive-b", "attack-a", "transfer-c |"]
    assert row == "| T | 7 | 1.2 | 12 | 1 | 0.50 | 0.75 | 0.67 | 0.33 | 0.00 | 0.75 | – |"


# --- the command -----------------------------------------------------------------------------------------


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["bench_baselines", *map(str, arguments)])
    code = 0
    try:
        bench_baselines.main()
    except SystemExit as stopped:
        code = stopped.code
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_writes_scores_and_summary(tmp_path, monkeypatch, capsys):
    zoo = make_zoo(tmp_path / "zoo")
    out = tmp_path / "out.json"
    trained, work = zoo.folder / "trained.safetensors", tmp_path / "work"
    code, told, _ = command(
        monkeypatch, capsys, zoo.folder, "--images", trained, "--methods", "akh,deepjudge-jsd",
        "--budget", "10", "--budget", "20", "--quiet", "--json", out, "--work", work,
    )  # fmt: skip
    assert code == 0
    assert told.count("\n| AKH |") == 2
    results = json.loads(out.read_text())
    assert [(r["method"], r["budget"]) for r in results["results"]] == [
        ("akh", 10), ("akh", 20), ("deepjudge-jsd", 10), ("deepjudge-jsd", 20)
    ]  # fmt: skip
    assert set(results["results"][0]["scores"]) == {"near", "moved", "far-5", "far-6", "other"}
    assert results["images"] == {"training": 32, "held_out": 16, "errors": 30}
    assert not (zoo.folder / "baselines").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "akh,nonsense"], "--methods must be among akh, ipguard.*got 'nonsense'"),
        (["--json", "/no/such/folder/x.json"], "the folder of --json must exist"),
        (["--own", "0"], "--own must be at least 1, got 0"),
        ([], "--images must name the source's training images"),
        (["--budget", "0", "--images", "TRAINED"], "budget must be an integer of at least 1, got 0"),
    ],
)
def test_the_command_refuses_nonsense(tmp_path, monkeypatch, capsys, arguments, message):
    zoo = make_zoo(tmp_path / "zoo")
    arguments = [str(zoo.folder / "trained.safetensors") if a == "TRAINED" else a for a in arguments]
    defaults = [] if "--methods" in arguments else ["--methods", "akh"]
    code, told, error = command(monkeypatch, capsys, zoo.folder, "--quiet", *defaults, *arguments)
    assert code in (1, 2)
    assert not told
    assert re.search(message, error)
