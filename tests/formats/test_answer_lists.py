"""Lists of answers that cost more than they are."""

import pytest
from support.bounded import bounded

from sac_fast.errors import FileFormatError
from sac_fast.formats.answers import read_answers_file


def test_tables_of_answers_take_no_more_memory_than_they_are(tmp_path):
    """Cells as texts and dictionaries were fifty times the file."""
    head = "file," + ",".join(f"c{i}" for i in range(1000))
    rows = "".join(f"{i}," + ",".join(["10"] * 1000) + "\n" for i in range(1900))
    path = tmp_path / "a.csv"
    path.write_text(f"{head}\n{rows}")
    with bounded(path.stat().st_size, seconds=20):
        found = read_answers_file(path)
    assert len(found) == 1900
    assert dict(found["7"]) == {f"c{i}": 10.0 for i in range(1000)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file," + "ab," * 3_000_000, "rows of at most 1000 lines and 1,048,576 cells, got more"),
        ("file,label\n" + '"\n",' * 2_000_000, "rows of at most 1000 lines and 1,048,576 cells, got more"),
        ("file,label\n" + "a,b\n" * 1_100_000, "must have at most 1,000,000 lines, got 1,000,001"),
    ],
    ids=["head", "line ends in quotes", "lines"],
)
def test_tables_of_very_many_cells_are_refused_before_they_are_made(tmp_path, text, message):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with bounded(len(text), seconds=20), pytest.raises(FileFormatError, match=message):
        read_answers_file(path)


def test_empty_lines_take_no_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n" * (40 << 20) + '{"file": "a", "label": 3}\r\n{"file": "b", "label": 4}')
    with bounded(path.stat().st_size, seconds=60):
        assert read_answers_file(path) == {"a": 3, "b": 4}


@pytest.mark.parametrize("value", ["1", "null", '"a"', "{}"])
def test_an_object_with_an_empty_name_alone_is_no_list(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text(f'{{"": {value}}}')
    with pytest.raises(FileFormatError, match="must have names in its objects, got an empty one alone"):
        read_answers_file(path)
