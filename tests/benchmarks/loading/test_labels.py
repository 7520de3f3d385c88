"""Detection labels: padding, VoteNet's rules for votes, and headings from +x towards -y."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from benchmarks.small_runs import room

from mm3d_benchmarks.datasets.readers import s3dis, scannet
from mm3d_benchmarks.loading.labels import (
    detection_targets,
    in_box,
    object_segments,
    segmentation_targets,
    votes_by_instance,
    votes_inside,
)
from mm3d_benchmarks.loading.sample import Sample, sample_of
from mm3d_core.errors import UserError


def test_box_classes_are_found_among_the_segments():
    assert object_segments(scannet.facts()) == tuple(range(2, 20))
    assert object_segments(s3dis.facts()) == (7, 8, 9, 10, 11)


def test_boxes_are_padded_and_masked():
    labels = detection_targets(sample_of(room("a", 0)), votes="inside")
    assert labels["center"].shape == labels["size"].shape == (64, 3)
    assert labels["box_mask"].tolist() == [True, True] + [False] * 62
    assert not labels["center"][2:].any()
    assert labels["box_class"].dtype == torch.int64


def test_a_point_in_several_boxes_has_several_votes():
    point = np.zeros((1, 3), np.float32)
    boxes = np.array([[0.1 * n, 0, 0, 2, 2, 2, 0, 0] for n in range(1, 5)], np.float32)
    for count, slots in ((1, [0.1, 0.1, 0.1]), (2, [0.1, 0.2, 0.1]), (3, [0.1, 0.2, 0.3]), (4, [0.1, 0.2, 0.4])):
        votes, mask = votes_inside(point, boxes[:count])
        assert mask.tolist() == [True]
        np.testing.assert_allclose(votes[0, :, 0], slots, atol=1e-6)


def test_votes_go_to_the_hull_of_the_sampled_points_or_to_the_box():
    coord = np.array([[0, 0, 0], [1, 2, 0], [5, 5, 5], [9, 9, 9]], np.float32)
    instance, segment = np.array([3, 3, 4, -1]), np.array([7, 7, 2, 7])
    votes, mask = votes_by_instance(coord, instance, segment, objects=(7,))
    assert mask.tolist() == [True, True, False, False]
    np.testing.assert_allclose(votes[:2, 0] + coord[:2], [[0.5, 1, 0]] * 2)
    assert (votes[0] == votes[0, 0]).all()
    boxes = np.array([[0.6, 1.1, 0.2, 1, 2, 1, 0, 0], [5, 5, 5, 1, 1, 1, 0, 0]], np.float32)
    votes, _ = votes_by_instance(coord, instance, segment, (7,), boxes)
    np.testing.assert_allclose(votes[:2, 0] + coord[:2], [[0.6, 1.1, 0.2]] * 2, atol=1e-6)


def test_a_positive_heading_turns_the_length_towards_minus_y():
    box = np.array([0, 0, 0, 4, 0.2, 1, np.pi / 4, 0], np.float32)
    coord = np.array([[1, -1, 0], [1, 1, 0]], np.float32)
    assert in_box(coord, box).tolist() == [True, False]


def test_what_is_missing_is_named():
    bare = Sample("scene_7", np.zeros((2, 3), np.float32), np.arange(2))
    with pytest.raises(UserError, match="scene_7 has no segment labels"):
        segmentation_targets(bare)
    with pytest.raises(UserError, match="scene_7 has no boxes"):
        detection_targets(bare)
    boxed = Sample("scene_7", bare.coord, bare.index, boxes=np.ones((65, 8), np.float32))
    with pytest.raises(UserError, match="65 boxes"):
        detection_targets(boxed)
    few = Sample("scene_7", bare.coord, bare.index, boxes=np.ones((1, 8), np.float32))
    with pytest.raises(UserError, match="votes=inside"):
        detection_targets(few, votes="hull")
    with pytest.raises(UserError, match="'nearest'"):
        detection_targets(few, votes="nearest")


def test_a_frame_without_objects_has_no_votes():
    empty = Sample("scene", np.zeros((3, 3), np.float32), np.arange(3), boxes=np.zeros((0, 8), np.float32))
    labels = detection_targets(empty, votes="inside")
    assert not labels["box_mask"].any()
    assert not labels["vote_mask"].any()
