"""Errors carry a reason that programs can read, also through pickles, as processes hand them on."""

import copy
import pickle

import pytest

from sac_fast import errors
from sac_fast.labelled_zoo.engine import OutputFolderError

PLAIN = [
    errors.SacFastError,
    errors.BackendError,
    errors.ProbeError,
    errors.FileFormatError,
    errors.ModelError,
    errors.FingerprintError,
    errors.StoreError,
    errors.StoreDamagedError,
    OutputFolderError,
]


@pytest.mark.parametrize("kind", PLAIN)
def test_reason_is_optional_and_survives_a_pickle(kind):
    assert kind("words").reason is None
    error = kind("words", reason="not-finite")
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is kind
        assert (str(same), same.args, same.reason) == ("words", ("words",), "not-finite")


def test_refused_models_need_a_reason_and_locked_stores_keep_the_process():
    with pytest.raises(TypeError):
        errors.ModelRefusedError("words")
    refused = pickle.loads(pickle.dumps(errors.ModelRefusedError("words", "pickle")))
    assert (str(refused), refused.reason) == ("words", "pickle")
    locked = pickle.loads(pickle.dumps(errors.StoreLockedError("words", 7)))
    assert (str(locked), locked.pid, locked.reason) == ("words", 7, None)
