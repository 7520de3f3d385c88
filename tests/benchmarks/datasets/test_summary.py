"""What a preparation says: sizes, a warning where they cannot be metres, and all remarks, alike ones together."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.datasets.scans.made import columns, mm3d, ply, room

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.summary import remark_lines, told


@pytest.mark.parametrize(
    ("unit", "scale"), [(1.0, None), (1000.0, 0.001), (100.0, 0.01), (39.37, None), (0.001, 1000), (1e-7, None)]
)
def test_a_scan_that_is_not_in_metres_is_pointed_out(tmp_path: Path, unit: float, scale: float | None) -> None:
    ply(tmp_path / "in/a.ply", columns(room()[0] * unit, coordinate="double"))
    lines = told(prepare_dataset("folder", tmp_path / "in", tmp_path / "out", quiet=True))
    assert lines[0].startswith("extent: ")
    warning = next((line for line in lines if line.startswith("warning: a is")), "")
    assert bool(warning) == (unit not in (1.0, 39.37))
    if scale is not None:
        assert f"scale={scale:g} makes it" in warning


def test_prepare_prints_extent_remarks_and_what_was_passed_over(tmp_path: Path) -> None:
    xyz, rgb, _ = room()
    for name in ("a", "b"):
        ply(tmp_path / f"in/{name}.ply", columns(xyz, rgb / 255, kind="float"))
    (tmp_path / "in/c.fbx").write_bytes(b"x")
    done = mm3d("prepare", "dataset=folder", "raw=in", "out=out", "--workers", "0", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "extent: 4.99 x 4 x 2.49 m" in done.stdout
    assert "2 scenes (a, b): colors taken as 0..1 (float32)" in done.stdout
    assert "1 .fbx" in done.stdout
    checked = mm3d("prepare", "dataset=folder", "out=out", "--check", cwd=tmp_path)
    assert "extent: 4.99 x 4 x 2.49 m" in checked.stdout
    assert "2 scenes (a, b): colors taken" in checked.stdout


def test_remarks_that_differ_in_numbers_share_a_line() -> None:
    remarks = {f"room_{i}": [f"{i + 1} rows dropped", "an object is flat"] for i in range(5)} | {"": ["whole"]}
    assert remark_lines(remarks) == [
        "whole",
        "5 scenes (room_0, room_1, room_2 and 2 more): 1 rows dropped (so in room_0; others alike)",
        "5 scenes (room_0, room_1, room_2 and 2 more): an object is flat",
    ]
