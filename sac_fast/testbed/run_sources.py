"""Train the test beds of one task with several sources: one labelled zoo a source, honest models shared."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..attacks import TrainingConfig
from ..errors import FileFormatError, require
from ..io.files import StrPath, atomic_write, read_regular
from ..labelled_zoo.engine import check_folder, lock_folder
from ..labelled_zoo.folder import INDEX, LabelledZoo
from ..labelled_zoo.plan import Architecture
from ..labelled_zoo.training_pool import MAX_SEED, check_seed, check_workers
from .backbones import PHOTOGRAPHS, Backbone, exemplars, train_backbones
from .plan import ARCHITECTURES, epochs, model_spec
from .run import train_planned
from .sharing import share_honest
from .sources import PRETRAINED, SOURCES, Source, SourcesSize, plan_source
from .task import Task
from .trainer import attacks_on

SEEDS = "seeds.json"
BACKBONES = "backbones"
_MAX_SEEDS_BYTES = 16 << 20


class Seeds:
    """The seed of every model of a task, drawn once and kept in a file, so that a run can be resumed.

    Args:
        path: of the file.
        seed: None: drawn from the system's entropy, as the exactness of the sibling test needs it; a number: derived
            from it, for tests.

    Raises:
        FileFormatError: a damaged file.
    """

    def __init__(self, path: Path, seed: int | None) -> None:
        self._path, self._seed = path, seed
        self._known: dict[str, int] = {}
        if path.exists():
            try:
                known = json.loads(read_regular(path, _MAX_SEEDS_BYTES))
                if not all(type(value) is int and 0 <= value <= MAX_SEED for value in known.values()):
                    raise ValueError("a seed that is none")
                self._known = known
            except (ValueError, AttributeError, RecursionError) as error:
                raise FileFormatError(f"{str(path)!r} must map names to seeds, got {error}") from error

    def __call__(self, name: str) -> int:
        """The seed of this model."""
        if name not in self._known:
            self._known[name] = self._draw(name)
        return self._known[name]

    def within(self, folder: str) -> Callable[[str], int]:
        """The seeds of the models of one folder, by their names."""
        return lambda name: self(f"{folder}/{name}")

    def save(self) -> None:
        """Write the file."""
        with atomic_write(self._path) as handle:
            handle.write(json.dumps(self._known, indent=1).encode())

    def _draw(self, name: str) -> int:
        if self._seed is None:
            return secrets.randbelow(MAX_SEED + 1)
        return int.from_bytes(hashlib.sha256(f"{self._seed}/{name}".encode()).digest()[:6], "big")


def run_sources(
    out: StrPath,
    task: Task,
    *,
    size: SourcesSize,
    sources: Sequence[Source] = SOURCES[:3],
    only: Collection[str] | None = None,
    seed: int | None = None,
    workers: int | None = None,
    device: str | None = None,
    architectures: Mapping[str, Mapping[str, Any]] = ARCHITECTURES,
    progress: bool = True,
) -> dict[str, LabelledZoo]:
    """Train one test bed a source into ``out/SOURCE``: source, siblings, thefts, honest models of every kind.

    The first source's test bed also has the honest models that all share. At the end of each run the honest models
    of all test beds that are there, other sources and their siblings among them, are listed in each by their kind
    relative to its source. Public models, from which some are fine-tuned, are in ``out/backbones``. A stopped run
    resumes as `run_testbed` says; more siblings, thefts or sources are added to what is there.

    Args:
        out: folder.
        task: on half ``"a"``.
        size: how many models, how long they are trained.
        sources: the first one's test bed must be trained first.
        only: names of the sources whose test beds are trained now; None: all.
        seed: None: every model's is drawn from the system's entropy and kept in ``out/seeds.json``; a number makes the
            whole reproducible, and is for tests.
        workers, device, architectures, progress: see `run_testbed`.

    Returns:
        The labelled zoos by the source's name, as far as they are there.

    Raises:
        ValueError: a wrong argument.
        OutputFolderError, ModelError: as `run_testbed`.
    """
    if seed is not None:
        check_seed(seed)
    check_workers(workers)
    names = [source.name for source in sources]
    require(bool(names) and len(set(names)) == len(names), "sources must be different and at least one", names)
    for name in only or ():
        require(name in names, f"only must name some of {', '.join(names)}", name)
    out = Path(out)
    check_folder(out)
    with lock_folder(out):
        seeds = Seeds(out / SEEDS, seed)
        plans = {
            source: plan_source(
                source, size, tuple(architectures), seeds.within(source.name), first=not place,
                attacks=attacks_on(task),
            )
            for place, source in enumerate(sources)
        }  # fmt: skip
        folder = _backbones(out, task, size, architectures, plans.values(), seeds, workers)
        seeds.save()
        for source, planned in plans.items():
            if only is not None and source.name not in only:
                continue
            train_planned(
                out / source.name, task.on_half(source.half), planned, size=size.of_source(),
                settings={"source": source.name}, workers=workers, device=device, architectures=architectures,
                progress=progress, backbones=folder,
            )  # fmt: skip
        return _share(out, sources)


def _share(out: Path, sources: Sequence[Source]) -> dict[str, LabelledZoo]:
    zoos = {s: LabelledZoo.load(out / s.name) for s in sources if (out / s.name / INDEX).exists()}
    shared = {}
    for source, zoo in zoos.items():
        with lock_folder(zoo.folder):
            shared[source.name] = share_honest(zoo, source, {s: z for s, z in zoos.items() if s != source})
    return shared


def _backbones(
    out: Path,
    task: Task,
    size: SourcesSize,
    architectures: Mapping[str, Mapping[str, Any]],
    plans: Collection[Sequence[Any]],
    seeds: Seeds,
    workers: int | None,
) -> Path:
    """Train the public models that are planned for and missing."""
    wanted = {(model.backbone, model.architecture) for planned in plans for model in planned if model.backbone}
    planned = [
        Backbone(name, kind, Architecture(model_spec(kind), architectures[kind]), seeds(f"{BACKBONES}/{name}-{kind}"))
        for name in PHOTOGRAPHS
        for kind in PRETRAINED
        if (name, kind) in wanted
    ]
    seeds.save()
    images = {}
    for name in sorted(
        {each.photographs for each in planned if not (out / BACKBONES / f"{each.name}.safetensors").exists()}
    ):
        gray = bool((task.defender.pixels[..., :1] == task.defender.pixels).all())
        images[name] = exemplars(PHOTOGRAPHS[name], size.backbone_images, task.size[0], gray=gray)
    rows = max((len(each) for each in images.values()), default=1)
    config = TrainingConfig(epochs(size.backbone_images, rows))
    train_backbones(out / BACKBONES, planned, images, preprocessing=task.preprocessing, config=config, workers=workers)
    return out / BACKBONES
