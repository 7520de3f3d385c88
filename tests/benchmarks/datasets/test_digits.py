"""Coordinates that were rounded before they came: said with the size of the steps, for every format; others are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, packed, pcd, ply, room, scannet

from mm3d_benchmarks.datasets.digits import SAID, coarse_remark
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import read_scan

XYZ, RGB, _ = room(2000)
UTM = np.array([404000.0, 5655000.0, 120.0])
FAR = XYZ + UTM


def axes(coord: np.ndarray) -> list[np.ndarray]:
    return list(coord.T)


def said(remarks: list[str]) -> list[str]:
    return [remark for remark in remarks if remark.startswith(SAID)]


@pytest.mark.parametrize(
    ("coord", "steps"),
    [
        (FAR.astype(np.float32), "0.5"),
        (FAR.astype(np.float32).astype(np.float64), "0.5"),
        (np.array([[float(f"{v:g}") for v in row] for row in FAR]), "1 m"),
        (np.round(XYZ, 1), "0.1"),
        (FAR.round(1), "0.1"),
        ((XYZ + 20000).astype(np.float32), "0.002"),
    ],
)
def test_steps_are_said(coord: np.ndarray, steps: str) -> None:
    [remark] = coarse_remark(axes(coord))
    assert f"{SAID} {steps}" in remark


@pytest.mark.parametrize(
    "coord",
    [
        XYZ,
        XYZ.astype(np.float32),
        FAR,
        FAR.round(3),
        np.round(XYZ, 3),
        (XYZ + 500).astype(np.float32),
        XYZ[:20].round(0),
    ],
)
def test_coordinates_with_their_digits_are_not(coord: np.ndarray) -> None:
    assert coarse_remark(axes(coord)) == []


def test_a_scale_counts() -> None:
    assert coarse_remark(axes(np.round(XYZ * 1000)), 0.001) == []
    assert "0.1 m" in coarse_remark(axes(np.round(XYZ * 10)), 0.1)[0]


def test_text_keeps_the_digits_that_it_prints_whatever_its_header_says(tmp_path: Path) -> None:
    rows = [" ".join(f"{v:.4f}" for v in row) for row in FAR]
    head = f"ply\nformat ascii 1.0\nelement vertex {len(FAR)}\n" + "".join(f"property float {a}\n" for a in "xyz")
    (tmp_path / "a.ply").write_text(head + "end_header\n" + "\n".join(rows) + "\n")
    colors = packed(RGB).astype(np.uint32).view(np.float32)
    head = "VERSION .7\nFIELDS x y z rgb\nSIZE 4 4 4 4\nTYPE F F F F\n"
    head += f"WIDTH {len(FAR)}\nHEIGHT 1\nPOINTS {len(FAR)}\nDATA ascii\n"
    body = "\n".join(f"{row} {color:.9g}" for row, color in zip(rows, colors, strict=True))
    (tmp_path / "a.pcd").write_text(head + body + "\n")
    for suffix in (".ply", ".pcd"):
        scan = read_scan(tmp_path / f"a{suffix}")
        np.testing.assert_allclose(scan.coord, FAR, atol=6e-5)
        assert said(scan.remarks) == []
    np.testing.assert_array_equal(read_scan(tmp_path / "a.pcd").color, RGB)


@pytest.mark.parametrize("suffix", [".ply", ".pcd", ".npy", ".stl"])
def test_every_format_says_it(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".ply":
        ply(path, columns(FAR))
    elif suffix == ".pcd":
        pcd(path, [(a, "f4", 1, FAR[:, i]) for i, a in enumerate("xyz")], len(FAR))
    elif suffix == ".npy":
        np.save(path, FAR.astype(np.float32).astype(np.float64))
    else:
        trimesh = pytest.importorskip("trimesh")
        ball = trimesh.creation.icosphere(subdivisions=2, radius=3)
        ball.apply_translation(FAR[0])
        ball.export(path)
    assert len(said(read_scan(path, ScanOptions.of(points=500)).remarks)) == 1


def test_the_mesh_of_a_release_says_it(tmp_path: Path) -> None:
    raw = scannet(tmp_path / "in")
    xyz, rgb, _ = room(800, 0)
    ply(raw / "scans/scene0000_00/scene0000_00_vh_clean_2.ply", columns(xyz + UTM, rgb))
    remarks = prepare_dataset("scannet", raw, tmp_path / "out", quiet=True).manifest["remarks"]
    assert len(said(remarks["scene0000_00"])) == 1
    assert "scene0001_00" not in remarks
