"""Objects found in a scan without labels, and objects made from boxes and cylinders."""

from __future__ import annotations

import pytest
import torch
from core.tiny import generator

from mm3d_core.methods.objects import ObjectFinder, horizontal_planes, procedural_object, vertical_plane
from mm3d_core.points import PointBatch


def room() -> tuple[PointBatch, torch.Tensor]:
    """A floor, four walls and two boxes on the floor; and what each point is (0 background, 1 and 2 the boxes)."""
    random = generator(4)
    floor = torch.cat([torch.rand(3000, 2, generator=random) * 4, 0.01 * torch.rand(3000, 1, generator=random)], 1)
    walls = []
    for axis, level in ((0, 0.0), (0, 4.0), (1, 0.0), (1, 4.0)):
        wall = torch.rand(1500, 3, generator=random) * torch.tensor([4.0, 4.0, 2.5])
        wall[:, axis] = level
        walls.append(wall)
    boxes = [
        torch.rand(size, 3, generator=random) * torch.tensor([0.6, 0.6, 0.7]) + torch.tensor([x, x, 0.25])
        for size, x in ((1200, 0.7), (800, 2.5))
    ]
    coord = torch.cat([floor, *walls, *boxes])
    kind = torch.cat([torch.zeros(9000), torch.ones(1200), torch.full((800,), 2.0)]).long()
    return PointBatch.single(coord, coord), kind


def test_the_boxes_of_a_room_are_its_objects_largest_first():
    points, kind = room()
    label = ObjectFinder(radius=0.1)(points, generator())
    assert int(label.max()) == 1
    for number in (0, 1):
        found = kind[label == number]
        assert (found == number + 1).float().mean() > 0.95
        assert (label[kind == number + 1] == number).float().mean() > 0.9


def test_a_room_of_planes_has_no_objects():
    points, kind = room()
    bare = points.select((kind == 0).nonzero().flatten(), torch.tensor([9000]))
    assert int(ObjectFinder(radius=0.1)(bare, generator()).max()) == -1


def test_a_scan_smaller_than_an_object_has_none():
    points, _ = room()
    few = points.select(torch.arange(50), torch.tensor([50]))
    assert ObjectFinder()(few, generator()).tolist() == [-1] * 50


def test_planes_are_found_where_they_are():
    points, _ = room()
    floor = horizontal_planes(points.coord[:, 2], 0.06)
    assert floor[:3000].all()
    assert floor[3000:].float().mean() < 0.15
    wall = vertical_plane(points.coord[3000:], 0.06, generator())
    assert 1200 < wall.sum() < 2500
    assert vertical_plane(points.coord[:2], 0.06, generator()).sum() == 0


@pytest.mark.parametrize("seed", range(12))
def test_procedural_objects_stand_on_the_floor_with_unit_normals(seed):
    coord, color, normal = procedural_object(500, generator(seed))
    assert coord[:, 2].min() >= -1e-6
    assert coord.abs().max() < 2.5
    assert coord.isfinite().all()
    assert color.min() >= 0
    assert color.max() <= 1
    torch.testing.assert_close(normal.norm(dim=1), torch.ones(500))
