"""The whole way on a real scan of ScanNet, for an encoder of each backbone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.pretrained.scan_files import write_scan
from benchmarks.pretrained.small_networks import BACKBONES, described

from mm3d_benchmarks import pretrained


@pytest.fixture(scope="module")
def scene0000(real_samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scene0000_00 as a PLY: 40,684 points in the sensor's frame."""
    table = np.fromfile(real_samples / "mmdetection3d/demo/data/scannet/scene0000_00.bin", "<f4").reshape(-1, 6)
    path = tmp_path_factory.mktemp("real") / "scene0000_00.ply"
    return write_scan(path, table[:, :3].astype(float), table[:, 3:].round().astype(np.uint8))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_each_backbone_has_features_for_a_real_scan(scene0000: Path, tmp_path: Path, backbone: str) -> None:
    encoder = pretrained.load(described(tmp_path, backbone), device="cpu")
    found = encoder.features(scene0000, progress=False)
    assert found.shape == (40_684, encoder.channels[0])
    assert np.isfinite(found).all()
    assert found.std(axis=0).max() > 1e-3


def test_a_model_segments_a_real_scan(scene0000: Path, tmp_path: Path) -> None:
    model = pretrained.load(described(tmp_path, "point_transformer", "finetune"), device="cpu")
    segment, shares = model.segment(scene0000, probabilities=True, progress=False)
    assert segment.shape == (40_684,)
    np.testing.assert_array_equal(shares.argmax(axis=1), segment)
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)


def test_a_detector_looks_at_a_real_scan(scene0000: Path, tmp_path: Path) -> None:
    model = pretrained.load(described(tmp_path, "votenet", "finetune"), device="cpu")
    boxes = model.detect(scene0000, min_score=0.0, progress=False)
    assert len(boxes) > 0
    assert np.isfinite(boxes.centers).all()
