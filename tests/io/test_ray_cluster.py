"""The connection to a Ray cluster."""

import os
import sys
from pathlib import Path

import pytest

import sac_fast
from sac_fast.errors import BackendError
from sac_fast.io.ray_cluster import connect_ray


class Ray:
    """As much of Ray as a connection needs."""

    def __init__(self, connected=False, fails=None):
        self.connected, self.fails, self.calls, self.started_in = connected, fails, [], []

    def is_initialized(self):
        return self.connected

    def init(self, **options):
        self.calls.append(options.get("address", "new"))
        self.started_in.append(os.getcwd())
        if options.get("address") == "auto":
            raise ConnectionError
        if self.fails:
            raise self.fails


@pytest.mark.parametrize(("address", "calls"), [("auto", ["auto", "new"]), ("local", [None]), ("host:1", ["host:1"])])
def test_workers_do_not_search_the_folder_of_the_command(tmp_path, monkeypatch, address, calls):
    """Ray takes the current folder of `ray.init` (worker.py, connect); no library of that name may be found there."""
    ray = Ray()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.chdir(tmp_path)
    assert connect_ray(address) == (ray, True)
    assert ray.calls == calls
    assert set(ray.started_in) == {str(Path(sac_fast.__file__).parents[1])}
    assert os.getcwd() == str(tmp_path)


def test_a_connection_that_is_there_is_used(monkeypatch):
    ray = Ray(connected=True)
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert connect_ray("auto") == (ray, False)
    assert ray.calls == []


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", Ray(fails=RuntimeError("no answer")))
    with pytest.raises(BackendError, match="must lead to one, got 'host:1': no answer"):
        connect_ray("host:1")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r"sac-fast\[ray\]"):
        connect_ray("auto")
