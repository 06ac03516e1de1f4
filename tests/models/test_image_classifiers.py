"""Folders of a model hub: a network of the list with checked numbers, and nothing else that config.json asks for."""

import atexit
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import sac_fast
from sac_fast.errors import ModelError, ModelRefusedError
from sac_fast.models import image_classifiers

# not imported here: that takes a second, and every process of a run reads this file
is_missing = importlib.util.find_spec("transformers") is None
pytestmark = pytest.mark.skipif(is_missing, reason="needs the extra transformers")

TINY = {
    "resnet": {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"},
    "vit": {
        **{"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16},
        **{"image_size": 16, "patch_size": 8},
    },
    "convnext": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "patch_size": 2},
}


@functools.cache
def written(kind):
    """A tiny network, and its folder as `save_pretrained` writes it."""
    folder = Path(tempfile.mkdtemp(prefix="classifier-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    torch.manual_seed(0)
    model = image_classifiers.build_classifier(f"hf:{kind}", {**TINY[kind], "num_labels": 3}).eval()
    model.save_pretrained(folder)
    return model, folder


def write_folder(folder, kind="resnet", **more):
    """The folder of a tiny network, with other values in its configuration; ``...`` takes one away."""
    model, made = written(kind)
    shutil.copytree(made, folder)
    config = json.loads((folder / "config.json").read_text()) | more
    (folder / "config.json").write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))
    return model


def opened(folder, **options):
    entry = sac_fast.ModelEntry(
        "m", image_classifiers.classifier_weights(folder), architecture="hf:", root=folder, **options
    )
    return sac_fast.open_model(entry)


@pytest.mark.parametrize("kind", TINY)
def test_a_folder_gives_what_the_library_gives(tmp_path, kind):
    model = write_folder(tmp_path / "m", kind)
    inputs = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(inputs).logits
    with opened(tmp_path / "m") as found:
        assert (found.architecture, found.kwargs, found.format) == ("hf:", {}, "safetensors")
        assert f"built as hf:{kind} from config.json" in found.notes
        torch.testing.assert_close(found.run(inputs), expected, rtol=1e-5, atol=1e-5)
        assert found.model_hash == sac_fast.weights_hash(model)


@pytest.mark.parametrize("kind", image_classifiers.KINDS)
def test_every_kind_is_a_classifier_of_the_library(kind):
    import transformers
    from transformers.models.auto import modeling_auto

    names = modeling_auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES[kind]
    expected = image_classifiers.KINDS[kind] + "ForImageClassification"
    assert expected in (names if isinstance(names, (list, tuple)) else (names,))
    assert hasattr(transformers, image_classifiers.KINDS[kind] + "Config")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "got auto_map"),
        ({"quantization_config": {"bits": 4}}, "got quantization_config"),
        ({"backbone": "someone/else"}, "got backbone"),
        ({"model_type": "timm_wrapper"}, "model_type of .* must be one of beit"),
        ({"model_type": ["resnet"]}, "model_type of .* must be one of beit"),
        ({"architectures": ["ResNetModel"]}, r"architectures of .* must be \['ResNetForImageClassification'\]"),
        ({"hidden_sizes": [8, 10**9]}, "hidden_sizes must be at most 16,384, got 1,000,000,000"),
        ({"depths": [1, 10**4]}, "depths must be at most 256, got 10,000"),
        ({"embedding_size": 1e9}, "embedding_size must be a finite number up to"),
        ({"hidden_act": "/etc/passwd"}, "hidden_act must be a number or one of"),
        ({"hidden_act": "evil.module:f"}, "hidden_act must be a number or one of"),
        ({"hidden_sizes": [[[[8]]]]}, "hidden_sizes must be at most 64 items"),
        ({"hidden_sizes": {"8": 8}}, "hidden_sizes must be numbers or words, got dict"),
        ({"id2label": ["a"]}, "id2label of .* must be an object, got list"),
        ({"num_labels": 10**9, "id2label": ...}, "num_labels must be at most"),
    ],
)
def test_what_a_configuration_must_not_ask_for(tmp_path, more, message):
    write_folder(tmp_path / "m", **more)
    with pytest.raises(ModelRefusedError, match=message):
        opened(tmp_path / "m")


def test_other_sizes_than_the_weights_are_refused_before_memory_is_taken(tmp_path):
    write_folder(tmp_path / "m", hidden_sizes=[16384, 16384])  # gigabytes
    with pytest.raises(ModelError, match="do not fit hf:resnet"):
        opened(tmp_path / "m")


def test_values_that_do_not_go_together_are_one_error(tmp_path):
    write_folder(tmp_path / "m", "vit", patch_size=0)
    with pytest.raises(ModelError, match=r"hf:vit.* failed with arguments"):
        opened(tmp_path / "m")


def test_adapters_other_weights_and_missing_files(tmp_path):
    write_folder(tmp_path / "m")
    (tmp_path / "m/adapter_config.json").write_text("{}")
    with pytest.raises(ModelRefusedError, match="got an adapter beside it"):
        opened(tmp_path / "m")
    (tmp_path / "m/adapter_config.json").unlink()
    (tmp_path / "m/config.json").rename(tmp_path / "other.json")
    # no fault of the machine: the weights are there, so a scan keeps the refusal
    with pytest.raises(
        ModelRefusedError, match=r"m/config.json' must describe the network of 'model.safetensors' .* got no such file"
    ) as caught:
        opened(tmp_path / "m")
    assert caught.value.reason == "no-architecture"
    os.symlink(tmp_path / "other.json", tmp_path / "m/config.json")
    with pytest.raises(ModelRefusedError, match="link to a file outside"):
        opened(tmp_path / "m")
    (tmp_path / "m/model.safetensors").rename(tmp_path / "m/pytorch_model.bin")
    with pytest.raises(ModelError, match=r"must hold model.safetensors or its index"):
        image_classifiers.classifier_weights(tmp_path / "m")
    entry = sac_fast.ModelEntry("m", tmp_path / "m/pytorch_model.bin", architecture="hf:")
    with pytest.raises(ModelRefusedError, match=r"must be model.safetensors or its index, got 'pytorch_model.bin'"):
        sac_fast.open_model(entry)


def test_arguments_by_hand():
    model = sac_fast.load_model("hf:resnet", kwargs={**TINY["resnet"], "num_labels": 4})
    assert model.classifier[1].out_features == 4
    for spec, kwargs, message in (
        ("hf:bert", {}, "must be 'hf:' and one of beit"),
        ("hf:resnet", {"auto_map": {}}, "arguments of 'hf:resnet' must be of its configuration, got auto_map"),
        ("hf:resnet", {"embedding_size": 10**6}, "embedding_size must be at most"),
    ):
        with pytest.raises(ModelError, match=message):
            sac_fast.load_model(spec, kwargs=kwargs)


def test_commands_take_a_folder_and_run_it_in_a_worker(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = write_folder(tmp_path / "m")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    sac_fast.ProbeSet.from_arrays(pixels).save("p.safetensors")
    code, _, err = run("fingerprint", "m", "--probes", "p.safetensors", "--out", "f.safetensors", "-q")
    assert code == 0, err
    found = sac_fast.Fingerprint.load("f.safetensors")
    with torch.no_grad():
        expected = model(torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255).logits
    torch.testing.assert_close(found.outputs, expected, rtol=1e-4, atol=1e-4)
    assert found.model_hash == sac_fast.weights_hash(model)
    assert found.provenance["file"]["name"] == "model.safetensors"


@pytest.mark.slow  # 6 s of processor time: the library is imported in a worker
def test_a_scan_takes_folders(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "m")
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), dtype=np.uint8)
    sac_fast.ProbeSet.from_arrays(pixels).save("p.safetensors")
    code, out, err = run(
        *("scan", ".", "--probes", "p.safetensors", "--store", "store", "--architecture", "hf:", "--json", "-q")
    )
    assert code == 0, err
    done = {event["name"]: event for event in map(json.loads, out.splitlines()) if event.get("event") == "model"}
    assert done["m/model.safetensors"]["status"] == "done"


@pytest.mark.slow  # 5 s, likewise
def test_nothing_is_asked_of_a_hub(tmp_path):
    """With every socket forbidden the folder opens all the same."""
    write_folder(tmp_path / "m")
    code = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event.startswith('socket.') and event != 'socket.__new__': raise SystemExit(f'{event} {arguments}')\n"
        "import sac_fast, pathlib\n"
        "from sac_fast.models import image_classifiers\n"
        "sys.addaudithook(hook)\n"
        f"folder = pathlib.Path({str(tmp_path / 'm')!r})\n"
        "entry = sac_fast.ModelEntry('m', folder / 'model.safetensors', architecture='hf:')\n"
        "print(sac_fast.open_model(entry).format)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("safetensors\n", 0), done.stderr[-2000:]


def test_weights_of_something_else_do_not_fit(tmp_path):
    write_folder(tmp_path / "m")
    save_file({"weight": torch.ones(2, 2)}, tmp_path / "m/model.safetensors")
    with pytest.raises(ModelError, match="do not fit hf:resnet"):
        opened(tmp_path / "m")
