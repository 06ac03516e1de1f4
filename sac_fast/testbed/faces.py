"""A face task from the faces that ship with scikit-image: verification, fingerprinted by reference images (FRI).

``lfw_subset`` holds 100 faces of Labeled Faces in the Wild, 25×25 pixels, gray, cut out for training a face detector.
It has no names, and one photograph of (almost) every person. So a person is a photograph here: the images of one
person are views of it, cut, mirrored, turned by a few degrees and lit at random, and a network is right when it
tells two views of one photograph from views of two.

What the task shows: the path of a verifier on real faces. The networks embed; no labels are given; the probes are
views of people whom no network was trained on; a fingerprint is the probes' similarities to reference images of yet
other people; embeddings of different sizes meet in the correlation matrices; the thief has photographs of people of
his own only. What it cannot show: how well anything recognises a person by another photograph (age, pose, light,
glasses), anything about full-size face models, and figures comparable with those of the paper. Some people of the
100 may be there twice, which cannot be known without names.

Source: Huang et al., *Labeled Faces in the Wild*, 2007; scikit-image's ``data.lfw_subset``; FRI is Guan et al., arXiv
2412.20768.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ProbeError
from ..labelled_zoo.images import Images
from ..labelled_zoo.photographs import installed_file
from .patches import PREPROCESSING
from .plan import Size
from .task import Task

_FACES = 100  # then come 100 images without faces
_PIXELS = 25
SIDE = 32
_SALT = 0xFACE
#: People of each side, 100 together.
PEOPLE = {"defender": 40, "attacker": 30, "probes": 20, "references": 10}
#: The same for several sources, on whose halves defender and attacker change places.
HALVES = {"defender": 35, "attacker": 35, "probes": 20, "references": 10}


@dataclass(frozen=True)
class Views:
    """Views of a person.

    Attributes:
        train: for the defender and for the attacker.
        test, pool: of the people of the probes: for the accuracy, and as probes.
        references: of the people of the references.
    """

    train: int = 40
    test: int = 12
    pool: int = 100
    references: int = 2


FACES = Size(
    images=60_000,
    tuning=24_000,
    independents={
        "same-data-same-architecture": (12, ("vgg",)),
        "same-data": (10, ("resnet", "densenet", "mobilenet", "mixer")),
        "other-data": (10, ("vgg", "resnet", "densenet", "mobilenet")),
    },
    stolen={
        "extract-labels": (4, ("vgg", "resnet", "densenet", "mobilenet")),
        "extract-soft-t1": (4, ("vgg", "resnet", "densenet", "mobilenet")),
        "extract-similarities": (6, ("vgg", "resnet", "densenet", "mobilenet")),
        "transfer-all": (4, ("vgg",)),
        "quantize-int8": (3, ("vgg",)),
        "weight-noise": (4, ("vgg",)),
    },
    probes=2000,
)
QUICK_FACES = Size(
    images=30_000,
    tuning=12_000,
    independents={
        "same-data-same-architecture": (4, ("vgg",)),
        "same-data": (4, ("resnet", "densenet")),
        "other-data": (4, ("vgg", "resnet")),
    },
    stolen={
        "extract-labels": (2, ("vgg", "resnet")),
        "extract-soft-t1": (2, ("resnet", "vgg")),
        "extract-similarities": (3, ("vgg", "resnet", "densenet")),
        "transfer-all": (2, ("vgg",)),
        "quantize-int8": (1, ("vgg",)),
        "weight-noise": (2, ("vgg",)),
    },
    probes=500,
)
QUICK_VIEWS = Views(pool=25)


def read_faces() -> NDArray[np.uint8]:
    """The 100 faces of scikit-image's ``lfw_subset``.

    Returns:
        (100, 25, 25) uint8, gray.

    Raises:
        ProbeError: scikit-image is not installed, or its file is not there or another one.
    """
    path = installed_file("the faces", "skimage", "data/lfw_subset.npy")
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ProbeError(f"the faces must be readable at {path}, got: {error}") from error
    if values.shape != (2 * _FACES, _PIXELS, _PIXELS) or values.dtype.kind != "f":
        raise ProbeError(f"the faces at {path} must be floats (200, 25, 25), got {values.dtype} {values.shape}")
    faces: NDArray[np.uint8] = np.rint(255 * np.clip(values[:_FACES], 0, 1)).astype(np.uint8)
    return faces


def view(face: NDArray[np.uint8], generator: np.random.Generator) -> NDArray[np.uint8]:
    """One view of a face: mirrored, turned up to 12°, cut to 20 … 25 pixels, scaled, lit otherwise, with noise.

    Args:
        face: (25, 25) uint8.
        generator: decides everything random.

    Returns:
        (32, 32, 3) uint8, gray.
    """
    picture = Image.fromarray(face[:, ::-1] if generator.random() < 0.5 else face)
    # What comes in from outside of the frame is the face's mean gray.
    turned = picture.rotate(
        float(generator.uniform(-12, 12)), Image.Resampling.BILINEAR, fillcolor=int(np.rint(face.mean()))
    )
    side = int(generator.integers(20, _PIXELS + 1))
    top, left = (int(generator.integers(_PIXELS - side + 1)) for _ in range(2))
    scaled = turned.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(scaled, dtype=np.float64)
    mean = values.mean()
    contrast, light = np.exp(generator.uniform(-0.4, 0.4)), generator.uniform(-40, 40)
    lit = (values - mean) * contrast + mean + light + generator.normal(0, 6, values.shape)
    gray = np.clip(np.rint(lit), 0, 255).astype(np.uint8)
    return np.repeat(gray[:, :, None], 3, axis=2)


def make_faces(seed: int = 0, views: Views | None = None, people: Mapping[str, int] = PEOPLE) -> Task:
    """Make the task.

    Args:
        seed: decides who is on which side, and the views.
        views: how many.
        people: of each side, 100 together.

    Returns:
        The task. Its classes are the defender's people; the attacker's people are the classes of ``transfer``.

    Raises:
        ProbeError: scikit-image is not installed.
    """
    views = views or Views()
    generator = np.random.default_rng([seed, _SALT])
    faces = read_faces()
    ends = np.cumsum(list(people.values()))
    who = dict(zip(people, np.split(generator.permutation(_FACES), ends[:-1]), strict=True))

    def cut(side: str, count: int) -> Images:
        pixels = np.stack([view(faces[person], generator) for person in who[side] for _ in range(count)])
        labels = np.repeat(np.arange(len(who[side]), dtype=np.int64), count)
        return Images(pixels, labels).take(generator.permutation(len(labels)))

    defender, theirs = cut("defender", views.train), cut("attacker", views.train)
    test, pool = cut("probes", views.test), cut("probes", views.pool)
    names, their_names = (tuple(f"face-{person}" for person in who[side]) for side in ("defender", "attacker"))
    return Task(
        "faces",
        names,
        defender,
        _without_labels(theirs),
        test,
        pool,
        theirs.pixels[:1],
        theirs,
        theirs,
        their_names,
        PREPROCESSING,
        {"seed": seed, "similarity": "cosine", "people": dict(people)},
        cut("references", views.references).pixels,
        {
            "classes": their_names, "defender": theirs, "attacker": _without_labels(defender),
            "surrogate": defender.pixels[:1], "transfer": defender, "transfer_test": defender,
            "transfer_classes": names,
        },
    )  # fmt: skip


def _without_labels(images: Images) -> Images:
    return Images(images.pixels, np.zeros(len(images), np.int64))
