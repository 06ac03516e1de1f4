"""Text tables as pandas, NumPy, R and spreadsheets write them: the right numbers, or a refusal that says what to do."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sac_fast
from sac_fast.errors import ModelRefusedError
from sac_fast.formats.csv_table import read_csv
from sac_fast.formats.limits import Limits
from sac_fast.formats.table_format import DELIMITERS, Dialect
from sac_fast.models import TableFormat

# Three probes, three outputs; the text of each file, the numbers, and a part of what is said about it.
ROWS = [[0.5, -1.25, 2.0], [3.75, 0.125, -4.5], [1e-3, 7.5, 0.25]]
READ = {
    "plain": ("0.5,-1.25,2\n3.75,0.125,-4.5\n1e-3,7.5,.25\n", ROWS, "delimiter comma; 3 rows of 3 outputs"),
    # pandas.DataFrame(rows).to_csv(path)
    "pandas": (",0,1,2\n0,0.5,-1.25,2.0\n1,3.75,0.125,-4.5\n2,0.001,7.5,0.25\n", ROWS, "'' (0 … 2) numbers the rows"),
    "pandas names": ("id,a,b,c\n7,0.5,-1.25,2\n8,3.75,0.125,-4.5\n12,0.001,7.5,0.25\n", ROWS, "'id' (7 … 12) numbers"),
    "unnamed": ("Unnamed: 0,a,b,c\n0,0.5,-1.25,2\n1,3.75,0.125,-4.5\n2,0.001,7.5,0.25\n", ROWS, "'Unnamed: 0' (0 … 2)"),
    # pandas.DataFrame(rows).to_csv(path, index=False)
    "no index": ("0,1,2\n0.5,-1.25,2.0\n3.75,0.125,-4.5\n0.001,7.5,0.25\n", ROWS, "line 1 is a header; 3 rows"),
    "from one": ("1,2,3\n0.5,-1.25,2.0\n3.75,0.125,-4.5\n0.001,7.5,0.25\n", ROWS, "line 1 is a header; 3 rows"),
    # pandas.DataFrame(rows).to_csv(path, header=False)
    "no header": (
        "0,0.5,-1.25,2.0\n1,3.75,0.125,-4.5\n2,0.001,7.5,0.25\n",
        ROWS,
        "first column (0 … 2) numbers the rows",
    ),
    # pandas.DataFrame(rows, index=files).to_csv(path)
    "files": (",0,1,2\na.png,0.5,-1.25,2.0\nb_2.png,3.75,0.125,-4.5\nc.png,0.001,7.5,0.25\n", ROWS, "names the rows"),
    "files alone": ("a.png,0.5,-1.25,2\nb.png,3.75,0.125,-4.5\nc.png,1e-3,7.5,0.25\n", ROWS, "names the rows"),
    # numpy.savetxt(path, rows), and with header="a b c"
    "savetxt": (
        "5.000000000000000000e-01 -1.250000000000000000e+00 2.000000000000000000e+00\n"
        "3.750000000000000000e+00 1.250000000000000000e-01 -4.500000000000000000e+00\n"
        "1.000000000000000021e-03 7.500000000000000000e+00 2.500000000000000000e-01\n",
        *(ROWS, "delimiter space; 3 rows of 3 outputs"),
    ),
    "savetxt header": ("# a b c\n0.5 -1.25 2\n3.75 0.125 -4.5\n1e-3 7.5 .25\n", ROWS, "delimiter space; 3 rows"),
    "aligned": (" 0.5   -1.25   2\n 3.75   0.125 -4.5\n 1e-3   7.5   .25\n", ROWS, "delimiter space; 3 rows"),
    "tabs": ("a\tb\tc\n0.5\t-1.25\t2\n3.75\t0.125\t-4.5\n1e-3\t7.5\t.25\n", ROWS, "tab; line 1 is a header"),
    "semicolons": ("0.5;-1.25;2\n3.75;0.125;-4.5\n1e-3;7.5;.25\n", ROWS, "delimiter semicolon; 3 rows"),
    "decimal comma": (
        "0,5;-1,25;2\n3,75;0,125;-4,5\n1e-3;7,5;,25\n",
        ROWS,
        "delimiter semicolon, decimal comma; 3 rows",
    ),
    # write.table(x, path) and write.csv(x, path) of R
    "R table": (
        '"V1" "V2" "V3"\n"1" 0.5 -1.25 2\n"2" 3.75 0.125 -4.5\n"3" 0.001 7.5 0.25\n',
        ROWS,
        "'' (1 … 3) numbers",
    ),
    "R csv": (
        '"","V1","V2","V3"\n"1",0.5,-1.25,2\n"2",3.75,0.125,-4.5\n"3",0.001,7.5,0.25\n',
        ROWS,
        "'' (1 … 3) numbers",
    ),
    "mark, blanks": ("\ufeffa,b,c\r\n\r\n0.5, -1.25, 2\r\n3.75,0.125,-4.5\r\n1e-3,7.5,.25", ROWS, "line 1 is a header"),
    "one row": ("a,b,c\n0.5,-1.25,2\n", ROWS[:1], "1 rows of 3 outputs"),
    "sigmoid": ("p\n0.5\n0.25\n", [[0.5], [0.25]], "line 1 is a header; 2 rows of 1 outputs"),
    "labels": ("0\n3\n1\n", [[0], [3], [1]], "one cell a line; 3 rows"),
    "labels, index": ("index,label\n0,3\n1,1\n2,0\n", [[3], [1], [0]], "'index' (0 … 2) numbers the rows"),
    "named zeros": ("a,b\n1,0\n0,1\n", [[1, 0], [0, 1]], "line 1 is a header; 2 rows of 2 outputs"),
    "one hot": ("1,0,0\n0,0,1\n0,1,0\n", [[1, 0, 0], [0, 0, 1], [0, 1, 0]], "delimiter comma; 3 rows of 3 outputs"),
}
# What is refused, with the reason and a part of the message.
REFUSED = {
    "two columns": ("0,1\n0.3,0.7\n0.5,0.5\n", "ambiguous-table", "--table-header"),
    "all whole": ("0,1,2\n3,5,7\n", "ambiguous-table", "--table-header"),
    "class ids": ("3,5,8\n0.25,0.5,0.125\n0.5,0.75,0.5\n", "ambiguous-table", "--table-header"),
    "one named 0": ("0\n0.25\n0.5\n", "ambiguous-table", "--table-header"),
    "empty first cell": (",0.25,0.5\n0.5,0.75,0.5\n", "ambiguous-table", "an empty cell in line 1"),
    "empty cell": ("0.5,,0.5\n0.5,0.75,0.5\n", "ambiguous-table", "an empty cell in line 1"),
    "empty cell later": ("0.5,1.5,0.5\n0.5,,0.5\n", "not-numbers", "got an empty cell in line 2"),
    "empty name": ("a,,c\n0.5,0.75,0.5\n", "ambiguous-table", "an empty cell in line 1, column 2"),
    "half names": ("a,1.5,c\n0.5,0.75,0.5\n", "ambiguous-table", "numbers and 'a' in line 1"),
    "ids in another order": ("id,a,b\n2,0.5,1.5\n0,2.5,1\n1,0.5,3\n", "ambiguous-table", "--table-index"),
    "index or labels": ("0,3\n1,7\n2,1\n", "ambiguous-table", "--table-index"),
    "two rows": ("0,0.25\n1,0.5\n", "ambiguous-table", "--table-index"),
    "comma for a point": ("0,731\n0,512\n0,2\n", "ambiguous-table", "--table-delimiter"),
    "space or comma": ("a 1,5\nb 2,5\nc 2,5\n", "ambiguous-table", "--table-delimiter"),
    "thousands": ("1,234;5,678\n2,345;1,000\n", "ambiguous-table", "decimal point"),
    "header of fewer": ("a\n0.5,1.5\n2.5,3\n", "wrong-shape", "must have 1 columns as in line 1, got 2"),
    "ragged": ("1.5,2.5\n0.5,1.5,2.5\n", "wrong-shape", "must have 2 columns as in line 1, got 3"),
    "ragged later": ("1.5,2.5\n0.5,1.5\n0.25\n", "wrong-shape", "must have 2 columns as before, got 1 in line 3"),
    "underscore": ("1.5,2_5\n0.5,1.5\n0.25,1.5\n", "ambiguous-table", "'2_5' in line 1"),
    "foreign digits": ("1.5,2.5\n0.5,\u0661\n", "not-numbers", "in line 2"),
    "header alone": ("a,b\n", "empty", "no line of numbers"),
    "quotes": ('1.5,2.5\n"0.5,1.5\n', "not-numbers", "matching quotes in line 2"),
    "bytes": (b"1.5,2.5\n\xff\xfe,1\n", "not-numbers", "UTF-8 text in line 2"),
}  # fmt: skip
SETTLED = [
    ("two columns", TableFormat(header=True), [[0.3, 0.7], [0.5, 0.5]]),
    ("two columns", TableFormat(header=False), [[0, 1], [0.3, 0.7], [0.5, 0.5]]),
    ("all whole", TableFormat(header=True), [[3, 5, 7]]),
    ("class ids", TableFormat(header=True), [[0.25, 0.5, 0.125], [0.5, 0.75, 0.5]]),
    ("index or labels", TableFormat(index=True), [[3], [7], [1]]),
    ("index or labels", TableFormat(index=False), [[0, 3], [1, 7], [2, 1]]),
    ("comma for a point", TableFormat(delimiter="comma"), [[0, 731], [0, 512], [0, 2]]),
    ("comma for a point", TableFormat(delimiter="semicolon"), [[0.731], [0.512], [0.2]]),
    ("space or comma", TableFormat(delimiter="comma"), [[5], [5], [5]]),
    ("space or comma", TableFormat(delimiter="space"), [[1.5], [2.5], [2.5]]),
]


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, given: TableFormat | None = None) -> tuple[list[list[float]], str]:
    with path.open("rb") as handle:
        outputs, said = read_csv(handle, "the table", Limits(), given)
    return outputs.tolist(), said


@pytest.mark.parametrize("case", READ)
def test_tables_have_the_right_numbers_and_say_how_they_were_taken(tmp_path: Path, case: str) -> None:
    text, expected, part = READ[case]
    file = written(tmp_path / "a.csv", text)
    assert sac_fast.identify(file) == "csv"
    outputs, said = read(file)
    assert outputs == expected
    assert part in said


@pytest.mark.parametrize("case", REFUSED)
def test_what_can_be_read_twice_is_refused(tmp_path: Path, case: str) -> None:
    text, reason, part = REFUSED[case]
    with pytest.raises(ModelRefusedError) as caught:
        read(written(tmp_path / "a.csv", text))
    assert (caught.value.reason, part in str(caught.value)) == (reason, True), str(caught.value)


@pytest.mark.parametrize(("case", "given", "expected"), SETTLED)
def test_what_the_user_says_settles_it(tmp_path: Path, case: str, given: TableFormat, expected: Any) -> None:
    assert read(written(tmp_path / "a.csv", REFUSED[case][0]), given)[0] == expected


def test_formats_are_checked() -> None:
    with pytest.raises(ValueError, match="delimiter must be one of comma, semicolon, tab, space, got ','"):
        TableFormat(delimiter=",")
    with pytest.raises(ValueError, match="header must be True, False or None, got 'yes'"):
        TableFormat(header="yes")  # type: ignore[arg-type]


def test_tables_of_short_numbers_are_refused_where_they_would_grow(tmp_path: Path) -> None:
    """Each number of two characters becomes eight bytes, and is copied: 60 MB took 600."""
    limits = Limits(free_expansion_bytes=1 << 20)
    for cell, message in (("1", "must have longer numbers, got 400,040 bytes of text for 1,600,1"), ("0.25", "")):
        path = written(tmp_path / "a.csv", (f"{cell}," * 10_000 + "1\n") * 20)
        with path.open("rb") as handle:
            if message:
                with pytest.raises(ModelRefusedError, match=message):
                    read_csv(handle, "x", Limits(free_expansion_bytes=1 << 18))
            assert read_csv(handle, "x", limits)[0].shape == (20, 10_001)


def test_long_lines_are_tables(tmp_path: Path) -> None:
    names, row = ",".join(f"a class with a long name {i}" for i in range(1000)), ",".join(["0.1234567890123456"] * 1000)
    file = written(tmp_path / "a.csv", f"{names}\n{row}\n{row}\n")
    assert sac_fast.identify(file) == "csv"
    outputs, said = read(file)
    assert said.endswith("line 1 is a header; 2 rows of 1000 outputs")
    assert outputs == [[0.1234567890123456] * 1000] * 2
    for text in ("some words, and 5\nmore words\n", "MIT License 2.0\n\nCopyright 2026 x\n", "a = 1\nb = 2\n"):
        assert sac_fast.identify(written(tmp_path / "b", text)) == "unknown"


def test_commands_say_how_a_table_was_taken(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    probes = sac_fast.ProbeSet.from_arrays(np.arange(3 * 48, dtype=np.uint8).reshape(3, 4, 4, 3))
    probes.save("probes")
    (tmp_path / "models").mkdir()
    written(Path("models/a.csv"), READ["pandas"][0])
    code, _, err = run("fingerprint", "models/a.csv", "--probes", "probes", "--out", "a.f", "-q")
    said = "table: delimiter comma; line 1 is a header; the first column '' (0 … 2) numbers the rows and is left out"
    assert (code, said in err) == (0, True)
    made = sac_fast.Fingerprint.load("a.f")
    assert made.outputs.tolist() == ROWS
    taken = f"{said}; 3 rows of 3 outputs"
    assert made.provenance["notes"][0].startswith(taken)
    written(Path("models/b.csv"), "5,3,8\n1,2,3\n4,6,9\n7,8,9\n")
    code, out, err = run("scan", "models", "--probes", "probes", "--store", "s", "--json", "-q", "--workers", "1")
    events = {event["name"]: event for event in map(json.loads, out.splitlines()[:-1])}
    assert (code, events["a.csv"]["message"].startswith(taken)) == (0, True)
    assert events["b.csv"]["reason"] == "wrong-shape"
    code, out, _ = run(
        "scan", "models", "--probes", "probes", "--store", "s", "--json", "-q", "--workers", "1", "--table-header=yes"
    )
    events = {event["name"]: event for event in map(json.loads, out.splitlines()[:-1])}
    assert (code, events["b.csv"]["status"], events["b.csv"]["k"]) == (0, "done", 3)
    with sac_fast.store.ModelStore.open("s", write=False) as store:
        record = store.record_for("b.csv", probes.content_hash)
        assert record is not None
        assert record.message.startswith("table: delimiter comma; line 1 is a header; 3 rows of 3 outputs")
        assert store.outputs(record).tolist() == [[1, 2, 3], [4, 6, 9], [7, 8, 9]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3\n-15 6\n", "must have 3 columns as in line 1, got 2 in the lines after it"),
        ("1 2\n-15 6 7\n4 5 6\n", "must have 2 columns as in line 1, got 3 in the lines after it"),
        # the first cell would have been left out as a name
        ("1,2\nb,3\nc,4\n", "must have names in all of its first column or numbers in all of it, got '1' in line 1"),
    ],
)
def test_a_first_line_that_is_said_to_be_a_row_is_like_the_others(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path / "a.csv", text)
    with pytest.raises(ModelRefusedError, match=message):
        read(path, TableFormat(header=False))


@pytest.mark.parametrize("delimiter", DELIMITERS)
def test_lines_are_split_as_csv_does(delimiter: str) -> None:
    texts = ("1", " ", "é", ",", ";", "\t", "x\x0b", '"', '""', '"a"', "\r", "\0", "\u2028", "")
    for parts in itertools.product(texts, repeat=3):
        line = "".join(parts)
        try:
            expected = next(csv.reader([line], delimiter=DELIMITERS[delimiter], skipinitialspace=True, strict=True))
        except csv.Error:
            with pytest.raises(ModelRefusedError, match="matching quotes in line 7"):
                Dialect(delimiter).split(line, 7, "x")
        else:
            assert Dialect(delimiter).split(line, 7, "x") == [cell.strip() for cell in expected]
