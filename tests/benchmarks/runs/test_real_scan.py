"""A real ScanNet scan, as a user's own folder: pre-training learns something on it and draws what it rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.small_runs import config

from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_core.observing.logfile import read_log

SCAN = Path(__file__).parents[3] / "../shared/real_samples/mmdetection3d/demo/data/scannet/scene0000_00.bin"


@pytest.mark.slow
@pytest.mark.skipif(not SCAN.exists(), reason="the real samples are not here")
def test_the_loss_falls_on_a_real_scan_and_its_picture_is_drawn(tmp_path: Path):
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/scene0000_00.bin").write_bytes(SCAN.read_bytes())
    prepare_dataset("folder", tmp_path / "scans", tmp_path / "data", options={"columns": "x y z r g b"}, quiet=True)
    settings = config(
        tmp_path / "data",
        dataset__facts={"_target_": "mm3d_benchmarks.datasets.readers.folder.facts"},
        recipe__pretrain__steps=60,
        recipe__pretrain__voxel=0.1,
        recipe__pretrain__max_points=2000,
        recipe__pretrain__optimizer__lr=0.005,
    )
    run_pretrain(settings, tmp_path / "run", {})
    losses = [record["reconstruction"] for record in read_log(tmp_path / "run")]
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    assert (tmp_path / "run/reconstruction.png").stat().st_size > 20_000
