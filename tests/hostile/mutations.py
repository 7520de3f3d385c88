"""Damage and malice, from a seed: what may arrive in place of an honest file.

``mutate`` draws from generic damage (bits, blocks, lengths) and from what the format invites: counts, shapes, sizes,
nesting, aliases, tags that make objects, names that are paths, archives that unpack to far more than they weigh.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

import numpy as np
import yaml

CANARY = "executed"  # the folder that hostile code would make, in the working directory
ESCAPES = (
    "../../escaped",
    "/tmp/mm3d-hostile-escaped",
    "..",
    ".",
    "a/../../../escaped",
    "C:\\escaped",
    "\u202eescaped",
)
BOMB = 700 * 2**20  # bytes that a bomb unpacks to
VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 2**31, 2**63, 2**70, 10**400, -1e308, 1e-300, "", "x", "\x00", "ü" * 300, "</script>",
    "$\\frac{", "\\input{/etc/passwd}", [], {}, [[]], [None], {"a": {}}, [1.5], "9" * 5000, *ESCAPES,
)  # fmt: skip
TOKENS = (
    b"nan", b"inf", b"-inf", b"1e999", b"-1", b"0", b"1_000", b"0x10", b"9" * 5000, b"2147483648", b"1e30", b"",
    b"\x00", b"\xff\xfe", b"../../escaped", b"/tmp/mm3d-hostile-escaped", b"</script>", b"a" * 70_000, b"\n\n", b"1,2",
)  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """A damaged file. ``hopeless``: the format itself tells that the content cannot be right."""

    data: bytes
    hopeless: bool = False


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (CANARY,)


def mutate(data: bytes, kind: str, random: Random) -> Mutation:
    """One mutation of an honest file of a format."""
    special = FORMATS.get(kind)
    if special is not None and random.random() < 0.5:
        return special(data, random)
    return generic(data, kind, random)


def generic(data: bytes, kind: str, random: Random) -> Mutation:
    """Damage that any file can meet."""
    out = bytearray(data)
    at = random.randrange(len(out) + 1)
    size = random.choice((1, 3, 8, 64, 500))
    choice = random.randrange(11)
    if choice == 0:
        for _ in range(random.randint(1, 8)):
            out[random.randrange(len(out))] ^= 1 << random.randrange(8)
    elif choice == 1:
        del out[at:]
        return Mutation(bytes(out), kind in ENDS_TELL and at < len(data))
    elif choice == 2:
        out[at:at] = random.randbytes(size)
    elif choice == 3:
        del out[at : at + size]
    elif choice == 4:
        out[at:at] = out[max(0, at - size) : at]
    elif choice == 5:
        other = random.randrange(len(out) + 1)
        low, high = sorted((at, other))
        out[low:high] = out[high - (high - low) // 2 : high] + out[low : high - (high - low) // 2]
    elif choice == 6:
        out[at : at + size] = bytes(min(size, len(out) - at))
    elif choice == 7:
        width = random.choice((1, 2, 4, 8))
        value = random.choice((0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1))
        out[at : at + width] = value.to_bytes(width, random.choice(("little", "big")))
    elif choice == 8:
        out += random.randbytes(size)
    elif choice == 9:
        return Mutation(
            random.choice((b"", b"\n", b"\x00" * 200, random.randbytes(300), pickle.dumps(Bomb()), b"PK\x03\x04"))
        )
    else:
        out[:] = data[random.randrange(len(data)) :] + data[: random.randrange(len(data))]
    return Mutation(bytes(out))


# --------------------------------------------------------------------------- clouds and arrays


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
        return Mutation(head + mark + body, new != old)
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
    """Members: damaged, doubled, renamed, of pickles, or zeros without end."""
    choice = random.randrange(6)
    if choice == 0 and random.random() < 0.1:
        return Mutation(zip_bomb(), True)
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


# --------------------------------------------------------------------------- matlab and images


def mat(data: bytes, random: Random) -> Mutation:
    """Tags, dimensions and classes inside of the compressed elements; nests and bombs."""
    choice = random.randrange(8)
    if choice == 0 and random.random() < 0.1:
        return Mutation(data[:128] + _element(15, mat_bomb()), True)
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
def mat_bomb() -> bytes:
    """A compressed text of zeros."""
    packer = zlib.compressobj(9)
    head = struct.pack("<IIII", 6, 8, 4, 0) + struct.pack("<IIii", 5, 8, 1, BOMB) + struct.pack("<II", 1, 0)
    head = struct.pack("<II", 14, len(head) + 8 + BOMB) + head + struct.pack("<II", 2, BOMB)
    zeros = bytes(2**20)
    return packer.compress(head) + b"".join(packer.compress(zeros) for _ in range(BOMB // 2**20)) + packer.flush()


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


# --------------------------------------------------------------------------- texts


def text(data: bytes, random: Random) -> Mutation:
    """Words replaced, doubled or dropped."""
    words = list(re.finditer(rb"[^\s,]+", data))
    out = data
    for found in sorted(random.sample(words, min(len(words), random.randint(1, 3))), key=lambda f: -f.start()):
        out = out[: found.start()] + random.choice(TOKENS) + out[found.end() :]
    if random.random() < 0.05:
        out = random.choice((b"1\n", b"\n", b"\r", b"x ", b"\x00\n")) * 300_000
    return Mutation(out)


def js(data: bytes, random: Random) -> Mutation:
    """Values replaced by others, nesting, masses of values, numbers that are none."""
    choice = random.randrange(10)
    if choice == 0:
        depth = random.choice((500, 100_000))
        return Mutation(b"[" * depth + b"]" * depth)
    if choice == 1:
        return Mutation(b'{"a":' * 50_000 + b"1" + b"}" * 50_000)
    if choice == 2 and random.random() < 0.1:
        return Mutation(b"[" + b"[]," * 12_000_000 + b"[]]")
    value = _changed(json.loads(data.split(b"\n")[0]) if data.count(b"\n{") else json.loads(data), random)
    out = json.dumps(value, default=str).encode()
    if choice == 3:
        out = re.sub(rb"-?\d+\.?\d*", random.choice((b"NaN", b"Infinity", b"1e999", b"9" * 4400)), out, count=1)
    return Mutation(out)


def yml(data: bytes, random: Random) -> Mutation:
    """Values replaced, aliases that multiply or hold themselves, tags that would make objects."""
    choice = random.randrange(9)
    lines = data.decode()
    if choice == 0:
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, random.choice((4, 12))))
        return Mutation((laughs + lines).encode())
    if choice == 1:
        tag = random.choice(("apply:os.mkdir [executed]", "new:os.mkdir [executed]", "name:os.system ''", "tuple [1]"))
        return Mutation((lines + f"\nx: !!python/object/{tag}\n").encode())
    if choice == 2:
        return Mutation((lines + random.choice(("\nx: &x [*x]\n", "\n&r r: *r\n", "\n<<: *nothing\n"))).encode())
    if choice == 3:
        depth = random.choice((50, 900, 50_000))
        return Mutation((lines + "\nx: " + "[" * depth + "]" * depth).encode())
    if choice == 4:
        values = ("2001-99-99", "1:" * 5000 + "1", "0b2", "0o9", "!!binary x", "!!int x", "!!float ..", "!!set {a, b}")
        return Mutation(re.sub(r": [\w.]+", f": {random.choice(values)}", lines, count=1).encode())
    value = _changed(yaml.safe_load(lines), random)
    return Mutation(yaml.safe_dump(_plain(value), allow_unicode=True).encode("utf-8", "surrogatepass"))


def _changed(value: Any, random: Random) -> Any:
    """A copy in which one to three values or keys are others."""
    value = json.loads(json.dumps(value, default=str))
    for _ in range(random.randint(1, 3)):
        places = [(value, key) for key in _keys(value)]
        for holder, key in places:
            places += [(holder[key], inner) for inner in _keys(holder[key])][:200]
            if len(places) > 5000:
                break
        if not places:
            break
        holder, key = random.choice(places)
        choice = random.randrange(4)
        if choice == 0 and isinstance(holder, dict):
            del holder[key]
        elif choice == 1 and isinstance(holder, dict):
            holder[random.choice(("x", "..", "", "\x00", "ü", "a/b", "../../escaped"))] = holder.pop(key)
        elif choice == 2 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            holder[key] = json.loads(json.dumps(random.choice(VALUES)))
    return value


def _keys(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    """Integers that YAML can write: Python refuses to print the largest."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return 2**200 if isinstance(value, int) and abs(value) > 2**200 else value


# --------------------------------------------------------------------------- weights


def tensors(data: bytes, random: Random) -> Mutation:
    """Damage inside of torch's archive, pickles in its place, and members that unpack without end."""
    choice = random.randrange(6)
    if choice == 0:
        return Mutation(pickle.dumps({"state_dict": Bomb()}, random.choice((0, 1, 2, 4))), True)
    if choice == 1 and random.random() < 0.05:
        return Mutation(zip_bomb(), True)
    if not data.startswith(b"PK"):
        return generic(data, "torch", random)
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        hit = random.choice(old.namelist())
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("data.pkl") and choice == 2:
                content = pickle.dumps({"step": Bomb()}, 2)
            elif name == hit and choice in (3, 4) and content:
                content = generic(content, "member", random).data
            new.writestr(zipfile.ZipInfo(name), content, 8 if choice == 5 else 0)
    return Mutation(out.getvalue(), choice in (2, 5))


def sealed(data: bytes, random: Random) -> Mutation:
    """A checkpoint's payload damaged by somebody who knows how to sign it."""
    import hashlib

    head = data.index(b"\n") + 1
    inner = tensors(data[head:], random)
    digest = hashlib.sha256(inner.data).hexdigest().encode()
    return Mutation(data[: head - 65] + digest + b"\n" + inner.data, inner.hopeless)


def safetensors(data: bytes, random: Random) -> Mutation:
    """The header's lengths, shapes and offsets."""
    size = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8 : 8 + size])
    name = random.choice([key for key in header if key != "__metadata__"])
    entry = header[name]
    choice = random.randrange(5)
    if choice == 0:
        entry["shape"] = random.choice(([], [0], [-1], [2**40], [2**62, 2**62], [1] * 70))
    elif choice == 1:
        entry["data_offsets"] = random.choice(([0, 2**42], [4, 0], [0, 0], [-4, 0], [2**63, 2**63]))
    elif choice == 2:
        entry["dtype"] = random.choice(("F64", "I8", "BOOL", "X", "F8_E4M3", "F4"))
    elif choice == 3:
        header = {**header, "x" * 1000: entry, "../../escaped": entry}
    text = json.dumps(header).encode()
    length = random.choice((0, 2**31, 2**62, 2**64 - 1)) if choice == 4 else len(text)
    return Mutation(struct.pack("<Q", length) + text + data[8 + size :], choice == 4)


FORMATS: dict[str, Callable[[bytes, Random], Mutation]] = {
    "ply": ply, "ascii ply": ply, "pcd": pcd, "npy": npy, "npz": npz, "mat": mat, "png": png, "jpg": jpg, "text": text,
    "json": js, "yaml": yml, "torch": tensors, "sealed": sealed, "safetensors": safetensors,
}  # fmt: skip
ENDS_TELL = {"ply", "npy", "npz", "mat", "sealed", "safetensors", "torch"}  # formats in which a cut is always noticed
