"""Serialized plans: voxels, curves and pooling are what they say, joined plans are plans of the joined batch."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from pointops.serialized import SerializedPlan, SerializedSpec, make_serialized_plan
from pointops.submanifold import submanifold_neighbors_reference

SPEC = SerializedSpec(voxel=0.1, strides=(2, 4))


def scene(count: int, seed: int = 0, size: float = 2.0) -> torch.Tensor:
    return torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * size


def plan_of(*scenes: torch.Tensor, spec: SerializedSpec = SPEC) -> SerializedPlan:
    return make_serialized_plan(torch.cat(scenes), torch.tensor([len(s) for s in scenes]).cumsum(0), spec)


def assert_same(first: SerializedPlan, second: SerializedPlan) -> None:
    for one, other in zip(first.levels, second.levels, strict=True):
        for field in fields(one):
            mine, its = getattr(one, field.name), getattr(other, field.name)
            assert (mine is None) == (its is None)
            if mine is not None:
                torch.testing.assert_close(mine, its, msg=field.name)


def test_voxels_hold_the_points_of_their_cell_and_no_others():
    coord = scene(500)
    plan = plan_of(coord)
    level = plan.levels[0]
    cells = ((coord - coord.amin(0)) / 0.1).floor().int()
    assert level.cells[level.owner.long()].equal(cells)
    assert len(level.cells.unique(dim=0)) == level.num_points == len(cells.unique(dim=0))
    means = torch.stack([coord[level.owner == v].mean(0) for v in range(level.num_points)])
    torch.testing.assert_close(level.coord, means)


def test_coarser_voxels_pool_the_finer_ones_they_cover():
    levels = plan_of(scene(500), scene(300, 1)).levels
    for finer, coarser, stride in zip(levels, levels[1:], (2, 4), strict=False):
        assert coarser.cells[coarser.owner.long()].equal(finer.cells // stride)
        starts = torch.cat([coarser.ends.new_zeros(1), coarser.ends[:-1]])
        assert coarser.owner[starts].equal(torch.arange(coarser.num_points, dtype=torch.int32))
        assert int(coarser.ends[-1]) == finer.num_points


def test_tables_are_those_of_the_cells():
    for level in plan_of(scene(400), scene(200, 1)).levels:
        assert level.neighbors.equal(submanifold_neighbors_reference(level.cells, level.offset, 3))


def test_curves_visit_scene_after_scene_and_know_the_place_of_every_voxel():
    for level in plan_of(scene(400), scene(200, 1)).levels:
        for order, place in zip(level.order.long(), level.place.long(), strict=True):
            assert order[place].equal(torch.arange(level.num_points))
            assert bool((order[: int(level.offset[0])] < level.offset[0]).all())
        assert level.order[0].equal(torch.arange(level.num_points, dtype=torch.int32))


def test_joined_plans_are_the_plan_of_the_joined_batch():
    scenes = [scene(400), scene(1, 1), scene(250, 2, 0.5)]
    assert_same(SerializedPlan.join([plan_of(each) for each in scenes]), plan_of(*scenes))
    assert_same(SerializedPlan.join([plan_of(*scenes[:2]), plan_of(scenes[2])]), plan_of(*scenes))


def test_plans_travel():
    plan = plan_of(scene(50))
    assert_same(plan.to("cpu"), plan)


def test_the_order_of_points_does_not_change_voxels():
    coord = scene(500)
    turn = torch.randperm(500, generator=torch.Generator().manual_seed(1))
    one, other = plan_of(coord), plan_of(coord[turn])
    assert one.levels[0].owner[turn].equal(other.levels[0].owner)
    for first, second in zip(one.levels, other.levels, strict=True):
        assert first.order.equal(second.order)
        assert first.neighbors.equal(second.neighbors)
        torch.testing.assert_close(first.coord, second.coord)


def test_points_in_one_voxel_are_one_voxel_and_the_first_stands_for_them():
    plan = plan_of(torch.tensor([[0.31, 0, 0], [0.01, 0, 0], [0.02, 0, 0], [0.0, 0, 0]]))
    assert plan.levels[0].owner.tolist() == [1, 0, 0, 0]
    assert plan.levels[0].rows.tolist() == [1, 0]


def test_a_scene_of_one_voxel_stays_one_at_every_level():
    plan = plan_of(torch.zeros(1, 3), scene(100, 1))
    assert [int(level.offset[0]) for level in plan.levels] == [1, 1, 1]


def test_a_scene_has_its_own_depth_whatever_its_batch_mates():
    small, large = scene(200, size=0.5), scene(300, 1, 20.0)
    alone, together = plan_of(small).levels[0], plan_of(small, large).levels[0]
    assert together.order[:, : alone.num_points].equal(alone.order)


def test_scenes_beyond_sixteen_bits_are_refused():
    far = torch.tensor([[0.0, 0, 0], [6553.4, 0, 0]])
    with pytest.raises(ValueError, match="16 bits an axis"):
        plan_of(far + torch.tensor([[0.0, 0, 0], [1.0, 0, 0]]))
    assert plan_of(far - torch.tensor([[0.0, 0, 0], [0.2, 0, 0]])).levels[0].num_points == 2


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"orders must be one of z, .*'spiral'"):
        SerializedSpec(0.1, orders=("z", "spiral"))
    with pytest.raises(ValueError, match="orders is empty"):
        SerializedSpec(0.1, orders=())
    with pytest.raises(ValueError, match="powers of two"):
        SerializedSpec(0.1, strides=(3,))
    with pytest.raises(ValueError, match="positive length"):
        SerializedSpec(0.0)
    with pytest.raises(ValueError, match="at least one point"):
        make_serialized_plan(scene(5), torch.tensor([0, 5]), SPEC)
    with pytest.raises(ValueError, match="NaN"):
        plan_of(torch.full((3, 3), torch.nan))
    with pytest.raises(ValueError, match="same specification"):
        SerializedPlan.join([plan_of(scene(5)), plan_of(scene(5), spec=SerializedSpec(0.2))])


@pytest.mark.gpu
def test_a_gpu_makes_the_same_plan():
    coord, offset = torch.cat([scene(3000), scene(2000, 1)]), torch.tensor([3000, 5000])
    assert_same(
        make_serialized_plan(coord.cuda(), offset.cuda(), SPEC).to("cpu"), make_serialized_plan(coord, offset, SPEC)
    )
