"""Several sources: the labelled zoos of one or more tasks, each with outputs on one probe set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import FileFormatError
from ..io.files import StrPath
from ..labelled_zoo.folder import INDEX, ZooMember
from .loaded_zoo import FORM, LoadedZoo

MISCLASSIFIED = "misclassified"
#: A thief that loses more accuracy than this stole little: such thefts are listed, not counted.
MAX_LOSS = 0.05
#: Attacks that begin with one of these names belong together, in this order of names.
FAMILIES: Mapping[str, tuple[str, ...]] = {
    "adaptive": ("adaptive-",),
    "second-hand extraction": ("extract-second-hand", "prune-distill"),
    "copy": ("quantize", "weight-noise", "int8", "fp16", "bf16", "noise-", "onnx"),
    "fine-tuning": ("finetune", "n-finetune", "p-finetune"),
    "pruning": ("prune", "fine-prune"),
    "transfer": ("transfer",),
    "adversarial training": ("adversarial", "extract-adversarial"),
    "extraction": ("extract", "distil", "knockoff", "jagielski"),
}


@dataclass(frozen=True)
class SourceZoo:
    """One source with its siblings and suspects.

    Attributes:
        task: name of the task.
        name: of the source within the task.
        loaded: the zoo with the outputs of its members.
        probes: name of the probe set on which all members are compared.
    """

    task: str
    name: str
    loaded: LoadedZoo
    probes: str

    @property
    def key(self) -> str:
        """``TASK/SOURCE``."""
        return f"{self.task}/{self.name}"

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """(n, k) by member."""
        return self.loaded.outputs[self.probes]

    @property
    def count(self) -> int:
        """Number of probes."""
        return self.loaded.count(self.probes)

    def works(self, member: ZooMember) -> bool:
        """Whether a stolen model is within 5 points of the source's accuracy, or of another task."""
        if member.accuracy is None or self.loaded.zoo.source.accuracy is None or family(member.origin) == "transfer":
            return True
        return member.accuracy >= self.loaded.zoo.source.accuracy - MAX_LOSS


#: Attacks of SAC and SAC-JC: fine-tuning, pruning, extraction by labels and by probabilities, transfer.
PAPER = ("finetune-", "fine-prune", "prune-taylor", "prune-magnitude", "extract-labels", "extract-distill",
         "extract-soft", "transfer-")  # fmt: skip


def family(attack: str) -> str:
    """The family of an attack by its name; the name itself where none fits.

    Example::

        >>> family("extract-labels"), family("extract-adversarial"), family("adaptive-removalnet")
        ('extraction', 'adversarial training', 'adaptive')
    """
    return next((name for name, starts in FAMILIES.items() if attack.startswith(starts)), attack)


def find_zoos(folders: Sequence[StrPath]) -> list[Path]:
    """The labelled zoos in some folders: a folder itself, or those up to two levels below it, in order of their names.

    Raises:
        FileFormatError: a folder without any.
    """
    found: list[Path] = []
    for folder in map(Path, folders):
        inside = [path.parent for level in ("", "*/", "*/*/") for path in sorted(folder.glob(level + INDEX))]
        if not inside:
            raise FileFormatError(f"{str(folder)!r} must hold labelled zoos ({INDEX}), got none")
        found += [path for path in inside if path not in found]
    return found


def load_sources(
    folders: Sequence[StrPath], *, probes: str | None = None, progress: bool = False
) -> tuple[list[SourceZoo], dict[str, str]]:
    """Load the zoos of some folders; the name of the task is the folder's above where zoo.json has none.

    Args:
        folders: see `find_zoos`.
        probes: name of the probe set. Default: "plain" where there is one, else the first.
        progress: show progress bars on stderr.

    Returns:
        The sources in the order of their keys, and the reasons why a folder was left out (not finished, say).
    """
    sources: list[SourceZoo] = []
    left_out: dict[str, str] = {}
    for folder in find_zoos(folders):
        named = f"{folder.parent.name}/{folder.name}"
        try:
            zoo = LoadedZoo.load(folder, probes=None if probes is None else [probes], progress=progress)
        except (FileFormatError, ValueError) as error:
            left_out[named] = str(error).replace(str(folder), named)
            continue
        chosen = probes or ("plain" if "plain" in zoo.outputs else next(iter(zoo.outputs)))
        # Two tasks may be cut from the same images, and then have one name in zoo.json.
        sources.append(SourceZoo(folder.parent.name, folder.name, with_misclassified(zoo, chosen), chosen))
    return sorted(sources, key=lambda source: source.key), left_out


def with_misclassified(loaded: LoadedZoo, probes: str) -> LoadedZoo:
    """The zoo with "misclassified" probes, which presets ask for: those of a set on which its source errs.

    Unchanged where the zoo has such a set, where the true labels are not known or outputs are no classes, and where the
    source errs on fewer than two.
    """
    labels = loaded.labels[probes]
    if MISCLASSIFIED in loaded.outputs or labels is None or loaded.form != FORM:
        return loaded
    wrong = torch.nonzero(loaded.outputs[probes][loaded.source].argmax(dim=1) != labels)[:, 0]
    if len(wrong) < 2:
        return loaded
    outputs = {**loaded.outputs, MISCLASSIFIED: limited(loaded.outputs[probes], wrong)}
    return dataclasses.replace(loaded, outputs=outputs, labels={**loaded.labels, MISCLASSIFIED: labels[wrong]})


def limited(outputs: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """All outputs on some of the probes."""
    return {name: model[rows] for name, model in outputs.items()}


def disputed_order(members: Sequence[Tensor]) -> Tensor:
    """Probes in the order in which the members disagree about their labels, most disputed first.

    All members count alike, so that it does not tell the source from its siblings.

    Args:
        members: (n, k) outputs of the source and its siblings.

    Returns:
        (n,) int64.
    """
    labels = torch.stack([model.argmax(dim=1) for model in members])
    classes = members[0].shape[1]
    votes = torch.stack([(labels == label).double().mean(dim=0) for label in range(classes)], dim=1)
    entropy = torch.special.entr(votes).sum(dim=1)
    return torch.argsort(-entropy.round(decimals=9), stable=True)
