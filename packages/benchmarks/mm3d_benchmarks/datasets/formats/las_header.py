"""What the header of a LAS or LAZ file promises, held against the bytes that are there.

The libraries believe it: a damaged count of records keeps them busy for hours, a damaged count of chunks asks for more
memory than there is, which ends the process. Source of the layout: ASPRS LAS 1.4-R15, table 3; LASzip's record and
chunk table: "LASzip: lossless compression of LiDAR data", Isenburg 2013.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

RECORD = 54  # bytes of the header of a variable-length record; 60 of an extended one
LASZIP = b"laszip encoded"
ANY_SIZE = 2**32 - 1  # chunks of different sizes
LARGE = 2**20  # points of a chunk; programs write 50,000, and the library makes room for all of them
CHUNK_TABLE = 8  # bytes before its entries: version and count


def check_las_header(path: Path) -> None:
    """Raise ValueError with what does not fit; return for a file that a library may read.

    Raises:
        ValueError: counts or places that the file has no room for.
        OSError: the file cannot be read.
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(375)
        if head[:4] != b"LASF" or len(head) < 227:
            raise ValueError("no LAS header")
        major, minor = head[24], head[25]
        length, start, records, kind, stride, points = struct.unpack_from("<HIIBHI", head, 94)
        if (major, minor) not in [(1, n) for n in range(5)]:
            raise ValueError(f"version {major}.{minor}, where 1.0 to 1.4 exist")
        if not 227 <= length <= start <= size:
            raise ValueError(f"points from byte {start}, after a header of {length}, in a file of {size}")
        if records * RECORD > start - length:
            raise ValueError(f"{records} records in {start - length} bytes")
        if minor == 4 and len(head) >= 255:
            extended, number, points = struct.unpack_from("<QIQ", head, 235)
            if number and (extended > size or number * 60 > size - extended):
                raise ValueError(f"{number} extended records from byte {extended} of {size}")
        if stride < 20:
            raise ValueError(f"points of {stride} bytes")
        if not kind & 0xC0:
            if points * stride > size - start:
                raise ValueError(f"{points} points of {stride} bytes in {size - start} bytes")
        else:
            _check_chunks(file, size, start, length, points, stride)


def _check_chunks(file: BinaryIO, size: int, start: int, length: int, points: int, stride: int) -> None:
    """The table of LASzip's chunks: where it says, and of as many as the points fill; each opens with a whole point."""
    file.seek(length)
    records = file.read(start - length)
    at = records.find(LASZIP) - 2
    if at < 0 or len(records) < at + RECORD + 16:
        raise ValueError("no record that says how the points are compressed")
    compressor, chunk = records[at + RECORD], struct.unpack_from("<I", records, at + RECORD + 12)[0]
    if compressor not in (2, 3):
        return
    file.seek(start)
    place = _integer(file)
    if place == -1:  # written as a stream: the place stands at the end
        file.seek(size - 8)
        place = _integer(file)
    if not start + 8 <= place <= size - CHUNK_TABLE:
        raise ValueError(f"a table of chunks at byte {place} of {size}")
    file.seek(place + 4)
    chunks = struct.unpack("<I", file.read(4))[0]
    if chunks * stride > size - start or (not 0 < chunk <= max(points, LARGE) and chunk != ANY_SIZE):
        raise ValueError(f"{chunks} chunks of {chunk} points in {size - start} bytes")
    needed = -(-points // chunk)
    if chunk != ANY_SIZE and not needed <= chunks <= needed + 1:
        raise ValueError(f"{chunks} chunks of {chunk} points for {points} points")


def _integer(file: BinaryIO) -> int:
    data = file.read(8)
    if len(data) < 8:
        raise ValueError("ends before the points")
    return struct.unpack("<q", data)[0]
