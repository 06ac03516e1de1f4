"""The patches task: who owns which pixel, what a patch is, what zoo.json says of it; and the workers' pool."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest

from sac_fast.errors import ModelError, ProbeError
from sac_fast.labelled_zoo import training_pool
from sac_fast.labelled_zoo.images import Images
from sac_fast.labelled_zoo.trainer import inputs
from sac_fast.testbed import patches

COUNTS = patches.Counts(defender=30, attacker=30, test=20, pool=30, surrogate=5, transfer=10, transfer_test=5)


@pytest.fixture(scope="module")
def task():
    return patches.make_patches(0, COUNTS, classes=("brick", "ihc"), transfer_classes=("coins",))


def places():
    """A picture whose every pixel tells its place."""
    rows, columns = np.meshgrid(np.arange(240), np.arange(240), indexing="ij")
    return np.stack([rows, columns, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_sides_share_no_pixel(monkeypatch):
    monkeypatch.setattr(patches, "read_photograph", lambda name: places())
    monkeypatch.setattr(patches, "_SIDES", (32, 32))
    monkeypatch.setattr(patches.cut, "__kwdefaults__", {"sides": (32, 32)})
    counts = dataclasses.replace(COUNTS, change=0.0)
    made = patches.make_patches(3, counts, classes=("a",), transfer_classes=("b",))
    pixels = {}
    for side in ("defender", "attacker", "test", "pool"):
        flat = getattr(made, side).pixels.reshape(-1, 3).astype(int)
        pixels[side] = set((flat[:, 0] * 256 + flat[:, 1]).tolist())
    assert pixels["defender"].isdisjoint(pixels["attacker"])
    assert pixels["defender"].isdisjoint(pixels["test"] | pixels["pool"])
    assert pixels["attacker"].isdisjoint(pixels["test"] | pixels["pool"])


def test_a_patch_lies_in_its_cell_whatever_its_turn():
    rng = np.random.default_rng(0)
    cells = np.array([[1, 2], [3, 0]])
    for patch in patches.cut(places(), cells, 40, rng, change=0.0, sides=(32, 32)).astype(int):
        rows, columns = patch[..., 0], patch[..., 1]
        assert (rows.min() // 48, columns.min() // 48) in {(1, 2), (3, 0)}
        assert (rows.max() // 48, columns.max() // 48) == (rows.min() // 48, columns.min() // 48)
        assert np.ptp(rows) == np.ptp(columns) == 31
        # turned or not, one coordinate runs along the height and the other along the width
        along = np.abs(np.diff(rows, axis=0)).max(), np.abs(np.diff(columns, axis=1)).max()
        assert along in {(1, 1), (0, 0)}


def test_light_and_colours_change_by_what_is_said():
    """Contrast e^±c, channels e^±0.6c, light ±128 c: of a gray patch the value moves by that much at most."""
    gray = np.full((32, 32, 3), 100, np.uint8)
    rng = np.random.default_rng(0)
    values = np.stack([patches._recolour(gray, 0.1, rng)[0, 0] for _ in range(500)]).astype(float)
    low, high = 100 * np.exp(-0.06) - 12.8, 100 * np.exp(0.06) + 12.8
    assert values.min() >= np.floor(low)
    assert values.max() <= np.ceil(high)
    assert values.min() < 85
    assert values.max() > 115
    assert np.array_equal(patches._recolour(gray, 0.0, rng), gray)


def test_task_is_balanced_and_seeded(task):
    again = patches.make_patches(0, COUNTS, classes=("brick", "ihc"), transfer_classes=("coins",))
    other = patches.make_patches(1, COUNTS, classes=("brick", "ihc"), transfer_classes=("coins",))
    assert np.bincount(task.defender.labels).tolist() == [30, 30]
    assert np.array_equal(task.pool.pixels, again.pool.pixels)
    assert task.describe() == again.describe()
    assert task.describe()["hash"] != other.describe()["hash"]
    assert task.defender.pixels.shape[1:] == (32, 32, 3)
    assert len(task.surrogate) == 3 * 5


def test_hash_is_of_every_image_and_label(task):
    for side in ("defender", "attacker", "test", "pool", "transfer", "transfer_test"):
        images = getattr(task, side)
        pixels = images.pixels.copy()
        pixels[-1, -1, -1, -1] ^= 1
        for changed in (Images(pixels, images.labels), Images(images.pixels, np.roll(images.labels, 1) * 0)):
            altered = dataclasses.replace(task, **{side: changed})
            same_labels = np.array_equal(changed.labels, images.labels)
            if not same_labels or changed.pixels is not images.pixels:
                assert altered.describe()["hash"] != task.describe()["hash"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"classes": ("brick",)}, r"labels of defender must lie in 0…0, got 0…1"),
        ({"surrogate": np.zeros((3, 16, 16, 3), np.uint8)}, "surrogate must have images of"),
        ({"test": Images(np.zeros((1, 16, 16, 3), np.uint8), np.zeros(1, np.int64))}, "test must have images of"),
        ({"pool": Images(np.zeros((0, 32, 32, 3), np.uint8), np.zeros(0, np.int64))}, "pool of the task must hold"),
    ],
)
def test_a_task_that_does_not_fit_together_is_refused(task, changes, words):
    with pytest.raises(ProbeError, match=words):
        dataclasses.replace(task, **changes)


@pytest.mark.parametrize(
    ("pixels", "labels", "words"),
    [
        (np.zeros((2, 8, 8, 3)), np.zeros(2, np.int64), "pixels must be uint8"),
        (np.zeros((2, 3, 8, 8), np.uint8), np.zeros(2, np.int64), "pixels must be uint8"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(3, np.int64), "labels must be int64"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros(2, np.int32), "labels must be int64"),
    ],
)
def test_images_that_are_none_are_refused(pixels, labels, words):
    with pytest.raises(ProbeError, match=words):
        Images(pixels, labels)


def test_inputs_are_the_preprocessed_pixels(task):
    values = inputs(task.test.pixels, patches.PREPROCESSING)
    wanted = (task.test.pixels.transpose(0, 3, 1, 2).astype(np.float64) / 255 - 0.5) / 0.25
    np.testing.assert_allclose(values.numpy(), wanted, atol=1e-6)


# ---- the pool of workers


@dataclass(frozen=True)
class Job:
    name: str
    needs: str | None = None


def prepare(fault, stop):
    global _fault
    _fault = fault


def work(job):
    if job.name == _fault:
        raise ModelError(f"{job.name} diverged")
    return job.name.upper()


def test_jobs_wait_for_what_they_need():
    jobs = [Job("late", "first"), Job("first"), Job("other")]
    done = training_pool.in_processes(jobs, work, prepare, ("",), workers=1, after=lambda job: job.needs)
    order = [(job.name, result) for job, result in done]
    assert sorted(order) == [("first", "FIRST"), ("late", "LATE"), ("other", "OTHER")]
    assert order.index(("first", "FIRST")) < order.index(("late", "LATE"))
    assert list(training_pool.in_processes([], work, prepare, ("",))) == []


def test_jobs_that_wait_for_each_other_are_refused():
    jobs = [Job("a", "b"), Job("b", "a")]
    with pytest.raises(ValueError, match="jobs must not wait for each other"):
        list(training_pool.in_processes(jobs, work, prepare, ("",), workers=1, after=lambda job: job.needs))


def test_what_a_job_raises_is_raised_here():
    with pytest.raises(ModelError, match="bad diverged"):
        list(training_pool.in_processes([Job("bad")], work, prepare, ("bad",), workers=1))


@pytest.mark.parametrize("workers", [0, -1, 1.5, True])
def test_a_number_of_workers_that_is_none_is_refused(workers):
    with pytest.raises(ValueError, match="workers must be an integer of at least 1"):
        training_pool.check_workers(workers)
