"""Files that name addresses are read, and no command asks for a socket to reach one, nor does a child of it."""

import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import without_network
from support.url_files import URL, write_images, write_models, write_rest

import sac_fast
from sac_fast.scan import sandbox

ROOT, TESTS = Path(sac_fast.__file__).parents[1], Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(
    platform.machine() not in without_network.CALLS or any("seccomp" in part for part in sandbox.missing_parts()),
    reason="the kernel has no seccomp for this machine",
)
# A network whose making asks for a socket: what is named on the command line may do that.
ASKING = "import socket\nfrom torch import nn\ndef make():\n    socket.socket()\n    return nn.Linear(3, 2)\n"


def run(commands, folder, *options):
    """How each command ended and what it said, and the exit status of the process they ran in."""
    search_path = os.pathsep.join([str(ROOT), str(TESTS)])
    done = subprocess.run(
        [sys.executable, "-m", "support.without_network", *options],
        input=json.dumps(commands),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": search_path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    ends = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(ends) == len(commands), done.stderr[-2000:]
    return ends, done.returncode


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Models, images, and files of ours that name addresses."""
    made = tmp_path_factory.mktemp("addresses")
    write_models(made / "models")
    write_images(made / "images")
    (made / "hash").write_text(write_rest(made))
    (made / "asking.py").write_text(ASKING)
    return made


SCAN = "scan models --probes probes --workers 1 --json --store"


def commands(folder):
    """Words of commands, and the exit code that each must have."""
    hash = (folder / "hash").read_text()
    typed = {
        f"{SCAN} caged": 0,
        f"{SCAN} free --no-sandbox --architecture hf:": 0,
        "relatives caged": 1,  # one model alone
        "store check free": 0,
        "fingerprint models/0.onnx --probes probes --out 0.out": 1,
        "fingerprint models/sound.npy --probes probes --out sound.out": 0,
        **{f"show {name}": 0 for name in ("sound.out", "print0.safetensors", "probes", "inputs", "pack")},
        "show models/service.toml": 1,
        "weights models/w.safetensors models/w.pth": 0,
        "verify print0.safetensors print1.safetensors": 0,
        f"verify print0.safetensors print1.safetensors --pack pack --pack-hash {hash} --alpha 0.4": 0,
        f"pack check pack --hash {hash} --probes probes": 0,
        "probes normal images --skip-bad --out made": 0,
        "probes verify made --images images": 0,
        "probes verify remade --images images": 5,
        "report check case": 0,
        "report check changed": 5,
    }
    return {tuple(words.split()): code for words, code in typed.items()}


def events_of(said):
    """Reasons by model of what a scan printed, and its summary."""
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return {line["name"]: line.get("reason") for line in lines if line["event"] == "model"}, lines[-1]


def test_no_address_in_a_file_is_asked_for(folder):
    typed = commands(folder)
    ends, status = run(list(typed), folder, "--control")
    assert [(words, found) for words, (found, _) in zip(typed, ends, strict=True)] == [*typed.items()]
    assert status == -signal.SIGSYS  # of the control at the end: nothing had taken the filter off
    said = {" ".join(words): said for words, (_, said) in zip(typed, ends, strict=True)}
    for scan in [*said][:2]:
        reasons, summary = events_of(said[scan])
        assert "crashed" not in reasons.values()
        assert {name for name, reason in reasons.items() if reason is None} == {"sound.npy"}
        assert reasons["0.onnx"] == reasons["code/model.safetensors.index.json"] == "external-data"
        assert (reasons["code.pth"], reasons["w.pth"]) == ("pickle", "no-architecture")
        assert summary["unbelieved"].endswith("zoo.toml")
    assert reasons["code/model.safetensors"] == reasons["backbone/model.safetensors"] == "no-architecture"
    # What the files name was seen, and not asked for.
    for command in ("fingerprint models/0.onnx --probes probes --out 0.out", "probes verify remade --images images"):
        assert URL in said[command]
    assert all(URL in said[f"show {name}"] for name in ("print0.safetensors", "inputs", "pack"))


def test_a_worker_that_asks_for_a_socket_is_ended(folder):
    """The filter reaches workers: what the command line names is run, and may ask."""
    words = "scan models/w.safetensors --architecture asking:make --probes probes --store asked --no-sandbox --json"
    ((code, said),), status = run([words.split()], folder)
    assert (code, status, events_of(said)[0]) == (0, 0, {"w.safetensors": "crashed"})
    assert "SIGSYS" in said
