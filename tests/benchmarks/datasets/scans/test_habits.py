"""Files as other programs write them: their names of columns, padding, lists, descriptors and numbers that are none."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, packed, pcd, ply, room

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan

XYZ, RGB, NORMAL = room(400)
N = len(XYZ)
FACE = "element face 20\nproperty list uchar int vertex_indices\n"


def same(scan: Scan, color: bool = True) -> None:
    np.testing.assert_allclose(scan.coord, XYZ, atol=1e-5)
    if color:
        assert scan.color is not None
        assert np.abs(scan.color.astype(int) - RGB).max() <= 1
    else:
        assert scan.color is None


@pytest.mark.parametrize(
    "names",
    [
        ("diffuse_red", "diffuse_green", "diffuse_blue"),
        ("Red", "Green", "Blue"),
        ("R", "G", "B"),
        ("color_r", "color_g", "color_b"),
        ("scalar_Red", "scalar_Green", "scalar_Blue"),
    ],
)
def test_colors_of_any_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    same(read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB, names))))


@pytest.mark.parametrize(
    "names", [("nx", "ny", "nz"), ("normalx", "normaly", "normalz"), ("Normal_X", "Normal_Y", "Normal_Z")]
)
def test_normals_of_any_name(tmp_path: Path, names: tuple[str, ...]) -> None:
    table = columns(XYZ, RGB) + [(name, "double", NORMAL[:, i]) for i, name in enumerate(names)]
    scan = read_scan(ply(tmp_path / "a.ply", table))
    np.testing.assert_array_equal(scan.normal, NORMAL)


def test_coordinates_in_capitals_and_the_first_of_two_colors(tmp_path: Path) -> None:
    table = [(a.upper(), "double", XYZ[:, i]) for i, a in enumerate("xyz")]
    table += [(f"ambient_{c}", "uchar", RGB[:, i] * 0) for i, c in enumerate(("red", "green", "blue"))]
    table += [(f"diffuse_{c}", "uchar", RGB[:, i]) for i, c in enumerate(("red", "green", "blue"))]
    same(read_scan(ply(tmp_path / "a.ply", table)))


def test_a_gaussian_splat_has_colors_and_no_normals(tmp_path: Path) -> None:
    table = columns(XYZ) + [(f"n{a}", "float", np.zeros(N)) for a in "xyz"]
    table += [(f"f_dc_{i}", "float", (RGB[:, i] / 255 - 0.5) / 0.28209479) for i in range(3)]
    scan = read_scan(ply(tmp_path / "a.ply", table))
    same(scan)
    assert scan.normal is None
    assert "colors of a Gaussian splat, from f_dc_0..2" in scan.remarks


def test_a_splats_overshooting_colors_are_clipped(tmp_path: Path) -> None:
    dc = (RGB / 255 - 0.5) / 0.28209479
    dc[::5] *= 9
    table = columns(XYZ) + [(f"f_dc_{i}", "float", dc[:, i]) for i in range(3)]
    scan = read_scan(ply(tmp_path / "a.ply", table))
    assert scan.color is not None
    rest = np.arange(N) % 5 != 0
    assert np.abs(scan.color[rest].astype(int) - RGB[rest]).max() <= 1


@pytest.mark.parametrize("tail", [b"\0" * 64, b"\n\n", b"\0\n" * 700])
def test_padding_behind_a_binary_file_is_passed_over(tmp_path: Path, tail: bytes) -> None:
    same(read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB), tail=tail)))


@pytest.mark.parametrize("tail", [b"more", b"\0\0\x01"])
def test_data_behind_the_last_element_is_refused(tmp_path: Path, tail: bytes) -> None:
    with pytest.raises(BrokenSceneError, match="counts and its data disagree"):
        read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB), tail=tail))


def test_undeclared_values_of_faces_and_one_line_too_many(tmp_path: Path) -> None:
    faces = b"".join(b"3 %d %d %d 6 .1 .2 .3 .4 .5 .6 9 1 1 1 1\n" % (i, i + 1, i + 2) for i in range(20))
    scan = read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB), True, FACE, faces + b"3 0 1 2\n"))
    same(scan)
    assert "20 lines of face with more numbers than the header says" in scan.remarks
    assert "a line behind the last element passed over" in scan.remarks
    with pytest.raises(BrokenSceneError, match="counts and its data disagree"):
        read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB), True, tail=b"1 2 3 4 5 6\n" * 2))
    with pytest.raises(BrokenSceneError, match="face"):
        read_scan(ply(tmp_path / "a.ply", columns(XYZ, RGB), True, FACE, faces[:300]))


@pytest.mark.parametrize("lengths", ["even", "uneven"])
@pytest.mark.parametrize("ascii_text", [False, True])
def test_a_list_among_the_properties_of_a_vertex_is_passed_over(tmp_path: Path, lengths: str, ascii_text: bool) -> None:
    count = [2 if lengths == "even" else i % 3 for i in range(N)]
    head = f"ply\nformat {'ascii' if ascii_text else 'binary_little_endian'} 1.0\nelement vertex {N}\n"
    head += "property float x\nproperty list uchar float feature\nproperty float y\nproperty float z\n"
    head += "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    body = b""
    for (x, y, z), (r, g, b), k in zip(XYZ.tolist(), RGB.tolist(), count, strict=True):
        if ascii_text:
            body += " ".join(map(str, (x, k, *[0.5] * k, y, z, r, g, b))).encode() + b"\n"
        else:
            body += struct.pack(f"<fB{k}f2f3B", x, k, *[0.5] * k, y, z, r, g, b)
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    same(read_scan(tmp_path / "a.ply"))
    (tmp_path / "a.ply").write_bytes((head.encode() + body)[:-9])
    with pytest.raises(BrokenSceneError, match=r"a\.ply"):
        read_scan(tmp_path / "a.ply")


@pytest.mark.parametrize("none", ["-nan(ind)", "nan(snan)", "1.#QNAN", "-1.#IND00", "1.#INF", "NaN", "-inf"])
@pytest.mark.parametrize("suffix", [".ply", ".pcd"])
def test_numbers_that_are_none_are_rows_without_coordinates(tmp_path: Path, none: str, suffix: str) -> None:
    rows = [" ".join(f"{v:.6f}" for v in row) for row in XYZ]
    rows[3] = f"{none} {none} {none}"
    if suffix == ".ply":
        head = f"ply\nformat ascii 1.0\nelement vertex {N}\n" + "".join(f"property float {a}\n" for a in "xyz")
        head += "end_header\n"
    else:
        head = f"VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nWIDTH {N}\nHEIGHT 1\nPOINTS {N}\nDATA ascii\n"
    (tmp_path / f"a{suffix}").write_text(head + "\n".join(rows) + "\n")
    scan = read_scan(tmp_path / f"a{suffix}")
    assert len(scan.coord) == N - 1
    assert 3 not in scan.rows
    assert "1 rows without finite coordinates dropped" in scan.remarks


def test_a_cloud_of_ros_with_padding(tmp_path: Path) -> None:
    x, y, z = (XYZ[:, i] for i in range(3))
    fields = [("x", "f4", 1, x), ("y", "f4", 1, y), ("z", "f4", 1, z), ("_", "u1", 4, None)]
    fields += [("rgb", "u4", 1, packed(RGB)), ("_", "u1", 12, None)]
    same(read_scan(pcd(tmp_path / "a.pcd", fields, N)))


def test_descriptors_and_fields_of_no_number(tmp_path: Path) -> None:
    x, y, z = (XYZ[:, i] for i in range(3))
    fields = [("fpfh", "f4", 33, None), ("X", "f8", 1, x), ("Y", "f8", 1, y), ("_", "u1", 0, None), ("Z", "f8", 1, z)]
    fields += [("intensity", "f4", 1, x), ("_", "u1", 1, None)]
    same(read_scan(pcd(tmp_path / "a.pcd", fields, N)), color=False)


def test_separate_colors_and_normals_of_a_cloud(tmp_path: Path) -> None:
    fields = [(a, "f4", 1, XYZ[:, i]) for i, a in enumerate("xyz")]
    fields += [(c, "u1", 1, RGB[:, i]) for i, c in enumerate(("r", "g", "b"))]
    fields += [(f"normal_{a}", "f4", 1, NORMAL[:, i]) for i, a in enumerate("xyz")]
    scan = read_scan(pcd(tmp_path / "a.pcd", fields, N))
    same(scan)
    np.testing.assert_array_equal(scan.normal, NORMAL)


@pytest.mark.parametrize(
    ("coord", "color"),
    [("points", "colors"), ("xyz", "rgb"), ("pos", "color"), ("Coords", "RGB"), ("vertices", "colours")],
)
def test_archives_with_other_projects_names(tmp_path: Path, coord: str, color: str) -> None:
    np.savez(
        tmp_path / "a.npz", **{coord: XYZ, color: RGB, "normals": NORMAL, "label": np.arange(N), "x": np.ones((N, 7))}
    )
    scan = read_scan(tmp_path / "a.npz")
    same(scan)
    np.testing.assert_array_equal(scan.normal, NORMAL)
    np.testing.assert_array_equal(scan.segment, np.arange(N))
    assert "arrays passed over: x" in scan.remarks


def test_an_archive_without_coordinates_says_which_names_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=XYZ, b=RGB)
    with pytest.raises(BrokenSceneError, match=r"a\.npz: no array of coordinates \(coord .*points.*it has a, b"):
        read_scan(tmp_path / "a.npz")


def test_archives_with_colors_of_other_shapes_and_arrays_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, points=XYZ[None], colors=np.column_stack([RGB, RGB[:, 0]]), name=np.array("hall"), pose=np.eye(4))
    scan = read_scan(path)
    same(scan)
    assert "the fourth number of each color, its opacity, passed over" in scan.remarks
    assert "arrays passed over: name, pose" in scan.remarks
    np.savez(path, points=XYZ, colors=RGB[:, :1])
    gray = read_scan(path)
    np.testing.assert_array_equal(gray.color, np.repeat(RGB[:, :1], 3, axis=1))
    np.savez(path, vertices=XYZ, faces=np.zeros((5, 3), int), vertex_colors=RGB, vertex_normals=NORMAL)
    same(read_scan(path))
    np.savez(path, x=XYZ[:, 0], y=XYZ[:, 1], z=XYZ[:, 2], red=RGB[:, 0], green=RGB[:, 1], blue=RGB[:, 2])
    same(read_scan(path))


def test_an_array_that_would_be_read_must_hold_numbers(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=XYZ, colors=RGB.astype(object))
    with pytest.raises(BrokenSceneError, match=r"a\.npz: .*colors holds no plain numbers"):
        read_scan(tmp_path / "a.npz")


def test_packed_colors_in_a_ply(tmp_path: Path) -> None:
    same(read_scan(ply(tmp_path / "a.ply", [*columns(XYZ), ("rgb", "int", packed(RGB).astype(int))])))


def test_columns_that_are_no_colors_are_named_where_there_are_none(tmp_path: Path) -> None:
    scan = read_scan(ply(tmp_path / "a.ply", [*columns(XYZ), ("scalar_Intensity", "float", XYZ[:, 0])]))
    same(scan, color=False)
    assert scan.remarks == ["no colors; columns passed over: scalar_Intensity"]


@pytest.mark.parametrize("change", [lambda text: b"\xef\xbb\xbf" + text, lambda text: text.replace(b"\n", b"\r")])
def test_text_as_old_macs_and_windows_editors_save_it(tmp_path: Path, change) -> None:
    path = ply(tmp_path / "a.ply", columns(XYZ, RGB), True)
    path.write_bytes(change(path.read_bytes()))
    same(read_scan(path))


def test_types_as_c_calls_them(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", columns(XYZ, RGB))
    path.write_bytes(path.read_bytes().replace(b"property uchar", b"property uint8_t"))
    same(read_scan(path))


def test_a_cloud_without_a_point_says_so(tmp_path: Path) -> None:
    with pytest.raises(BrokenSceneError, match=r"a\.pcd: holds no point"):
        read_scan(pcd(tmp_path / "a.pcd", [(a, "f4", 1, XYZ[:0, i]) for i, a in enumerate("xyz")], 0))


def test_far_strays_and_missing_returns_are_dropped_and_counted(tmp_path: Path) -> None:
    for count in (40, 800):
        xyz = room(count)[0]
        xyz[7] = 3e9, -3e9, 3e9
        scan = read_scan(ply(tmp_path / "a.ply", columns(xyz)))
        assert len(scan.coord) == count - 1
        assert any("1 stray rows dropped" in remark for remark in scan.remarks)
    xyz = np.concatenate([room(800)[0] + 2, np.zeros((90, 3))])
    scan = read_scan(ply(tmp_path / "a.ply", columns(xyz)))
    assert len(scan.coord) == 800
    assert any("90 rows at exactly 0 0 0" in remark for remark in scan.remarks)


def test_a_corridor_has_no_strays(tmp_path: Path) -> None:
    xyz = np.random.default_rng(0).uniform((0, 0, 0), (120, 2, 2.5), (2000, 3))
    xyz[:2] = (-40, 1, 1), (170, 1, 1)
    assert len(read_scan(ply(tmp_path / "a.ply", columns(xyz))).coord) == 2000


def test_a_pointer_and_a_web_page_are_told(tmp_path: Path) -> None:
    for content, told in (
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html><title>Sign in</title>", "web page"),
        (b"PK\3\4zip", "ZIP archive"),
        (b"\x1f\x8b\x08", "gzip"),
        (b'{"error": {"code": 404}}', "server's error"),
        (b"404: Not Found", "server's error"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "server's error"),
        (b"a.ply" + bytes(252) + b"ustar\0" + bytes(300), "TAR archive"),
        (bytes(5000), "nothing but zeros"),
    ):
        (tmp_path / "a.ply").write_bytes(content)
        with pytest.raises(BrokenSceneError, match=rf"a\.ply: is .*{told}"):
            read_scan(tmp_path / "a.ply")


def test_a_mesh_with_a_texture_alone_says_how_to_get_its_colors(tmp_path: Path) -> None:
    faces = "element face 0\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
    scan = read_scan(ply(tmp_path / "a.ply", columns(XYZ), faces=faces))
    same(scan, color=False)
    assert any("only a texture: bake it" in remark for remark in scan.remarks)
