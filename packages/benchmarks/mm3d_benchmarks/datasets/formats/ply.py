"""PLY files: ascii and both binary byte orders, properties found by name.

Source: Greg Turk's description of the format (Stanford, 1994). Elements of scalar properties are read as one block; a
list property is read as one block when every list has the same length, as triangle meshes have.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.texttable import read_rows, typed
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_core.files.atomic import atomic_write

# fmt: off
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}
# fmt: on
NAMES = {
    "i1": "char",
    "u1": "uchar",
    "i2": "short",
    "u2": "ushort",
    "i4": "int",
    "u4": "uint",
    "f4": "float",
    "f8": "double",
}
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
LONGEST_HEADER = 2**16  # bytes


@dataclass(frozen=True)
class Element:
    """One element of a header: its name, number of rows, and (name, type, count type or None) per property."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices and triangles.

    Returns:
        vertices: structured array, one named field per scalar property of ``vertex``.
        faces: (F, 3) int32, or None when the file has no faces or they are not triangles.

    Raises:
        BrokenSceneError: missing, truncated, not PLY, or without vertices.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BrokenSceneError(f"{path}: cannot be read ({error.strerror}); download or export it again") from error
    try:
        order, elements, start = _parse_header(data)
        read = _read_ascii if order == "" else _read_binary
        tables = read(data, start, order, elements)
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BrokenSceneError(f"{path}: damaged PLY ({error}); download or export it again") from error
    vertices, faces = tables.get("vertex"), tables.get("face")
    if vertices is None or len(vertices) == 0 or not vertices.dtype.names:
        raise BrokenSceneError(f"{path}: the PLY has no vertices")
    return vertices, None if faces is None or faces.dtype.names is not None else faces


def write_ply(path: Path, vertices: np.ndarray, faces: np.ndarray | None = None, comment: str = "") -> None:
    """Write a structured vertex array and (F, 3) triangles as ``binary_little_endian`` in one step."""
    lines = ["ply", "format binary_little_endian 1.0", *([f"comment {comment}"] if comment else [])]
    lines.append(f"element vertex {len(vertices)}")
    names = vertices.dtype.names or ()
    lines += [f"property {NAMES[vertices.dtype[name].str[1:]]} {name}" for name in names]
    body = [np.ascontiguousarray(vertices.astype(vertices.dtype.newbyteorder("<"))).tobytes()]
    if faces is not None:
        lines += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
        rows = np.empty(len(faces), np.dtype([("n", "u1"), ("v", "<i4", (3,))]))
        rows["n"], rows["v"] = 3, faces
        body.append(rows.tobytes())
    with atomic_write(path) as stream:
        stream.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        for block in body:
            stream.write(block)


def stack(vertices: np.ndarray, names: tuple[str, ...], dtype: type) -> np.ndarray | None:
    """(N, len(names)) array of the named properties, or None when one of them is missing."""
    if not set(names) <= set(vertices.dtype.names or ()):
        return None
    return np.stack([vertices[name] for name in names], axis=1).astype(dtype, copy=False)


def _parse_header(data: bytes) -> tuple[str, list[Element], int]:
    """Byte order, elements and the offset of the first data byte."""
    end = data.find(b"end_header", 0, LONGEST_HEADER)
    if not data.startswith(b"ply") or end < 0:
        raise ValueError("no PLY header")
    start = data.index(b"\n", end) + 1
    order, elements = None, []
    for line in data[:end].decode("ascii", "replace").splitlines():
        words = line.split()
        if not words or words[0] in ("ply", "comment", "obj_info"):
            continue
        if words[0] == "format":
            order = BYTE_ORDERS[words[1]]
        elif words[0] == "element":
            if int(words[2]) < 0:
                raise ValueError(f"{words[2]} {words[1]} rows")
            elements.append(Element(words[1], int(words[2]), []))
        elif words[0] == "property" and words[1] == "list":
            if TYPES[words[2]][0] == "f":
                raise ValueError("lists are counted in integers")
            elements[-1].properties.append((words[4], TYPES[words[3]], TYPES[words[2]]))
        elif words[0] == "property":
            elements[-1].properties.append((words[2], TYPES[words[1]], None))
        else:
            raise ValueError(f"unknown header line {line!r}")
    if order is None:
        raise ValueError("the header names no format")
    return order, elements, start


def _read_binary(data: bytes, start: int, order: str, elements: list[Element]) -> dict[str, np.ndarray | None]:
    """Read element after element; lists that are not triangles are stepped over."""
    tables: dict[str, np.ndarray | None] = {}
    for element in elements:
        lists = [p for p in element.properties if p[2] is not None]
        fields = []
        for name, kind, count in element.properties:
            if count is None:
                fields.append((name, order + kind))
            else:  # assume triangles, check below
                fields += [(f"{name} count", order + count), (name, order + kind, (3,))]
        dtype = np.dtype(fields)
        have = len(data) - start
        shortest = dtype.itemsize - 3 * sum(np.dtype(kind).itemsize for _, kind, count in element.properties if count)
        if have < element.count * shortest:
            raise ValueError(f"{element.count} {element.name} rows do not fit into {have} bytes")
        if have < element.count * dtype.itemsize and not lists:
            raise ValueError(
                f"{element.count} {element.name} rows need {element.count * dtype.itemsize} bytes, {have} are left"
            )
        fits = have >= element.count * dtype.itemsize
        rows = np.frombuffer(data, dtype, element.count if fits else have // dtype.itemsize, start)
        if lists and any((rows[f"{name} count"] != 3).any() for name, _, _ in lists):
            tables[element.name] = None
            start = _behind_lists(data, start, order, element)
            continue
        if not fits:
            raise ValueError(f"{element.name} has {len(rows)} of {element.count} rows")
        tables[element.name] = _triangles(rows, lists) if lists else rows
        start += element.count * dtype.itemsize
    if data[start:].strip():
        raise ValueError(f"{len(data) - start} bytes behind the last element: its counts and its data disagree")
    return tables


def _behind_lists(data: bytes, start: int, order: str, element: Element) -> int:
    """Where an element with lists of any length ends."""
    parts = [
        (np.dtype(kind).itemsize, None if count is None else struct.Struct((order or "<") + np.dtype(count).char))
        for _, kind, count in element.properties
    ]
    for _ in range(element.count):
        for size, count in parts:
            length = 1
            if count is not None:
                if start + count.size > len(data):
                    raise ValueError(f"fewer than {element.count} {element.name} rows")
                length = count.unpack_from(data, start)[0]
                start += count.size
            if length < 0 or start + length * size > len(data):
                raise ValueError(f"fewer than {element.count} {element.name} rows")
            start += length * size
    return start


def _triangles(rows: np.ndarray, lists: list[tuple[str, str, str | None]]) -> np.ndarray | None:
    """(F, 3) int32 of the list property that holds vertex numbers."""
    for name, _, _ in lists:
        if name in ("vertex_indices", "vertex_index"):
            return rows[name].astype(np.int32)
    return None


def _read_ascii(data: bytes, start: int, order: str, elements: list[Element]) -> dict[str, np.ndarray | None]:
    """The same for text, line by line."""
    del order
    lines = io.BytesIO(data)
    lines.seek(start)
    tables: dict[str, np.ndarray | None] = {}
    for element in elements:
        lists = [p for p in element.properties if p[2] is not None]
        if 2 * element.count * len(element.properties) > len(data) - start + 1:
            raise ValueError(f"{element.count} {element.name} rows do not fit into {len(data) - start} bytes")
        if lists:
            tables[element.name] = _ascii_triangles(lines, element)
            continue
        columns = read_rows(lines, element.count, len(element.properties))
        rows = np.empty(element.count, np.dtype([(name, kind) for name, kind, _ in element.properties]))
        for column, (name, _, _) in enumerate(element.properties):
            rows[name] = typed(columns[:, column], rows.dtype[name], name)
        tables[element.name] = rows
    if lines.read().strip():
        raise ValueError("lines behind the last element: its counts and its data disagree")
    return tables


def _ascii_triangles(lines: io.BytesIO, element: Element) -> np.ndarray | None:
    """(F, 3) int32, or None where the element's lists are not triangles; their lines must be there all the same."""
    start = lines.tell()
    try:
        rows = read_rows(lines, element.count, 4)
        if len(element.properties) == 1 and (rows[:, 0] == 3).all():
            return typed(rows[:, 1:], np.dtype(np.int32), element.name)
    except ValueError:
        pass
    lines.seek(start)
    for _ in range(element.count):
        words, at = lines.readline().split(), 0
        for _, _, count in element.properties:
            at += 1 if count is None else 1 + int(words[at])
        if not words or at != len(words):
            raise ValueError(f"a line of {element.name} with {len(words)} numbers, not {at}")
    return None
