"""Checkpoints and weights: pickles, members of archives, lengths and offsets in headers."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from random import Random

from hostile.damage import Bomb, Mutation, generic
from hostile.mutations_arrays import zip_bomb


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
