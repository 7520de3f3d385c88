"""Boxes: the heading convention, hand-made overlaps, and suppression at its threshold."""

from __future__ import annotations

import math

import pytest
import torch
from turning import rotate_boxes

from mm3d_core.boxes import (
    axis_aligned_hull,
    box_corners,
    box_iou,
    count_points_in_boxes,
    non_maximum_suppression,
    points_in_boxes,
    wrap_heading,
)


def box(center=(0.0, 0.0, 0.0), size=(1.0, 1.0, 1.0), heading=0.0) -> torch.Tensor:
    return torch.tensor([[*center, *size, heading]], dtype=torch.float64)


def random_boxes(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(count, 7, generator=generator, dtype=torch.float64)
    return torch.cat([uniform[:, :3] * 2, 0.2 + uniform[:, 3:6] * 2, uniform[:, 6:] * 2 * math.pi - math.pi], 1)


def iou(first: torch.Tensor, second: torch.Tensor) -> float:
    return box_iou(first, second).item()


def test_corners_of_a_box_at_heading_zero_follow_the_documented_order():
    corners = box_corners(box(center=(1, 2, 3), size=(4, 2, 6)))[0]
    lower = [[3, 3, 0], [3, 1, 0], [-1, 1, 0], [-1, 3, 0]]
    assert corners[:4].tolist() == lower
    assert corners[4:].tolist() == [[x, y, 6] for x, y, _ in lower]


def test_a_positive_heading_turns_the_long_edge_from_x_towards_minus_y():
    corners = box_corners(box(size=(4, 2, 1), heading=math.pi / 2))[0]
    torch.testing.assert_close(corners[:, :2].mean(0), torch.zeros(2, dtype=torch.float64))
    front = corners[[0, 1, 4, 5]].mean(0)  # the face at +l
    torch.testing.assert_close(front, torch.tensor([0.0, -2.0, 0.0], dtype=torch.float64))


def same_corners(first: torch.Tensor, second: torch.Tensor) -> bool:
    """Whether the corner sets agree whatever their order."""
    return bool((torch.cdist(first, second).min(-1).values < 1e-9).all())


def test_headings_wrap_into_half_open_interval():
    angles = torch.tensor([0.0, math.pi, -math.pi, 3 * math.pi, -0.5, 2 * math.pi + 0.25], dtype=torch.float64)
    expected = torch.tensor([0.0, math.pi, math.pi, math.pi, -0.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(wrap_heading(angles), expected)


def test_hull_of_a_box_turned_by_45_degrees_grows_by_the_square_root_of_two():
    hull = axis_aligned_hull(box(size=(2, 2, 1), heading=math.pi / 4))[0]
    root = math.sqrt(2)
    torch.testing.assert_close(hull, torch.tensor([-root, -root, -0.5, root, root, 0.5], dtype=torch.float64))


def test_identical_boxes_overlap_fully_at_any_heading():
    boxes = random_boxes(500)
    torch.testing.assert_close(box_iou(boxes, boxes).diagonal(), torch.ones(500, dtype=torch.float64))


def test_a_heading_turned_by_pi_changes_nothing():
    boxes = random_boxes(200)
    turned = boxes.clone()
    turned[:, 6] += math.pi
    torch.testing.assert_close(box_iou(boxes, turned).diagonal(), torch.ones(200, dtype=torch.float64))


def test_swapping_length_and_width_with_a_quarter_turn_changes_nothing():
    boxes, others = random_boxes(50), random_boxes(50, seed=1)
    swapped = boxes[:, [0, 1, 2, 4, 3, 5, 6]] + torch.tensor([0.0] * 6 + [math.pi / 2], dtype=torch.float64)
    torch.testing.assert_close(box_iou(swapped, others), box_iou(boxes, others))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (box(), box(center=(1, 0, 0)), 0.0),  # touching at a face
        (box(), box(center=(0, 0, 1)), 0.0),
        (box(size=(2, 1, 1)), box(center=(0.5, 0, 0)), 0.5),  # one half contained in the other
        (box(size=(2, 1, 1)), box(size=(1, 2, 1)), 1 / 3),  # a plus
        (box(size=(2, 1, 1)), box(size=(2, 1, 1), heading=math.pi / 2), 1 / 3),  # the same plus, by turning
        (box(), box(size=(-1, 1, 1)), 1.0),  # the mirrored box
        (box(), box(size=(1, 1, -1)), 0.0),
        (box(), box(size=(0, 1, 1)), 0.0),
        (box(size=(-1, -1, 1)), box(), 1.0),
        (
            box(size=(1, 1, 1)),
            box(size=(1, 1, 1), heading=math.pi / 4),
            (2 * math.sqrt(2) - 2) / (4 - 2 * math.sqrt(2)),
        ),
    ],
)
def test_overlap_of_hand_made_boxes(first, second, expected):
    assert iou(first, second) == pytest.approx(expected, abs=1e-8)
    assert iou(second, first) == pytest.approx(expected, abs=1e-8)
    turned = (rotate_boxes(first, 0.3), rotate_boxes(second, 0.3))
    assert iou(*turned) == pytest.approx(expected, abs=1e-8)


def test_overlap_of_random_boxes_agrees_with_counting_points():
    first, second = random_boxes(40), random_boxes(40, seed=1)
    points = torch.rand(100_000, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 4.5 - 1
    inside = points_in_boxes(points, first).double(), points_in_boxes(points, second).double()
    shared = inside[0] @ inside[1].T
    counted = shared / (inside[0].sum(1)[:, None] + inside[1].sum(1)[None] - shared)
    enough = shared > 200
    assert enough.sum() > 100
    assert (box_iou(first, second) - counted)[enough].abs().max() < 0.05


@pytest.mark.parametrize("shift", [0.0, 1e-12, 1e-9, 1e-6])
def test_nearly_identical_boxes_keep_a_sane_overlap(shift):
    boxes = random_boxes(300)
    moved = boxes + shift * torch.randn(300, 7, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    overlap = box_iou(boxes, moved).diagonal()
    assert overlap.min() > 1 - 100 * shift - 1e-6


def test_axis_aligned_boxes_give_the_same_by_the_oriented_routine():
    first, second = random_boxes(60), random_boxes(60, seed=1)
    first[:, 6] = second[:, 6] = 0
    quick = box_iou(first, second)
    first[:, 6] = 2 * math.pi
    torch.testing.assert_close(box_iou(first, second), quick)


def test_boxes_of_the_wrong_width_are_refused():
    with pytest.raises(ValueError, match="second must be"):
        box_iou(box(), torch.zeros(3, 6))


def test_no_boxes_give_an_empty_table():
    assert box_iou(torch.zeros(0, 7), random_boxes(3)).shape == (0, 3)
    assert count_points_in_boxes(torch.zeros(4, 3), torch.zeros(0, 7)).shape == (0,)
    assert non_maximum_suppression(torch.zeros(0, 7), torch.zeros(0), 0.25).shape == (0,)


def test_points_on_the_border_count_and_points_beyond_do_not():
    turned = box(center=(1, 1, 0), size=(2, 1, 1), heading=math.pi / 2)
    points = torch.tensor([[1.0, 0.01, 0], [1.0, -0.01, 0], [1.49, 1, 0.5], [1.51, 1, 0]], dtype=torch.float64)
    assert points_in_boxes(points, turned)[0].tolist() == [True, False, True, False]
    assert count_points_in_boxes(points, turned.repeat(70, 1)).tolist() == [2] * 70


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_are_the_sums_of_the_table_whatever_the_boxes(dtype):
    generator = torch.Generator().manual_seed(0)
    coord = torch.rand(3000, 3, generator=generator, dtype=dtype) * 6 - 3
    boxes = torch.randn(40, 7, generator=generator, dtype=dtype) * torch.tensor([2, 2, 2, 1, 1, 1, 3], dtype=dtype)
    boxes[0] = torch.tensor([0, 0, 0, 9, 9, 9, 0.3])  # everything
    boxes[1, 3] = -1  # nothing
    boxes[2, 3:6], boxes[3, 0], boxes[4, 6] = torch.inf, torch.nan, torch.nan
    boxes[5] = torch.tensor([1e6, 0, 0, 2e6, 9, 9, 0])
    boxes[6, :3], boxes[6, 3:6], boxes[6, 6] = coord[7], 0, 0.5  # a point, on its border
    assert torch.equal(count_points_in_boxes(coord, boxes), points_in_boxes(coord, boxes).sum(1))
    assert count_points_in_boxes(coord, boxes[6:7]).item() == 1
    assert count_points_in_boxes(coord[:0], boxes).tolist() == [0] * 40
    assert count_points_in_boxes(coord, boxes[:0]).tolist() == []


def test_suppression_drops_strictly_above_its_threshold():
    pair = torch.cat([box(), box(center=(0.5, 0, 0))])  # IoU 1/3
    scores = torch.tensor([0.9, 0.8])
    exactly = box_iou(pair[:1], pair[1:]).item()
    assert non_maximum_suppression(pair, scores, exactly).tolist() == [0, 1]
    assert non_maximum_suppression(pair, scores, exactly - 1e-6).tolist() == [0]


def test_suppression_returns_the_best_first_and_the_earlier_row_wins_a_tie():
    boxes = torch.cat([box(), box(), box(center=(5, 0, 0))])
    assert non_maximum_suppression(boxes, torch.tensor([0.5, 0.5, 0.7]), 0.25).tolist() == [2, 0]


def test_a_suppressed_box_suppresses_nothing():
    chain = torch.cat([box(), box(center=(0.4, 0, 0)), box(center=(0.8, 0, 0))])  # neighbors overlap by 3/7
    assert non_maximum_suppression(chain, torch.tensor([0.9, 0.8, 0.7]), 0.25).tolist() == [0, 2]


def test_boxes_of_different_classes_do_not_suppress_each_other():
    boxes = torch.cat([box(), box(), box()])
    scores, classes = torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 1, 0])
    assert non_maximum_suppression(boxes, scores, 0.25, classes).tolist() == [0, 1]


def test_footprint_suppression_ignores_height():
    stacked = torch.cat([box(), box(center=(0, 0, 2))])
    scores = torch.tensor([0.9, 0.8])
    assert non_maximum_suppression(stacked, scores, 0.25).tolist() == [0, 1]
    assert non_maximum_suppression(stacked, scores, 0.25, measure="footprint").tolist() == [0]


def test_old_type_suppression_divides_by_the_lower_scored_box():
    nested = torch.cat([box(size=(2, 2, 2)), box(size=(1, 1, 1))])  # IoU 1/8, the small one is fully covered
    assert non_maximum_suppression(nested, torch.tensor([0.9, 0.8]), 0.25).tolist() == [0, 1]
    assert non_maximum_suppression(nested, torch.tensor([0.9, 0.8]), 0.25, over="second").tolist() == [0]
    assert non_maximum_suppression(nested, torch.tensor([0.8, 0.9]), 0.25, over="second").tolist() == [1, 0]


def test_suppression_refuses_bad_arguments():
    with pytest.raises(ValueError, match=r"threshold=1\.5"):
        non_maximum_suppression(box(), torch.ones(1), 1.5)
    with pytest.raises(ValueError, match="scores"):
        non_maximum_suppression(box(), torch.ones(2), 0.5)
    with pytest.raises(ValueError, match="measure='area'"):
        non_maximum_suppression(box(), torch.ones(1), 0.5, measure="area")


@pytest.mark.parametrize("heading", [0.0, 0.7])
@pytest.mark.parametrize("signs", [(-1, 1), (1, -1), (-1, -1)])
def test_a_negative_length_or_width_is_the_mirrored_box(heading, signs):
    proper = torch.tensor([[0.3, -0.2, 0.5, 2.0, 1.0, 1.5, heading]])
    mirrored = proper.clone()
    mirrored[0, 3] *= signs[0]
    mirrored[0, 4] *= signs[1]
    other = torch.tensor([[0.6, 0.1, 0.4, 1.5, 1.2, 1.0, 0.3]])
    coord = torch.rand(500, 3, generator=torch.Generator().manual_seed(0)) * 3 - 1.5
    assert torch.equal(points_in_boxes(coord, mirrored), points_in_boxes(coord, proper))
    assert torch.equal(count_points_in_boxes(coord, mirrored), count_points_in_boxes(coord, proper))
    assert count_points_in_boxes(coord, mirrored).item() > 5
    torch.testing.assert_close(box_iou(mirrored, other), box_iou(proper, other))
    torch.testing.assert_close(box_iou(other, mirrored), box_iou(other, proper))
    torch.testing.assert_close(box_iou(mirrored, proper).item(), 1.0)


def test_a_negative_height_has_no_overlap():
    box = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0, -1.0, 0.2]])
    assert box_iou(box, box.abs()).item() == 0.0
