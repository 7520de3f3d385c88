"""Numbers that show whether a pre-training is healthy: collapse of features, agreement, what the masks keep."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from mm3d_core.points import PointBatch
from pointops import segment_mean


@torch.no_grad()
def feature_spread(feat: Tensor) -> Tensor:
    """Mean standard deviation of unit features (N, C), times sqrt(C): near 1 if they spread, 0 if they collapsed."""
    if len(feat) < 2:
        return feat.new_zeros(())
    unit = functional.normalize(feat.float(), dim=1)
    return unit.std(0).mean() * feat.shape[1] ** 0.5


@torch.no_grad()
def similarities(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cosine of matched rows of (M, C) and (M, C), and of all rows that do not match."""
    first, second = functional.normalize(first.float(), dim=1), functional.normalize(second.float(), dim=1)
    count = len(first)
    positive = (first * second).sum(1)
    if count < 2:
        return positive.mean(), positive.new_zeros(())
    everything = first.sum(0) @ second.sum(0)  # sum of the whole table without making it
    return positive.mean(), (everything - positive.sum()) / (count * (count - 1))


def mark_classes(points: PointBatch, segment: Tensor, classes: Sequence[int]) -> PointBatch:
    """The points with the attribute ``furniture`` (N,), 1.0 where ``segment`` (N,) is one of the classes, else 0.0.

    ``furniture_share`` (N,) holds, at every point, the share of such points in the whole scene, so that a view which
    keeps some of the points still knows it (:func:`enrichment`).
    """
    wanted = torch.tensor(sorted(classes), device=segment.device)
    furniture = torch.isin(segment, wanted).float()
    share = torch.empty_like(furniture)
    for rows in points.scenes():
        share[rows] = furniture[rows].mean()
    return points.with_attributes(furniture=furniture, furniture_share=share)


@torch.no_grad()
def enrichment(view: PointBatch) -> Tensor | None:
    """Share of furniture among a view's points over its share in the scene, mean of the scenes that have furniture.

    Above 1 the mask prefers furniture. NaN if no point is furniture, None if none was marked by :func:`mark_classes`.
    """
    if "furniture_share" not in view.attributes:
        return None
    shown = segment_mean(view.attributes["furniture"], view.offset)
    inside = segment_mean(view.attributes["furniture_share"], view.offset)  # the same at all points of a scene
    have = inside > 0
    ratios = torch.where(have, shown / torch.where(have, inside, 1.0), 0.0)
    return ratios.sum() / have.sum()
