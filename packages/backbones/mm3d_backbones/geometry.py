"""The geometry plan of a forward pass: the one a loader worker made, or one made on the spot."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from mm3d_core.points import PointBatch
from pointops.plan import GeometryPlan, PlanLevel, PlanSpec, make_plan


def plan_of(points: PointBatch, spec: PlanSpec) -> GeometryPlan:
    """``points.plan`` if there is one, otherwise a new plan: each sampling and each search is made once either way.

    Args:
        points: N points of B scenes.
        spec: what the network needs. A plan may carry inverse tables that it does not ask for, or lack those it would
            like: they change how gradients are summed on a GPU, not what a plan says.

    Raises:
        ValueError: an empty scene, coordinates that are not finite, or a plan made for other points or another network.
    """
    if min(points.sizes()) < 1:
        raise ValueError(f"points: every scene needs at least one point, these have {points.sizes()}")
    plan = points.plan
    if plan is None:
        if not bool(points.coord.isfinite().all()):
            raise ValueError("points: coord holds values that are not finite")
        return make_plan(points.coord, points.offset, replace(spec, inverse=spec.inverse or points.coord.is_cuda))
    if replace(plan.spec, inverse=spec.inverse) != spec:
        raise ValueError("points: the plan was made for another network; make it with this encoder's plan_spec()")
    if plan.levels[0].num_points != points.num_points:
        raise ValueError(
            f"points: the plan was made for {plan.levels[0].num_points} points, the batch has {points.num_points}"
        )
    return plan


def level_points(points: PointBatch, level: PlanLevel, feat: Tensor) -> PointBatch:
    """The points of one level, with their attributes and with ``feat`` (n, C) as features."""
    rows = level.index.long()
    return PointBatch(
        level.coord,
        feat,
        level.offset,
        points.index[rows],
        {name: value[rows] for name, value in points.attributes.items()},
    )
