"""Image classifiers of the transformers library, built from the numbers of a configuration and nothing else of it.

A folder as model hubs hand it out has config.json and model.safetensors. The configuration comes from whoever made the
model: it may name code (``auto_map``), other repositories and files, or sizes that no machine has. So the kind of
network is one of a list, its values are numbers within limits or words of a list, and the library builds the network
of them without looking at a file, a cache or a network address. The weights are read by this package.

Source: transformers.PreTrainedConfig, transformers.AutoModelForImageClassification.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from ..errors import ModelError, describe_error
from ..formats.identify import open_part
from ..formats.json_text import read_json
from ..formats.limits import Limits, refuse
from ..formats.weights.sharded import INDEX

if TYPE_CHECKING:  # where a folder is only looked for no torch is imported
    from torch import nn

    from ..formats.weights.states import StoredState

#: Before the kind of network: ``"hf:resnet"``; alone: the kind and its values stand in config.json beside the weights.
PREFIX = "hf:"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
#: Kind of network by the library's name, and what its classes are called.
KINDS = {
    **{"beit": "Beit", "bit": "Bit", "convnext": "ConvNext", "convnextv2": "ConvNextV2", "cvt": "Cvt", "deit": "DeiT"},
    **{"dinov2": "Dinov2", "dinov2_with_registers": "Dinov2WithRegisters", "efficientnet": "EfficientNet"},
    **{"focalnet": "FocalNet", "hiera": "Hiera", "ijepa": "IJepa", "levit": "Levit", "mobilenet_v1": "MobileNetV1"},
    **{"mobilenet_v2": "MobileNetV2", "mobilevit": "MobileViT", "mobilevitv2": "MobileViTV2"},
    **{"poolformer": "PoolFormer", "pvt": "Pvt", "pvt_v2": "PvtV2", "regnet": "RegNet", "resnet": "ResNet"},
    **{"segformer": "Segformer", "swiftformer": "SwiftFormer", "swin": "Swin", "swinv2": "Swinv2", "vit": "ViT"},
    **{"vit_msn": "ViTMSN"},
}
#: Keys that make another network of it than these classes build, or name code.
_FORBIDDEN = (
    *("auto_map", "custom_pipelines", "quantization_config", "pruned_heads", "backbone", "backbone_config"),
    *("peft_type", "base_model_name_or_path", "adapter_config", "adapters", "task_specific_params", "_adapter_config"),
)
_ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")
_WORDS = frozenset(
    [
        *("gelu", "gelu_new", "gelu_fast", "gelu_python", "gelu_pytorch_tanh", "quick_gelu", "relu", "relu6", "selu"),
        *("silu", "swish", "hardswish", "leaky_relu", "linear", "mish", "sigmoid", "tanh", "elu"),
        *("basic", "bottleneck", "preactivation", "x", "y", "mean", "max", "same", "valid", "dw_bn", "avg"),
    ]
)
MAX_NUMBER = 16_384  # of a width, a size in pixels, a number of classes
MAX_DEPTH = 256  # of anything that counts layers
_COUNTS_LAYERS = ("layers", "depth", "blocks")
_MAX_FLOAT = 1e6
_MAX_ITEMS, _MAX_NESTED = 64, 2


def classifier_weights(folder: Path) -> Path:
    """The file of weights in a folder of a hub: ``model.safetensors``, or the index of several.

    Raises:
        ModelError: there is none.
    """
    for name in (WEIGHTS, WEIGHTS + INDEX):
        if os.path.lexists(folder / name):
            return folder / name
    raise ModelError(f"folder {str(folder)!r} must hold {WEIGHTS} or its index, beside {CONFIG}, got neither")


def read_classifier(weights: Path, root: Path | None, limits: Limits) -> tuple[str, dict[str, Any]]:
    """Kind and values of the network whose weights lie in a file, from config.json beside it.

    Args:
        weights: the file, or the index of several.
        root: a folder that links may not lead out of; None: anywhere.
        limits: on the size of the configuration.

    Returns:
        ``"hf:KIND"`` and checked arguments, as `build_classifier` takes them.

    Raises:
        ModelRefusedError: no configuration, a damaged one, or one that asks for anything but a network of `KINDS`.
    """
    path = weights.parent / CONFIG
    name = repr(os.fspath(path))
    for other in _ADAPTERS:
        if os.path.lexists(weights.parent / other):
            refuse("no-architecture", f"{name} must describe a whole network, got an adapter beside it ({other})")
    if not weights.name.removesuffix(INDEX).endswith(".safetensors"):
        refuse("no-architecture", f"weights beside {name} must be {WEIGHTS} or its index, got {weights.name!r}")
    message = f"{name} must describe the network of {weights.name!r} (architecture {PREFIX!r}), got no such file"
    with open_part(path, limits, root, "no-architecture", message) as handle:
        config = read_json(handle, name, limits)
    if found := [key for key in _FORBIDDEN if config.get(key)]:
        refuse("no-architecture", f"{name} must hold numbers of one network, got {', '.join(found)}")
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in KINDS:
        refuse("no-architecture", f"model_type of {name} must be one of {', '.join(KINDS)}, got {kind!r}")
    named = config.get("architectures") or [_class_name(kind)]
    if named != [_class_name(kind)]:
        refuse("no-architecture", f"architectures of {name} must be [{_class_name(kind)!r}], got {named!r}")
    fields = _fields(kind)
    values = {key: value for key, value in config.items() if key in fields and value is not None}
    if (labels := config.get("id2label")) is not None:
        if not isinstance(labels, dict):
            refuse("malformed", f"id2label of {name} must be an object, got {type(labels).__name__}")
        values["num_labels"] = len(labels)
    elif "num_labels" in config:
        values["num_labels"] = config["num_labels"]
    try:
        return PREFIX + kind, _checked(values)
    except ValueError as error:
        refuse("malformed", f"{name}: {error}", error)


def build_classifier(spec: str, kwargs: Mapping[str, Any]) -> nn.Module:
    """A network of `KINDS` with the weights that its initialisation gives it.

    Args:
        spec: ``"hf:resnet"``, say.
        kwargs: values of its configuration; those left out have the library's defaults.

    Raises:
        ModelRefusedError: transformers is not installed.
        ModelError: no such kind, a value beyond the limits, or values of which no network can be built.
    """
    kind = spec.removeprefix(PREFIX)
    if kind not in KINDS:
        raise ModelError(f"architecture must be {PREFIX!r} and one of {', '.join(KINDS)}, got {spec!r}")
    if unknown := sorted(set(kwargs) - _fields(kind) - {"num_labels"}):
        raise ModelError(f"arguments of {spec!r} must be of its configuration, got {', '.join(unknown)}")
    try:
        values = _checked(kwargs)
        library = _library()
        config = getattr(library, KINDS[kind] + "Config")(**values)
        model = getattr(library, _class_name(kind))(config)
    except ModelError:
        raise
    except Exception as error:  # the library's code may raise anything for values that do not go together
        raise ModelError(f"{spec!r} failed with arguments {dict(kwargs)}: {describe_error(error)}") from error
    return cast("nn.Module", model)


def under_own_names(model: Any, states: Mapping[str, StoredState]) -> dict[str, StoredState]:
    """States of a file with the names that this version of the library has for a network's tensors.

    Files keep the names of the version that wrote them; the library has a table of what was renamed since. Tensors that
    it would compute of several others keep their names, and do not fit.

    Args:
        model: of `build_classifier`, on any device.
        states: of the file.

    Returns:
        The same tensors.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import WeightRenaming, rename_source_key

    renamings = [one for one in get_model_conversion_mapping(model) if isinstance(one, WeightRenaming)]
    found: dict[str, StoredState] = {}
    for place, state in states.items():
        names = {key: str(rename_source_key(key, renamings, [])[0]) for key in state.arrays}
        if len(set(names.values())) < len(names) or all(old == new for old, new in names.items()):
            found[place] = state
        else:
            arrays = {names[key]: array for key, array in state.arrays.items()}
            found[place] = dataclasses.replace(state, arrays=arrays, aliases={}, digest=None)
    return found


def _class_name(kind: str) -> str:
    return KINDS[kind] + "ForImageClassification"


def _library() -> ModuleType:
    # Read when it is imported; nothing here asks a hub for anything, and nothing shall.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        os.environ.setdefault(name, "1")
    try:
        import transformers
    except ImportError as error:
        hint = "configurations of transformers need it: pip install 'sac-fast[transformers]'"
        refuse("missing-extra", f"{hint} ({error})", error)
    except Exception as error:  # of another torch, or of libraries beside it
        raise ModelError(f"the import of transformers failed: {describe_error(error)}") from error
    module: ModuleType = transformers
    return module


def _fields(kind: str) -> frozenset[str]:
    """Names of the values that a kind of network has of its own."""
    library = _library()
    own = {field.name for field in dataclasses.fields(getattr(library, KINDS[kind] + "Config"))}
    shared = {field.name for field in dataclasses.fields(library.PreTrainedConfig)}
    return frozenset(name for name in own - shared if not name.startswith("_"))


def _checked(values: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in values.items():
        _check(key, value, 0)
    copied: dict[str, Any] = json.loads(json.dumps(dict(values)))
    return copied


def _check(key: str, value: Any, depth: int) -> None:
    """Raise a ValueError for anything but numbers within limits, words of the list, and short lists of them."""
    if value is None or isinstance(value, bool):
        return
    if isinstance(value, int):
        most = MAX_DEPTH if any(part in key for part in _COUNTS_LAYERS) else MAX_NUMBER
        if not -MAX_NUMBER <= value <= most:
            raise ValueError(f"{key} must be at most {most:,}, got {value:,}")
    elif isinstance(value, float):
        if not math.isfinite(value) or abs(value) > _MAX_FLOAT:
            raise ValueError(f"{key} must be a finite number up to {_MAX_FLOAT:g}, got {value!r}")
    elif isinstance(value, str):
        if value not in _WORDS:
            raise ValueError(f"{key} must be a number or one of {', '.join(sorted(_WORDS))}, got {value[:80]!r}")
    elif isinstance(value, (list, tuple)):
        if len(value) > _MAX_ITEMS or depth >= _MAX_NESTED:
            raise ValueError(f"{key} must be at most {_MAX_ITEMS} items, {_MAX_NESTED} deep, got a larger list")
        for item in value:
            _check(key, item, depth + 1)
    else:
        raise ValueError(f"{key} must be numbers or words, got {type(value).__name__}")
