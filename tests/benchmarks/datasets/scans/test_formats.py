"""Text tables, LAS, E57 and meshes give the same points as a PLY; what is damaged or missing is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import room

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan
from mm3d_core.errors import UserError

XYZ, RGB, NORMAL = room(400)
UTM = np.array([404000.0, 5655000.0, 120.0])


def rows(separator: str = " ", decimal: str = ".", far: float = 0) -> list[str]:
    lines = [
        (*(f"{v:.4f}".replace(".", decimal) for v in p + far * UTM), *map(str, c))
        for p, c in zip(XYZ, RGB, strict=True)
    ]
    return [separator.join(line) for line in lines]


def same(scan: Scan, shift: np.ndarray | float = 0) -> None:
    np.testing.assert_allclose(scan.coord, XYZ + shift, atol=6e-5)
    np.testing.assert_array_equal(scan.color, RGB)


@pytest.mark.parametrize(
    ("suffix", "heading", "separator", "decimal"),
    [
        (".xyz", "", " ", "."),
        (".txt", "", "\t", "."),
        (".txt", "//X Y Z R G B", " ", "."),
        (".csv", "x,y,z,red,green,blue", ",", "."),
        (".csv", '"X";"Y";"Z";"Red";"Green";"Blue"', ";", ","),
        (".asc", "# written by a scanner\n", " ", "."),
        (".txt", "", "  ", "."),
    ],
)
def test_text_tables(tmp_path: Path, suffix: str, heading: str, separator: str, decimal: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("\n".join([*([heading] if heading else []), *rows(separator, decimal)]) + "\n")
    same(read_scan(path))


def test_a_pts_begins_with_its_count_and_has_intensities(tmp_path: Path) -> None:
    lines = [" ".join([*row.split()[:3], "-1021", *row.split()[3:]]) for row in rows()]
    (tmp_path / "a.pts").write_text("\n".join([str(len(lines)), *lines]))
    same(read_scan(tmp_path / "a.pts"))


def test_georeferenced_text_keeps_its_digits(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").write_text("\n".join(rows(far=1)))
    same(read_scan(tmp_path / "a.xyz"), UTM)


def test_text_of_five_columns_asks_and_columns_answers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(row.rsplit(" ", 1)[0] for row in rows()))
    with pytest.raises(BrokenSceneError, match=r"a\.txt: a bare table of 5 columns; .*columns='x y z _ _'"):
        read_scan(tmp_path / "a.txt")
    assert read_scan(tmp_path / "a.txt", ScanOptions.of(columns="x y z _ _")).color is None


def test_words_of_a_column_are_labels(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "x,y,z,class\n" + "\n".join(f"{i},{i}.5,0,{'wall' if i % 2 else 'floor'}" for i in range(50))
    )
    scan = read_scan(tmp_path / "a.csv")
    assert scan.segment is not None
    assert list(scan.segment[:2]) == ["floor", "wall"]


def test_notes_among_tables_are_no_scans(tmp_path: Path) -> None:
    (tmp_path / "scan.xyz").write_text("\n".join(rows()))
    (tmp_path / "readme.txt").write_text("These scans were taken in May 2024.\nBy hand.\n")
    found = find_scans(tmp_path)
    assert list(found.files) == ["scan"]
    assert found.notes == ["passed over: 1 .txt; hold no table of numbers (readme.txt)"]


@pytest.mark.parametrize("content", ["1 2 3\n4 5 x\n", "1 2 3 4 5 6\n1 2 3 4 5 6 7 8\n", "hello\n", ""])
def test_a_damaged_table_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.xyz").write_text(content)
    with pytest.raises(BrokenSceneError, match=r"a\.xyz"):
        read_scan(tmp_path / "a.xyz")


@pytest.mark.parametrize("suffix", [".las", ".laz"])
def test_las(tmp_path: Path, suffix: str) -> None:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales, header.offsets = np.full(3, 1e-4), UTM
    las = laspy.LasData(header)
    las.xyz = XYZ + UTM
    las.red, las.green, las.blue = (RGB.astype(np.uint16) * 257).T
    las.classification = (np.arange(len(XYZ)) % 7).astype(np.uint8)
    las.write(tmp_path / f"a{suffix}")
    scan = read_scan(tmp_path / f"a{suffix}")
    same(scan, UTM)
    np.testing.assert_array_equal(scan.segment, np.arange(len(XYZ)) % 7)
    data = prepare_dataset("folder", tmp_path / f"a{suffix}", tmp_path / "out", quiet=True)
    np.testing.assert_allclose(data.load("a").original_coord(), XYZ + UTM, atol=2e-4)


def test_e57(tmp_path: Path) -> None:
    pye57 = pytest.importorskip("pye57")
    file = pye57.E57(str(tmp_path / "a.e57"), mode="w")
    values = {f"cartesian{a.upper()}": XYZ[:, i].copy() for i, a in enumerate("xyz")}
    values |= {f"color{c}": RGB[:, i].copy() for i, c in enumerate(("Red", "Green", "Blue"))}
    file.write_scan_raw(values, translation=UTM)
    file.close()
    same(read_scan(tmp_path / "a.e57"), UTM)


def square(trimesh, **visual):
    vertices = np.array([[0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], float)
    return trimesh.Trimesh(vertices, [[0, 1, 2], [0, 2, 3]], process=False, **visual)


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".stl"])
def test_meshes_are_sampled_by_area(tmp_path: Path, suffix: str) -> None:
    trimesh = pytest.importorskip("trimesh")
    colors = np.array([[255, 0, 0], [255, 0, 0], [0, 0, 255], [0, 0, 255]], np.uint8)
    square(trimesh, vertex_colors=colors).export(tmp_path / f"a{suffix}")
    path, options = tmp_path / f"a{suffix}", ScanOptions.of(points=2000)
    scan = read_scan(path, options)
    assert len(scan.coord) == 2000
    assert scan.coord.min() >= -1e-6
    assert abs((scan.coord[:, 0] < 2).mean() - 0.5) < 0.05
    np.testing.assert_array_equal(read_scan(path, options).coord, scan.coord)
    assert len(read_scan(path, ScanOptions.of(points=0)).coord) >= 4
    if suffix != ".stl":
        assert scan.color is not None
        low = scan.coord[:, 1] < 1
        assert scan.color[low, 0].mean() > scan.color[~low, 0].mean() + 50


def test_a_texture_colors_the_points_and_is_hashed(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    from PIL import Image

    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, 4:] = 200, 10, 30
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    visual = trimesh.visual.TextureVisuals(uv=uv, image=Image.fromarray(picture))
    square(trimesh, visual=visual).export(tmp_path / "in.obj")
    (tmp_path / "in").mkdir()
    for path in [p for p in tmp_path.iterdir() if p.is_file()]:
        path.rename(tmp_path / "in" / path.name)
    data = prepare_dataset("folder", tmp_path / "in", tmp_path / "out", options={"points": 500}, quiet=True)
    scene = data.load(data.scenes("train")[0])
    assert scene.color is not None
    assert set(np.unique(np.asarray(scene.color)[scene.coord[:, 0] > 2.6, 0])) == {200}
    from mm3d_benchmarks.datasets.scene import read_record

    record = read_record(tmp_path / "out", data.scenes("train")[0])
    assert record is not None
    assert {Path(name).suffix for name in record["source"]["files"]} >= {".obj", ".mtl", ".png"}


def test_a_ply_with_faces_gives_its_vertices_unless_told(tmp_path: Path) -> None:
    trimesh = pytest.importorskip("trimesh")
    square(trimesh).export(tmp_path / "a.ply")
    vertices = read_scan(tmp_path / "a.ply")
    assert len(vertices.coord) == 4
    assert any("2 faces passed over" in remark and "faces=true" in remark for remark in vertices.remarks)
    sampled = read_scan(tmp_path / "a.ply", ScanOptions.of(faces=True, points=5000))
    assert len(sampled.coord) == 5000
    assert sampled.coord.std(0).max() > 0.2
    with pytest.raises(UserError, match="faces=3"):
        ScanOptions.of(faces=3)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".las", b"LASF" + bytes(400)),
        (".e57", b"ASTM-E57" + bytes(400)),
        (".glb", b"glTF\2\0\0\0" + bytes(100)),
        (".stl", b"x"),
        (".obj", b"v 1 2"),
    ],
)
def test_damaged_files_of_libraries_are_named(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"a{suffix}").write_bytes(content)
    with pytest.raises(BrokenSceneError, match=rf"a\{suffix}"):
        read_scan(tmp_path / f"a{suffix}")


def test_a_missing_library_is_named_with_the_way_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.las").write_bytes(b"LASF")
    monkeypatch.setitem(sys.modules, "laspy", None)
    with pytest.raises(UserError, match=r"a\.las: .*laspy.*pip install 'mm3dscene\[formats\]'"):
        read_scan(tmp_path / "a.las")
