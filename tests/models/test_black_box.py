"""Models that can only be asked, through a function."""

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import ModelError
from sac_fast.models import BlackBox


@pytest.fixture
def probes():
    pixels = np.stack([np.full((4, 4, 3), value, np.uint8) for value in range(0, 200, 10)])
    return sac_fast.ProbeSet.from_arrays(pixels)


def brightness(images):
    assert images.dtype == np.uint8
    assert images.shape[0] == 1
    value = images.mean() / 255
    return np.array([[1 - value, value]])


def test_a_function_gets_pixels_and_gives_outputs(probes):
    fp = sac_fast.fingerprint(BlackBox(brightness, "probabilities"), probes, name="theirs")
    assert fp.output_form == "probabilities"
    np.testing.assert_allclose(fp.outputs[:, 1], np.arange(0, 200, 10) / 255, rtol=1e-12)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([["a"]], "numbers, got 'a'"),
        ([[0.5, np.nan]], "finite"),
        ([], "one entry for one image, got 0"),
        (0.5, "one entry for one image, got float"),
        ([[True, False]], "numbers, got True"),
        ([[1e40, 0.0]], "finite numbers"),
    ],
)
def test_unusable_answers_of_a_function_are_told(probes, returned, message):
    with pytest.raises(ModelError, match=message):
        BlackBox(lambda images: returned, "logits").ask(probes)


def test_a_function_that_raises_is_called_again(probes):
    calls = []

    def shaky(images):
        calls.append(1)
        if len(calls) == 1:
            raise OSError("a\x1b[31mlimit")
        return brightness(images)

    box = BlackBox(shaky)
    box.ask(probes)
    assert (box.counts["asked"], box.counts["failed"]) == (21, 1)
    with pytest.raises(ModelError, match=r"1 attempt|RuntimeError: no\\x1b"):
        BlackBox(lambda images: (_ for _ in ()).throw(RuntimeError("no\x1b")), retries=0).ask(probes)
