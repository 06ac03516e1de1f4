"""A new case file, with a comment beside everything that may be set."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError, require
from ..io.files import StrPath, atomic_write
from ..models.endpoint import parse_url
from ..models.kinds import KINDS


@dataclass(frozen=True)
class CaseAnswers:
    """What a new case is made of; texts as they are typed.

    Attributes:
        source: model file.
        images: folder of images, HDF5 file or probe file.
        architectures: ``package.module:callable``; the first one is the source's, all may fit suspects.
        train: ``package.module:function``, trains siblings; None: no siblings.
        count: of siblings.
        limit: of probes; None: all images.
        severity: JPEG severity; None: images as they are.
        colour_order: of the models' inputs.
        suspects: model files, folders, patterns, ``.toml`` files of services, or ``https://…``.
        independents: ``PATH`` or ``KIND=PATH``.
    """

    source: str
    images: str
    architectures: Sequence[str] = ()
    train: str | None = None
    count: int = 19
    limit: int | None = None
    severity: int | None = None
    colour_order: str = "RGB"
    suspects: Sequence[str] = ()
    independents: Sequence[str] = ()


def write_case(path: StrPath, answers: CaseAnswers) -> None:
    """Write a case file that `load_case` reads.

    Raises:
        FileExistsError: it is there already.
        ModelError: an address or a kind that is none.
    """
    if Path(path).exists():
        raise FileExistsError(f"case must not exist yet, got {str(path)!r}")
    with atomic_write(path) as handle:
        handle.write(make_case_text(answers).encode())


def make_case_text(answers: CaseAnswers) -> str:
    """The text of a case file.

    Example::

        >>> text = make_case_text(CaseAnswers("mine.onnx", "images", suspects=["theirs.onnx"]))
        >>> [line for line in text.splitlines() if "mine" in line or "theirs" in line]
        ['path = "mine.onnx"', 'path = "theirs.onnx"']
    """
    parts = [_HEAD, _source(answers), _probes(answers), _siblings(answers), _QUERIES]
    parts += [_independent(text) for text in answers.independents] or [_NO_INDEPENDENTS]
    parts += [_suspect(text) for text in answers.suspects] or [_NO_SUSPECTS]
    return "\n".join(parts)


_HEAD = """\
# A case for `sac-fast audit`. It is code: `sac-fast audit CASE --dry-run` lists the modules that it would run
# and the hosts that it would ask. Paths are relative to this file.

alpha = 0.05            # bound on the probability that any honest suspect of the case is called derived
ground = "auto"         # or "siblings", "null pool", "both": fix it before you look at suspects
score = "default"       # of the ground
# family = "apart"      # α / 2 for files and for services each; "together": one family; default: by what can be reached
# weights = false       # don't compare files of weights, and what they claim, beside the verdicts
# ancestor = "base.safetensors"   # weights from which both may come
# kinds = ["same-data"] # kinds that suspects may be of if they are independent; default: all that are usual
"""
_QUERIES = """\
[queries]               # to services
looks = [100, 200]      # probes at each look; a hopeless suspect is asked no more after the first
repeats = 10            # probes that are asked twice, to see whether answers change
# budget = 300          # most queries to one service, attempts again included
# spending = "equal"    # α over the looks; "exact": over those that an exact p-value can reach
"""
_NO_INDEPENDENTS = """\
# [[independents]]      # models that were certainly made without yours; needed where there are no siblings
# path = "others/*.onnx"
# kind = "same-data"    # what they share with your model: see `sac-fast fingerprint --help`
# [[independents]]      # a service is asked for as many probes as suspects are; so are recorded answers taken
# service = "public.toml"
# kind = "other-data"
# [[packs]]             # answers that somebody else published: see docs/packs.md
# at = "https://packs.example.org/nulls.pack"
# hash = "sha256:…"     # from its maker, by another way than the file
"""
_NO_SUSPECTS = """\
[[suspects]]            # repeat the table for each: a model file, a folder, a pattern, a fingerprint, a store …
path = "suspect.onnx"
# architecture = "package.module:callable"   # of weights
# [[suspects]]
# service = "service.toml"                   # … a service (see docs/tutorials), or answers to `probes export`
"""


def _text(value: str) -> str:
    """A TOML string: JSON's escapes are TOML's, but for DEL and lone surrogates."""
    require(value.isprintable(), "a text of a case must be printable", value)
    return json.dumps(value, ensure_ascii=False)


def _source(answers: CaseAnswers) -> str:
    lines = ["[source]                # your model", f"path = {_text(answers.source)}"]
    if answers.architectures:
        lines.append(f"architecture = {_text(answers.architectures[0])}   # builds the network of weights")
    else:
        lines.append('# architecture = "package.module:callable"   # builds the network of weights')
    lines.append(
        f"colour_order = {_text(answers.colour_order)}    # what all models take: also size, mean, std, layout"
    )
    if answers.architectures:
        listed = ", ".join(_text(spec) for spec in answers.architectures)
        return f"architectures = [{listed}]   # of which one must fit a suspect's weights\n\n" + "\n".join(lines) + "\n"
    return "\n".join(lines) + "\n"


def _probes(answers: CaseAnswers) -> str:
    lines = ["[probes]                # what models are compared on", f"images = {_text(answers.images)}"]
    lines.append(f"limit = {answers.limit}" if answers.limit else "# limit = 2000          # a draw of so many")
    severity = f"severity = {answers.severity}" if answers.severity else "# severity = 1         "
    lines.append(f"{severity}   # JPEG compression 1 … 5 (SAC-JC); without it the images as they are")
    return "\n".join([*lines, "# size = [224, 224]     # resize to", ""])


def _siblings(answers: CaseAnswers) -> str:
    if answers.train is None:
        return "# [siblings]            # your own recipe with other seeds: the strongest ground\n" + (
            '# train = "package.module:function"   # train(seed) gives the nn.Module\n# count = 19\n'
        )
    lines = ["[siblings]              # your own recipe with other seeds", f"train = {_text(answers.train)}"]
    return "\n".join([*lines, f"count = {answers.count}              # 19 reach p = 0.05", ""])


def _independent(text: str) -> str:
    kind, equals, path = text.partition("=")
    if not equals:
        return f'[[independents]]\npath = {_text(text)}\n# kind = "same-data"    # what they share with your model\n'
    wanted = f"independents must be PATH or KIND=PATH with one of {', '.join(KINDS)}"
    require(kind in KINDS, wanted, text, ModelError)
    return f"[[independents]]\npath = {_text(path)}\nkind = {_text(kind)}\n"


def _suspect(text: str) -> str:
    if text.startswith(("http://", "https://")):
        parse_url(text)
        return (
            f"[[suspects]]\n[suspects.service]\nurl = {_text(text)}\n"
            'answer = "label"           # JMESPath: what to take from the JSON that comes back\n'
            'output_form = "labels"     # or "probabilities", "top-k", "logits"\n'
            "labels = []                # names of the classes, in the order of your model's outputs\n"
        )
    key = "service" if text.endswith(".toml") else "answers" if text.endswith((".csv", ".json", ".jsonl")) else "path"
    return f"[[suspects]]\n{key} = {_text(text)}\n"
