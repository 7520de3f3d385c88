"""A LAS header whose counts the file has no room for is refused before a library believes it."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.formats.las_header import check_las_header
from mm3d_benchmarks.datasets.formats.libraries import read_las
from mm3d_core.errors import UserError

laspy = pytest.importorskip("laspy")


def written(path: Path, count: int, version: str = "1.2", kind: int = 3) -> Path:
    las = laspy.LasData(laspy.LasHeader(point_format=kind, version=version))
    las.xyz = np.random.default_rng(0).random((count, 3)) * 5
    las.write(path)
    return path


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize(("version", "kind"), [("1.2", 0), ("1.2", 3), ("1.4", 6), ("1.4", 7)])
@pytest.mark.parametrize("count", [1, 50_000, 120_001])
def test_what_the_library_writes_passes(tmp_path: Path, suffix: str, version: str, kind: int, count: int) -> None:
    path = written(tmp_path / f"a{suffix}", count, version, kind)
    assert len(read_las(path)["x"]) == count


def test_a_table_whose_place_stands_at_the_end_passes(tmp_path: Path) -> None:
    """As programs write it that cannot go back in a stream."""
    data = bytearray(written(tmp_path / "a.laz", 500).read_bytes())
    start = struct.unpack_from("<I", data, 96)[0]
    place = bytes(data[start : start + 8])
    data[start : start + 8] = struct.pack("<q", -1)
    (tmp_path / "b.laz").write_bytes(bytes(data) + place)
    assert len(read_las(tmp_path / "b.laz")["x"]) == 500


DAMAGES = {
    "version 2": (24, "<B", 2),
    "records in": (100, "<I", 2**31),
    "of 3 bytes": (105, "<H", 3),
    "points from byte": (96, "<I", 2**30),
    "points": (107, "<I", 2**31),
}


@pytest.mark.parametrize("suffix", [".las", ".laz"])
@pytest.mark.parametrize("words", DAMAGES)
def test_counts_without_room_are_refused(tmp_path: Path, suffix: str, words: str) -> None:
    place, layout, value = DAMAGES[words]
    data = bytearray(written(tmp_path / f"a{suffix}", 60).read_bytes())
    struct.pack_into(layout, data, place, value)
    (tmp_path / f"b{suffix}").write_bytes(data)
    with pytest.raises(ValueError, match=words):
        check_las_header(tmp_path / f"b{suffix}")
    with pytest.raises(UserError, match=rf"b\{suffix}: damaged LAS"):
        read_las(tmp_path / f"b{suffix}")


@pytest.mark.parametrize(("shift", "value"), [(4, 2**31), (4, 0), (4, 9)])
def test_a_count_of_chunks_that_cannot_be_is_refused(tmp_path: Path, shift: int, value: int) -> None:
    """The library would ask for 38 GB, and the process would end."""
    data = bytearray(written(tmp_path / "a.laz", 600).read_bytes())
    table = struct.unpack_from("<q", data, struct.unpack_from("<I", data, 96)[0])[0]
    struct.pack_into("<I", data, table + shift, value)
    (tmp_path / "b.laz").write_bytes(data)
    with pytest.raises(UserError, match="chunks of 50000 points"):
        read_las(tmp_path / "b.laz")


@pytest.mark.parametrize("size", [0, 2**27])
def test_chunks_of_a_size_that_nobody_writes_are_refused(tmp_path: Path, size: int) -> None:
    """The library would make room for 134 million points where there are 60."""
    data = bytearray(written(tmp_path / "a.laz", 60).read_bytes())
    struct.pack_into("<I", data, data.index(b"laszip encoded") - 2 + 54 + 12, size)
    (tmp_path / "b.laz").write_bytes(data)
    with pytest.raises(UserError, match=f"chunks of {size} points"):
        read_las(tmp_path / "b.laz")
