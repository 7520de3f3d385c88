"""Geometry plans: the right tables, as few searches as there are distinct ones, and joining that changes nothing."""

from __future__ import annotations

import pytest
import torch

from pointops import ball_query, farthest_point_sampling, knn_query
from pointops import plan as plans
from pointops.plan import GeometryPlan, LevelSpec, PlanSpec, make_plan
from speed.pointops.clouds import room

SPEC = PlanSpec.point_transformer(inverse=True)
XYZ, OFFSET = torch.from_numpy(room(5000, 0)), torch.tensor([2000, 5000])


def tensors(value: object) -> list[torch.Tensor]:
    found: list[torch.Tensor] = []
    plans._map(value, lambda tensor: (found.append(tensor), tensor)[1])
    return found


def test_point_transformer_needs_13_searches(monkeypatch):
    calls = []

    def counted(*arguments, **options):
        calls.append(arguments)
        return knn_query(*arguments, **options)

    monkeypatch.setattr(plans, "knn_query", counted)
    made = make_plan(XYZ, OFFSET, SPEC)
    assert len(calls) == 13
    assert [level.num_points for level in made.levels] == [5000, 1250, 312, 77, 18]


def test_every_level_is_what_separate_calls_give():
    made = make_plan(XYZ, OFFSET, SPEC)
    before = made.levels[0]
    for number, level in enumerate(made.levels[1:], start=1):
        sample = farthest_point_sampling(before.coord, before.offset, level.offset)
        assert torch.equal(sample, level.sample)
        assert torch.equal(before.coord[sample.long()], level.coord)
        assert torch.equal(XYZ[level.index.long()], level.coord)
        k = SPEC.levels[number].neighbors
        self_idx, _ = knn_query(k, level.coord, level.offset, missing="first_point")
        down_idx, _ = knn_query(16, before.coord, before.offset, level.coord, level.offset, missing="first_point")
        up_idx, _ = knn_query(3, level.coord, level.offset, before.coord, before.offset)
        assert level.neighbors is not None
        assert level.down is not None
        assert level.up is not None
        assert torch.equal(level.neighbors.index, self_idx)
        assert torch.equal(level.down.index, down_idx)
        assert torch.equal(level.up.index, up_idx)
        assert level.up.weight is not None
        torch.testing.assert_close(level.up.weight.sum(1), torch.ones(before.num_points))
        before = level


def test_the_pointnet2_plan_holds_votenets_balls():
    made = make_plan(XYZ, OFFSET, PlanSpec.pointnet2(samples=(512, 256, 128, 64)))
    first = made.levels[1]
    assert first.ball is not None
    want, _ = ball_query(64, 0.2, 0.0, XYZ, OFFSET, first.coord, first.offset, padding="first_hit")
    assert torch.equal(first.ball.index, want)
    local = first.ball.local(first.offset, OFFSET)
    assert int(local.min()) >= 0
    assert torch.equal(local[512:] + 2000, want[512:].long())
    assert made.levels[4].up is not None
    assert made.levels[2].up is None


def test_joined_plans_equal_the_plan_of_the_joined_batch():
    together = make_plan(XYZ, OFFSET, SPEC)
    parts = [make_plan(XYZ[:2000], torch.tensor([2000]), SPEC), make_plan(XYZ[2000:], torch.tensor([3000]), SPEC)]
    joined = GeometryPlan.join(parts)
    for a, b in zip(joined.levels, together.levels, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(tensors(a), tensors(b), strict=True))


def test_a_scene_smaller_than_every_table_still_has_a_plan():
    made = make_plan(XYZ[:3], torch.tensor([1, 3]), PlanSpec.point_transformer())
    assert [level.num_points for level in made.levels] == [3, 2, 2, 2, 2]
    assert all(int(level.neighbors.index.min()) >= 0 for level in made.levels if level.neighbors)
    with pytest.raises(ValueError, match="nsample"):
        make_plan(XYZ[:3], torch.tensor([1, 3]), PlanSpec.point_transformer(missing="refuse"))


def test_level_0_takes_no_sampling():
    with pytest.raises(ValueError, match="levels"):
        make_plan(XYZ, OFFSET, PlanSpec((LevelSpec(stride=4),)))
    with pytest.raises(ValueError, match="strides"):
        PlanSpec.point_transformer(strides=(4, 4, 4, 4, 4))


def test_moving_a_plan_keeps_every_table():
    made = make_plan(XYZ, OFFSET, SPEC)
    moved = made.to("cpu")
    assert moved.spec == made.spec
    assert all(torch.equal(a, b) for a, b in zip(tensors(moved.levels), tensors(made.levels), strict=True))


def test_only_the_first_level_is_sampled(monkeypatch):
    """Every further level is a beginning of the one before: farthest points come in order."""
    sampled = []

    def counted(*arguments, **options):
        sampled.append(len(arguments[0]))
        return farthest_point_sampling(*arguments, **options)

    monkeypatch.setattr(plans, "farthest_point_sampling", counted)
    made = make_plan(XYZ, OFFSET, SPEC)
    assert sampled == [len(XYZ)]
    assert len(made.levels) > 2
