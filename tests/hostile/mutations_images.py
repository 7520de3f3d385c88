"""MATLAB files and images: sizes in tags, nesting, dimensions that no data follows."""

from __future__ import annotations

import re
import struct
import zlib
from functools import cache
from random import Random

from hostile.damage import Mutation


def mat(data: bytes, random: Random) -> Mutation:
    """Tags, dimensions and classes inside of the compressed elements; nests."""
    choice = random.randrange(8)
    if choice == 1:
        return Mutation(data[:128] + nested_cells(random.choice((40, 3000, 60_000))), True)
    if choice == 2:
        return Mutation(
            random.choice((b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", data[:126] + b"XX")) + data[128:], True
        )
    elements = []
    at = 128
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<II", data, at)
        elements.append(zlib.decompress(data[at + 8 : at + 8 + size]) if kind == 15 else data[at : at + 8 + size])
        at += 8 + size
    hit = random.randrange(len(elements))
    content = bytearray(elements[hit])
    for _ in range(random.randint(1, 3)):
        at = random.randrange(0, len(content) - 8, 8)
        if choice < 5:
            struct.pack_into(
                "<I",
                content,
                at + random.choice((0, 4)),
                random.choice((0, 1, 2, 3, 5, 14, 15, 16, 17, 2**31, 2**32 - 1)),
            )
        elif choice == 5:
            texts = list(re.finditer(rb"SUNRGBD/[\w/.]{8,}", bytes(content)))
            if texts:
                found = random.choice(texts)
                path = b"SUNRGBD/" + b"../" * ((len(found[0]) - 8) // 3)
                content[found.start() : found.end()] = path.ljust(len(found[0]), b"x")[: len(found[0])]
        else:
            content[at : at + 8] = random.randbytes(8)
    elements[hit] = bytes(content)
    return Mutation(data[:128] + b"".join(_element(15, zlib.compress(element, 1)) for element in elements))


@cache
def nested_cells(depth: int) -> bytes:
    """A cell in a cell in a cell."""
    leaf = struct.pack("<IIII", 6, 8, 6, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
    parts = [_element(14, leaf + struct.pack("<IId", 9, 8, 1.0))]
    size = len(parts[0])
    for _ in range(depth):
        head = struct.pack("<IIII", 6, 8, 1, 0) + struct.pack("<IIii", 5, 8, 1, 1) + struct.pack("<II", 1, 0)
        parts.append(struct.pack("<II", 14, len(head) + size) + head)
        size += len(head) + 8
    return b"".join(reversed(parts))


def _element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content


def png(data: bytes, random: Random) -> Mutation:
    """Chunks with a right checksum and a wrong content."""
    chunks = []
    at = 8
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        chunks.append((name, data[at + 8 : at + 8 + size]))
        at += 12 + size
    choice = random.randrange(5)
    width, height = struct.unpack_from(">II", chunks[0][1])
    if choice == 0:
        new = random.choice(
            ((0, 0), (1, 1), (width + 1, height), (60_000, 60_000), (2**31 - 1, 2**31 - 1), (2500, 2500))
        )
        chunks[0] = (b"IHDR", struct.pack(">II", *new) + chunks[0][1][8:])
    elif choice == 1:
        chunks[0] = (b"IHDR", chunks[0][1][:8] + random.randbytes(5))
    elif choice == 2:
        text = random.choice((b"iTXt", b"zTXt", b"tEXt", b"iCCP", b"eXIf"))
        chunks.insert(1, (text, b"k\x00" + random.choice((b"\x00", b"")) + zlib.compress(bytes(2**22), 9)))
    elif choice == 3:
        at = next(i for i, (name, _) in enumerate(chunks) if name == b"IDAT")
        chunks[at] = (b"IDAT", zlib.compress(bytes(random.choice((10, 2**23))), 9))
    else:
        return Mutation(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n(executed) (w) file pop\nshowpage\n", True)
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return Mutation(data[:8] + body, choice == 0 and new != (width, height))


def jpg(data: bytes, random: Random) -> Mutation:
    """The frame's size, and segments."""
    found = re.search(rb"\xff[\xc0-\xc2]..\x08(....)", data, re.DOTALL)
    assert found is not None
    if random.random() < 0.5:
        new = struct.pack(">HH", *random.choice(((0, 0), (1, 1), (65_500, 65_500), (3000, 3000))))
        return Mutation(data[: found.start(1)] + new + data[found.end(1) :], True)
    at = random.randrange(2, len(data))
    return Mutation(data[:at] + b"\xff" + random.randbytes(3) + data[at:])
