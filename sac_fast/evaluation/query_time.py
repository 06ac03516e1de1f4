"""How long a suspect takes to answer, so that time is compared with methods that run the models themselves."""

from __future__ import annotations

import time

from ..labelled_zoo.folder import LabelledZoo
from ..models import Preprocessing, load_model, run_model


def seconds_per_probe(zoo: LabelledZoo, probes: str, *, repeats: int = 3) -> float:
    """Time of the zoo's source for one probe, the best of some runs over the set.

    It imports the callable that zoo.json names: for zoos of one's own.

    Args:
        zoo: with the source's weights and the probe set.
        probes: name of the set.
        repeats: runs.

    Returns:
        Seconds.

    Raises:
        FileFormatError, ModelError: weights, probes or callable that are not there or do not fit.
    """
    source = zoo.source
    model = load_model(source.architecture, weights=zoo.weights_file(source), kwargs=dict(source.architecture_args))
    images = zoo.load_probes(probes)
    preprocessing = Preprocessing.from_dict(zoo.preprocessing)
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run_model(model, images, preprocessing=preprocessing)
        found.append(time.perf_counter() - start)
    return min(found) / len(images)
