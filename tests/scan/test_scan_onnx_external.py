"""Weights of ONNX models in files beside them: a scan notices when they change."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save_model
from support import scan_models

from sac_fast.models import ModelEntry
from sac_fast.scan.jobs import WorkerSettings
from sac_fast.scan.onnx_external import external_files, names_of, with_external
from sac_fast.scan.protocol import failed
from sac_fast.scan.run import scan_models as scan
from sac_fast.store import ModelStore

WEIGHTS = np.arange(240, dtype=np.float32).reshape(48, 5) / 100
SETTINGS = WorkerSettings(timeout=60)


def graph(name="W"):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("MatMul", ["f", name], ["y"])]
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, shape)
        for end, shape in (("x", ["n", 3, 4, 4]), ("y", ["n", 5]))
    ]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(WEIGHTS, name)])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def with_weights_in(path, location, name="W"):
    save_model(graph(name), str(path), save_as_external_data=True, location=location, size_threshold=0)
    return path


def test_the_names_of_external_files_are_told_from_the_bytes(tmp_path):
    assert external_files(with_weights_in(tmp_path / "m.onnx", "m.bin")) == ("m.bin",)
    long = "n" * 200 + ".bin"  # its length takes two bytes
    assert external_files(with_weights_in(tmp_path / "l.onnx", long)) == (long,)
    two = graph()
    second = numpy_helper.from_array(WEIGHTS, "V")
    two.graph.initializer.append(second)
    for tensor, location in zip(two.graph.initializer, ("b/w", "a.é"), strict=True):
        tensor.data_location = TensorProto.EXTERNAL
        tensor.ClearField("raw_data")
        for key, value in (("offset", "0"), ("location", location), ("length", "960")):
            tensor.external_data.add(key=key, value=value)
    (tmp_path / "two.onnx").write_bytes(two.SerializeToString())
    assert external_files(tmp_path / "two.onnx") == ("a.é", "b/w")
    save_model(graph("allocation"), str(tmp_path / "inside.onnx"))
    assert external_files(tmp_path / "inside.onnx") == ()
    assert external_files(tmp_path / "nowhere.onnx") == ()
    os.mkfifo(tmp_path / "pipe.onnx")
    assert external_files(tmp_path / "pipe.onnx") == ()


@pytest.mark.parametrize(
    "strange",
    [
        b"\x6a\x11\x12\x03m.b\x0a\x08location\x12\x00",  # a value before the key
        b"\x6a\x14\x0a\x08location\x12\x03m.b\x12\x03n.b",  # two values: the last one counts
        b"\x6a\x10\x0a\x88\x00location\x12\x03m.b",  # a length that is written too long
        b"\x6a\x0f\x0a\x08location\x12\x03m\xffb",  # no text
        b"\x0a\x08location",  # perhaps a tensor's name, perhaps not
    ],
)
def test_what_no_exporter_writes_cannot_be_determined(tmp_path, strange):
    usual = b"\x6a\x0f\x0a\x08location\x12\x03m.b"
    (tmp_path / "m.onnx").write_bytes(usual + usual)
    assert external_files(tmp_path / "m.onnx") == ("m.b",)
    (tmp_path / "m.onnx").write_bytes(usual + strange)
    assert external_files(tmp_path / "m.onnx") is None
    # also where it lies across two pieces of a large file
    for before in range((1 << 20) - 10, (1 << 20) + 2):
        (tmp_path / "m.onnx").write_bytes(b"z" * before + strange)
        assert external_files(tmp_path / "m.onnx") is None, before


def test_a_request_tells_changed_weights_and_gives_the_names_back(tmp_path):
    path = tmp_path / "m.onnx"
    assert with_external("r", path, ()) == "r"
    assert with_external("r", path, None) is None
    assert with_external("r", path, ("n" * 5000,)) is None
    missing = with_external("r", path, ("a b", "c\0"))
    (tmp_path / "a b").write_bytes(b"1")
    there = with_external("r", path, ("a b", "c\0"))
    assert there != missing
    assert there == with_external("r", path, names_of(there))
    assert names_of(there) == ("a b", "c\0")
    for other in (None, "", "r", "r x [", "r x 1", "r x " + "[" * 4000):
        assert names_of(other) == ()


class Runs:
    """An executor without workers, on which every model fails."""

    def __init__(self, format="onnx"):
        self.jobs, self.format = [], format

    def capacity(self):
        return 1

    def submit(self, job):
        self.jobs.append(job)

    def poll(self, seconds):
        done, self.jobs = self.jobs, []
        return [(job, failed("odd", "always", self.format)) for job in done]

    def pending(self):
        return len(self.jobs)

    def cancel_queued(self):
        pass

    def close(self):
        pass


def test_a_scan_runs_a_model_again_whose_external_weights_changed(tmp_path):
    folder = tmp_path / "zoo"
    folder.mkdir()
    with_weights_in(folder / "m.onnx", "m.dat")
    with_weights_in(folder / "odd name", "n.dat")
    save_model(graph(), str(folder / "whole.onnx"))
    entries = [ModelEntry(name, folder / name, root=folder) for name in ("m.onnx", "odd name", "whole.onnx")]

    def known():
        seen = set()
        scan(
            entries,
            scan_models.probes(),
            store,
            workers=Runs(),
            on_event=lambda e: seen.add((e["name"], "known" in e)),
        )
        return sorted(name for name, old in seen if old)

    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        assert known() == []
        assert known() == ["m.onnx", "whole.onnx"]  # of the third, the weights were not looked for in time
        (folder / "m.dat").write_bytes((WEIGHTS * -3).tobytes())
        assert known() == ["whole.onnx"]
        assert known() == ["m.onnx", "whole.onnx"]
        (folder / "m.dat").unlink()
        assert known() == ["whole.onnx"]


def test_with_real_workers_the_new_weights_are_in_the_store(tmp_path):
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "zoo"
    folder.mkdir()
    entries = [ModelEntry("m", with_weights_in(folder / "m.onnx", "m.dat"), root=folder)]
    probes = scan_models.probes()
    found = []
    with ModelStore.open(tmp_path / "store", write=True, create=True) as store:
        for factor in (1, 1, -3):
            if factor != 1:
                (folder / "m.dat").write_bytes((WEIGHTS * factor).tobytes())
            summary = scan(entries, probes, store, workers=1, settings=SETTINGS)
            record = store.record_for("m")
            found.append((summary.done, summary.known, record.model_hash, store.outputs(record).clone()))
    assert [(done, known) for done, known, *_ in found] == [(1, 0), (0, 1), (1, 0)]
    assert found[0][2] == found[1][2] != found[2][2]
    np.testing.assert_allclose(found[2][3], found[0][3] * -3, rtol=1e-5)
