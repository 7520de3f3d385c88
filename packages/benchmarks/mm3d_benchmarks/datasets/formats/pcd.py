"""PCD files of the Point Cloud Library: ascii, binary and binary_compressed, fields found by name.

Source: the format's description in the PCL documentation; the compression is liblzf's (Marc Lehmann).
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.texttable import read_rows, typed, wide
from mm3d_benchmarks.datasets.readers.base import reading

KINDS = {"F": "f", "I": "i", "U": "u"}
LONGEST_HEADER = 2**16  # bytes
PADDING = " "  # begins the names of fields that are passed over; no field of a file can be called so
COORD = ("x", "y", "z")  # read from text with all their digits; a packed color is the bits of its 32


def read_pcd(path: Path) -> np.ndarray:
    """Structured array with one field per PCD field of a single number.

    Padding (``_``) and fields of several numbers (descriptors, histograms) are passed over.

    Raises:
        BrokenSceneError: missing, truncated or not PCD.
    """
    with reading(path, "damaged PCD", kinds=(ValueError, KeyError, IndexError, TypeError)):
        return _read(path.read_bytes())


def unpack_color(packed: np.ndarray) -> np.ndarray:
    """(N, 3) uint8 of PCL's ``rgb`` field: blue in the lowest byte, stored as float or unsigned integer."""
    if packed.dtype.itemsize != 4:
        packed = packed.astype(np.float32 if packed.dtype.kind == "f" else np.uint32)
    bits = np.ascontiguousarray(packed).view(np.uint32)
    return np.stack([bits >> 16 & 255, bits >> 8 & 255, bits & 255], axis=1).astype(np.uint8)


def _read(data: bytes) -> np.ndarray:
    header: dict[str, list[str]] = {}
    at = 0
    while "DATA" not in header:
        end = data.index(b"\n", at, LONGEST_HEADER)
        words = data[at:end].decode("ascii", "replace").split()
        at = end + 1
        if words and not words[0].startswith("#"):
            header[words[0].upper()] = words[1:]
    dtype = _layout(header)
    points = int(header["POINTS"][0]) if "POINTS" in header else int(header["WIDTH"][0]) * int(header["HEIGHT"][0])
    if points < 0 or ("WIDTH" in header and points != int(header["WIDTH"][0]) * int(header.get("HEIGHT", ["1"])[0])):
        raise ValueError(f"{points} points, but WIDTH times HEIGHT is another number")
    layout = header["DATA"][0].lower()
    if layout == "ascii":
        return _ascii(data[at:], dtype, points)
    if layout == "binary":
        rows = np.frombuffer(data, dtype, points, at)
        if data[at + points * dtype.itemsize :].strip(b"\0"):  # PCL may pad with zeros
            raise ValueError(f"more data than the {points} points of the header")
        return rows[_single(dtype)]
    if layout != "binary_compressed":
        raise ValueError(f"unknown DATA {layout!r}")
    return _compressed(data, at, dtype, points)


def _layout(header: dict[str, list[str]]) -> np.dtype:
    """The type of a row; fields may share a name, be padding, or hold several numbers or none."""
    names, sizes, types = header.get("FIELDS") or header["COLUMNS"], header["SIZE"], header["TYPE"]
    counts = [int(count) for count in header.get("COUNT", ["1"] * len(names))]
    if min(counts, default=0) < 0:
        raise ValueError(f"COUNT {min(counts)}")
    fields, known = [], set()
    for i, (name, kind, size, count) in enumerate(zip(names, types, sizes, counts, strict=True)):
        if count == 0:
            continue
        own = name if name != "_" and name not in known else f"{PADDING}{i}"
        known.add(name)
        fields.append((own, f"<{KINDS[kind.upper()]}{size}", (count,) if count > 1 else ()))
    return np.dtype(fields)


def _single(dtype: np.dtype) -> list[str]:
    """Names of the fields that hold one number and are no padding."""
    return [name for name in dtype.names or () if not dtype[name].shape and not name.startswith(PADDING)]


def _compressed(data: bytes, at: int, dtype: np.dtype, points: int) -> np.ndarray:
    packed, size = (int(n) for n in np.frombuffer(data, "<u4", 2, at))
    if size != points * dtype.itemsize or packed > len(data) - at - 8:
        raise ValueError(f"{packed} bytes, expanded to {size}, do not hold {points} points")
    body = decompress_lzf(data[at + 8 : at + 8 + packed], size)
    wanted = _single(dtype)
    rows = np.empty(points, [(name, dtype[name]) for name in wanted])
    start = 0
    for name in dtype.names or ():  # the compressed layout stores field after field
        if name in wanted:
            rows[name] = np.frombuffer(body, dtype[name], points, start)
        start += points * dtype[name].itemsize
    return rows


def _ascii(text: bytes, dtype: np.dtype, points: int) -> np.ndarray:
    width = sum(int(np.prod(dtype[name].shape, dtype=int)) for name in dtype.names or ())
    if 2 * points * width > len(text) + 1:
        raise ValueError(f"{points} points need {points * width} numbers, there are {len(text)} bytes")
    lines = io.BytesIO(text)
    columns = read_rows(lines, points, width)
    if lines.read().strip():
        raise ValueError(f"more lines than the {points} points of the header")
    kinds = {name: np.dtype(wide(dtype[name].str)) if name in COORD else dtype[name] for name in _single(dtype)}
    rows = np.empty(points, list(kinds.items()))
    start = 0
    for name in dtype.names or ():
        if name in kinds:
            rows[name] = typed(columns[:, start], kinds[name], name)
        start += int(np.prod(dtype[name].shape, dtype=int))
    return rows


def decompress_lzf(data: bytes, size: int) -> bytes:
    """Expand liblzf data to ``size`` bytes.

    Raises:
        ValueError: the data does not expand to that size.
    """
    out = bytearray()
    at = 0
    while at < len(data) and len(out) <= size:
        control = data[at]
        at += 1
        if control < 32:  # control + 1 literal bytes
            out += data[at : at + control + 1]
            at += control + 1
            continue
        length = control >> 5
        if length == 7:
            length += data[at]
            at += 1
        back = ((control & 31) << 8 | data[at]) + 1
        at += 1
        start = len(out) - back
        if start < 0:
            raise ValueError("compressed data points before its start")
        piece = out[start : start + length + 2]
        out += (piece * (-(-(length + 2) // len(piece))))[: length + 2]  # the copy may overlap what it writes
    if len(out) != size:
        raise ValueError(f"compressed data expands to {len(out)} bytes, not {size}")
    return bytes(out)
