"""PLY: both byte orders and ascii give the same points; damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.datasets.formats.ply import read_ply, stack, write_ply
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError

FACES = np.array([[0, 1, 2], [2, 3, 0]], np.int32)


def vertices() -> np.ndarray:
    table = np.empty(4, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("red", "u1"), ("label", "u2")])
    for i, name in enumerate(table.dtype.names or ()):
        table[name] = np.arange(4) * (i + 1)
    return table


def header(form: str, index: str = "vertex_indices") -> str:
    return (
        f"ply\nformat {form} 1.0\ncomment made by hand\nelement vertex 4\nproperty float x\nproperty float32 y\n"
        "property float z\nproperty uchar red\nproperty ushort label\nelement face 2\n"
        f"property list uchar int {index}\nend_header\n"
    )


def big_endian(path: Path) -> None:
    rows = np.empty(2, [("n", "u1"), ("v", ">i4", (3,))])
    rows["n"], rows["v"] = 3, FACES
    body = vertices().astype(vertices().dtype.newbyteorder(">")).tobytes() + rows.tobytes()
    path.write_bytes(header("binary_big_endian", "vertex_index").encode() + body)


def ascii_text(path: Path) -> None:
    lines = [" ".join(str(v) for v in row) for row in vertices().tolist()] + ["3 0 1 2", "3 2 3 0"]
    path.write_text(header("ascii") + "\n".join(lines) + "\n")


@pytest.mark.parametrize("write", [lambda p: write_ply(p, vertices(), FACES), big_endian, ascii_text])
def test_every_format_reads_the_same(tmp_path: Path, write) -> None:
    write(tmp_path / "a.ply")
    table, faces = read_ply(tmp_path / "a.ply")
    for name in vertices().dtype.names or ():
        np.testing.assert_array_equal(table[name], vertices()[name])
    np.testing.assert_array_equal(faces, FACES)


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    write_ply(tmp_path / "a.ply", vertices())
    table, faces = read_ply(tmp_path / "a.ply")
    assert faces is None
    assert stack(table, ("red", "green", "blue"), np.uint8) is None
    found = stack(table, ("z", "x"), np.float64)
    assert found is not None
    np.testing.assert_array_equal(found[:, 1], vertices()["x"])


def test_polygons_are_not_taken_for_triangles(tmp_path: Path) -> None:
    (tmp_path / "a.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n4 0 1 2 3\n"
    )
    table, faces = read_ply(tmp_path / "a.ply")
    assert len(table) == 4
    assert faces is None


@pytest.mark.parametrize("keep", [0.2, 0.75, 0.98])
def test_a_truncated_file_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    write_ply(tmp_path / "a.ply", vertices(), FACES)
    content = (tmp_path / "a.ply").read_bytes()
    (tmp_path / "a.ply").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(BrokenSceneError, match=r"a\.ply"):
        read_ply(tmp_path / "a.ply")


@pytest.mark.parametrize("content", [b"", b"not a ply\n", b"ply\nend_header\n", b"ply\nformat ascii 1.0\nend_header\n"])
def test_what_is_not_a_point_cloud_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.ply").write_bytes(content)
    with pytest.raises(BrokenSceneError, match=r"a\.ply"):
        read_ply(tmp_path / "a.ply")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BrokenSceneError, match=r"b\.ply"):
        read_ply(tmp_path / "b.ply")
