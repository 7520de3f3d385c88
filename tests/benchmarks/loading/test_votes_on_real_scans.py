"""Votes of real scans, against a literal reading of the published rules."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mm3d_benchmarks.datasets.readers.scannet import DETECTION_CLASSES, facts, nyu40_to_train
from mm3d_benchmarks.loading.labels import object_segments, votes_by_instance, votes_inside
from mm3d_core.boxes import points_in_boxes

SCAN = "mmdetection3d/demo/data/scannet/scene0000_00.bin"
SCAN_INFO = "mmdetection3d/tests/data/scannet/scannet_infos.json"
FRAME = "mmdetection3d/demo/data/sunrgbd"


def real_scan(samples: Path) -> tuple[np.ndarray, np.ndarray]:
    """The aligned points (N, 3) of a ScanNet scan and its 27 boxes (27, 8)."""
    entry = json.loads((samples / SCAN_INFO).read_text())["data_list"][0]
    matrix = np.array(entry["axis_align_matrix"])
    raw = np.fromfile(samples / SCAN, "<f4").reshape(-1, 6)[:, :3].astype(np.float64)
    boxes = [[*box["bbox_3d"], 0.0, box["bbox_label_3d"]] for box in entry["instances"]]
    return (raw @ matrix[:3, :3].T + matrix[:3, 3]).astype(np.float32), np.array(boxes, np.float32)


def real_frame(samples: Path) -> tuple[np.ndarray, np.ndarray]:
    """The points of SUN RGB-D's frame 17 and its two oriented boxes; the file's yaw is minus the heading."""
    entry = json.loads((samples / FRAME / "sunrgbd_000017_infos.json").read_text())["data_list"][0]
    boxes = [[*box["bbox_3d"][:6], -box["bbox_3d"][6], box["bbox_label_3d"]] for box in entry["instances"]]
    points = np.fromfile(samples / FRAME / "000017.bin", "<f4").reshape(-1, 6)[:, :3]
    return points, np.array(boxes, np.float32)


def slots(coord: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box after box and point after point, as facebookresearch/votenet's sunrgbd_data.py describes the three slots."""
    inside = points_in_boxes(torch.from_numpy(coord), torch.from_numpy(boxes[:, :7])).numpy()
    votes, seen = np.zeros((len(coord), 3, 3), np.float32), np.zeros(len(coord), int)
    for box, holds in zip(boxes, inside, strict=True):
        for point in np.flatnonzero(holds):
            vote = box[:3] - coord[point]
            if seen[point] == 0:
                votes[point] = vote
            else:
                votes[point, min(seen[point], 2)] = vote
            seen[point] += 1
    return votes, seen


@pytest.mark.parametrize("read", [real_scan, real_frame])
def test_votes_of_points_inside_boxes_fill_their_slots_box_by_box(read, real_samples: Path) -> None:
    coord, boxes = read(real_samples)
    votes, mask = votes_inside(coord, boxes)
    expected, seen = slots(coord, boxes)
    assert mask.sum() > 2000
    assert (seen > 1).any() == (read is real_scan)  # boxes of the scan overlap, those of the frame do not
    np.testing.assert_array_equal(mask, seen > 0)
    np.testing.assert_array_equal(votes, expected)


def test_the_sofa_of_the_scan_is_voted_for_by_the_points_in_its_box(real_samples: Path) -> None:
    coord, boxes = real_scan(real_samples)
    votes, _ = votes_inside(coord, boxes)
    sofa = boxes[boxes[:, 7] == DETECTION_CLASSES.index("sofa")][0]
    aims = coord[:, None] + votes
    for_sofa = (np.abs(aims - sofa[:3]) < 1e-4).all(-1).any(-1)
    inside = (np.abs(coord - sofa[:3]) <= sofa[3:6] / 2).all(1)
    assert abs(int(inside.sum()) - 3452) < 60  # 3452 with a millimetre of tolerance
    assert (for_sofa == inside).mean() > 0.999


def test_votes_of_the_labelled_scannet_sample_go_to_the_hull_of_each_instance(real_samples: Path) -> None:
    folder = real_samples / "mmdetection3d/tests/data/scannet"
    coord = np.fromfile(folder / "points/scene0000_00.bin", "<f4").reshape(-1, 6)[:, :3].copy()
    semantic = np.fromfile(folder / "semantic_mask/scene0000_00.bin", np.int64)
    instance = np.fromfile(folder / "instance_mask/scene0000_00.bin", np.int64) - 1
    votes, mask = votes_by_instance(coord, instance, nyu40_to_train()[semantic], object_segments(facts()))
    nyu40 = {3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39}
    checked = 0
    for number in np.unique(instance[instance >= 0]):
        rows = np.flatnonzero(instance == number)
        assert set(mask[rows]) == {semantic[rows[0]] in nyu40}
        if mask[rows[0]]:
            middle = (coord[rows].min(0) + coord[rows].max(0)) / 2
            aims = coord[rows, None] + votes[rows]
            np.testing.assert_allclose(aims, np.broadcast_to(middle, aims.shape), atol=1e-5)
            checked += 1
    assert checked >= 5
    assert not mask[instance < 0].any()
