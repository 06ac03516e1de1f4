"""Files of weights of the corpus."""

from __future__ import annotations

import safetensors.torch
import torch

from .corpus import NETWORK, Case, content, saved, weights


def checkpoint_cases() -> list[Case]:
    """All of this module."""
    pointer = content("version https://git-lfs.github.com/spec/v1\n")
    legacy = {"_use_new_zipfile_serialization": False}
    return [
        Case("net.safetensors", content(safetensors.torch.save(weights())), "safetensors", NETWORK),
        Case("net.pt", saved(lambda file: torch.save(weights(), file)), "torch", NETWORK),
        Case("legacy.pt", saved(lambda file: torch.save(weights(), file, **legacy)), "torch-legacy", NETWORK),
        Case("state_dict.pt", saved(lambda file: torch.save({"state_dict": weights()}, file)), "torch", NETWORK),
        Case("pointer", pointer, "git-lfs", "unknown-format", "lfs pull"),
        Case("model.gguf", content(b"GGUF" + bytes(64)), "gguf", "unknown-format", "GGUF"),
        Case("empty", content(b""), None, "empty"),
    ]  # fmt: skip
