"""Files that would have been read wrongly without a word: what one value too many, or one that is none, did."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import room

from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan

XYZ, RGB, _ = room(400)
BOTH = np.concatenate([XYZ, RGB], axis=1)


def lines(table: np.ndarray, separator: str = ",", end: str = "") -> str:
    return "".join(separator.join(f"{v:.4f}" for v in row) + end + "\n" for row in table)


def read(folder: Path, name: str, text: str) -> Scan:
    (folder / name).write_text(text)
    return read_scan(folder / name)


def same(scan: Scan, color: bool = True) -> None:
    np.testing.assert_allclose(scan.coord, XYZ, atol=1e-4)
    assert (scan.color is not None) == color
    if scan.color is not None:
        assert np.abs(scan.color.astype(int) - RGB).max() <= 1


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("end", [1, 2])
@pytest.mark.parametrize("heading", [True, False])
def test_separators_at_the_end_of_rows_shift_nothing(tmp_path: Path, separator: str, end: int, heading: bool) -> None:
    """pandas would take the first column for an index: y z r as coordinates."""
    head = separator.join("xyzrgb") + "\n" if heading else ""
    same(read(tmp_path, "a.csv", head + lines(BOTH, separator, separator * end)))


def test_a_heading_with_separators_at_its_end_is_one(tmp_path: Path) -> None:
    same(read(tmp_path, "a.csv", "r,g,b,x,y,z,\n" + lines(np.concatenate([RGB, XYZ], axis=1), ",", ",")))


def test_rows_that_hold_more_than_the_first_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BrokenSceneError, match=r"a\.csv: damaged table"):
        read(tmp_path, "a.csv", "x,y,z\n" + ",1.0,2.0,3.0\n" + lines(XYZ))


@pytest.mark.parametrize("units", ["m,m,m", "metres,metres,metres", "N/A,N/A,N/A\n-,-,-"])
def test_a_line_of_units_is_no_heading(tmp_path: Path, units: str) -> None:
    same(read(tmp_path, "a.csv", f"x,y,z\n{units}\n" + lines(XYZ)), color=False)


def test_of_columns_of_one_name_the_first_counts(tmp_path: Path) -> None:
    same(read(tmp_path, "a.csv", "x,y,z,x,y,z\n" + lines(np.concatenate([XYZ, 0 * XYZ], axis=1))), color=False)


@pytest.mark.parametrize("none", [-9999.0, -99999.0, -32768.0])
@pytest.mark.parametrize("axes", [slice(0, 3), slice(2, 3)])
def test_rows_without_a_value_are_dropped_and_counted(tmp_path: Path, none: float, axes: slice) -> None:
    """Maps write -9999 where they know nothing; a twentieth of the rows is too many for strays."""
    table = np.concatenate([XYZ, XYZ[:20]])
    table[len(XYZ) :, axes] = none
    scan = read(tmp_path, "a.txt", lines(table, " "))
    same(scan, color=False)
    assert scan.rows.tolist() == list(range(len(XYZ)))
    assert any(remark.startswith("20 rows with -9999 or the like") for remark in scan.remarks)


def test_a_number_like_that_among_others_is_a_coordinate(tmp_path: Path) -> None:
    table = np.round(XYZ * 1000) - [10_001, 10_001, 10_001]  # millimetres around -9999
    table[7, 0] = -9999
    scan = read(tmp_path, "a.txt", lines(table, " "))
    assert len(scan.coord) == len(XYZ)


def test_empty_lines_of_a_ply_are_passed_over_in_silence(tmp_path: Path) -> None:
    header = f"ply\nformat ascii 1.0\nelement vertex {len(XYZ)}\n" + "".join(f"property float {a}\n" for a in "xyz")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(read(tmp_path, "a.ply", f"{header}end_header\n\n" + lines(XYZ, " ", "\n")), color=False)


def test_an_archive_of_columns_says_to_turn_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", points=XYZ.T, colors=RGB.T)
    with pytest.raises(BrokenSceneError, match=r"a\.npz: points has shape \(3, 400\).*save points\.T"):
        read_scan(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["color", "normal", "segment", "instance"])
def test_what_lies_beside_coordinates_is_never_taken_for_them(tmp_path: Path, name: str) -> None:
    """A download that ended before its coord.npy: colors would have become the points."""
    np.save(tmp_path / f"{name}.npy", RGB)
    with pytest.raises(BrokenSceneError, match=rf"{name}\.npy: .*no coord\.npy lies beside it"):
        read_scan(tmp_path / f"{name}.npy")


@pytest.mark.parametrize("none", [0.0, np.nan])
def test_normals_of_which_none_is_known_are_no_normals(tmp_path: Path, none: float) -> None:
    np.savez(tmp_path / "a.npz", coord=XYZ, normal=np.full_like(XYZ, none))
    scan = read_scan(tmp_path / "a.npz")
    assert scan.normal is None
    assert "normals are all zero, or no numbers: passed over" in scan.remarks
