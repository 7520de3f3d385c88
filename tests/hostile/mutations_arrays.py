"""Clouds and arrays: counts, shapes and types in headers, archives that unpack to far more than they weigh."""

from __future__ import annotations

import io
import pickle
import re
import struct
import zipfile
from functools import cache
from random import Random

import numpy as np
from hostile.damage import BOMB, ESCAPES, Bomb, Mutation


def ply(data: bytes, random: Random) -> Mutation:
    """Counts, types and elements of the header."""
    head, mark, body = data.partition(b"end_header\n")
    counts = list(re.finditer(rb"element \w+ (\d+)", head))
    found = random.choice(counts)
    choice = random.randrange(6)
    if choice < 3:
        old = int(found[1])
        new = random.choice((0, 1, -1, -5, old + 1, old - 1, 2 * old, 10**6, 2**31, 2**62, 10**30))
        head = head[: found.start(1)] + str(new).encode() + head[found.end(1) :]
        line_too_many = b"format ascii" in head and new == old - 1 and b" face " in found[0]  # which readers pass over
        return Mutation(head + mark + body, new != old and not line_too_many)
    if choice == 3:
        types = [b"char", b"uchar", b"short", b"int", b"float", b"double", b"uint", b"string", b"list uchar int"]
        head = re.sub(
            rb"property (\w+)", lambda _: b"property " + random.choice(types), head, count=random.randint(1, 6)
        )
    elif choice == 4:
        head += random.choice(
            (b"element x 4000000000\n", b"property float x\n", b"element face 7\n", b"format ascii 1.0\n")
        )
    else:
        head = head.replace(b"element", b"element a 0\n" * random.choice((1, 5000, 100_000)) + b"element", 1)
    return Mutation(head + mark + body)


def pcd(data: bytes, random: Random) -> Mutation:
    """Numbers of the header."""
    end = data.index(b"DATA")
    head = bytearray(data[:end])
    found = random.choice(list(re.finditer(rb"(?:SIZE|COUNT|WIDTH|HEIGHT|POINTS)[ \d]*?(\d+)", bytes(head))))
    new = random.choice((b"0", b"-1", b"3", b"8", b"1000000", b"2147483648", b"9" * 30))
    changed = new != found[1]
    head[found.start(1) : found.end(1)] = new
    tail = data[end:]
    if random.random() < 0.2 and b"compressed" in tail:
        at = tail.index(b"\n") + 1
        tail = tail[:at] + struct.pack("<II", random.choice((3, 2**31)), random.choice((0, 2**32 - 1))) + tail[at + 8 :]
    return Mutation(bytes(head) + tail, changed and found[0].startswith((b"POINTS", b"WIDTH", b"HEIGHT")))


def npy(data: bytes, random: Random) -> Mutation:
    """Headers: types, shapes, pickles."""
    body = data[10 + struct.unpack_from("<H", data, 8)[0] :]
    dtype = random.choice(("<f4", "<f8", "|O", "|S0", "<U1", "|V0", "<c16", "<f2", ">i4", "<M8[s]", "|b1"))
    shape = random.choice(
        ("(0,)", "(-1, 3)", f"({2**40}, 3)", f"({2**62}, {2**62})", "()", "(1.5,)", "(True,)", "(3,)")
    )
    header = random.choice(
        (
            f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}",
            f"{{'descr': [('a', '{dtype}'), ('b', '<f4', ({2**20},))], 'fortran_order': False, 'shape': {shape}, }}",
            "(" * random.choice((10, 3000)),
            "{'descr': __import__('os').mkdir('executed'), 'fortran_order': False, 'shape': (1,), }",
            "{'descr': '<f4', 'fortran_order': 0, 'shape': (3,), }",
            "'''",
        )
    ).encode()
    if random.random() < 0.3:
        header, body = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", pickle.dumps([Bomb()])
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    version = random.choice((b"\x01\x00", b"\x01\x00", b"\x02\x00", b"\x03\x00", b"\x09\x00"))
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(header))
    return Mutation(b"\x93NUMPY" + version + length + header + body, True)


def npz(data: bytes, random: Random) -> Mutation:
    """Members: damaged, doubled, renamed, or of pickles."""
    choice = random.randrange(6)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        names = old.namelist()
        hit = random.choice(names)
        for name in names:
            content = old.read(name)
            if name == hit and choice in (0, 1):
                content = npy(content, random).data
            elif name == hit and choice == 2:
                content = content[: random.randrange(len(content))]
            elif name == hit and choice == 3:
                name = random.choice((*ESCAPES, "", "coord.npy", "x" * 3000))
            new.writestr(zipfile.ZipInfo(name), content, random.choice((0, 8, 12, 14)) if choice == 4 else None)
            if name == hit and choice == 5:
                new.writestr("more.npy", random.randbytes(200))
    return Mutation(out.getvalue(), choice in (0, 1, 2))


@cache
def zip_bomb() -> bytes:
    """An archive of one honest-looking array, most of whose zeros are not in the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("coord.npy", "w") as stream:
        header = {"descr": "<f4", "fortran_order": False, "shape": (BOMB // 12, 3)}
        np.lib.format.write_array_header_1_0(stream, header)  # type: ignore[attr-defined]
        for _ in range(BOMB // 12 * 12 // 2**20):
            stream.write(bytes(2**20))
        stream.write(bytes(BOMB // 12 * 12 % 2**20))
    return out.getvalue()
