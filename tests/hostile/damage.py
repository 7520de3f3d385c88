"""Damage that any file can meet, and what hostile files are made of."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

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
ENDS_TELL = {"ply", "npy", "npz", "mat", "sealed", "safetensors", "torch"}  # formats in which a cut is always noticed


@dataclass(frozen=True)
class Mutation:
    """A damaged file. ``hopeless``: the format itself tells that the content cannot be right."""

    data: bytes
    hopeless: bool = False


class Bomb:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (CANARY,)


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
