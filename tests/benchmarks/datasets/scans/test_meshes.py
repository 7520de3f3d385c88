"""Meshes as programs write them: materials and textures beside them, plain colors, colors of 0..255, buffers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import room
from PIL import Image

from mm3d_benchmarks.datasets.formats.companions import companions, find_named
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan
from mm3d_benchmarks.datasets.scene import PreparedDataset

trimesh = pytest.importorskip("trimesh")

XYZ, RGB, _ = room(400)
CORNERS = "v 0 0 0\nv 4 0 0\nv 4 4 0\nv 0 4 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
RED, GREEN = (200, 10, 10), (10, 200, 10)


def textured(folder: Path, reference: str, picture: Path | None, color: tuple[int, int, int] = RED) -> Path:
    """A square whose material names its picture as ``reference``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "m.mtl").write_text(f"newmtl a\nKd 1 1 1\nmap_Kd {reference}\n")
    (folder / "a.obj").write_text(f"mtllib m.mtl\n{CORNERS}usemtl a\nf 1/1 2/2 3/3\nf 1/1 3/3 4/4\n")
    if picture is not None:
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8, 3), color, np.uint8)).save(picture)
    return folder / "a.obj"


def read(path: Path, points: int = 500) -> Scan:
    return read_scan(path, ScanOptions.of(points=points))


def prepared(tmp_path: Path) -> PreparedDataset:
    return prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"points": 500}, quiet=True)


@pytest.mark.parametrize(
    ("reference", "picture"),
    [
        ("t.png", "t.png"),
        ("./t.png", "t.png"),
        ("my pictures/a b.png", "my pictures/a b.png"),
        ("../up/t.png", "../up/t.png"),
        ("..\\up\\t.png", "../up/t.png"),
        ("sub\\t.png", "sub/t.png"),
        ("-s 1 1 1 t.png", "t.png"),
        ("C:\\Users\\me\\Desktop\\t.png", "t.png"),
        ("/home/me/t.png", "t.png"),
    ],
)
def test_a_texture_is_found_and_a_change_of_it_prepares_again(tmp_path: Path, reference: str, picture: str) -> None:
    place = tmp_path / "in/scan" / picture
    textured(tmp_path / "in/scan", reference, place)
    for color in (RED, GREEN):
        Image.fromarray(np.full((8, 8, 3), color, np.uint8)).save(place)
        data = prepared(tmp_path)
        np.testing.assert_array_equal(np.unique(np.asarray(data.load("scan_a").color), axis=0), [color])
        assert "" not in data.manifest["remarks"]  # materials and textures are no files that are passed over


@pytest.mark.parametrize("content", [None, b"\x89PNG\r\n\x1a\n" + bytes(50), b"version https://git-lfs"])
@pytest.mark.parametrize("points", [0, 500])
def test_a_lost_texture_is_named_and_no_color_takes_its_place(
    tmp_path: Path, content: bytes | None, points: int
) -> None:
    path = textured(tmp_path, "t.png", None)
    if content is not None:
        (tmp_path / "t.png").write_bytes(content)
    scan = read(path, points)
    assert scan.color is None
    assert "named by the mesh, but not there or damaged: t.png" in scan.remarks


def test_materials_without_a_texture_color_their_faces(tmp_path: Path) -> None:
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 0 1\n")
    (tmp_path / "a.obj").write_text(f"mtllib m.mtl\n{CORNERS}usemtl a\nf 1 2 3\nusemtl b\nf 1 3 4\n")
    scan = read(tmp_path / "a.obj")
    assert scan.color is not None
    below = scan.coord[:, 1] < scan.coord[:, 0]
    assert set(map(tuple, scan.color[below].tolist())) == {(255, 0, 0)}
    assert set(map(tuple, scan.color[~below].tolist())) == {(0, 0, 255)}
    (tmp_path / "m.mtl").unlink()
    lost = read(tmp_path / "a.obj")
    assert lost.color is None
    assert "named by the mesh, but not there or damaged: m.mtl" in lost.remarks


def test_colors_of_some_parts_alone_are_left_out_with_a_word(tmp_path: Path) -> None:
    scene = trimesh.Scene([trimesh.creation.box((1, 1, 1)), trimesh.creation.box((2, 2, 2))])
    red, bare = scene.geometry.values()
    red.visual = trimesh.visual.TextureVisuals(
        material=trimesh.visual.material.PBRMaterial(baseColorFactor=[255, 0, 0, 255])
    )
    scene.export(tmp_path / "a.glb")
    scan = read(tmp_path / "a.glb")
    assert scan.color is None
    assert "colors left out: 1 of 2 parts have none" in scan.remarks
    bare.visual = red.visual
    scene.export(tmp_path / "a.glb")
    assert set(map(tuple, read(tmp_path / "a.glb").color.tolist())) == {(255, 0, 0)}  # pyright: ignore[reportOptionalMemberAccess]


def test_an_obj_of_vertices_alone(tmp_path: Path) -> None:
    (tmp_path / "a.obj").write_text("\n".join(f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in XYZ))
    scan = read(tmp_path / "a.obj")
    np.testing.assert_allclose(scan.coord, XYZ, atol=6e-5)
    assert scan.color is None


@pytest.mark.parametrize("faces", [False, True])
@pytest.mark.parametrize("white", [1, 255])
def test_vertex_colors_of_an_obj_in_both_ranges(tmp_path: Path, white: int, faces: bool) -> None:
    rows = [f"v {p[0]:.4f} {p[1]:.4f} {p[2]:.4f} " + " ".join(f"{float(c) * white / 255:.4f}" for c in q)
            for p, q in zip(XYZ, RGB, strict=True)]  # fmt: skip
    rows += [f"f {i} {i + 1} {i + 2}" for i in range(1, 90)] if faces else []
    (tmp_path / "a.obj").write_text("\n".join(rows))
    scan = read(tmp_path / "a.obj", 0)
    assert scan.color is not None
    known = {tuple(row) for row in RGB.tolist()}
    assert {tuple(row) for row in scan.color.tolist()} <= known
    assert ("colors taken as 0..255 (float64)" in scan.remarks) == (white == 255)


def test_the_buffers_of_a_gltf_are_no_scans_and_a_change_of_them_prepares_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for size in (4, 8):
        mesh = trimesh.Trimesh([[0, 0, 0], [size, 0, 0], [size, size, 0]], [[0, 1, 2]], process=False)
        for name, content in mesh.export(file_type="gltf").items():
            (tmp_path / "in" / name).write_bytes(content)
        assert list(find_scans(tmp_path / "in").files) == ["model"]
        assert np.asarray(prepared(tmp_path).load("model").coord).max() > 0.8 * size


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    for name in ("", " ", "\0", "x" * 3000, "data:image/png;base64,AAAA", "gone.png", "..", "/"):
        assert find_named(tmp_path, name) is None
    for content in (b"{", b"[]", b'{"buffers": 3}', b'{"buffers": [{"uri": 3}]}', b"\xff"):
        (tmp_path / "a.gltf").write_bytes(content)
        assert companions(tmp_path / "a.gltf") == []
