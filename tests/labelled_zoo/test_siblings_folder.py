"""The folder of siblings: seeds, probes, fingerprints, and what is refused."""

import json

import pytest
import torch
from support.siblings import make_probes, network, train

from sac_fast.errors import FileFormatError, ModelError
from sac_fast.fingerprint import fingerprint
from sac_fast.labelled_zoo import siblings_folder
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.labelled_zoo.plan import Architecture
from sac_fast.labelled_zoo.siblings import make_siblings
from sac_fast.labelled_zoo.siblings_folder import SiblingFolder, draw_seeds, sibling_fingerprints
from sac_fast.verify.usual_seeds import is_usual_seed

pytestmark = pytest.mark.usefixtures("one_process")
PROBES = make_probes(0)


def make(out, train=train, count=3, **options):
    return make_siblings(
        train, out, count=count, probes=options.pop("probes", {"p": PROBES}), progress=False, **options
    )


# ---- seeds


@pytest.mark.parametrize("seed", [0, 1, 42, 1234, 3407, 2024, 20240131, 99999999, 123456789, 2**32 - 1, 3735928559])
def test_seeds_that_people_choose_are_usual(seed):
    assert is_usual_seed(seed)


def test_other_seeds_are_not():
    assert not any(map(is_usual_seed, (100_000_007, 711180361, 3023175482, 2**32 - 2)))


def test_usual_seeds_and_repetitions_are_not_drawn(monkeypatch):
    drawn = iter([42, 0, 20240131, 2718281828, 3023175482, 3023175482, 711180361, 1999999999])
    monkeypatch.setattr(siblings_folder.secrets, "randbelow", lambda below: next(drawn) if below == 2**32 else None)
    assert draw_seeds(2, [711180361]) == [3023175482, 1999999999]


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([42], "system's entropy.*got 42"),
        ([3023175482, 3023175482], "differ"),
        ([2**32 + 5], "below 2"),
        (["a"], "below"),
    ],
)
def test_a_folder_with_seeds_of_someones_choice_is_refused(tmp_path, seeds, message):
    make(tmp_path, count=1)
    index = json.loads((tmp_path / "siblings.json").read_text())
    index["task"]["seeds"] = seeds
    (tmp_path / "siblings.json").write_text(json.dumps(index))
    with pytest.raises(FileFormatError, match=message):
        make(tmp_path)


# ---- probes


def test_probes_of_a_later_run_need_the_network(tmp_path):
    make(tmp_path / "a", count=2)
    with pytest.raises(OutputFolderError, match="probes must be those of the first run"):
        make(tmp_path / "a", count=2, probes={"q": make_probes(1)})
    model = Architecture("support.siblings:network")
    make(tmp_path / "b", count=2, model=model)
    made = make(tmp_path / "b", count=2, model=model, probes={"q": make_probes(1)})
    assert (made["made"], made["failed"], made["probes"]) == ([], {}, ["p", "q"])
    prints = sibling_fingerprints(tmp_path / "b", make_probes(1).content_hash)
    torch.manual_seed(made["members"][0]["seed"])
    assert torch.allclose(prints[0].outputs, fingerprint(network(), make_probes(1)).outputs, rtol=0, atol=1e-6)
    with pytest.raises(OutputFolderError, match="probes 'q' must be the same"):
        make(tmp_path / "b", count=2, model=model, probes={"q": make_probes(2)})


def test_fingerprints_of_siblings_are_found_in_three_kinds_of_folders(tmp_path):
    hash_ = PROBES.content_hash
    made = [fingerprint(network(), PROBES, name=name) for name in ("a", "b", "c")]
    (tmp_path / "plain").mkdir()
    for found in made[:2]:
        found.save(tmp_path / "plain" / f"{found.name}.safetensors")
    fingerprint(network(), make_probes(1), name="z").save(tmp_path / "plain" / "z.safetensors")
    assert [found.name for found in sibling_fingerprints(tmp_path / "plain", hash_)] == ["a", "b"]
    members = tuple(
        ZooMember(name, role, role, "nets:a") for name, role in (("a", "source"), ("b", "sibling"), ("c", "sibling"))
    )
    zoo = LabelledZoo(tmp_path / "zoo", {}, {}, members, ("other", "p"))
    zoo.save()
    for found in made:
        found.save(zoo.fingerprint_file("p", found.name))
    assert [found.name for found in sibling_fingerprints(tmp_path / "zoo", hash_)] == ["b", "c"]
    for folder in ("plain", "zoo"):
        with pytest.raises(FileFormatError, match="must hold fingerprints of siblings on the probes"):
            sibling_fingerprints(tmp_path / folder, make_probes(2).content_hash)


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"train": 5}, TypeError, "train must be a function, got 5"),
        ({"train": None}, ValueError, "train must be given where no owned models are"),
        ({"train": "nowhere:train"}, ModelError, "cannot import 'nowhere'"),
        ({"count": 0}, ValueError, "count must be an integer in 1…10000, got 0"),
        ({"workers": 0}, ValueError, "workers must be an integer of at least 1, got 0"),
        ({"output_form": "logit"}, ValueError, "output_form must be one of .* got 'logit'"),
        ({"device": "gpu"}, ValueError, "device must be a torch device, got 'gpu'"),
        ({"model": "nets:a"}, TypeError, "model must be of type Architecture, got 'str'"),
        ({"owned": ["a.pt"]}, TypeError, "owned must be a sequence of ModelEntry, got 'str'"),
        ({"source": "mine.pt"}, ValueError, "source must go with model, which builds its network, got None"),
        ({"fork": "missing.pt"}, FileFormatError, "cannot read .*missing.pt"),
    ],
)
def test_wrong_arguments_write_nothing(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        make(tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    LabelledZoo(tmp_path, {}, {}, (ZooMember("source", "source", "source", "nets:a"),)).save()
    with pytest.raises(OutputFolderError, match=r"or one with a siblings\.json, got .*zoo\.json"):
        make(tmp_path)
    with pytest.raises(FileFormatError, match="cannot read"):
        SiblingFolder.load(tmp_path)
