"""Sampling in which every level of the student is part of the same level of the target, so that features match exactly.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), section 3.3, which takes the teacher's features at the very
points of the student; the released code samples both views apart and interpolates. A level is a prefix of one sampling
order, so it is enough that the target's order begins with the student's: sampling goes on where the student's ended.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mm3d_core.points import PointBatch
from pointops import knn_query
from pointops.plan import level_counts, make_plan


def with_nested_plans(student: PointBatch, target: PointBatch, spec: Any) -> tuple[PointBatch, PointBatch]:
    """Both views with geometry plans whose levels are nested.

    Args:
        student: with the attribute ``match`` (N,), its rows within the target's scenes.
        target: holds every point of the student.
        spec: the encoder's ``plan_spec()``.
    """
    plan = make_plan(student.coord, student.offset, spec)
    if len(spec.levels) < 2:
        return student.with_plan(plan), target.with_plan(make_plan(target.coord, target.offset, spec))
    counts = level_counts(target.counts().tolist(), spec.levels[1])
    ends = plan.levels[1].offset.tolist()
    sample = []
    for scene, (own, its) in enumerate(zip(student.scenes(), target.scenes(), strict=True)):
        rows = plan.levels[1].sample[ends[scene - 1] if scene else 0 : ends[scene]].long()
        kept = student.attributes["match"][rows].long()
        assert own.start <= int(rows.min()) < own.stop, "a plan's sample holds rows of the whole batch"
        sample.append(continued_sampling(target.coord[its], kept, counts[scene]) + its.start)
    nested = make_plan(target.coord, target.offset, spec, torch.cat(sample))
    return student.with_plan(plan), target.with_plan(nested)


def continued_sampling(coord: Tensor, chosen: Tensor, count: int) -> Tensor:
    """``count`` rows of a scene: the chosen ones, then always the point farthest from all rows so far.

    Args:
        coord: (N, 3) metres.
        chosen: (M,) rows; repeats count once.

    Returns:
        (count,) int64 rows; a scene that has no more points repeats its first row, as farthest point sampling does.
    """
    first = torch.full((len(coord),), len(chosen), device=coord.device)
    first = first.scatter_reduce(0, chosen, torch.arange(len(chosen), device=coord.device), "amin")
    order = first[chosen] == torch.arange(len(chosen), device=coord.device)  # the first of equal rows
    chosen = chosen[order][:count]
    wanted = min(count, len(coord))
    rows = torch.cat([chosen, chosen.new_zeros(wanted - len(chosen))])
    if wanted > len(chosen):
        ends = [coord.new_tensor([len(points)], dtype=torch.int64) for points in (chosen, coord)]
        near = knn_query(1, coord[chosen], ends[0], coord, ends[1])[1][:, 0].square()
        near[chosen] = -1.0
        for place in range(len(chosen), wanted):
            row = near.argmax()
            rows[place] = row
            near = torch.minimum(near, (coord - coord[row]).square().sum(1))
            near[row] = -1.0
    return torch.cat([rows, rows.new_zeros(count - wanted)])
