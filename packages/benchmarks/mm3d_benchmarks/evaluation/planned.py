"""What a protocol shows a network: the points on its device, with the geometry plan of its encoder."""

from __future__ import annotations

from typing import Any

import torch

from mm3d_core.points import PointBatch
from pointops.plan import make_plan


def planned_for(model: Any, points: PointBatch, device: torch.device | str) -> PointBatch:
    """The points on ``device``, with the plan that the model's encoder asks for, made on the CPU as loaders do."""
    plan_spec = getattr(getattr(model, "encoder", None), "plan_spec", None)
    spec = plan_spec() if plan_spec is not None else None
    planned = points if spec is None else points.with_plan(make_plan(points.coord, points.offset, spec))
    return planned.sent_to(device)
