"""Sampling in which every level of the student is part of the same level of the target, so that features match exactly.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), section 3.3, which takes the teacher's features at the very
points of the student; the released code samples both views apart and interpolates. A level is a prefix of one sampling
order, so it is enough that the target's order begins with the student's: sampling goes on where the student's ended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from mm3d_core.points import PointBatch
from pointops import continued_sampling, make_offset, offset2batch, to_device
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
    first = plan.levels[1]
    shift = torch.tensor([its.start for its in target.scenes()])
    scene = offset2batch(first.offset)
    chosen = student.attributes["match"][first.sample.long()].long() + to_device(shift, scene.device)[scene]
    wanted = make_offset(level_counts(target.sizes(), spec.levels[1]))
    sample = continued_sampling(target.coord, target.offset, chosen, first.offset, wanted)
    nested = make_plan(target.coord, target.offset, spec, sample)
    return student.with_plan(plan), target.with_plan(nested)


def planned_together(views: Mapping[str, PointBatch], spec: Any) -> dict[str, PointBatch]:
    """Views of one scene with nested plans, for loader workers; what is no student or target stays as it is."""
    student, target = with_nested_plans(views["student"], views["target"], spec)
    return {**views, "student": student, "target": target}
