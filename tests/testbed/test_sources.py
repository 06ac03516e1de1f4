"""Several sources of one task: what is planned for each, what a model is to another source, one tiny run end to end."""

import dataclasses
import json
import os
import signal
import threading
from collections import Counter

import pytest
import torch

from sac_fast.attacks.registry import ATTACKS
from sac_fast.cli.render.testbed import show_zoos
from sac_fast.errors import FileFormatError
from sac_fast.labelled_zoo import engine, trainer
from sac_fast.labelled_zoo.engine import OutputFolderError
from sac_fast.labelled_zoo.folder import LabelledZoo, ZooMember
from sac_fast.labelled_zoo.summary import summarise
from sac_fast.testbed import backbones, patches, plan, run_sources, sources
from sac_fast.testbed.sources import SOURCES, Source, SourcesSize

NAMES = tuple(plan.ARCHITECTURES)
SIZE = SourcesSize(images=1000, tuning=100, probes=16)
COUNTS = patches.Counts(
    defender=12, attacker=12, test=6, pool=40, surrogate=4, transfer=8, transfer_test=6, shares=(0.32, 0.32, 0.36)
)  # fmt: skip


def planned(source, size=SIZE, *, first=False):
    drawn = iter(range(10_000))
    return sources.plan_source(source, size, NAMES, lambda name: next(drawn), first=first)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_every_source_has_nineteen_siblings_every_attack_and_honest_models(source):
    models = planned(source)
    assert (models[0].role, models[0].architecture) == ("source", source.architecture)
    siblings = [m for m in models if m.role == "sibling"]
    assert len(siblings) == 19
    assert {(m.architecture, m.origin, m.data, m.backbone) for m in siblings} == {
        (source.architecture, "sibling", None, None)
    }
    assert {m.origin for m in models if m.role == "stolen"} == set(ATTACKS)
    assert Counter(m.origin for m in models if m.role == "independent") == {
        "same-data-same-architecture": 5, "other-data": 3,
    }  # fmt: skip
    assert len({m.seed for m in models}) == len({m.name for m in models}) == len(models)
    for m in models:
        ZooMember(m.name, m.role, m.origin, plan.model_spec(m.architecture))
        if m.role == "stolen" and ATTACKS[m.origin].starts_from == "source":
            assert m.architecture == source.architecture


def test_all_siblings_are_trained_in_the_first_two_thirds():
    models = planned(SOURCES[0])
    assert max(i for i, m in enumerate(models) if m.role == "sibling") < 2 * len(models) / 3


def test_the_first_source_trains_what_all_share():
    more = Counter(m.origin for m in planned(SOURCES[0], first=True)) - Counter(m.origin for m in planned(SOURCES[0]))
    assert more == {"same-data": 2, "other-data": 2, "other-classes": 3, "other-backbone": 6}
    unrelated = [m for m in planned(SOURCES[0], first=True) if m.origin == "other-backbone"]
    assert {(m.backbone, m.data) for m in unrelated} == {("unrelated", "defender")}


def test_sources_of_the_task_backbone_start_from_the_public_model():
    models = planned(SOURCES[1], SourcesSize(images=1000, tuning=100, probes=16, pretrained=True))
    assert {m.backbone for m in models if m.role in ("source", "sibling")} == {"public"}
    honest = [m for m in models if m.origin == "same-backbone"]
    assert Counter((m.backbone, m.data) for m in honest) == {("public", "defender"): 4, ("public", "attacker"): 4}
    assert {m.backbone for m in models if m.origin == "same-data-same-architecture"} == {None}
    students = {m.backbone for m in models if m.role == "stolen" and ATTACKS[m.origin].starts_from == "student"}
    assert students == {"public"}
    assert {m.architecture for m in models if m.role == "stolen"} == {"vgg", "resnet", "mobilenet"}


VGG_A, VGG_B, RESNET_A = Source("vgg", "a"), Source("vgg", "b"), Source("resnet", "a")
# Architecture, side of its home's data, public model; home; source -> what it is to that source.
KINDS = [
    ("vgg", "defender", None, VGG_A, VGG_A, "same-data-same-architecture"),
    ("vgg", "defender", None, VGG_A, RESNET_A, "same-data"),
    ("vgg", "defender", None, VGG_A, VGG_B, "other-data"),
    ("vgg", "attacker", None, VGG_A, VGG_B, "same-data-same-architecture"),
    ("vgg", "attacker", None, VGG_B, RESNET_A, "same-data"),
    ("resnet", "attacker", None, VGG_A, RESNET_A, "other-data"),
    ("vgg", "transfer", None, VGG_A, RESNET_A, "other-classes"),
    ("vgg", "defender", "unrelated", VGG_A, VGG_B, "other-backbone"),
    ("vgg", "defender", "public", VGG_A, VGG_B, "same-backbone"),
    ("resnet", "defender", "public", RESNET_A, VGG_A, "same-data"),
    ("resnet", "defender", "public", RESNET_A, VGG_B, "other-data"),
]


@pytest.mark.parametrize(("architecture", "data", "backbone", "home", "source", "kind"), KINDS)
def test_what_a_model_is_to_another_source(architecture, data, backbone, home, source, kind):
    details = {"kind": architecture, "data": data} | ({"backbone": backbone} if backbone else {})
    member = ZooMember("m", "sibling", "sibling", "a:b", details=details)
    assert sources.relative_kind(member, home, source) == kind


def test_seeds_are_drawn_once_from_the_systems_entropy(tmp_path):
    drawn = run_sources.Seeds(tmp_path / "seeds.json", None)
    first = [drawn.within("vgg-a")(f"sibling-{i}") for i in range(20)]
    assert len(set(first)) == 20
    drawn.save()
    again = run_sources.Seeds(tmp_path / "seeds.json", None)
    assert [again(f"vgg-a/sibling-{i}") for i in range(20)] == first
    assert run_sources.Seeds(tmp_path / "other.json", None)("vgg-a/sibling-0") != first[0]
    assert run_sources.Seeds(tmp_path / "x", 3)("a") == run_sources.Seeds(tmp_path / "y", 3)("a")
    for text in ("[1]", '{"a": -1}', '{"a": "1"}', "{", "[" * 100_000):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(FileFormatError, match="must map names to seeds"):
            run_sources.Seeds(tmp_path / "bad.json", None)


@pytest.fixture(scope="module")
def task():
    return patches.make_patches(0, COUNTS, classes=("brick", "coffee", "ihc"), transfer_classes=("coins", "cell"))


def test_halves_share_no_image_and_have_the_same_probes(task):
    a, b = task.on_half("a"), task.on_half("b")
    sides = [{image.tobytes() for image in side.pixels} for side in (a.defender, b.defender, a.attacker, b.attacker)]
    for index, side in enumerate(sides):
        assert not any(side & other for other in sides[:index])
    assert (a.pool, a.test, b.pool, b.test) == (task.pool, task.test, task.pool, task.test)
    assert [len(side) for side in (b.defender, b.attacker)] == [36, 36]
    assert (a.facts["half"], b.facts["half"]) == ("a", "b")
    with pytest.raises(ValueError, match="half must be 'a' or 'b', got 'c'"):
        task.on_half("c")


TINY = SourcesSize(
    images=64, tuning=32, probes=16, siblings=2, jpeg_probes=8, honest=1, pretrained=True, backbone_images=64,
    thefts={"finetune-all": (0,), "extract-labels": (0, 1), "transfer-last": (0,)},
)  # fmt: skip
KINDS_OF = {"vgg": {"width": 4}, "resnet": {"width": 4}, "mobilenet": {"width": 4}}


def train(out, task, **options):
    return run_sources.run_sources(
        out, task, size=TINY, sources=(VGG_A, Source("resnet", "b")), architectures=KINDS_OF, progress=False, **options
    )


@pytest.fixture(scope="module")
def made(task, tmp_path_factory):
    """Two miniatures, one run after the other, in this process: worker processes are tested in test_testbed_run."""

    def in_this_process(jobs, make, start, arguments, *, workers=None, after=None):
        start(*arguments, threading.Event())
        for job in jobs:
            yield job, make(job)

    out = tmp_path_factory.mktemp("sources") / "new"
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, backbones):
            patch.setattr(module, "in_processes", in_this_process)
        patch.setattr(trainer, "_trainer", None)
        first = train(out, task, only=["vgg-a"])
        assert set(first) == {"vgg-a"}
        yield out, train(out, task)
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, handler)


def test_one_complete_zoo_a_source(made):
    out, zoos = made
    assert list(zoos) == ["vgg-a", "resnet-b"]
    for name, zoo in zoos.items():
        assert zoo == LabelledZoo.load(out / name)
        assert zoo.probes == ("plain", "jpeg-q15")
        assert [len(zoo.load_probes(probes)) for probes in zoo.probes] == [16, 8]
        assert len(zoo.of_role("sibling")) == 2
        assert {m.origin for m in zoo.of_role("stolen")} == set(TINY.thefts)
        for member in zoo.members:
            assert zoo.weights_file(member).exists()
            for probes in zoo.probes:
                known = zoo.load_fingerprint(probes, member)
                assert known.probe_hash == zoo.load_probes(probes).content_hash
                assert known.kind == (member.origin if member.role in ("sibling", "independent") else None)
    seeds = json.loads((out / "seeds.json").read_text())
    assert len(set(seeds.values())) == len(seeds)
    for name, zoo in zoos.items():
        own = [m for m in zoo.members if "from" not in m.details]
        assert all(seeds[f"{name}/{m.name}"] == m.seed for m in own)
    assert {path.stem for path in (out / "backbones").iterdir()} == {
        "public-vgg", "public-resnet", "public-mobilenet", "unrelated-vgg",
    }  # fmt: skip


def test_honest_models_are_shared_by_their_kind(made):
    zoos = made[1]
    theirs = {m.name: m for m in zoos["resnet-b"].members if "from" in m.details}
    back = {m.name: m.origin for m in zoos["vgg-a"].members if "from" in m.details}
    assert back["resnet-b.source"] == back["resnet-b.sibling-02-resnet"] == "other-data"
    assert back["resnet-b.same-data-same-architecture-01-resnet"] == "other-data"
    assert theirs["vgg-a.source"].origin == "other-data"
    assert theirs["vgg-a.sibling-01-vgg"].origin == "other-data"
    assert theirs["vgg-a.other-classes-01-vgg"].origin == "other-classes"
    assert theirs["vgg-a.other-backbone-01-vgg"].origin == "other-backbone"
    assert all(m.role == "independent" for m in theirs.values())
    assert not any(name.startswith("vgg-a.extract") or name.startswith("vgg-a.finetune") for name in theirs)
    mine, other = (
        zoos["vgg-a"].weights_file("sibling-01-vgg"),
        zoos["resnet-b"].weights_file("vgg-a.sibling-01-vgg"),
    )
    assert os.path.samefile(mine, other)
    outputs = [zoos["vgg-a"].load_fingerprint("plain", "sibling-01-vgg").outputs.tolist(),
               zoos["resnet-b"].load_fingerprint("plain", "vgg-a.sibling-01-vgg").outputs.tolist()]  # fmt: skip
    assert outputs[0] == outputs[1]


def test_a_finished_run_trains_nothing_again(made, task, monkeypatch):
    out, zoos = made
    before = {path: path.stat().st_mtime_ns for path in out.rglob("models/*.safetensors")}

    def nothing_left(jobs, *rest, **options):
        assert not list(jobs)
        yield from ()

    monkeypatch.setattr(engine, "in_processes", nothing_left)
    monkeypatch.setattr(backbones, "in_processes", nothing_left)
    again = train(out, task)
    for name, zoo in zoos.items():
        assert {m.name: m for m in again[name].members} == {m.name: m for m in zoo.members}
    assert {path: path.stat().st_mtime_ns for path in out.rglob("models/*.safetensors")} == before


def test_refusals(task, tmp_path):
    for siblings in (-1, 10_001, 10**400):
        with pytest.raises(ValueError, match="siblings must be in 0…10000"):
            dataclasses.replace(TINY, siblings=siblings)
    with pytest.raises(ValueError, match="only must name some of vgg-a, resnet-b, got 'vgg-b'"):
        train(tmp_path / "new", task, only=["vgg-b"])
    with pytest.raises(ValueError, match="workers must be"):
        train(tmp_path / "new", task, workers=0)
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputFolderError, match="out must be a folder, got the file"):
        train(tmp_path / "file", task)


def test_command_line_refuses_nonsense(tmp_path, run):
    for options in (["--task", "nonsense"], ["--task", "faces", "--only", "vgg-b", "--quick"]):
        code, _, err = run("testbed", "sources", "--out", tmp_path / "x", *options, "--quiet")
        assert code == 1
        assert "must" in err
        assert not (tmp_path / "x").exists()


def test_summaries_of_all_sources_are_shown(made, capsys):
    summaries = {name: summarise(zoo) for name, zoo in made[1].items()}
    show_zoos(summaries, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"schema": "sac_fast.testbed.sources/1", "sources": summaries}
    show_zoos(summaries, as_json=False)
    out = capsys.readouterr().out
    assert "source vgg-a" in out
    assert "source resnet-b" in out
    assert out.count("sibling      sibling") == 2
