"""The notebooks of docs/: small, with outputs, and they run as they stand."""

import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
notebooks = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["relatives", "verdict", "weights"]


@notebooks
def test_outputs_are_committed_and_small(path):
    content = json.loads(path.read_text())
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    assert sum(bool(cell["outputs"]) for cell in cells) >= 3
    assert path.stat().st_size < 300_000
    text = path.read_text()
    assert "Traceback" not in text
    assert str(pathlib.Path.home()) not in text


# Seconds of processor time: relatives 15, verdict 15, weights 10.
@pytest.mark.slow
@notebooks
def test_a_notebook_runs(path):
    nbformat, nbclient = (pytest.importorskip(name, reason="needs the extra docs") for name in ("nbformat", "nbclient"))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": path.parent}}).execute()
    outputs = json.dumps(notebook.cells, default=str)
    word = {"relatives": "of 36 models have", "verdict": "not distinguished", "weights": "weights related"}[path.stem]
    assert word in outputs
