"""Recorded outputs of the corpus: arrays, tables, HDF5, fingerprints, and their neighbours."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.numpy

from sac_fast import Fingerprint, ProbeSet

from .corpus import OUTPUTS, PROBES, Case, content, saved

LABELS = OUTPUTS.argmax(1)
_ONE_COLUMN = LABELS[:, None]
_TEXT = "\n".join(",".join(f"{value:.3f}" for value in row) for row in OUTPUTS) + "\n"
_ROWS = _TEXT.splitlines()


def _npy(array: np.ndarray[Any, Any], **options: Any) -> Callable[[Path], Any]:
    return saved(lambda file: np.save(file, array, **options))


def _npy_version(version: tuple[int, int]) -> Callable[[Path], Any]:
    return saved(lambda file: np.lib.format.write_array(file, OUTPUTS, version))


def _npz(**arrays: Any) -> Callable[[Path], Any]:
    return saved(lambda file: np.savez(file, **arrays))


def _table(rows: list[str], header: str = "") -> Callable[[Path], Any]:
    return content((header + "\n" if header else "") + "\n".join(rows) + "\n")


def _numbered(rows: list[str], start: int = 0) -> list[str]:
    return [f"{number},{row}" for number, row in enumerate(rows, start)]


def _fingerprint(probes: ProbeSet) -> Callable[[Path], Any]:
    import torch

    about = {"name": "x", "probe_hash": probes.content_hash}
    return Fingerprint(torch.from_numpy(OUTPUTS.copy()), about).save


def array_cases() -> list[Case]:
    """Arrays of NumPy and safetensors."""
    narrow = OUTPUTS.astype(np.float16)
    buffer, tensors = io.BytesIO(), safetensors.numpy.save
    np.save(buffer, OUTPUTS)
    return [
        Case("plain.npy", _npy(OUTPUTS), "npy", OUTPUTS),
        Case("no-ending", _npy(OUTPUTS), "npy", OUTPUTS),
        Case("version-2.npy", _npy_version((2, 0)), "npy", OUTPUTS),
        Case("version-3.npy", _npy_version((3, 0)), "npy", "malformed", "version 1 or 2"),
        Case("fortran.npy", _npy(np.asfortranarray(OUTPUTS)), "npy", OUTPUTS),
        Case("big-endian.npy", _npy(OUTPUTS.astype(">f8")), "npy", OUTPUTS),
        Case("float16.npy", _npy(narrow), "npy", narrow.astype(np.float32)),
        Case("float32.npy", _npy(OUTPUTS.astype(np.float32)), "npy", OUTPUTS.astype(np.float32)),
        Case("labels.npy", _npy(LABELS), "npy", _ONE_COLUMN),
        Case("labels-uint8.npy", _npy(LABELS.astype(np.uint8)), "npy", _ONE_COLUMN),
        Case("column.npy", _npy(_ONE_COLUMN), "npy", _ONE_COLUMN),
        Case("bools.npy", _npy(OUTPUTS > 0), "npy", "not-numbers"),
        Case("complex.npy", _npy(OUTPUTS * 1j), "npy", "not-numbers"),
        Case("long-double.npy", _npy(OUTPUTS.astype(np.longdouble)), "npy", "not-numbers"),
        Case("texts.npy", _npy(np.array([["a"] * 3] * 7)), "npy", "not-numbers"),
        Case("objects.npy", _npy(np.array([[{}] * 3] * 7), allow_pickle=True), "npy", "object-array"),
        Case("nan.npy", _npy(np.where(OUTPUTS > 3, np.nan, OUTPUTS)), "npy", "not-finite"),
        Case("cube.npy", _npy(OUTPUTS[:, :, None]), "npy", "wrong-shape"),
        Case("number.npy", _npy(np.float64(3.5)), "npy", "wrong-shape"),
        Case("no-rows.npy", _npy(OUTPUTS[:0]), "npy", "wrong-shape"),
        Case("cut.npy", content(buffer.getvalue()[:-8]), "npy", "truncated"),
        Case("longer.npy", content(buffer.getvalue() + b"x"), "npy", "malformed"),
        Case("outputs.npz", _npz(outputs=OUTPUTS, other=OUTPUTS + 1), "npz", OUTPUTS),
        Case("single.npz", _npz(what=OUTPUTS), "npz", OUTPUTS),
        Case("unnamed.npz", saved(lambda file: np.savez(file, OUTPUTS)), "npz", OUTPUTS),
        Case("compressed.npz", saved(lambda file: np.savez_compressed(file, outputs=OUTPUTS)), "npz", OUTPUTS),
        Case("several.npz", _npz(a=OUTPUTS, b=OUTPUTS), "npz", "which-array"),
        Case("npz-labels.npz", _npz(outputs=LABELS), "npz", _ONE_COLUMN),
        Case("npz-cube.npz", _npz(outputs=OUTPUTS[None]), "npz", "wrong-shape"),
        Case("array.safetensors", content(tensors({"outputs": OUTPUTS})), "safetensors", OUTPUTS),
        Case("labels.safetensors", content(tensors({"outputs": LABELS})), "safetensors", _ONE_COLUMN),
        Case("cube.safetensors", content(tensors({"outputs": OUTPUTS[None]})), "safetensors", "wrong-shape"),
        Case("fingerprint", _fingerprint(PROBES), "fingerprint", OUTPUTS),
        Case("other-probes", _fingerprint(ProbeSet.from_arrays(PROBES.images[::-1])), "fingerprint", "other-probes"),
        Case("probe-set", PROBES.save, "probes", "not-a-model"),
        Case("weight.npy", _npy(OUTPUTS), "npy", "looks-like-weights", "--output weight"),
        Case("fc-weight.npz", _npz(**{"fc.weight": OUTPUTS}), "npz", "looks-like-weights", "--output fc.weight"),
        Case("npy.gz", content(gzip.compress(buffer.getvalue())), "unknown", "unknown-format"),
    ]  # fmt: skip


def table_cases() -> list[Case]:
    """Text tables."""
    comma, spaces = [row.replace(".", ",") for row in _ROWS], [row.replace(",", " ") for row in _ROWS]
    semicolon, labels = [row.replace(",", ";") for row in _ROWS], LABELS.astype(str).tolist()
    with_comma = [row.replace(".", ",") for row in semicolon]
    return [
        Case("plain.csv", content(_TEXT), "csv", OUTPUTS, "delimiter comma"),
        Case("no-last-line-end.csv", content(_TEXT.rstrip()), "csv", OUTPUTS),
        Case("carriage-return.csv", content(_TEXT.replace("\n", "\r\n")), "csv", OUTPUTS),
        Case("mark.csv", content(b"\xef\xbb\xbf" + _TEXT.encode()), "csv", OUTPUTS),
        Case("utf-16.csv", content(_TEXT.encode("utf-16")), "unknown", "unknown-format"),
        Case("header.csv", _table(_ROWS, "a,b,c"), "csv", OUTPUTS, "line 1 is a header"),
        Case("numeric-header.csv", _table(_ROWS, "0,1,2"), "csv", OUTPUTS, "line 1 is a header"),
        Case("pandas.csv", _table(_numbered(_ROWS), ",0,1,2"), "csv", OUTPUTS, "(0 … 6) numbers the rows"),
        Case("index.csv", _table(_numbered(_ROWS), "index,a,b,c"), "csv", OUTPUTS, "'index' (0 … 6)"),
        Case("id.csv", _table(_numbered(_ROWS, 5), "id,a,b,c"), "csv", OUTPUTS, "'id' (5 … 11)"),
        Case("unnamed.csv", _table(_numbered(_ROWS), "Unnamed: 0,a,b,c"), "csv", OUTPUTS, "'Unnamed: 0' (0 … 6)"),
        Case("index-alone.csv", _table(_numbered(_ROWS)), "csv", OUTPUTS, "(0 … 6) numbers the rows"),
        Case("from-one.csv", _table(_numbered(_ROWS, 1)), "csv", OUTPUTS, "(1 … 7) numbers the rows"),
        Case("files.csv", _table([f"{i}.png,{row}" for i, row in enumerate(_ROWS)]), "csv", OUTPUTS, "names the rows"),
        Case("reversed-ids.csv", _table(_numbered(_ROWS)[::-1], "id,a,b,c"), "csv", "ambiguous-table", "--table-index"),
        Case("spaces.txt", _table(spaces), "csv", OUTPUTS, "delimiter space"),
        Case("savetxt", saved(lambda file: np.savetxt(file, OUTPUTS)), "csv", OUTPUTS, "delimiter space"),
        Case("savetxt-header", saved(lambda f: np.savetxt(f, OUTPUTS, header="a b c")), "csv", OUTPUTS),
        Case("tabs.tsv", _table([row.replace(",", "\t") for row in _ROWS]), "csv", OUTPUTS, "delimiter tab"),
        Case("semicolon.csv", _table(semicolon), "csv", OUTPUTS, "delimiter semicolon"),
        Case("decimal-comma.csv", _table(with_comma), "csv", OUTPUTS, "decimal comma"),
        Case("decimal-comma-tab.csv", _table([row.replace(";", "\t") for row in with_comma]), "csv", OUTPUTS),
        Case("all-commas.csv", _table(comma), "csv", np.array([[int(x) for x in r.split(",")] for r in comma])),
        Case("empty-first.csv", _table(_ROWS[1:], ",1.5,2.5"), "csv", "ambiguous-table", "an empty cell in line 1"),
        Case("empty-later.csv", _table([*_ROWS[:-1], "1.5,,2.5"]), "csv", "not-numbers", "an empty cell in line 7"),
        Case("word.csv", _table([*_ROWS[:-1], "1.5,two,2.5"]), "csv", "not-numbers", "'two' in line 7"),
        Case("ragged.csv", _table([*_ROWS[:-1], "1.5"]), "csv", "wrong-shape", "got 1 in line 7"),
        Case("nan.csv", _table([*_ROWS[:-1], "1.5,nan,2"]), "csv", "not-finite"),
        Case("labels.csv", _table(labels), "csv", _ONE_COLUMN),
        Case("indexed-labels.csv", _table(_numbered(labels), "id,label"), "csv", _ONE_COLUMN),
        Case("two-meanings.csv", _table(_numbered(labels)), "csv", "ambiguous-table", "--table-index"),
        Case("short.csv", _table(_ROWS[:-1]), "csv", "wrong-shape", "7 rows"),
        Case("words", content("nothing but words\nand more\n"), "unknown", "unknown-format"),
    ]  # fmt: skip


def hdf5_cases() -> list[Case]:
    """HDF5 files."""

    def h5(name: str, outcome: Any, says: str = "", *, library: str = "earliest", **arrays: Any) -> Case:
        def make(path: Path) -> None:
            with h5py.File(path, "w", libver=library) as file:
                for key, value in arrays.items():
                    file[key] = value

        return Case(name, make, "hdf5", outcome, says)

    def packed(name: str, outcome: Any = OUTPUTS, *, block: int = 0, **options: Any) -> Case:
        def make(path: Path) -> None:
            with h5py.File(path, "w", userblock_size=block) as file:
                file.create_dataset("outputs", data=OUTPUTS, **options)
            if block:
                with path.open("r+b") as raw:
                    raw.write(b"words of its own")

        return Case(name, make, "hdf5", outcome)

    narrow = OUTPUTS.astype("f2")
    return [
        packed("gzip.h5", chunks=(2, 2), compression="gzip", shuffle=True, fletcher32=True),
        packed("lzf.h5", chunks=(2, 3), compression="lzf"),
        packed("user-block.h5", block=512),
        packed("large-user-block.h5", block=4096, chunks=(7, 3), compression="lzf", shuffle=True),
        packed("scaled.h5", "filter", chunks=(7, 3), scaleoffset=2),
        packed("growing.h5", maxshape=(None, 3)),
        h5("plain.h5", OUTPUTS, what=OUTPUTS),
        h5("outputs.h5", OUTPUTS, outputs=OUTPUTS, labels=LABELS),
        h5("latest.h5", OUTPUTS, library="latest", outputs=OUTPUTS),
        h5("big-endian.h5", OUTPUTS, outputs=OUTPUTS.astype(">f8")),
        h5("float16.h5", narrow.astype("f4"), outputs=narrow),
        h5("labels.h5", _ONE_COLUMN, outputs=LABELS),
        h5("several.h5", "which-array", a=OUTPUTS, b=OUTPUTS),
        h5("cube.h5", "wrong-shape", outputs=OUTPUTS[None]),
        h5("soft.h5", "external-link", other=OUTPUTS, outputs=h5py.SoftLink("/other")),
        h5("elsewhere.h5", "external-link", outputs=h5py.ExternalLink("plain.h5", "/what")),
        h5("kernel.h5", "looks-like-weights", "--output kernel", kernel=OUTPUTS),
        h5("texts.h5", "not-numbers", outputs=np.array([[b"a"] * 3] * 7)),
    ]


def recorded_cases() -> list[Case]:
    """All of this module."""
    return [*array_cases(), *table_cases(), *hdf5_cases()]
