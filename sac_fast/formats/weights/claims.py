"""What a file of weights and its neighbours say of its origin: claims, which nobody has checked.

Every text is bounded and escaped; what cannot be read is left out, since a claim is no part of the weights.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import FileFormatError, ModelRefusedError
from ...io.files import open_regular
from ...io.text import escape_text
from ..json_text import parse_json

_MAX_TEXT = 200  # characters of one text
_MAX_ENTRIES = 64  # of metadata, and of base models
_CARD_BYTES = 1 << 16  # of a model card: its front matter comes first
_CONFIG_BYTES = 1 << 20
# Files beside the weights, and the keys under which they name a model that this one was made from.
_CONFIGS = {
    "config.json": ("base_model", "base_model_name_or_path", "_name_or_path"),
    "adapter_config.json": ("base_model_name_or_path",),
}
_METADATA_KEYS = ("base_model", "metadata base_model", "metadata base_model_name_or_path", "base_model_name_or_path")
_CARD_KEY = re.compile(r"(base_model|base_model_relation)[ \t]*:[ \t]*(.*)")
_CARD_ITEM = re.compile(r"[ \t]*-[ \t]+(.+)")


def read_claims(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What a file's metadata, its name, a model card and a configuration beside it say.

    Args:
        path: the file of weights.
        metadata: texts inside the file.

    Returns:
        ``names``: of the file without its ending, and of its folder; ``base_models``: a list of ``name``, ``relation``
        (``"finetune"``, ``"quantized"``, ``"adapter"``, ``"merge"`` or None) and ``source``; ``metadata``.
    """
    said = dict(list(metadata.items())[:_MAX_ENTRIES])
    found: list[tuple[str, str | None, str]]
    found = [(said[key], None, "metadata") for key in _METADATA_KEYS if said.get(key)]
    found += _card(path.parent / "README.md")
    for name, keys in _CONFIGS.items():
        found += _config(path.parent / name, keys)
    models = {(_shown(name), relation and _shown(relation), source): None for name, relation, source in found}
    return {
        "names": [_shown(_stem(path.name)), _shown(path.absolute().parent.name)],
        "base_models": [
            {"name": name, "relation": relation, "source": source}
            for name, relation, source in list(models)[:_MAX_ENTRIES]
        ],
        "metadata": {_shown(key): _shown(value) for key, value in said.items()},
    }


def _shown(text: str) -> str:
    return escape_text(text, _MAX_TEXT)


def _stem(name: str) -> str:
    """A file's name without what says its format."""
    return re.sub(
        r"(\.(safetensors|pth|pt|bin|onnx|h5|hdf5|keras|tflite|npz|jit|ckpt|tar|json|index|weights))+$", "", name
    )


def _read(path: Path, count: int) -> bytes:
    """The first bytes of a regular file; none where it cannot be read."""
    with contextlib.suppress(OSError, FileFormatError), open_regular(path) as handle:
        return handle.read(count)
    return b""


def _card(path: Path) -> Iterator[tuple[str, str | None, str]]:
    """Base models in the front matter of a model card: YAML, of which a text or a list of texts is understood."""
    lines = _read(path, _CARD_BYTES).decode("utf-8", "replace").splitlines()
    if not lines or lines[0].rstrip() != "---":
        return
    models: list[str] = []
    relation = None
    listing = False
    for line in lines[1:]:
        if line.rstrip() == "---":
            break
        item = _CARD_ITEM.fullmatch(line)
        if listing and item is not None:
            models.append(_unquoted(item[1]))
            continue
        key = _CARD_KEY.fullmatch(line)
        listing = False
        if key is not None and key[1] == "base_model_relation":
            relation = _unquoted(key[2])
        elif key is not None:
            value = key[2].strip()
            models += [_unquoted(part) for part in value.strip("[]").split(",")] if value else []
            listing = not value
    yield from ((model, relation or None, path.name) for model in models[:_MAX_ENTRIES] if model)


def _unquoted(text: str) -> str:
    text = text.strip()
    if not text.startswith(("'", '"')):
        text = text.partition(" #")[0].rstrip()
    return text.strip("'\"")


def _config(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, None, str]]:
    content = _read(path, _CONFIG_BYTES + 1)
    if not content or len(content) > _CONFIG_BYTES:
        return
    with contextlib.suppress(ModelRefusedError):
        said = parse_json(content, path.name)
        for key in keys:
            value = said.get(key)
            for name in value[:_MAX_ENTRIES] if isinstance(value, list) else [value]:
                if isinstance(name, str) and name:
                    yield name, None, path.name
