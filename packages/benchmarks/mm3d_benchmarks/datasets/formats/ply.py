"""PLY files: ascii and both binary byte orders, properties found by name.

Source: Greg Turk's description of the format (Stanford, 1994). Elements of scalar properties are read as one block; a
list property is read as one block when every list has the same length, as triangle meshes have.
"""

from __future__ import annotations

import io
import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.texttable import number, read_rows, typed, wide
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, reading
from mm3d_core.files.atomic import atomic_write

# fmt: off
TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8", "int64": "i8", "uint64": "u8",
    **{f"{sign}int{8 * size}_t": f"{sign or 'i'}{size}" for sign in ("", "u") for size in (1, 2, 4, 8)},
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
LARGE = 2**28  # bytes from which on a binary file is mapped
EXTRA_LINES = 1  # behind the last element of a text file; more: its counts and its data disagree
BOM = b"\xef\xbb\xbf"
Buffer = bytes | mmap.mmap


@dataclass(frozen=True)
class Element:
    """One element of a header: its name, number of rows, and (name, type, count type or None) per property."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]]


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Vertices and triangles of a file in which everything must be as its header says.

    Returns:
        vertices: structured array, one named field per scalar property of ``vertex``.
        faces: (F, 3) int32, or None when the file has no faces or they are not triangles.

    Raises:
        BrokenSceneError: missing, truncated, not PLY, or without vertices.
    """
    vertices, faces, remarks = _read(path)
    if remarks:
        raise BrokenSceneError(f"{path}: damaged PLY ({remarks[0]}); download or export it again")
    return vertices, faces


def read_vertices(path: Path) -> tuple[np.ndarray, list[str]]:
    """The vertices alone; padding and undeclared data behind them are passed over and named.

    Returns:
        vertices: as :func:`read_ply` gives them.
        remarks: what was passed over.

    Raises:
        BrokenSceneError: missing, not PLY, or with fewer rows of any element than its header says.
    """
    vertices, faces, remarks = _read(path)
    if faces is not None and len(faces):
        remarks.append(f"{len(faces):,} faces passed over: the vertices are the points (faces=true samples the faces)")
    return vertices, remarks


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    remarks: list[str] = []
    with reading(path, "damaged PLY", "download or export it again", (ValueError, KeyError, IndexError, TypeError)):
        data = _plain_text(_bytes_of(path))
        order, elements, start = _parse_header(data)
        read = _read_ascii if order == "" else _read_binary
        tables = read(data, start, order, elements, remarks)
    vertices, faces = tables.get("vertex"), tables.get("face")
    if vertices is None or len(vertices) == 0 or not vertices.dtype.names:
        raise BrokenSceneError(f"{path}: the PLY has no vertices")
    return vertices, None if faces is None or faces.dtype.names is not None else faces, remarks


def _bytes_of(path: Path) -> Buffer:
    """The file's bytes: in memory, or mapped where it is large and binary."""
    if path.stat().st_size < LARGE:
        return path.read_bytes()
    with open(path, "rb") as stream:
        if b"format ascii" in stream.read(200):
            return path.read_bytes()
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def _plain_text(data: Buffer) -> Buffer:
    """Text without the mark that Windows editors put before it, and with today's line ends; other files as they are."""
    head = bytes(data[:LONGEST_HEADER]).removeprefix(BOM)
    if not isinstance(data, bytes) or not re.match(rb"ply\s+format\s+ascii\b", head):
        return data
    data = data.removeprefix(BOM)
    return data if b"\n" in head else data.replace(b"\r", b"\n")


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


def stack(vertices: np.ndarray, names: tuple[str, ...], dtype: type | None = None) -> np.ndarray | None:
    """(N, len(names)) array of the named properties (of their own type without another), None when one is missing."""
    if not set(names) <= set(vertices.dtype.names or ()):
        return None
    table = np.stack([vertices[name] for name in names], axis=1)
    return table if dtype is None else table.astype(dtype, copy=False)


def _parse_header(data: Buffer) -> tuple[str, list[Element], int]:
    """Byte order, elements and the offset of the first data byte."""
    head = bytes(data[:LONGEST_HEADER])
    end = re.search(rb"(?m)^end_header[ \t]*\r?\n", head)
    if not head.startswith(b"ply") or end is None:
        raise ValueError("no PLY header")
    order, elements = None, []
    for line in head[: end.start()].decode("ascii", "replace").splitlines():
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
    return order, elements, end.end()


def _read_binary(
    data: Buffer, start: int, order: str, elements: list[Element], remarks: list[str]
) -> dict[str, np.ndarray | None]:
    """Read element after element; where lists differ in length the scalars of each row are gathered one by one."""
    tables: dict[str, np.ndarray | None] = {}
    for element in elements:
        lists = [p for p in element.properties if p[2] is not None]
        least = sum(np.dtype(count or kind).itemsize for _, kind, count in element.properties)
        if element.count * least > len(data) - start:
            raise ValueError(f"{element.count} {element.name} rows do not fit into {len(data) - start} bytes")
        rows = _even_rows(data, start, order, element)
        if rows is not None:
            start += element.count * rows.dtype.itemsize
            tables[element.name] = (
                _scalars(rows) if element.name == "vertex" or not lists else _triangles(rows, element)
            )
            continue
        rows, start = _uneven_rows(data, start, order, element)
        tables[element.name] = rows if element.name == "vertex" else None
    rest = bytes(data[start : start + LONGEST_HEADER])
    if rest.strip() and rest.strip(b"\0 \t\r\n"):
        raise ValueError(f"{len(data) - start} bytes behind the last element: its counts and its data disagree")
    if b"\0" in rest:
        remarks.append(f"{len(data) - start} bytes of padding behind the last element passed over")
    return tables


def _even_rows(data: Buffer, start: int, order: str, element: Element) -> np.ndarray | None:
    """The element as one block when each list has the same length in all rows, as in the first; else None."""
    fields, lists, at = [], [], start
    for column, (name, kind, count) in enumerate(element.properties):
        if count is None:
            fields.append((name, order + kind))
            at += np.dtype(kind).itemsize
            continue
        width = np.dtype(order + count)
        if at + width.itemsize > len(data):
            return None
        length = int(np.frombuffer(data, width, 1, at)[0]) if element.count else 0
        at += width.itemsize + length * np.dtype(kind).itemsize
        if length < 0 or at > len(data):
            return None
        fields += [(f"{column} count", order + count), (f"{column} list", order + kind, (length,))]
        lists.append((f"{column} count", length))
    dtype = np.dtype(fields)
    if len(data) - start < element.count * dtype.itemsize:
        if not lists:
            raise ValueError(
                f"{element.count} {element.name} rows need {element.count * dtype.itemsize} bytes, "
                f"{len(data) - start} are left"
            )
        return None
    rows = np.frombuffer(data, dtype, element.count, start)
    return rows if all((rows[count] == length).all() for count, length in lists) else None


def _scalars(rows: np.ndarray) -> np.ndarray:
    """The scalar properties of rows that were read as a block; the block is not copied."""
    names = [name for name in rows.dtype.names or () if not name.endswith((" count", " list"))]
    return rows[names] if names and len(names) < len(rows.dtype.names or ()) else rows


def _uneven_rows(data: Buffer, start: int, order: str, element: Element) -> tuple[np.ndarray, int]:
    """The scalars of an element whose lists differ in length, row by row, and where it ends."""
    parts = [
        (np.dtype(kind).itemsize, None if count is None else struct.Struct(order + np.dtype(count).char))
        for _, kind, count in element.properties
    ]
    scalar = [(name, order + kind) for name, kind, count in element.properties if count is None]
    wanted = element.name == "vertex"
    out = bytearray()
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
            if wanted and count is None:
                out += data[start : start + size]
            start += length * size
    return np.frombuffer(out, np.dtype(scalar)) if wanted else np.zeros(0), start


def _triangles(rows: np.ndarray, element: Element) -> np.ndarray | None:
    """(F, 3) int32 of the list property that holds vertex numbers, None where they make other polygons."""
    for column, (name, _, count) in enumerate(element.properties):
        if count is not None and name in ("vertex_indices", "vertex_index"):
            values = rows[f"{column} list"]
            return values.astype(np.int32) if values.shape[1] == 3 else None
    return None


def _read_ascii(
    data: Buffer, start: int, order: str, elements: list[Element], remarks: list[str]
) -> dict[str, np.ndarray | None]:
    """The same for text, line by line."""
    del order
    lines = io.BytesIO(data)
    tables: dict[str, np.ndarray | None] = {}
    for element in elements:
        lines.seek(start)
        if 2 * element.count * len(element.properties) > len(data) - start + 1:
            raise ValueError(f"{element.count} {element.name} rows do not fit into {len(data) - start} bytes")
        if not any(count is not None for _, _, count in element.properties):
            tables[element.name] = _ascii_rows(lines, element)
        elif element.name == "vertex":
            tables[element.name] = _ascii_uneven(lines, element)
        else:
            tables[element.name] = _ascii_triangles(lines, element, remarks)
        start = lines.tell()
    rest = lines.read().strip(b"\0 \t\r\n")
    if rest.count(b"\n") + 1 > EXTRA_LINES and rest:
        raise ValueError("lines behind the last element: its counts and its data disagree")
    if rest:
        remarks.append("a line behind the last element passed over")
    return tables


def _ascii_rows(lines: io.BytesIO, element: Element) -> np.ndarray:
    columns = read_rows(lines, element.count, len(element.properties))
    rows = np.empty(element.count, np.dtype([(name, wide(kind)) for name, kind, _ in element.properties]))
    for column, (name, _, _) in enumerate(element.properties):
        rows[name] = typed(columns[:, column], rows.dtype[name], name)
    return rows


def _ascii_uneven(lines: io.BytesIO, element: Element) -> np.ndarray:
    """The scalars of an element that has lists too."""
    scalar = [(name, wide(kind)) for name, kind, count in element.properties if count is None]
    values = np.empty((element.count, len(scalar)))
    for row in range(element.count):
        words, at, column = lines.readline().split(), 0, 0
        for _, _, count in element.properties:
            if count is None:
                values[row, column] = number(words[at])
                column += 1
            at += 1 if count is None else 1 + int(words[at])
        if at != len(words):
            raise ValueError(f"a line of {element.name} with {len(words)} numbers, not {at}")
    rows = np.empty(element.count, np.dtype(scalar))
    for column, (name, _) in enumerate(scalar):
        rows[name] = typed(values[:, column], rows.dtype[name], name)
    return rows


def _ascii_triangles(lines: io.BytesIO, element: Element, remarks: list[str]) -> np.ndarray | None:
    """(F, 3) int32, or None where the element's lists are not triangles; their lines must be there all the same."""
    start = lines.tell()
    try:
        rows = read_rows(lines, element.count, 4)
        if len(element.properties) == 1 and (rows[:, 0] == 3).all():
            return typed(rows[:, 1:], np.dtype(np.int32), element.name)
    except ValueError:
        pass
    lines.seek(start)
    longer = 0
    for _ in range(element.count):
        words, at = lines.readline().split(), 0
        for _, _, count in element.properties:
            at += 1 if count is None else 1 + int(words[at])
        if not words or at > len(words):
            raise ValueError(f"a line of {element.name} with {len(words)} numbers, not {at}")
        longer += at < len(words)
    if longer:
        remarks.append(f"{longer} lines of {element.name} with more numbers than the header says")
    return None
