"""Everything that a folder of models can do to a scan, in one table: what is put there, and what the scan must say.

`tests/scan/test_hostile_folder.py` puts all of it beside good models and scans it once. To add an entry: a function
that writes its files into the folder, and for each of them the event that names it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .hostile_files import make_hostile_folder, marker

__all__ = ["TABLE", "Bad", "make_folder", "marker", "plant_libraries", "recorded"]

#: Number of probes of the scan; each answers with `OUTPUTS` numbers.
PROBES, OUTPUTS = 6, 5
LIBRARIES = ("PIL", "cv2", "h5py", "numpy", "onnx", "onnxruntime", "ray", "safetensors", "timm", "torch", "typing")


@dataclass(frozen=True)
class Bad:
    """An entry of the table.

    Attributes:
        make: writes the files into a folder; what runs as code must create ``<anything>.marker`` in it.
        failed: name of a model -> reason of its failure.
        passed_over: name of a file -> what it is said to be.
        done: names of models that must be stored whatever they are called.
        claimed: names of models of which something is claimed.
    """

    make: Callable[[Path], None]
    failed: dict[str, str] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    done: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()


def recorded(seed: int = 0, rows: int = PROBES) -> bytes:
    """A `.npy` file of outputs."""
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(seed).normal(size=(rows, OUTPUTS)))
    return buffer.getvalue()


def _write(content: dict[str, bytes | str]) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name, data in content.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data)

    return make


def _trap(folder: Path, name: str) -> str:
    return f"open({str(folder / f'{name}.marker')!r}, 'a').close()\nraise ImportError('a trap')\n"


def plant_libraries(folder: Path) -> None:
    """Files that leave a marker where one imports them in a library's place."""
    for name in LIBRARIES:
        (folder / f"{name}.py").write_text(_trap(folder, name))
    (folder / "sklearn").mkdir()
    (folder / "sklearn" / "__init__.py").write_text(_trap(folder, "sklearn"))


def _manifest(folder: Path) -> None:
    """`torch.hub:load` of the folder itself, and everything else that a manifest can say, of every model."""
    (folder / "hubconf.py").write_text(_trap(folder, "hubconf"))
    arguments = f'{{ repo_or_dir = "{folder}", model = "mine", source = "local" }}'
    (folder / "zoo.toml").write_text(
        '[defaults]\ntags = ["independent"]\noutput = 7\npreprocessing = { std = [0.001] }\n'
        '[[models]]\npath = "good00.safetensors"\nname = "source"\n'
        f'architecture = "torch.hub:load"\nkwargs = {arguments}\n'
        + "".join(f'[[models]]\npath = "good{number:02}.safetensors"\n' for number in range(1, 20))
    )


def _links(folder: Path) -> None:
    for name, target in (("out.npy", "/etc/hostname"), ("all", "/"), (".all", "/"), ("round.txt", "round.txt")):
        (folder / name).symlink_to(target)


TABLE: dict[str, Bad] = {
    "libraries": Bad(plant_libraries, passed_over={f"{name}.py": "a text" for name in LIBRARIES}),
    "a manifest": Bad(
        _manifest,
        passed_over={"zoo.toml": "a manifest", "hubconf.py": "a text"},
        claimed=tuple(f"good{number:02}.safetensors" for number in range(20)),
    ),
    "an empty database": Bad(
        _write({"hidden/zoo.sqlite": b"", "hidden/thief.npy": recorded(1)}),
        failed={"hidden/zoo.sqlite": "empty"},
        done=("hidden/thief.npy",),
    ),
    "a database of another program": Bad(
        _write({"other/zoo.sqlite": b"SQLite format 3\0" + bytes(84), "other/outputs/thief": recorded(2)}),
        failed={"other/zoo.sqlite": "unknown-format"},
        done=("other/outputs/thief",),
    ),
    "hidden names": Bad(
        _write({".thief.npy": recorded(3), ".deep/.er/thief": recorded(4)}), done=(".thief.npy", ".deep/.er/thief")
    ),
    "names of texts and pictures": Bad(
        _write({"thief.txt": recorded(5), "thief.png": recorded(6), "LICENSE.md": recorded(7)}),
        done=("thief.txt", "thief.png", "LICENSE.md"),
    ),
    "texts and pictures": Bad(
        _write({"notes.txt": "40 models\n", ".gitignore": "*.pyc\n", "logo.png": b"\x89PNG\r\n\x1a\n" + bytes(9)}),
        passed_over={"notes.txt": "a text", ".gitignore": "a text", "logo.png": "a picture"},
    ),
    "names that a terminal obeys": Bad(
        _write({"\x1b[2Jname\n.npy": b"rubbish", "\u202egnp.npy": b"", "\udcff.npy": b"\0"}),
        failed={"\x1b[2Jname\n.npy": "unknown-format", "\u202egnp.npy": "empty", "./\\xff.npy": "unknown-format"},
    ),
    "links": Bad(
        _links,
        failed={"out.npy": "symlink", "all": "symlink"},
        passed_over={".all": "a link to a folder", "round.txt": "a link to itself"},
    ),
}


def make_folder(folder: Path) -> Bad:
    """Write all of the table, and all files of `make_hostile_folder`; returns everything that is expected."""
    failed = make_hostile_folder(folder)
    passed_over: dict[str, str] = {}
    done: tuple[str, ...] = ()
    claimed: tuple[str, ...] = ()
    for bad in TABLE.values():
        bad.make(folder)
        failed |= bad.failed
        passed_over |= bad.passed_over
        done += bad.done
        claimed += bad.claimed
    return Bad(lambda _: None, failed, passed_over, done, claimed)
