"""Nested sampling: each level of the student is part of the target's, and plans stay those of the encoder."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from core.tiny import generator, joined, scan

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_core.methods.distillation import correspond
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.mm3dscene import MM3DScene
from mm3d_core.methods.nested import planned_together, with_nested_plans
from mm3d_core.points import PointBatch
from pointops.plan import PlanSpec, make_plan

NARROW: dict[str, Any] = {
    "channels": (8, 16, 16), "depths": (1, 1, 1), "decoder_depths": (1, 1, 1), "neighbors": (8, 8, 8),
    "strides": (1, 4, 4),
}  # fmt: skip
SPECS = {
    "point transformer": PlanSpec.point_transformer((1, 4, 4), (8, 8, 8)),
    "pointnet2": PlanSpec.pointnet2((64, 32, 16, 8), skip_origin=True),
    "more samples than the student has points": PlanSpec.pointnet2((256, 128, 64, 32)),
}


def views(ratio: float = 0.4) -> dict[str, PointBatch]:
    masks = MaskedViews(keep_ratio=ratio, gap=0.2)
    return joined([masks(scan(400, seed), generator(seed)) for seed in range(2)])


def places(points: PointBatch, plan, level: int, scene: int) -> set[tuple[float, ...]]:
    """The coordinates of one scene at one level."""
    ends = [0, *plan.levels[level].offset.tolist()]
    return {tuple(row) for row in plan.levels[level].coord[ends[scene] : ends[scene + 1]].tolist()}


@pytest.mark.parametrize("name", SPECS)
def test_every_level_of_the_student_is_part_of_the_targets(name):
    shown = views()
    student, target = with_nested_plans(shown["student"], shown["target"], SPECS[name])
    for level in range(len(SPECS[name].levels)):
        for scene in range(2):
            assert places(student, student.plan, level, scene) <= places(target, target.plan, level, scene)
    apart = make_plan(shown["target"].coord, shown["target"].offset, SPECS[name])
    assert [level.num_points for level in target.plan.levels] == [level.num_points for level in apart.levels]


def test_views_sampled_apart_are_not_nested():
    shown, spec = views(), SPECS["point transformer"]
    plans = [make_plan(shown[name].coord, shown[name].offset, spec) for name in ("student", "target")]
    assert not places(shown["student"], plans[0], 1, 0) <= places(shown["target"], plans[1], 1, 0)


def test_the_method_matches_every_point_of_every_level():
    torch.manual_seed(0)
    encoder = PointTransformer(**NARROW)
    model = MM3DScene(encoder, decoder={"width": 16}, correspondence="nested", views=MaskedViews(keep_ratio=0.4))
    assert model.planned_views == ()
    shown = joined([model.views(scan(400, seed), generator(seed)) for seed in range(2)])
    student, target = with_nested_plans(shown["student"], shown["target"], encoder.plan_spec())
    assert model.teacher is not None
    for level, teacher in zip(encoder(student), model.teacher(target), strict=True):
        assert correspond(level, teacher, "exact")[1].all()
    loss = model.loss(shown, generator())["loss"]
    loss.backward()
    assert loss.isfinite()


def test_loader_workers_make_the_same_plans_scene_by_scene():
    spec = SPECS["point transformer"]
    masks = MaskedViews(keep_ratio=0.4, gap=0.2)
    alone = [planned_together(masks(scan(400, seed), generator(seed)), spec) for seed in range(2)]
    joined_later, together = joined(alone), with_nested_plans(views()["student"], views()["target"], spec)
    for name, shown in zip(("student", "target"), together, strict=True):
        for one, other in zip(joined_later[name].plan.levels, shown.plan.levels, strict=True):
            assert torch.equal(one.index, other.index)
            assert torch.equal(one.offset, other.offset)


def test_an_encoder_whose_sampling_cannot_be_planned_is_refused():
    with pytest.raises(ValueError, match="nested"):
        MM3DScene(PointNet2Encoder(canonical_order=True), correspondence="nested")
