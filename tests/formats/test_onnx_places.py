"""Where ONNX files say that their external data is."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from sac_fast.errors import ModelRefusedError
from sac_fast.formats.onnx_graph import external_place


@pytest.mark.parametrize(("key", "value"), [("location", b"weights\x9b"), (b"loc\x9b", "weights"), ("offset", b"\xff")])
def test_texts_that_are_no_utf8_are_refused(tmp_path: Path, key: object, value: object) -> None:
    tensor = SimpleNamespace(name="w", external_data=[SimpleNamespace(key=key, value=value)])
    with pytest.raises(ModelRefusedError, match="must say in UTF-8 where its external data is") as caught:
        external_place(tensor, 4, tmp_path / "a.onnx", "'a.onnx'")
    assert caught.value.reason == "external-data"
