"""All pairs in blocks: the same bits as one sweep, whatever the order and however often a block is computed."""

import itertools
import random
import sys

import numpy as np
import pytest
from support.model_outputs import models_of

from sac_fast import neighbours_within
from sac_fast.errors import BackendError
from sac_fast.neighbours import blocks as module
from sac_fast.neighbours import ray_blocks, vectors
from sac_fast.neighbours.blocks import Block, compute_block, nearest_in_blocks, pairs_in_blocks
from sac_fast.neighbours.ray_blocks import RayBlocks
from sac_fast.neighbours.search import nearest_by_subset, nearest_vectors
from sac_fast.neighbours.within import pairs_within


def packed(m, n=40, copies=0, seed=0):
    """Vectors of few different values, so that there are ties, and the last rows copies of the first."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3, (m, vectors.count_entries(n, "cosine")), dtype=np.uint8)
    rows[m - copies :] = rows[:copies]
    head, tail = (vectors.empty_rows(m, size) for size in vectors.part_bytes(n, "cosine"))
    head[:], tail[:] = 0, 0
    head[:, : rows[:, :512].shape[1]] = rows[:, :512]
    tail[:, : rows.shape[1] - 512] = rows[:, 512:]
    return vectors.ByteVectors(n, np.arange(rows.shape[1], dtype=np.int32), head, tail)


class Shuffled:
    """Computes blocks in a random order, each twice."""

    def __init__(self, seed=0):
        self.random, self.computed = random.Random(seed), 0

    def run(self, models, queries, blocks):
        order = [*blocks, *blocks]
        self.random.shuffle(order)
        for block in order:
            self.computed += 1
            yield block, compute_block(models[block.models], queries[block.queries], block)


@pytest.mark.parametrize("rows", [1, 7, 32, 100])
@pytest.mark.parametrize(("candidates", "copies"), [(None, 0), (None, 9), (12, 0)])
def test_the_nearest_are_those_of_one_sweep(monkeypatch, rows, candidates, copies):
    monkeypatch.setattr(nearest_in_blocks, "__kwdefaults__", {"rows": rows})
    models = packed(51, copies=copies)
    for queries, first in ((None, -1), (models[20:43], 20), (packed(11, seed=1), -1)):
        runner = Shuffled()
        wanted = nearest_vectors(models, queries, 5, candidates=candidates, first_query=first)
        found = nearest_vectors(models, queries, 5, candidates=candidates, first_query=first, blocks=runner)
        assert np.array_equal(found.indices, wanted.indices)
        assert np.array_equal(found.distances, wanted.distances)
        asked = 51 if queries is None else len(queries)
        assert runner.computed == 2 * -(-51 // rows) * -(-asked // rows)


@pytest.mark.parametrize("rows", [1, 7, 100])
def test_pairs_are_those_of_one_sweep_in_order(rows):
    models = packed(40, copies=9)
    for queries in (None, packed(11, seed=1)):
        everything = pairs_within(models, 1 << 30, queries)
        limit = int(np.quantile(everything[:, 2], 0.1))
        wanted = pairs_within(models, limit, queries)
        found = list(pairs_in_blocks(Shuffled(1), models, queries, limit, rows=rows))
        assert 0 < len(wanted) < len(everything)
        assert np.array_equal(np.concatenate([pairs for *_, pairs in found]), wanted)
        ends = [(start, end) for start, end, _ in found]
        assert ends == sorted(ends)
        assert [end for _, end in ends[:-1]] == [start for start, _ in ends[1:]]
        assert all(((pairs[:, 0] >= start) & (pairs[:, 0] < end)).all() for start, end, pairs in found)


def test_public_searches_give_the_same_in_blocks(monkeypatch):
    monkeypatch.setattr(nearest_in_blocks, "__kwdefaults__", {"rows": 16})
    monkeypatch.setattr(pairs_in_blocks, "__kwdefaults__", {"rows": 16})
    outputs = [one.numpy() for one in models_of(50, 20, 4)]
    wanted, found = (nearest_by_subset(outputs, None, 5, seed=1, blocks=blocks) for blocks in (None, Shuffled()))
    assert np.array_equal(found.distances, wanted.distances)
    assert np.array_equal(found.indices, wanted.indices)
    radius = float(np.quantile(wanted.distances, 0.5))
    for queries in (None, outputs[:7]):
        here, there = (list(neighbours_within(outputs, radius, queries, blocks=b)) for b in (None, Shuffled()))
        for name in ("queries", "models", "distances"):
            values = [np.concatenate([getattr(pairs, name) for pairs in found]) for found in (here, there)]
            assert len(values[0]) > 10
            assert np.array_equal(*values)


def test_a_block_that_is_missing_is_noticed():
    class Lazy:
        def run(self, models, queries, blocks):
            for block in itertools.islice(blocks, 3):
                yield block, compute_block(models[block.models], queries[block.queries], block)

    models = packed(20)
    with pytest.raises(RuntimeError, match="all 4 blocks, got 3"):
        nearest_in_blocks(Lazy(), models, None, -1, 2, rows=10)
    with pytest.raises(RuntimeError, match="all 6 blocks, got 3"):
        list(pairs_in_blocks(Lazy(), models, None, 5, rows=8))


class FakeRay:
    """Runs tasks when they are asked for, in a random order; some results are lost."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

    def __init__(self, cores=2, lost=0.0, result=None):
        self.cores, self.lost, self.result = cores, lost, result
        self.random, self.objects, self.cancelled, self.ended = random.Random(0), {}, [], False
        self.losses = self.most = 0

    def is_initialized(self):
        return False

    def init(self, **options):
        assert options["address"] == "host:1"

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def put(self, value):
        assert type(value) is bytes
        self.objects[len(self.objects)] = value
        return len(self.objects) - 1

    def remote(self, **options):
        assert options["num_cpus"] == 1

        def decorate(function):
            class Task:
                @staticmethod
                def remote(*arguments):
                    given = [self.objects[one] if isinstance(one, int) else one for one in arguments]
                    return lambda: function(*given)

            return Task

        return decorate

    def wait(self, references, num_returns, timeout):
        assert (num_returns, timeout) == (1, None)
        self.most = max(self.most, len(references))
        return [self.random.choice(references)], None

    def get(self, reference):
        if self.random.random() < self.lost:
            self.losses += 1
            raise self.exceptions.RayError
        return reference() if self.result is None else self.result

    def cancel(self, reference, force):
        self.cancelled.append(reference)

    def shutdown(self):
        self.ended = True


def connected(monkeypatch, ray):
    monkeypatch.setitem(sys.modules, "ray", ray)
    return RayBlocks("host:1")


@pytest.mark.parametrize("lost", [0.0, 0.4, 1.0])
def test_ray_gives_the_same_whatever_is_lost(monkeypatch, lost):
    models, queries = packed(51, copies=9), packed(11, seed=1)
    ray = FakeRay(lost=lost)
    runner = connected(monkeypatch, ray)
    for asked, first in ((None, -1), (queries, -1)):
        wanted = nearest_in_blocks(Shuffled(), models, asked, first, 5)
        assert np.array_equal(nearest_in_blocks(runner, models, asked, first, 5, rows=16), wanted)
        assert np.array_equal(
            nearest_in_blocks(runner, models.heads(), asked and asked.heads(), first, 5, rows=16),
            nearest_in_blocks(Shuffled(), models.heads(), asked and asked.heads(), first, 5),
        )
        found = np.concatenate([pairs for *_, pairs in pairs_in_blocks(runner, models, asked, 800, rows=16)])
        assert np.array_equal(found, pairs_within(models, 800, asked))
    assert (ray.losses > 0) == (lost > 0)
    assert ray.most == 4  # twice the cores
    assert not ray.cancelled
    runner.close()
    assert ray.ended


@pytest.mark.parametrize("result", [None, [1], b"", b"1234567", b"\xff" * 8 * 20, b"\0" * 8 * 19])
def test_results_that_cannot_be_of_a_block_are_refused(monkeypatch, result):
    ray = FakeRay(result=result if result is not None else 1)
    runner = connected(monkeypatch, ray)
    with pytest.raises(BackendError, match="must return the result of its block"):
        nearest_in_blocks(runner, packed(20), None, -1, 1, rows=10)
    assert len(ray.cancelled) == 3


@pytest.mark.parametrize("pair", [(0, 0), (-1, 0, 0), (10, 0, 0), (0, 10, 0), (0, 0, 6)])
def test_pairs_that_cannot_be_of_a_block_are_refused(monkeypatch, pair):
    runner = connected(monkeypatch, FakeRay(result=np.array(pair, np.int64).tobytes()))
    with pytest.raises(BackendError, match="must return the result of its block"):
        list(pairs_in_blocks(runner, packed(20), None, 5, rows=10))


def test_a_cluster_without_cores_is_refused(monkeypatch):
    ray = FakeRay(cores=0)
    with pytest.raises(BackendError, match="must have a core to run on, got none"):
        connected(monkeypatch, ray)
    assert ray.ended


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_node_of_ray_that_is_killed_costs_its_blocks_alone(monkeypatch):
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "240")  # on a busy machine
    models = packed(3_000, n=60)
    wanted, pairs = nearest_vectors(models, None, 5), pairs_within(models, 1_520)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        second = cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        runner = RayBlocks(cluster.address)

        class Watched:
            def run(self, *arguments):
                for number, found in enumerate(runner.run(*arguments)):
                    if number == 20:
                        cluster.remove_node(second, allow_graceful=False)
                    yield found

        keys = nearest_in_blocks(Watched(), models, None, -1, 5, rows=200)
        assert not second.any_processes_alive()
        found = np.concatenate([some for *_, some in pairs_in_blocks(runner, models, None, 1_520, rows=500)])
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert np.array_equal((keys & np.uint64(0xFFFFFFFF)).astype(int), wanted.indices)
    assert np.array_equal(models.distances(keys >> np.uint64(32)), wanted.distances)
    assert len(pairs) > 100
    assert np.array_equal(found, pairs)


def test_a_task_reads_what_was_sent():
    models = packed(9)
    shapes = ray_blocks._shapes(models)
    data = models.head.tobytes() + models.tail.tobytes()
    keys = ray_blocks.run_block(data, data, (shapes, shapes), (3, 0))
    assert keys == compute_block(models, models, Block(0, 0, 3))
    assert module.BLOCK_ROWS == 16_384
