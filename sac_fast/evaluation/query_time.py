"""Query time of a suspect, for a comparison with methods that run the models themselves."""

from __future__ import annotations

import time

from ..labelled_zoo.folder import LabelledZoo
from ..models import Preprocessing, load_model, run_model


def seconds_per_probe(zoo: LabelledZoo, probes: str, *, repeats: int = 3) -> float:
    """Time of the zoo's source per probe, the minimum of several runs over the set.

    Imports the callable named in zoo.json: use it for your own zoos only.

    Args:
        zoo: zoo with the source's weights and the probe set.
        probes: name of the set.
        repeats: number of runs.

    Returns:
        Seconds per probe.

    Raises:
        FileFormatError, ModelError: missing or invalid weights, probes or callable.
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
