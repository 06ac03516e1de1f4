"""Changes that keep a file's structure: the lengths, checksums and seals around what was changed are made to fit it.

Bytes that are damaged anywhere mostly end at the first check. Here one part of a file changes, an opcode, a field of a
message, a member of an archive, a row of a table, and a reader gets as far as where that part is used.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import pickletools
import re
import sqlite3
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import TypeVar

from .hdf5_file import rebuilt
from .json_values import changed_json
from .messages import changed_message
from .texts import changed_table, changed_toml

Part = TypeVar("Part")
#: Changes bytes without regard to what they are.
Damage = Callable[[bytes], bytes]

_TOKENS = re.compile(rb"([^0-9A-Za-z_.+-]+)")
_OPCODES = (
    *(b"K\x00", b"M\xff\xff", b"J\xff\xff\xff\xff", b"\x8a\x08" + b"\x7f" * 8, b"]", b"}", b")", b"(", b"N", b"0"),
    *(b"2", b"R", b"b", b"Q", b"\x81", b"a", b"e", b"s", b"u", b"t", b"\x85", b"q\x00", b"h\x00", b"r\xff\xff\xff\x7f"),
    *(b"j\xff\xff\xff\x7f", b"cposix\nsystem\n", b"X\xff\xff\xff\x7f", b"\x95" + b"\xff" * 8, b"G" + b"\x7f\xf8" * 4),
)
_VALUES = (None, "", -1, 1 << 62, 1e308, b"", b"\xff" * 40, "9" * 40, "../x", "{", "[[[[", "done", "x" * 5000)


def restructured(content: bytes, random: Random, damage: Damage) -> bytes:
    """A file of a known format with one part changed; other bytes are damaged anywhere."""
    otherwise = _header_and_data if content[8:9] == b"{" else _anything
    change = next((change for start, change in _FORMATS if content.startswith(start)), otherwise)
    try:
        return change(content, random, damage)
    except Exception:  # not as its start says: any of the libraries' errors
        return damage(content)


def rearranged(parts: list[Part], random: Random, change: Callable[[Part], Part]) -> list[Part]:
    """The parts with one changed, left out, repeated or moved."""
    at, kind = random.randrange(len(parts)), random.random()
    one, rest = parts[at], parts[:at] + parts[at + 1 :]
    if kind < 0.6:
        return [*parts[:at], change(one), *parts[at + 1 :]]
    if kind < 0.7:
        return rest
    if kind < 0.8:
        return [*parts[:at], *[one] * random.choice((2, 2, 3, 40)), *parts[at + 1 :]]
    place = random.randrange(len(parts))
    return [*rest[:place], one, *rest[place:]]


def _inner(random: Random, damage: Damage) -> Damage:
    """Changes a part of a part, or any byte of it."""
    return lambda part: restructured(part, random, damage) if part and random.random() < 0.7 else damage(part)


def _zip(content: bytes, random: Random, damage: Damage) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(info, archive.read(info)) for info in archive.infolist()[:50] if info.file_size < 1 << 20]

    def change(member: tuple[zipfile.ZipInfo, bytes]) -> tuple[zipfile.ZipInfo, bytes]:
        info, data = member
        if random.random() < 0.9:
            return info, _inner(random, damage)(data)
        name = random.choice((info.filename + "x", "/" + info.filename, "../../x", "data.pkl", "a/data.pkl", "a.npy"))
        return zipfile.ZipInfo(name), data

    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # two members of one name are meant
        for info, data in rearranged(members, random, change):
            archive.writestr(info, data)
    return buffer.getvalue()


def _pickle(content: bytes, random: Random, damage: Damage) -> bytes:
    places = []
    for opcode, _, place in pickletools.genops(content):
        places.append(place)
        if opcode.name == "STOP":
            break
    places.append(places[-1] + 1)
    opcodes = [content[start:stop] for start, stop in itertools.pairwise(places)]

    def change(opcode: bytes) -> bytes:
        if len(opcode) > 1 and random.random() < 0.5:
            return opcode[:1] + damage(opcode[1:])
        return random.choice((*_OPCODES, random.choice(opcodes)))

    for _ in range(random.choice((1, 1, 2, 4))):
        opcodes = rearranged(opcodes, random, change) or [b"."]
    rest = content[places[-1] :]  # other pickles and data, in files of old
    return b"".join(opcodes) + (_inner(random, damage)(rest) if rest and random.random() < 0.2 else rest)


def _npy(content: bytes, random: Random, damage: Damage) -> bytes:
    size = 2 if content[6] == 1 else 4
    length = int.from_bytes(content[8 : 8 + size], "little")
    text, data = content[8 + size : 8 + size + length], content[8 + size + length :]
    if random.random() < 0.7:
        text = _tokens(text.rstrip(), random, damage)
        text = text[:60_000].ljust((len(text) + 64) // 64 * 64 - 1) + b"\n"
    else:
        data = damage(data)
    return content[:8] + len(text).to_bytes(size, "little") + text + data


def _png(content: bytes, random: Random, damage: Damage) -> bytes:
    chunks, place = [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length

    def change(chunk: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
        kind, data = chunk
        if random.random() < 0.2:
            return random.choice((b"IDAT", b"IHDR", b"zTXt", b"iCCP", b"acTL", b"fdAT", b"tRNS", b"PLTE")), data
        if kind in (b"IDAT", b"zTXt") and random.random() < 0.5:
            return kind, zlib.compress(damage(zlib.decompress(data)))
        return kind, damage(data)

    made = content[:8]
    for kind, data in rearranged(chunks, random, change):
        made += len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    return made


def _sqlite(content: bytes, random: Random, damage: Damage) -> bytes:
    database = sqlite3.connect(":memory:")
    try:
        # A database in memory has no write-ahead log, which a store's header asks for.
        database.deserialize(content[:18] + b"\x01\x01" + content[20:])
        database.execute("PRAGMA writable_schema=ON")
        kinds = ("table", "index")
        rows = database.execute("SELECT name, type FROM sqlite_schema WHERE type IN (?, ?)", kinds).fetchall()
        tables = [name for name, kind in rows if kind == "table" and not name.startswith("sqlite_")]
        table = random.choice(tables)
        column = random.choice([row[1] for row in database.execute(f'PRAGMA table_info("{table}")')])
        old = database.execute(f'SELECT "{column}" FROM "{table}" LIMIT 1').fetchone()
        value = random.choice((*_VALUES, *(() if old is None else old)))
        if isinstance(value, (str, bytes)) and random.random() < 0.7:
            raw = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            raw = _inner(random, damage)(raw)
            value = raw.decode("utf-8", "replace") if isinstance(value, str) else raw
        kind = random.random()
        if kind < 0.75:
            # As text of bytes that are none, too.
            how = "CAST(? AS TEXT)" if isinstance(value, bytes) and random.random() < 0.5 else "?"
            database.execute(f'UPDATE OR IGNORE "{table}" SET "{column}" = {how}', (value,))
        elif kind < 0.85:
            database.execute(f'DELETE FROM "{table}"')
        elif kind < 0.95:
            sql = "UPDATE sqlite_schema SET sql = CAST(? AS TEXT) WHERE name = ?"
            found = database.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
            database.execute(sql, (damage(found.encode()), table))
        else:
            database.execute(f"PRAGMA user_version = {random.choice((0, -1, 1 << 30))}")
        database.commit()
        made = database.serialize()
        return made[:18] + content[18:20] + made[20:]
    finally:
        database.close()


def _header_and_data(content: bytes, random: Random, damage: Damage) -> bytes:
    """A safetensors file, sealed anew where it has a seal."""
    length = int.from_bytes(content[:8], "little")
    text, data = content[8 : 8 + length], content[8 + length :]
    table = json.loads(text)
    said = table.get("__metadata__", {}).get("sac_fast")
    head = None if said is None else json.loads(said)
    kind = random.random()
    if kind < 0.2:
        data = damage(data)
    elif head is not None and kind < 0.7:
        head = changed_json(head, random)
    else:
        table = changed_json(table, random)
    if head is not None:
        head = _sealed(head, table, data)
        with_head = isinstance(table, dict) and isinstance(table.get("__metadata__"), dict)
        if with_head:
            table["__metadata__"]["sac_fast"] = json.dumps(head, separators=(",", ":"))
    text = json.dumps(table, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    text = text.ljust((len(text) + 7) // 8 * 8)
    return len(text).to_bytes(8, "little") + text + data


def _sealed(head: object, table: object, data: bytes) -> object:
    """What a container says of itself, with the hash that fits it (see `sac_fast.io.container`)."""
    from sac_fast.io.container import _DTYPES
    from sac_fast.io.hashing import hash_entries, hash_json

    if not isinstance(head, dict) or not isinstance(table, dict) or "hash" not in head:
        return head
    try:
        arrays = hash_entries(
            (key, _DTYPES[one["dtype"]], tuple(one["shape"]), [data[slice(*one["data_offsets"])]])
            for key, one in table.items()
            if key != "__metadata__"
        )
        said = {key: value for key, value in head.items() if key != "hash"}
        about = said.get("metadata")
        if isinstance(about, dict) and "content_hash" in about:  # of probes
            said["metadata"] = about | {"content_hash": arrays}
        return head | said | {"hash": hash_json(said | {"arrays": arrays})}
    except (TypeError, ValueError, LookupError, AttributeError):
        return head


def _segment(content: bytes, random: Random, damage: Damage) -> bytes:
    """Records of a store's segment, each with the length and hash of its blob (see `sac_fast.store.segments`)."""
    records, place = [], 0
    while place < len(content):
        length = int.from_bytes(content[place + 8 : place + 16], "little")
        records.append((content[place : place + 8], content[place + 48 : place + 48 + length]))
        place += 48 + -(-length // 8) * 8
    made = b""
    for word, blob in rearranged(records, random, lambda one: (one[0], _inner(random, damage)(one[1]))):
        made += word + len(blob).to_bytes(8, "little") + hashlib.sha256(blob).digest()
        made += blob.ljust(-(-len(blob) // 8) * 8, b"\0")
    return made


def _json(content: bytes, random: Random, damage: Damage) -> bytes:
    value = changed_json(json.loads(content), random)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def _tokens(content: bytes, random: Random, damage: Damage) -> bytes:
    tokens = [token for token in _TOKENS.split(content) if token]
    return b"".join(rearranged(tokens, random, damage))


def _anything(content: bytes, random: Random, damage: Damage) -> bytes:
    try:
        return changed_message(content, random, damage)
    except ValueError:
        pass
    if content[:1] in b"{[" and content:
        try:
            return _json(content, random, damage)
        except ValueError:
            pass
    content.decode()
    if random.random() < 0.7:
        try:
            return (changed_toml if b" = " in content else changed_table)(content, random, damage)
        except (ValueError, TypeError, csv.Error):
            pass
    return _tokens(content, random, damage)


_FORMATS: tuple[tuple[bytes, Callable[[bytes, Random, Damage], bytes]], ...] = (
    (b"PK\x03\x04", _zip),
    (b"\x80\x02", _pickle),
    (b"\x80\x04", _pickle),
    (b"\x8a", _pickle),
    (b"\x93NUMPY", _npy),
    (b"\x89PNG", _png),
    (b"\x89HDF\r\n\x1a\n", rebuilt),
    (b"SQLite format 3\x00", _sqlite),
    (b"outputs\n", _segment),
    (b"removed\n", _segment),
)
