"""The first bytes by which files are recognised."""

from __future__ import annotations

import re

HDF5 = b"\x89HDF\r\n\x1a\n"
ZIP_LOCAL, ZIP_CENTRAL, ZIP_END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
ZIP_END_64, ZIP_LOCATOR_64 = b"PK\x06\x06", b"PK\x06\x07"
#: The first pickle of a checkpoint of torch before 1.6, its magic number, in protocols 2 and later.
TORCH_LEGACY = re.compile(rb"\x80[\x02-\x05](\x95.{8})?\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19\.", re.DOTALL)
TORCH_LEGACY_BYTES = 24  # at most
NPY = b"\x93NUMPY"
#: First bytes of formats that are recognised and not read.
NOT_READ = {
    "git-lfs": (b"version https://git-lfs",),
    "gguf": (b"GGUF", b"FUGG"),
    "ggml": (b"lmgg", b"fmgg", b"tjgg", b"algg"),
    "ncnn": (b"7767517\n",),
}
TFLITE = b"TFL3"  # after the first four bytes
PICKLE = b"\x80"  # of protocols 2 and later; the protocol's number follows
