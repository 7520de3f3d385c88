"""Up: every axis, a matrix, and the floor found in the points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room

from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import read_scan
from mm3d_benchmarks.datasets.scans.upright import AXES, find_floor, parse_up
from mm3d_core.errors import UserError

XYZ, RGB, NORMAL = room(4000)


@pytest.mark.parametrize("up", sorted(AXES))
def test_every_axis_may_point_up(tmp_path: Path, up: str) -> None:
    turn = np.array(AXES[up], float)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)
    stored = XYZ @ turn  # rows: the inverse of the turn
    normals = [(f"n{a}", "float", (NORMAL @ turn)[:, i]) for i, a in enumerate("xyz")]
    scan = read_scan(ply(tmp_path / "a.ply", [*columns(stored, RGB), *normals]), ScanOptions.of(up=up))
    np.testing.assert_allclose(scan.coord, XYZ, atol=1e-5)
    assert scan.normal is not None
    np.testing.assert_allclose(scan.normal, NORMAL, atol=1e-6)
    np.testing.assert_allclose(stored @ scan.linear.T + scan.shift, XYZ, atol=1e-5)


def test_a_camera_looks_along_z_with_y_down(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", columns(XYZ[:, [0, 2, 1]] * (1, -1, 1)))
    np.testing.assert_allclose(read_scan(path, ScanOptions.of(up="-y")).coord, XYZ, atol=1e-5)


def test_a_matrix_turns_scales_and_shifts(tmp_path: Path) -> None:
    matrix = "0 -0.001 0 1  0.001 0 0 2  0 0 0.001 3  0 0 0 1"
    path = ply(tmp_path / "a.ply", columns(XYZ * 1000, coordinate="double"))
    scan = read_scan(path, ScanOptions.of(up=matrix))
    np.testing.assert_allclose(scan.coord, np.column_stack([1 - XYZ[:, 1], 2 + XYZ[:, 0], 3 + XYZ[:, 2]]), atol=1e-6)


@pytest.mark.parametrize(
    "up", ["w", "1 2 3", "1 0 0 0 0 2 0 0 0 0 1 0 0 0 0 1", "-1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1", "nan " * 16]
)
def test_what_is_no_direction_is_refused(up: str) -> None:
    with pytest.raises(UserError, match="up="):
        parse_up(up)


@pytest.mark.parametrize("up", sorted(AXES))
def test_the_floor_is_found_whatever_axis_points_up(up: str) -> None:
    tilt = np.radians(4)
    lean = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    found = find_floor(XYZ @ lean.T @ np.array(AXES[up], float))
    upright = XYZ @ lean.T @ np.array(AXES[up], float) @ found.linear.T
    floor = upright[:1000, 2]
    assert np.ptp(floor) < 0.15
    assert np.median(upright[1000:, 2]) > floor.max()
    assert f"{up} is up, tilted by" in found.remark


def test_too_few_points_are_left_as_they_are() -> None:
    assert "too few" in find_floor(XYZ[:20]).remark
