"""Boxes against two real, annotated scans; skipped where the samples do not lie beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mm3d_core.boxes import box_iou, count_points_in_boxes, non_maximum_suppression

SAMPLES = Path(__file__).parents[2] / "../shared/real_samples/mmdetection3d"
pytestmark = pytest.mark.skipif(not SAMPLES.is_dir(), reason="the real samples are not here")


def points(path: str) -> torch.Tensor:
    return torch.from_numpy(np.fromfile(SAMPLES / path, "<f4").reshape(-1, 6)[:, :3].copy())


def scannet() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Aligned points, boxes and classes of scene0000_00."""
    info = json.loads((SAMPLES / "tests/data/scannet/scannet_infos.json").read_text())["data_list"][0]
    raw = points("demo/data/scannet/scene0000_00.bin").double()
    matrix = torch.tensor(info["axis_align_matrix"], dtype=torch.float64)
    coord = raw @ matrix[:3, :3].T + matrix[:3, 3]
    boxes = torch.tensor([[*entry["bbox_3d"], 0.0] for entry in info["instances"]], dtype=torch.float64)
    return coord, boxes, torch.tensor([entry["bbox_label_3d"] for entry in info["instances"]])


def test_boxes_hold_the_counted_points_of_a_scannet_scene():
    coord, boxes, classes = scannet()
    boxes[:, 3:6] += 0.002  # one millimetre on each side
    counts = count_points_in_boxes(coord, boxes)
    assert counts[classes == 3].tolist() == [3452]  # sofa
    assert counts[classes == 1].tolist() == [1860]  # bed
    assert counts[classes == 14].tolist() == [290]  # toilet
    assert counts[classes == 10][0] == 1770  # the first desk


def test_real_boxes_overlap_themselves_fully_and_survive_class_wise_suppression():
    _, boxes, classes = scannet()
    overlap = box_iou(boxes, boxes)
    torch.testing.assert_close(overlap.diagonal(), torch.ones(len(boxes), dtype=torch.float64))
    torch.testing.assert_close(overlap, overlap.T)
    assert len(non_maximum_suppression(boxes, torch.rand(len(boxes)), 0.25, classes)) >= len(boxes) - 1


def test_the_heading_of_an_oriented_box_points_the_way_that_catches_most_points():
    """The other sign of the heading (mmdetection3d's yaw) holds fewer points of SUN RGB-D's frame 17."""
    info = json.loads((SAMPLES / "demo/data/sunrgbd/sunrgbd_000017_infos.json").read_text())["data_list"][0]
    coord = points("demo/data/sunrgbd/000017.bin").double()
    boxes = torch.tensor([entry["bbox_3d"] for entry in info["instances"]], dtype=torch.float64)
    wrong = boxes.clone()
    boxes[:, 6] = -boxes[:, 6]  # theirs is minus VoteNet's
    assert (count_points_in_boxes(coord, boxes) > 1.2 * count_points_in_boxes(coord, wrong)).any()
    assert count_points_in_boxes(coord, boxes).sum() > count_points_in_boxes(coord, wrong).sum()
