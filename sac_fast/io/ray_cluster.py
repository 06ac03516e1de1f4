"""The connection to a Ray cluster (extra ``ray``)."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from ..errors import BackendError

_QUIET = {"logging_level": "ERROR", "log_to_driver": False}


def connect_ray(address: str) -> tuple[Any, bool]:
    """Connect this process to a cluster, unless it is connected to one.

    Args:
        address: ``"host:port"`` or ``"ray://…"``; ``"auto"``: the cluster that is found, else a new one here;
            ``"local"``: a new one here.

    Returns:
        The module ``ray``, and whether the connection was made here, and is to be ended by ``ray.shutdown``.

    Raises:
        BackendError: ray is not installed, or there is no cluster at the address.
    """
    try:
        import ray
    except ImportError as error:
        raise BackendError(f"Ray must be installed: pip install 'sac-fast[ray]' ({error})") from error
    owns = not ray.is_initialized()
    if owns:
        # Ray puts the folder in which it is initialized on its workers' search path, before they import anything: this
        # must not be one with other people's files.
        with contextlib.chdir(Path(__file__).parents[2]):
            initialize(ray, address)
    return ray, owns


def initialize(ray: Any, address: str) -> None:
    """Call `ray.init`.

    Raises:
        BackendError: there is no cluster at the address.
    """
    try:
        if address == "auto":
            try:
                ray.init(address="auto", **_QUIET)
            except ConnectionError:
                ray.init(include_dashboard=False, **_QUIET)
        else:
            ray.init(address=None if address == "local" else address, **_QUIET)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise BackendError(f"the address of a Ray cluster must lead to one, got {address!r}: {error}") from error
