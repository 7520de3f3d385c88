"""Faces and edges: block order, and which of them a scan shows."""

from __future__ import annotations

import math

import pytest
import torch
from turning import rotate_boxes

from mm3d_backbones.detection_targets import BoxCodec, BoxTargets
from mm3d_backbones.h3dnet_primitives import (
    SUNRGBD_SEGMENTS,
    PrimitiveRule,
    box_edges,
    box_faces,
    objects_of_points,
    primitive_targets,
)
from mm3d_core.boxes import box_corners
from mm3d_core.points import PointBatch

SIGNED = {"+x": (1, 0, 0), "-x": (-1, 0, 0), "+y": (0, 1, 0), "-y": (0, -1, 0), "+z": (0, 0, 1), "-z": (0, 0, -1)}


def targets(*boxes: tuple[float, ...], bins: int = 1, scenes: int = 1) -> BoxTargets:
    """Boxes cx cy cz l w h heading of class 1, and a padding row, in every scene."""
    rows = torch.tensor([[*boxes, (0.0,) * 7]]).expand(scenes, -1, -1)
    mask = torch.arange(len(boxes) + 1).expand(scenes, -1) < len(boxes)
    labels = {
        "center": rows[..., :3],
        "size": rows[..., 3:6],
        "heading": rows[..., 6],
        "box_class": mask.long(),
        "box_mask": mask,
    }
    return BoxCodec(bins, [[1.0] * 3] * 2).encode(labels)


def top_face(count: int, heading: float = 0.0, seed: int = 0) -> torch.Tensor:
    """Points on the upper face of a box of size (2, 1, 0.5) at (3, 2, 1)."""
    generator = torch.Generator().manual_seed(seed)
    local = (torch.rand(count, 3, generator=generator) - 0.5) * torch.tensor([2.0, 1.0, 0.0])
    cosine, sine = math.cos(heading), math.sin(heading)
    x, y = cosine * local[:, 0] + sine * local[:, 1], -sine * local[:, 0] + cosine * local[:, 1]
    return torch.stack([x, y, local[:, 2] + 0.25], 1) + torch.tensor([3.0, 2.0, 1.0])


BOX = (3.0, 2.0, 1.0, 2.0, 1.0, 0.5, 0.0)


def test_blocks_of_faces_and_edges_have_the_published_order():
    box = torch.tensor([[[0.0, 0, 0, 2, 2, 2, 0]]])
    faces = [SIGNED[name] for name in ["+z", "-z", "+y", "-y", "+x", "-x"]]
    assert box_faces(box)[0, :, 0].tolist() == [list(map(float, face)) for face in faces]
    names = ["+z+x", "+z-x", "+z+y", "+z-y", "-z+x", "-z-x", "-z+y", "-z-y", "+x+y", "+x-y", "-x+y", "-x-y"]
    edges = [[float(a + b) for a, b in zip(SIGNED[name[:2]], SIGNED[name[2:]], strict=True)] for name in names]
    assert box_edges(box)[0, :, 0].tolist() == edges


def test_faces_and_edges_turn_with_the_box():
    box = torch.tensor([[[1.0, 2, 3, 4, 2, 1, 0.7]]], dtype=torch.float64)
    corners = box_corners(box)[0, 0]
    middles = (corners[:, None] + corners[None]) / 2
    for edge in box_edges(box)[0, :, 0]:
        assert (middles - edge).norm(dim=-1).min() < 1e-9
    torch.testing.assert_close(box_faces(box)[0, 0, 0], corners[4:].mean(0))
    torch.testing.assert_close(box_faces(box)[0, 4, 0], corners[[0, 1, 4, 5]].mean(0))  # +l


def test_an_upper_face_is_seen_by_more_than_the_least_number_of_points():
    for count, seen in ((100, False), (101, True)):
        horizontal, vertical, _ = primitive_targets(
            top_face(count), torch.zeros(count, dtype=torch.int64), targets(BOX), PrimitiveRule()
        )
        assert bool(horizontal.mask.all()) is seen
        assert not vertical.mask.any()


def test_a_horizontal_face_has_the_middle_of_the_box_and_the_height_of_its_points():
    points = top_face(200)
    points[:, 2] += 0.05
    horizontal, _, edges = primitive_targets(points, torch.zeros(200, dtype=torch.int64), targets(BOX), PrimitiveRule())
    torch.testing.assert_close(horizontal.center, torch.tensor([[3.0, 2.0, 1.3]]).expand(200, -1))
    torch.testing.assert_close(horizontal.extent, torch.tensor([[2.0, 1.0]]).expand(200, -1))
    assert (horizontal.box_class == 1).all()
    near_edge = (points[:, 0] - 4).abs() < 0.2
    only = near_edge & ((points[:, 1] - 2).abs() < 0.3)  # corners belong to the edge along x, labelled later
    mean = points[near_edge].mean(0)
    torch.testing.assert_close(edges.center[only], torch.tensor([[mean[0], 2.0, mean[2]]]).expand(int(only.sum()), -1))


def test_points_in_the_middle_of_a_face_lie_on_no_edge():
    points = top_face(400)
    _, _, edges = primitive_targets(points, torch.zeros(400, dtype=torch.int64), targets(BOX), PrimitiveRule())
    inner = ((points[:, 0] - 3).abs() < 0.8) & ((points[:, 1] - 2).abs() < 0.3)
    assert inner.sum() > 50
    assert not edges.mask[inner].any()
    assert edges.mask[~inner].all()


def test_a_rough_face_is_not_seen():
    points = top_face(200)
    points[:, 2] -= torch.linspace(0, 0.45, 200)
    rule = PrimitiveRule(face_band=0.5)
    horizontal, _, _ = primitive_targets(points, torch.zeros(200, dtype=torch.int64), targets(BOX), rule)
    assert not horizontal.mask.any()
    rule = PrimitiveRule(face_band=0.5, max_variance=0.1)
    horizontal, _, _ = primitive_targets(points, torch.zeros(200, dtype=torch.int64), targets(BOX), rule)
    assert horizontal.mask.all()


def test_a_vertical_face_has_the_place_of_its_points_and_the_height_of_the_box():
    generator = torch.Generator().manual_seed(0)
    local = (torch.rand(150, 3, generator=generator) - 0.5) * torch.tensor([0.0, 1.0, 0.5])
    points = local + torch.tensor([4.05, 2.0, 1.0])
    _, vertical, _ = primitive_targets(points, torch.zeros(150, dtype=torch.int64), targets(BOX), PrimitiveRule())
    assert vertical.mask.all()
    mean = points.mean(0)
    right = (points[:, 1] - 2).abs() < 0.25  # front and back, labelled later, take the points near them
    torch.testing.assert_close(
        vertical.center[right], torch.tensor([[4.05, mean[1], 1.0]]).expand(int(right.sum()), -1)
    )
    torch.testing.assert_close(vertical.extent, torch.full((150, 1), 0.5))


def test_labels_turn_with_the_scene():
    rule = PrimitiveRule(0.1, 0.005, 50, 0.1, 10, edge_at_box=True, edge_to_line=True)
    assert rule == PrimitiveRule.sunrgbd()
    angle, owner = 0.7, torch.zeros(300, dtype=torch.int64)
    turned = tuple(rotate_boxes(torch.tensor([BOX]), angle)[0].tolist())
    turn = torch.tensor([[math.cos(angle), math.sin(angle), 0], [-math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    points = top_face(300)
    straight = primitive_targets(points, owner, targets(BOX, bins=12), rule)
    rotated = primitive_targets(points @ turn, owner, targets(turned, bins=12), rule)
    for before, after in zip(straight, rotated, strict=True):
        assert torch.equal(before.mask, after.mask)
        torch.testing.assert_close((before.center @ turn)[before.mask], after.center[after.mask], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(before.extent, after.extent)
    assert straight[2].mask.any()


def test_the_order_of_points_changes_nothing():
    points, order = top_face(300), torch.randperm(300, generator=torch.Generator().manual_seed(1))
    owner = torch.zeros(300, dtype=torch.int64)
    first = primitive_targets(points, owner, targets(BOX), PrimitiveRule())
    second = primitive_targets(points[order], owner, targets(BOX), PrimitiveRule())
    for before, after in zip(first, second, strict=True):
        assert torch.equal(before.mask[order], after.mask)
        torch.testing.assert_close(before.center[order], after.center)


def test_points_without_an_object_have_no_primitive():
    kinds = primitive_targets(top_face(200), torch.full((200,), -1), targets(BOX), PrimitiveRule())
    assert not any(kind.mask.any() for kind in kinds)


def test_voting_points_belong_to_the_box_they_vote_for():
    boxes = targets(BOX, (8.0, 2.0, 1.0, 2.0, 1.0, 0.5, 0.0), scenes=2)
    coord = torch.tensor([[3.5, 2, 1], [7.5, 2, 1], [5.0, 5, 5], [8.0, 2, 1]])
    points = PointBatch(coord, coord[:, :0], torch.tensor([3, 4]), torch.arange(4))
    aims = torch.tensor([[3.0, 2, 1], [8.0, 2, 1], [0.0, 0, 0], [8.1, 2, 1]])
    labels = {
        "votes": (aims - coord)[:, None].expand(-1, 3, -1),
        "vote_mask": torch.tensor([True, True, False, True]),
    }
    assert objects_of_points(points, labels, boxes, axis_aligned=True).tolist() == [0, 1, -1, 4]


def test_a_point_in_several_oriented_boxes_belongs_to_the_last():
    boxes = targets(BOX, (3.5, 2.0, 1.0, 2.0, 1.0, 0.5, 0.3), bins=12)
    points = PointBatch.single(torch.tensor([[2.2, 2.0, 1.0], [3.5, 2.0, 1.0], [9.0, 9.0, 9.0]]), torch.zeros(3, 0))
    assert objects_of_points(points, {}, boxes, axis_aligned=False).tolist() == [0, 1, -1]


def test_a_point_in_several_boxes_belongs_to_the_last_whose_class_fits_its_label():
    boxes = targets(BOX, (3.5, 2.0, 1.0, 2.0, 1.0, 0.5, 0.3), bins=12)  # both of class 1
    points = PointBatch.single(torch.tensor([[2.2, 2.0, 1.0], [3.5, 2.0, 1.0], [3.4, 2.0, 1.0]]), torch.zeros(3, 0))
    labels = {"segment": torch.tensor([7, 5, 6])}
    gate = [[6], [5, 7]]  # class 0 may hold label 6, class 1 labels 5 and 7
    assert objects_of_points(points, labels, boxes, False, gate).tolist() == [0, 1, -1]
    boxes.box_class[0, 1] = 0
    assert objects_of_points(points, labels, boxes, False, gate).tolist() == [0, 0, 1]


def test_the_published_labels_of_sunrgbd_are_those_of_its_ten_classes():
    # Their places, from 0, in the list of 37 classes (wall, floor, cabinet, bed, chair, sofa, table, door, ...).
    place = {"bed": 3, "table": 6, "sofa": 5, "chair": 4, "toilet": 32, "desk": 13, "dresser": 16, "night_stand": 31}
    place |= {"bookshelf": 9, "bathtub": 35}
    name = {number: word for word, number in place.items()}
    assert len(SUNRGBD_SEGMENTS) == len(place)
    assert [sorted(name[number] for number in row) for row in SUNRGBD_SEGMENTS] == [
        ["bed"],
        ["desk", "table"],
        ["chair", "sofa"],
        ["chair", "sofa"],
        ["toilet"],
        ["desk", "table"],
        ["dresser"],
        ["night_stand"],
        ["bookshelf"],
        ["bathtub"],
    ]


def test_a_gate_without_labels_is_refused():
    points = PointBatch.single(torch.rand(5, 3), torch.zeros(5, 0))
    with pytest.raises(ValueError, match="prepare the data set with point labels"):
        objects_of_points(points, {"segment": torch.full((5,), -1)}, targets(BOX, bins=12), False, [[0], [1]])


@pytest.mark.parametrize("axis_aligned", [True, False])
def test_a_scene_without_boxes_has_no_objects(axis_aligned):
    points = PointBatch.single(torch.rand(5, 3), torch.zeros(5, 0))
    labels = {"votes": torch.zeros(5, 3, 3), "vote_mask": torch.ones(5, dtype=torch.bool)}
    assert objects_of_points(points, labels, targets(), axis_aligned).tolist() == [-1] * 5
