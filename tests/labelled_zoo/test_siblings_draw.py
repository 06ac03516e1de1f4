"""The sibling that is released is the one of the committed draw, and everybody can repeat it."""

import hashlib
import json
import shutil

import pytest
import torch
from support.siblings import accurate, make_probes, network, train

from sac_fast.errors import FileFormatError
from sac_fast.fingerprint import Fingerprint
from sac_fast.labelled_zoo.engine import OutputFolderError, lock_folder
from sac_fast.labelled_zoo.siblings import make_siblings
from sac_fast.labelled_zoo.siblings_draw import DrawError, draw_source, verify_draw
from sac_fast.labelled_zoo.siblings_folder import SiblingFolder, sibling_fingerprints
from sac_fast.models import save_weights
from sac_fast.verify.siblings import sibling_test

pytestmark = pytest.mark.usefixtures("one_process")
PROBES = make_probes(0)


def make(out, train=accurate, count=5, **options):
    return make_siblings(train, out, count=count, probes={"p": PROBES}, progress=False, **options)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def change_index(folder, change):
    index = json.loads((folder / "siblings.json").read_text())
    change(index)
    (folder / "siblings.json").write_text(json.dumps(index))


@pytest.fixture
def drawn(tmp_path):
    made = make(tmp_path)
    return tmp_path, made, draw_source(tmp_path)


def test_the_commitment_stands_before_the_first_training(tmp_path):
    seen = []

    def looks(seed):
        seen.append(json.loads((tmp_path / "siblings.json").read_text())["task"])
        return train(seed)

    made = make(tmp_path, train=looks, count=2)
    assert [task["draw"]["commitment"] for task in seen] == [made["commitment"]] * 2
    assert [len(task["seeds"]) for task in seen] == [2, 2]
    secret = seen[0]["draw"]["seed"]
    assert len(secret) == 64
    assert made["commitment"] == "sha256:" + sha256("sac_fast commitment 1\n" + secret)


def test_drawn_is_the_member_with_the_smallest_key(drawn):
    """By the definition of the committed draw, written out anew."""
    folder, made, result = drawn
    digests = {member["name"]: member["details"]["weights"].removeprefix("sha256:") for member in made["members"]}
    secret = SiblingFolder.load(folder).draw["seed"]
    of_all = sha256("".join(digest + "\n" for digest in sorted(digests.values())))
    keys = {name: sha256(f"sac_fast committed draw 1\n{secret}\n{of_all}\n{d}") for name, d in digests.items()}
    assert result["source"] == min(keys, key=keys.get)
    assert result["weights"] == str(folder / "models" / f"{result['source']}.safetensors")
    accuracies = result["accuracies"]
    assert accuracies == {member["name"]: member["accuracy"] for member in made["members"]}
    above = sum(value > accuracies[result["source"]] for value in accuracies.values())
    assert result["accuracy_rank"] == 1 + above
    assert "exact" in result["effect"]


def test_the_drawn_one_is_the_source_and_no_sibling(drawn):
    folder, made, result = drawn
    zoo = SiblingFolder.load(folder)
    assert (zoo.source.name, zoo.source.role, zoo.source.origin) == (result["source"], "source", "source")
    names = [found.name for found in sibling_fingerprints(folder, PROBES.content_hash)]
    assert names == [m["name"] for m in made["members"] if m["name"] != result["source"]]
    assert Fingerprint.load(zoo.fingerprint_file("p", result["source"])).provenance["kind"] is None
    assert draw_source(folder) == result
    again = make(folder, count=6)
    assert again["made"] == ["sibling-06"]
    assert len(sibling_fingerprints(folder, PROBES.content_hash)) == 5
    assert verify_draw(folder)["problems"] == []


def test_every_member_can_be_drawn(tmp_path):
    """Over draws of other seeds the place of the source varies."""
    make(tmp_path, count=2)
    places = set()
    for secret in map(str, range(20)):
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path, copy, ignore=shutil.ignore_patterns("copy"))
        change_index(copy, lambda index, secret=secret: index["task"]["draw"].update(seed=secret))
        places.add(draw_source(copy)["source"])
        shutil.rmtree(copy)
    assert places == {"sibling-01", "sibling-02"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda index: index["task"]["draw"].update(seed="mine"), "the seed is not the one of the commitment"),
        (lambda index: index["task"]["draw"]["members"].popitem(), "the members are not those of the hash"),
        (lambda index: index["members"][0].update(role="sibling", origin="sibling") or
         index["members"][1].update(role="source", origin="source"), "the folder's source is"),
        (lambda index: index["task"]["draw"].update(choice="best"), "was picked as the best one, not drawn"),
    ],
)  # fmt: skip
def test_a_changed_record_does_not_hold(drawn, change, problem):
    folder, _, _ = drawn
    assert verify_draw(folder)["problems"] == []
    change_index(folder, change)
    assert any(problem in found for found in verify_draw(folder)["problems"])


def test_another_source_than_the_drawn_one_does_not_hold(drawn):
    folder, _, result = drawn
    other = next(name for name in result["accuracies"] if name != result["source"])
    change_index(folder, lambda index: index["task"]["draw"].update(drawn=other))
    assert f"the draw gives {result['source']}, not {other}" in verify_draw(folder)["problems"]


def test_exchanged_weights_do_not_hold_and_missing_ones_do(drawn):
    folder, _, result = drawn
    file = folder / "models" / f"{result['source']}.safetensors"
    file.unlink()
    assert verify_draw(folder)["problems"] == []
    save_weights(file, network())
    assert [f"the weights of {result['source']} are not those" in p for p in verify_draw(folder)["problems"]] == [True]


def test_the_best_is_the_most_accurate_and_not_called_exact(tmp_path):
    made = make(tmp_path)
    result = draw_source(tmp_path, choice="best")
    best = max(made["members"], key=lambda member: member["accuracy"])
    assert (result["source"], result["accuracy_rank"], result["choice"]) == (best["name"], 1, "best")
    assert "no longer exact" in result["effect"]
    assert "picked as the best one" in verify_draw(tmp_path)["problems"][0]
    with pytest.raises(DrawError, match=r"choice must be 'best', .*got 'committed'"):
        draw_source(tmp_path)


def result_against(folder):
    """A sibling test of a copy of the source, as the folder's files have the models."""
    zoo = SiblingFolder.load(folder)
    source = zoo.load_fingerprint("p", zoo.source)
    return sibling_test(source, sibling_fingerprints(folder, PROBES.content_hash), {"copy": source.outputs})


def test_every_result_says_that_the_source_was_the_best(tmp_path):
    make(tmp_path / "best")
    draw_source(tmp_path / "best", choice="best")
    assert [w for w in result_against(tmp_path / "best").warnings if "was chosen as" in w] == [
        "The source was chosen as the most accurate of 5 trainings: where the statistic depends on accuracy, "
        "p-values are not exact."
    ]
    make(tmp_path / "drawn")
    draw_source(tmp_path / "drawn")
    assert not [w for w in result_against(tmp_path / "drawn").warnings if "was chosen as" in w or "trained" in w]


def test_every_result_says_that_siblings_are_of_other_code_or_from_a_checkpoint(tmp_path, monkeypatch):
    save_weights(tmp_path / "half.safetensors", network())
    make(tmp_path / "out", train=lambda seed, checkpoint: accurate(seed), fork=tmp_path / "half.safetensors")
    monkeypatch.setattr("sac_fast.labelled_zoo.siblings_trainer.package_version", lambda: "9.9")
    make(tmp_path / "out", train=lambda seed, checkpoint: accurate(seed), fork=tmp_path / "half.safetensors", count=6)
    draw_source(tmp_path / "out")
    assert [w for w in result_against(tmp_path / "out").warnings if "trained" in w] == [
        "Source and siblings were trained with different library versions: they are not of one recipe.",
        "The siblings were trained again from a checkpoint of the source: they find what was extracted from the "
        "source's answers, not what was fine-tuned from its weights.",
    ]


def test_nothing_is_drawn_from_what_is_unfinished(tmp_path):
    failing = []

    def sometimes(seed):
        failing.append(seed)
        if len(failing) == 2:
            raise ArithmeticError
        return train(seed)

    make(tmp_path, train=sometimes, count=3)
    with pytest.raises(DrawError, match=r"all 3 siblings must be trained .* got 1 missing"):
        draw_source(tmp_path)
    with pytest.raises(DrawError, match="nothing was drawn yet"):
        verify_draw(tmp_path)
    make(tmp_path, train=sometimes, count=3)
    assert draw_source(tmp_path)["accuracy_rank"] is None
    with pytest.raises(DrawError, match="choice must be 'committed'"):
        draw_source(tmp_path, choice="best")


def test_equal_siblings_one_alone_and_unknown_accuracies_are_refused(tmp_path):
    def same(seed):
        torch.manual_seed(711180361)
        return network()

    make(tmp_path / "same", train=same, count=2)
    with pytest.raises(DrawError, match="got equal weights of 'sibling-01' and 'sibling-02'"):
        draw_source(tmp_path / "same")
    make(tmp_path / "one", count=1)
    with pytest.raises(DrawError, match="at least 2 siblings, got 1"):
        draw_source(tmp_path / "one")
    make(tmp_path / "unknown", train=train, count=2)
    with pytest.raises(DrawError, match="accuracies must be known of all siblings"):
        draw_source(tmp_path / "unknown", choice="best")


def test_other_folders_and_other_runs_are_refused(tmp_path):
    for call in (draw_source, verify_draw):
        with pytest.raises(FileFormatError, match="cannot read"):
            call(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    make(tmp_path / "out", count=2)
    with lock_folder(tmp_path / "out"), pytest.raises(OutputFolderError, match="one run at a time"):
        draw_source(tmp_path / "out")


@pytest.mark.parametrize("members", [None, [], {}, {"sibling-01": 5}, "text"])
def test_a_damaged_record_is_refused(drawn, members):
    folder, _, _ = drawn
    change_index(folder, lambda index: index["task"]["draw"].update(members=members))
    with pytest.raises(DrawError, match="must hold the record of a draw"):
        verify_draw(folder)
