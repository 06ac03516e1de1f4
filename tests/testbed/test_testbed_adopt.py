"""Checkpoints in the reference scripts' folders as a labelled zoo."""

import json

import numpy as np
import pytest
import torch

from sac_fast.errors import FileFormatError, ModelError
from sac_fast.labelled_zoo.folder import LabelledZoo
from sac_fast.labelled_zoo.images import Images
from sac_fast.models import Preprocessing, load_model, weights_hash
from sac_fast.testbed import adopt as module
from sac_fast.testbed.adopt import Architecture, adopt, origin_of

SPEC = "sac_fast.testbed.architectures:"
VGG = Architecture(f"{SPEC}vgg", {"classes": 3, "width": 4})
RESNET = Architecture(f"{SPEC}resnet", {"classes": 3, "width": 4})
FILES = {
    "teacher/teacher.pth": VGG,
    "irrelevant/irrelevant0.pth": VGG,
    "irrelevant/irrelevant12.pth": RESNET,
    "model_extract/model_extract3.pth": RESNET,
    "model_extract/model_extract_kd3.pth": RESNET,
    "adv_train/adv_train7.pth": RESNET,
    "finetune/finetune12.pth": VGG,
    "finetune2/finetune2.pth": VGG,
    "prune2/prune_model_0.pth": VGG,
}


@pytest.fixture
def scripts(tmp_path):
    """The folders as the scripts leave them, with a whole saved model and a file of another kind among them."""
    for seed, (name, architecture) in enumerate(FILES.items()):
        path = tmp_path / "scripts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            state = load_model(architecture.spec, kwargs=architecture.arguments).state_dict()
        if "adv_train" in name:  # saved under DataParallel
            state = {f"module.{key}": value for key, value in state.items()}
        torch.save(state, path)
    (tmp_path / "scripts/finetune/notes.txt").write_text("not a checkpoint")
    (tmp_path / "scripts/finetune/finetune_log.pth").write_bytes(b"another name")
    return tmp_path / "scripts"


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return Images(rng.integers(0, 256, (30, 16, 16, 3), dtype=np.uint8), np.arange(30) % 3)


def made(scripts, out, images, **options):
    settings = {"null_kind": "same-data", "probes": 10, **options}
    return adopt(scripts, out, images, ("a", "b", "c"), [VGG, RESNET], **settings)


def test_every_checkpoint_becomes_a_member_with_weights_and_fingerprints(scripts, images, tmp_path):
    adopted = made(scripts, tmp_path / "zoo", images, preprocessing=Preprocessing(mean=(0.5,), std=(0.25,)))
    zoo = adopted.zoo
    assert adopted.left_out == ()
    assert LabelledZoo.load(tmp_path / "zoo") == zoo
    assert {(m.name, m.role, m.origin, m.architecture.split(":")[1]) for m in zoo.members} == {
        ("source", "source", "source", "vgg"),
        ("irrelevant-irrelevant0", "independent", "same-data", "vgg"),
        ("irrelevant-irrelevant12", "independent", "same-data", "resnet"),
        ("model_extract-model_extract3", "stolen", "extract-labels", "resnet"),
        ("model_extract-model_extract_kd3", "stolen", "extract-distill", "resnet"),
        ("adv_train-adv_train7", "stolen", "extract-adversarial", "resnet"),
        ("finetune-finetune12", "stolen", "finetune-last", "vgg"),
        ("finetune2-finetune2", "stolen", "finetune-all", "vgg"),
        ("prune2-prune_model_0", "stolen", "fine-prune", "vgg"),
    }
    for member in zoo.members:
        architecture = FILES[member.details["file"]]
        original = load_model(
            architecture.spec, weights=scripts / member.details["file"], kwargs=architecture.arguments
        )
        for name in zoo.probes:
            assert zoo.load_fingerprint(name, member).model_hash == weights_hash(original)
        with torch.inference_mode():
            pixels = torch.from_numpy(images.pixels).permute(0, 3, 1, 2) / 255
            wanted = original.eval()((pixels - 0.5) / 0.25).argmax(1).numpy() == images.labels
        assert member.accuracy == pytest.approx(wanted.mean())
    wrong = zoo.load_fingerprint("misclassified", "source")
    assert (wrong.outputs.argmax(1).numpy() != zoo.load_probes("misclassified").labels).all()


@pytest.mark.parametrize(
    ("folder", "stem", "expected"),
    [
        ("finetune", "finetune9", ("stolen", "finetune-all")),
        ("finetune", "finetune10", ("stolen", "finetune-last")),
        ("prune", "prune_model_4", ("stolen", "fine-prune")),
        ("irrelevant", "irrelevant3", ("independent", "other-data")),
        ("teacher", "anything", ("source", "source")),
        ("finetune", "finetune", None),
        ("model_extract", "model_extract", None),
        ("model", "vgg_model", ("source", "source")),
        ("model", "clean_model_12", ("independent", "other-data")),
        ("model", "student_model_1_7", ("stolen", "extract-labels")),
        ("model", "student_model_kd_7", ("stolen", "extract-distill")),
        ("model", "student_model_7", None),
        ("adv_train", "adv_3", ("stolen", "extract-adversarial")),
        ("finetune_10", "finetune4", ("stolen", "finetune-all")),
        ("finetune_model", "finetune_cifar10c_4", ("stolen", "transfer-all")),
        ("finetune_model", "finetune_C_4", ("stolen", "transfer-all")),
        ("finetune_model", "CIFAR10C_4", ("independent", "other-data")),
        ("finetune_model", "CIFAR1004", ("independent", "other-classes")),
        ("Fine-Pruning", "prune_model_4", ("stolen", "fine-prune")),
    ],
)
def test_names_tell_the_origin(folder, stem, expected):
    assert origin_of(folder, stem, "other-data") == expected


def test_a_model_saved_whole_is_refused_or_left_out_but_never_run(scripts, images, tmp_path):
    whole = load_model(VGG.spec, kwargs=VGG.arguments)
    torch.save(whole, scripts / "prune2" / "prune_model_1.pth")
    with pytest.raises(FileFormatError, match=r"prune_model_1\.pth.*needs code to run"):
        made(scripts, tmp_path / "zoo", images)
    assert not (tmp_path / "zoo").exists()
    adopted = made(scripts, tmp_path / "zoo", images, skip_bad=True)
    assert [file for file, _ in adopted.left_out] == ["prune2/prune_model_1.pth"]
    assert len(adopted.zoo.members) == len(FILES)


def test_names_that_no_member_can_have_are_refused_or_left_out(scripts, images, tmp_path):
    bad = ["irrelevant0.pt", "network (2).pth", "network\x1b[31m.pth"]
    for name in bad:
        (scripts / "irrelevant" / name).write_bytes((scripts / "irrelevant/irrelevant0.pth").read_bytes())
    with pytest.raises(FileFormatError, match=r"irrelevant0\.pth' must have a name of its own"):
        made(scripts, tmp_path / "zoo", images)
    adopted = made(scripts, tmp_path / "zoo", images, skip_bad=True)
    # Of the two of one name the first in the order of names is taken.
    assert {file: "must be renamed" in reason for file, reason in adopted.left_out} == {
        "irrelevant/irrelevant0.pth": False,
        "irrelevant/network (2).pth": True,
        "irrelevant/network\x1b[31m.pth": True,
    }
    assert len(adopted.zoo.members) == len(FILES)


def test_weights_that_fit_nothing_are_named_with_every_try(scripts, images, tmp_path):
    torch.save({"weight": torch.zeros(2)}, scripts / "irrelevant" / "irrelevant1.pth")
    with pytest.raises(ModelError, match=r"irrelevant1\.pth' must fit one of the architectures.*:vgg.*:resnet"):
        made(scripts, tmp_path / "zoo", images)


def test_there_must_be_one_teacher(scripts, images, tmp_path):
    (scripts / "teacher/teacher.pth").rename(scripts / "teacher/teacher.txt")
    with pytest.raises(
        FileFormatError, match=r"teacher' must hold one checkpoint \(\.pth, \.pt, \.safetensors\), got 0"
    ):
        made(scripts, tmp_path / "zoo", images)
    with pytest.raises(FileFormatError, match="must be an existing folder"):
        made(scripts / "nothing", tmp_path / "zoo", images)


def test_nothing_is_overwritten(scripts, images, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="out must not exist yet or be an empty folder"):
        made(scripts, tmp_path, images)
    with pytest.raises(ValueError, match="null_kind must be one of same-data-same-"):
        made(scripts, tmp_path / "zoo", images, null_kind="unknown")
    with pytest.raises(ValueError, match="architectures must name at least one"):
        adopt(scripts, tmp_path / "zoo", images, ("a",), [], null_kind="same-data")


def test_command_line(scripts, images, tmp_path, run):
    import h5py

    with h5py.File(tmp_path / "test.h5", "w") as file:
        file["data"] = images.pixels.astype(np.float32) / 255
        file["label"] = images.labels
    arguments = [
        "testbed", "adopt", scripts, "--out", tmp_path / "zoo", "--images", tmp_path / "test.h5", "--image-size", 16,
        "--model", VGG.spec, "--model", RESNET.spec, "--model-args", json.dumps(dict(VGG.arguments)),
        "--null-kind", "same-data", "--probe-count", 8, "--quiet",
    ]  # fmt: skip
    code, out, err = run(*arguments, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["models"] == len(FILES)
    assert len(LabelledZoo.load(tmp_path / "zoo").load_probes("plain")) == 8
    code, _, err = run(*arguments)
    assert code == 1
    assert "must not exist yet" in err
    code, _, err = run(*arguments[:-1], "--model-args", "{}", "--model-args", "{}", "--model-args", "{}")
    assert code == 2
    assert module.__name__ not in err
