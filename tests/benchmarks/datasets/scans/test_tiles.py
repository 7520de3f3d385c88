"""Large scans in tiles: every point in one tile, at its place in the building."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.folder import FolderReader
from mm3d_core.errors import UserError

UTM = np.array([404000.0, 5655000.0, 120.0])
HALL = np.random.default_rng(0).uniform((0, 0, 0), (40, 20, 3), (40_000, 3))


@pytest.mark.parametrize("workers", [0, 1])
def test_every_point_is_in_one_tile(tmp_path: Path, workers: int) -> None:
    color = np.random.default_rng(1).integers(0, 256, HALL.shape).astype(np.uint8)
    ply(tmp_path / "in/hall.ply", columns(HALL + UTM, color, coordinate="double"))
    data = prepare_dataset(
        "folder", tmp_path / "in", tmp_path / "out", options={"tile": 10}, workers=workers, quiet=True
    )
    scenes = [data.load(name) for name in data.scenes("train")]
    assert len(scenes) == 8
    assert all(np.ptp(scene.coord, axis=0).max() <= 10.001 for scene in scenes)
    back = np.concatenate([scene.original_coord() for scene in scenes])
    np.testing.assert_allclose(np.sort(back, axis=0), np.sort(HALL + UTM, axis=0), atol=1e-4)


def test_tiles_at_the_rim_with_few_points_are_left_out_and_counted(tmp_path: Path) -> None:
    rim = np.concatenate([HALL, HALL[:5] + np.array([25.0, 0, 0])])
    ply(tmp_path / "in/hall.ply", columns(rim))
    reader = FolderReader(tmp_path / "in", tile=20)
    assert len(reader.splits()["train"]) == 2
    assert any("points in tiles of fewer than" in note for note in reader.notes())


@pytest.mark.parametrize("tile", [-1, "x", True, 0.0001])
def test_wrong_tiles_are_refused(tmp_path: Path, tile: object) -> None:
    ply(tmp_path / "in/hall.ply", columns(HALL))
    with pytest.raises(UserError, match="tile="):
        FolderReader(tmp_path / "in", tile=tile)  # type: ignore[arg-type]
