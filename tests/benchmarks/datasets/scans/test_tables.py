"""Bare tables: a layout is guessed only where it is beyond doubt; normals and intensities are never colors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import room

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan

XYZ, RGB, NORMAL = room()
TILTED = NORMAL @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]).T
INTENSITY = RGB[:, :1] / 255


def saved(tmp_path: Path, *parts: np.ndarray, suffix: str = ".npy") -> Path:
    table = np.column_stack(parts).astype(np.float32)
    path = tmp_path / f"a{suffix}"
    if suffix == ".bin":
        table.tofile(path)
    else:
        np.save(path, table)
    return path


def read(path: Path, columns: str = "") -> Scan:
    return read_scan(path, ScanOptions.of(columns=columns))


@pytest.mark.parametrize(
    ("parts", "suggested"),
    [
        ((XYZ, NORMAL), "x y z nx ny nz"),
        ((XYZ, TILTED), "x y z nx ny nz"),
        ((XYZ, INTENSITY), "x y z _"),
        ((XYZ, INTENSITY, RGB), "x y z _ r g b"),
        ((XYZ, RGB, NORMAL), "x y z r g b nx ny nz"),
        ((XYZ, INTENSITY, INTENSITY), "x y z _ _"),
        ((XYZ, TILTED, INTENSITY), "x y z nx ny nz _"),
    ],
)
def test_what_could_be_several_things_is_asked_for(tmp_path: Path, parts: tuple, suggested: str) -> None:
    path = saved(tmp_path, *parts)
    with pytest.raises(BrokenSceneError, match=r"a\.npy: a bare table .*columns='") as error:
        read(path)
    assert f"columns='{suggested}'" in str(error.value)
    read(path, suggested)


RETURNS = np.arange(len(XYZ))[:, None] % 5


@pytest.mark.parametrize(
    "parts",
    [
        (RGB[:, :1], RETURNS, RETURNS % 3),  # intensity, number of the return, class
        (RGB[:, :1], RETURNS * 12, np.sqrt(RETURNS)),  # intensity, ring, time
        (np.random.default_rng(0).random((len(XYZ), 3)),),  # three measures
    ],
)
@pytest.mark.parametrize("suffix", [".npy", ".txt"])
def test_measures_of_a_lidar_are_no_colors(tmp_path: Path, parts: tuple, suffix: str) -> None:
    path = saved(tmp_path, XYZ, *parts)
    if suffix == ".txt":
        np.savetxt(path := tmp_path / "a.txt", np.column_stack([XYZ, *parts]), fmt="%.6g")
    with pytest.raises(BrokenSceneError, match=r"a bare table of 6 columns; .*columns='x y z _ _ _'"):
        read(path)


def test_fractions_of_255_are_colors(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(saved(tmp_path, XYZ, RGB / 255)).color, RGB)


@pytest.mark.parametrize(
    ("table", "told"), [(XYZ[:, :2], "2 columns"), (XYZ.T, "so the other way round"), (XYZ[:0], "no point")]
)
def test_a_table_without_points_is_told_without_a_remedy_that_cannot_help(
    tmp_path: Path, table: np.ndarray, told: str
) -> None:
    np.save(tmp_path / "a.npy", table)
    with pytest.raises(BrokenSceneError, match=rf"a\.npy: .*{told}") as error:
        read(tmp_path / "a.npy")
    assert "columns=" not in str(error.value)


@pytest.mark.parametrize(
    "heading",
    [
        '"Points:0","Points:1","Points:2","RGB:0","RGB:1","RGB:2"',
        "Easting,Northing,Elevation,Red,Green,Blue",
        "X [m],Y [m],Z [m],R,G,B",
        "//X,Y,Z,Rf,Gf,Bf",
    ],
)
def test_headings_of_other_programs(tmp_path: Path, heading: str) -> None:
    rows = [",".join(f"{v:.4f}" for v in row) for row in np.column_stack([XYZ, RGB])]
    (tmp_path / "a.csv").write_text("\n".join([heading, *rows]))
    np.testing.assert_array_equal(read(tmp_path / "a.csv").color, RGB)


def test_the_index_of_pandas_is_no_coordinate(tmp_path: Path) -> None:
    rows = [f"{i}," + ",".join(f"{v:.4f}" for v in row) for i, row in enumerate(XYZ)]
    (tmp_path / "a.csv").write_text("\n".join([",x,y,z", *rows]))
    np.testing.assert_allclose(read(tmp_path / "a.csv").coord, XYZ, atol=6e-5)


def test_a_heading_that_names_no_coordinates_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("\n".join(["a,b,c", *(",".join(f"{v:.4f}" for v in row) for row in XYZ)]))
    with pytest.raises(BrokenSceneError, match=r"names no x y z \(a, b, c\); .*columns='x y z'"):
        read(tmp_path / "a.csv")
    np.testing.assert_allclose(read(tmp_path / "a.csv", "x y z").coord, XYZ, atol=6e-5)


def test_coordinates_alone_and_plain_colors_are_beyond_doubt(tmp_path: Path) -> None:
    alone = read(saved(tmp_path, XYZ))
    assert alone.color is None
    assert alone.remarks == ["three columns taken as x y z"]
    colored = read(saved(tmp_path, XYZ, RGB))
    np.testing.assert_array_equal(colored.color, RGB)
    assert colored.remarks[0] == "six columns taken as x y z r g b"


@pytest.mark.parametrize("parts", [(XYZ, INTENSITY), (XYZ, RGB)])
def test_a_file_without_shape_is_asked_for(tmp_path: Path, parts: tuple) -> None:
    with pytest.raises(BrokenSceneError, match=r"a\.bin: a bare list .*columns="):
        read(saved(tmp_path, *parts, suffix=".bin"))


def test_columns_that_do_not_fit_the_values_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, np.abs(XYZ), INTENSITY * 40, suffix=".bin")
    with pytest.raises(BrokenSceneError, match=r"a\.bin.*columns="):
        read(path, "x y z r g b")


def test_normals_called_colors_are_told(tmp_path: Path) -> None:
    with pytest.raises(BrokenSceneError, match="normals and no colors; write columns='x y z nx ny nz'"):
        read(saved(tmp_path, XYZ, TILTED), "x y z r g b")


def test_a_pure_palette_is_no_normal(tmp_path: Path) -> None:
    palette = np.eye(3)[np.arange(len(XYZ)) % 3]
    scan = read(saved(tmp_path, XYZ, palette), "x y z r g b")
    np.testing.assert_array_equal(scan.color, palette * 255)


def test_columns_of_any_name_are_kept_for_labels(tmp_path: Path) -> None:
    scan = read(saved(tmp_path, XYZ, RGB, np.arange(len(XYZ)) % 5), "x y z r g b label")
    np.testing.assert_array_equal(scan.segment, np.arange(len(XYZ)) % 5)
