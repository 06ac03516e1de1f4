"""How a worker runs one model, without a process: batches, prepared probes, reasons."""

import pytest
import torch
from support import scan_models

from sac_fast import ModelError, Preprocessing
from sac_fast.models import Limits, ModelEntry
from sac_fast.models.runner import run_inputs
from sac_fast.scan.jobs import Job, request_of
from sac_fast.scan.prepared_probes import PreparedProbes
from sac_fast.scan.worker import LargestBatch, ModelRunner, _failure, is_out_of_memory

PIXELS = torch.arange(10 * 2 * 2 * 3, dtype=torch.uint8).reshape(10, 2, 2, 3)


class FakeDevice:
    """Holds so many probes at a time."""

    def __init__(self, holds):
        self.holds, self.tried, self.freed = holds, [], 0

    def run(self, size):
        self.tried.append(size)
        if size > self.holds:
            try:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            except torch.OutOfMemoryError as error:
                raise ModelError("model failed on probes 0 to 9") from error
        return torch.tensor([float(size)])

    def free(self):
        self.freed += 1


def test_the_largest_batch_is_found_by_halving_and_remembered_for_its_kind():
    device = FakeDevice(100)
    largest = LargestBatch(1024, device.free)
    assert largest.run("a", device.run).item() == 64
    assert device.tried == [1024, 512, 256, 128, 64]
    assert device.freed == 4
    assert largest.run("a", device.run).item() == 64
    assert device.tried[5:] == [64]
    assert largest.run("b", device.run).item() == 64
    assert device.tried[6:] == [1024, 512, 256, 128, 64]
    device.holds = 20  # somebody else took memory
    assert largest.run("a", device.run).item() == 16


def test_a_batch_of_one_that_does_not_fit_and_other_errors_are_raised():
    device = FakeDevice(0)
    with pytest.raises(ModelError):
        LargestBatch(4, device.free).run("a", device.run)
    assert device.tried == [4, 2, 1]

    def broken(size):
        device.tried.append(size)
        raise ModelError("shapes do not match")

    device.tried.clear()
    with pytest.raises(ModelError, match="shapes"):
        LargestBatch(4, device.free).run("a", broken)
    assert device.tried == [4]


def test_out_of_memory_is_told_by_the_error_or_its_cause():
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"))
    assert not is_out_of_memory(ValueError("out of memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not is_out_of_memory(None)


def test_probes_are_prepared_once_for_each_preprocessing():
    probes = PreparedProbes(PIXELS, torch.device("cpu"))
    plain, dark = Preprocessing(), Preprocessing(mean=(0.5,), std=(0.25,))
    (first,) = probes.parts(plain, 4)
    assert torch.equal(first, PIXELS.permute(0, 3, 1, 2).float() / 255)
    (again,) = probes.parts(plain, 4)
    assert again is first
    (other,) = probes.parts(dark, 4)
    assert torch.equal(other, (first - 0.5) / 0.25)
    (again,) = probes.parts(plain, 4)
    assert again is first


@pytest.mark.parametrize("does", ["change input", "change input unseen"])
def test_a_model_that_writes_into_its_inputs_changes_none_but_its_own(tmp_path, does):
    pixels = torch.arange(10 * 4 * 4 * 3, dtype=torch.uint8).reshape(10, 4, 4, 3)
    plain = Preprocessing(layout="NHWC")  # as the probes are kept, so that no conversion makes a copy by chance
    linear = scan_models.weights(tmp_path / "w.safetensors").linear
    probes = PreparedProbes(pixels, torch.device("cpu"))
    runner = ModelRunner(probes, batch_size=4, dtype=None, architectures=(), limits=Limits())

    def outputs(does):
        entry = ModelEntry("w", tmp_path / "w.safetensors", scan_models.SPEC, {"does": does}, plain)
        request = request_of(Job(0, entry))
        return torch.from_numpy(runner.run(request, runner.open(request)).outputs)

    expected = linear((pixels.float() / 255).flatten(1)).detach()
    for each in (does, ""):
        torch.testing.assert_close(outputs(each), expected)
    (kept,) = probes.parts(plain, 4)
    assert torch.equal(kept, pixels.float() / 255)


def test_probes_that_are_too_large_to_keep_come_in_parts_of_whole_batches():
    whole = torch.cat(list(PreparedProbes(PIXELS, torch.device("cpu")).parts(Preprocessing(), 2)))
    a_probe = 12 * 4
    small = PreparedProbes(PIXELS, torch.device("cpu"), max_cached_bytes=9 * a_probe)
    parts = list(small.parts(Preprocessing(), 2))
    assert [len(part) for part in parts] == [2, 2, 2, 2, 2]
    assert torch.equal(torch.cat(parts), whole)
    two = PreparedProbes(PIXELS, torch.device("cpu"), max_cached_bytes=15 * a_probe)
    list(two.parts(Preprocessing(), 2))
    list(two.parts(Preprocessing(mean=(0.5,)), 2))
    assert len(two._cache) == 1
    (few,) = two.parts(Preprocessing(), 2, 4)
    (again,) = two.parts(Preprocessing(), 2, 4)
    assert again is few
    assert torch.equal(few, whole[:4])
    first = next(iter(two._cache))
    list(two.parts(Preprocessing(std=(0.5,)), 2, 4))  # for which there is no place left
    assert len(two._cache) == 2
    assert next(iter(two._cache)) == first
    with pytest.raises(ModelError, match="needs probes"):
        list(PreparedProbes(None, torch.device("cpu")).parts(Preprocessing(), 2))


@pytest.mark.parametrize(
    ("outputs", "reason"),
    [
        (lambda x: x.flatten(1) / 0, "not-finite"),
        (lambda x: x.flatten(1)[:-1], "wrong-shape"),
        (lambda x: x.flatten(1)[:, :0], "wrong-shape"),
        (lambda x: x.flatten(1)[:, : len(x)], "wrong-shape"),  # another width in the last batch
        (lambda x: {"a": x, "b": x}, None),
    ],
)
def test_a_model_that_returns_nonsense_is_refused_with_a_reason(outputs, reason):
    with pytest.raises(ModelError) as caught:
        run_inputs(outputs, torch.ones(10, 4), batch_size=8)
    assert caught.value.reason == reason


def test_the_reason_of_a_failure_is_that_of_the_error_not_of_its_words():
    words = "model must return finite numbers, 3 rows for a batch, 5 values a probe"
    assert _failure(ModelError(words), "run-failed").reason == "run-failed"
    assert _failure(ModelError("odd", reason="not-finite"), "run-failed").reason == "not-finite"
    assert _failure(RuntimeError(words), "load-failed").reason == "load-failed"
    hostile = ModelError("odd")
    hostile.reason = ["no", "text"]
    assert _failure(hostile, "run-failed").reason == "run-failed"
