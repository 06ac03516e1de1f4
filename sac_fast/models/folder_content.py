"""What the files of a folder are where their names do not say that they are models: none hides from a scan by its name.

Hidden names, names of texts and pictures, and whatever lies in the folders of a store are looked at: what is a model by
its content is scanned like any other, the rest is counted and named as passed over.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from ..errors import FileFormatError, ModelRefusedError
from ..formats.identify import identify_open, open_model_file
from ..formats.limits import Limits
from ..formats.safetensors import looks_like_safetensors, read_header
from ..io.container import METADATA_KEY
from ..io.files import STORE_DATABASE, STORE_OUTPUTS, STORE_RECORD, STORE_WORDS, file_size

# Texts and pictures that lie beside models; everything else is identified by content when it is opened.
_TEXTS = (".md", ".txt", ".rst", ".html", ".json", ".toml", ".yaml", ".yml", ".py", ".ipynb", ".log", ".lock", ".sh")
_NO_MODELS = (*_TEXTS, ".pdf", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".tmp")
#: What a store has in its folder: files of its own, and folders of files of outputs.
STORE_FOLDERS = frozenset({"outputs", "segments", "incoming", "quarantine"})
STORE_FILES = frozenset({STORE_DATABASE, f"{STORE_DATABASE}-wal", f"{STORE_DATABASE}-shm", "writer.lock"})
# Files that hold no model by the format that `identify` gives, and by the reason for which it refuses them.
_FORMATS = {
    **{"tfjs": "an index of TensorFlow.js", "zip": "an archive", "git-lfs": "a pointer of Git LFS"},
    **{"probes": "probes", "inputs": "probes", "openvino": "a description of a network", "pack": "a pack of outputs"},
}
_REFUSED = {
    **{"empty": "an empty file", "missing": "not to be read", "symlink": "a link out of the folder"},
    **{"symlink-loop": "a link to itself", "not-a-regular-file": "no regular file"},
}
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"%PDF", b"<svg")
_HEAD_BYTES = 4096


def is_named_as_model(name: str) -> bool:
    """Whether a file is taken for a model by its path below the folder: hidden ones, texts and pictures are not."""
    hidden = name.startswith(".") or "/." in name
    return not hidden and not name.lower().endswith(_NO_MODELS)


def describe_content(path: Path, root: Path) -> str | None:
    """What a file is that is no model by its content; None: it is a model, or a damaged one, to be refused by name.

    Args:
        path: the file.
        root: the folder that links may not lead out of.
    """
    limits = Limits()
    try:
        with open_model_file(path, limits, root=root) as handle:
            format = identify_open(handle, repr(os.fspath(path)), limits)
            if format == "unknown" or (format == "csv" and not _has_rows(handle)):
                return _unknown(handle)
            return _FORMATS.get(format)
    except ModelRefusedError as error:
        return _REFUSED.get(error.reason or "")


def is_of_store(path: Path, store: Path) -> bool:
    """Whether a file in the folder of a store is its database, its lock, or outputs as it writes them.

    Outputs are recorded answers, never a network: what else lies there is looked at like anything else.
    """
    if path.parent == store and path.name in STORE_FILES:
        return True
    limits = Limits()
    try:
        with open_model_file(path, limits, root=store) as handle:
            head = handle.read(_HEAD_BYTES)
            if _is_segment(head, file_size(handle)):
                return True
            if not looks_like_safetensors(head, file_size(handle)):
                return False
            handle.seek(0)
            header = read_header(handle, repr(os.fspath(path)), limits)
    except FileFormatError:
        return False
    head = header.metadata.get(METADATA_KEY, "")
    return set(header.tensors) == {"outputs"} and head.endswith(f'"kind":"{STORE_OUTPUTS}"}}')


def _is_segment(head: bytes, size: int) -> bool:
    """Whether a file begins with a record of outputs, by its header and by the file that it says it holds."""
    start = STORE_RECORD.size
    word, length, _ = STORE_RECORD.unpack(head[:start]) if len(head) > start else (b"", 0, b"")
    return word in STORE_WORDS and start + length <= size and looks_like_safetensors(head[start:], length)


def _has_rows(handle: BinaryIO) -> bool:
    """Whether a table has two lines or more: a text may begin with a number."""
    handle.seek(0)
    head = handle.read(_HEAD_BYTES)
    return len(head) == _HEAD_BYTES or len(head.split()) > 1


def _unknown(handle: BinaryIO) -> str:
    handle.seek(0)
    head = handle.read(_HEAD_BYTES)
    if head.startswith(_PICTURES):
        return "a picture"
    is_text = not any(byte < 32 and byte not in b"\t\r\n\f\x1b" for byte in head)
    return "a text" if is_text else "other content"
