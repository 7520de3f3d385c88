"""MATLAB v5 files from anywhere: their structure is held against its own counts before scipy reads them.

scipy follows nested cells by recursion in C, which ends in a crash.
Source: "MAT-File Format" (MathWorks, R2019b), level 5. Only what metadata is made of is let through: numbers, text,
cells and structs.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

from scipy.io import loadmat

MATRIX, COMPRESSED = 14, 15
CELL, STRUCT, CHARACTERS = 1, 2, 4
NUMBERS = range(6, 16)  # classes: double, single, and integers of 8 to 64 bits
SIZES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8, 16: 1, 17: 2, 18: 4}  # bytes per data type
DEPTH = 32


def read_mat(path: Path) -> dict[str, Any]:
    """The variables of a file.

    Raises:
        OSError: it cannot be read.
        ValueError: damaged, of another version, or deeper than metadata is.
    """
    data = path.read_bytes()
    try:
        _check(data)
        return loadmat(path)
    except (OSError, ValueError):
        raise
    except Exception as error:  # scipy raises anything from TypeError to zlib.error on damaged bytes
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _check(data: bytes) -> None:
    """Walk over all elements of a file."""
    if data[:19] == b"MATLAB 7.3 MAT-file":
        raise ValueError("saved as v7.3 (HDF5); save it in MATLAB with the option -v7")
    if len(data) < 128 or data[126:128] not in (b"IM", b"MI"):
        raise ValueError("not a MATLAB v5 file")
    order = "<" if data[126:128] == b"IM" else ">"
    at = 128
    while at < len(data):
        kind, start, end, at = _tag(data, at, len(data), order)
        if kind == COMPRESSED:
            at = end  # compressed elements are not padded
            _walk(zlib.decompress(data[start:end]), order)
        else:
            _walk(data[start - 8 : end], order)


def _walk(data: bytes, order: str) -> None:
    """Every matrix in one element, without recursion."""
    waiting = [(0, len(data), 1)]  # (begin, end, depth) of runs of matrices
    while waiting:
        at, stop, depth = waiting.pop()
        while at < stop:
            kind, start, end, at = _tag(data, at, stop, order)
            if kind != MATRIX:
                raise ValueError(f"an element of type {kind} where a matrix should be")
            children = _matrix(data, start, end, order) if end > start else None
            if children is not None:
                if depth >= DEPTH:
                    raise ValueError(f"nested deeper than {DEPTH}")
                waiting.append((*children, depth + 1))


def _matrix(data: bytes, start: int, end: int, order: str) -> tuple[int, int] | None:
    """Hold one matrix against its counts; returns where its parts, which are matrices, begin and end."""
    kind, flags, flags_end, at = _tag(data, start, end, order)
    _, sizes, sizes_end, at = _tag(data, at, end, order)
    _, _, _, at = _tag(data, at, end, order)  # its name
    if kind != 6 or flags_end - flags < 8 or not 8 <= sizes_end - sizes <= 32:
        raise ValueError("a matrix without flags or dimensions")
    word = struct.unpack_from(f"{order}I", data, flags)[0]
    shape = struct.unpack_from(f"{order}{(sizes_end - sizes) // 4}i", data, sizes)
    if min(shape) < 0:
        raise ValueError(f"a matrix of {shape}")
    count, matrix_class = math.prod(shape), word & 0xFF
    if matrix_class in (CELL, STRUCT):
        if matrix_class == STRUCT:
            _, width, width_end, at = _tag(data, at, end, order)
            length = struct.unpack_from(f"{order}i", data, width)[0] if width_end - width >= 4 else 0
            _, names, names_end, at = _tag(data, at, end, order)
            if length <= 0 or (names_end - names) % length:
                raise ValueError("a struct with damaged field names")
            count *= (names_end - names) // length
        if count * 8 > end - at:
            raise ValueError(f"{count} parts in {end - at} bytes")
        return at, end
    if matrix_class != CHARACTERS and matrix_class not in NUMBERS:
        raise ValueError(f"holds a matrix of class {matrix_class}, which metadata has no use for")
    for _ in range(2 if word & 0x800 else 1):  # real and imaginary part
        kind, values, values_end, at = _tag(data, at, end, order)
        utf8 = matrix_class == CHARACTERS and kind == 16  # more bytes than characters
        if kind not in SIZES or (values_end - values != count * SIZES[kind] and not utf8):
            raise ValueError(f"a matrix of {shape} with {values_end - values} bytes of type {kind}")
    return None


def _tag(data: bytes, at: int, stop: int, order: str) -> tuple[int, int, int, int]:
    """Type, begin and end of an element's data, and where the next one begins."""
    if at + 8 > stop:
        raise ValueError("ends early")
    kind, size = struct.unpack_from(f"{order}II", data, at)
    if kind >> 16:  # up to four bytes, in the tag itself
        size, kind = kind >> 16, kind & 0xFFFF
        if size > 4:
            raise ValueError("a damaged tag")
        return kind, at + 4, at + 4 + size, at + 8
    if at + 8 + size > stop:
        raise ValueError(f"{size} bytes announced, {stop - at - 8} left")
    end = at + 8 + size
    return kind, at + 8, end, min(end + -size % 8, stop)
