"""PointNet++ encoder of the detectors: four set abstractions down, two feature propagations up.

Source: Qi et al., NeurIPS 2017, arXiv:1706.02413, in the single-scale form of VoteNet, ICCV 2019, arXiv:1904.09664;
values from facebookresearch/votenet, models/backbone_module.py (MIT). Nothing is copied.
Changed: the first layer of a set abstraction multiplies each point's features once and gathers the products (the
release gathers first and multiplies every copy); all neighbor tables can come prepared (``plan_spec``).

    module    points  radius (m)  neighbors  widths                        reads
    sa1         2048     0.2         64      C, 64, 64, 128                the input
    sa2         1024     0.4         32      128, 128, 128, 256            sa1
    sa3          512     0.8         16      256, 128, 128, 256            sa2
    sa4          256     1.2         16      256, 128, 128, 256            sa3
    fp1          512      -           3      256 + 256, 256, 256           sa4 onto sa3
    fp2         1024      -           3      256 + 256, 256, 256           fp1 onto sa2: the seeds
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from mm3d_backbones.geometry import plan_of
from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import InverseTable, grouping2, interpolate
from pointops.plan import GeometryPlan, PlanSpec

HASH_FACTOR = -7046029254386353131  # odd and without structure: 2**64 / golden ratio, as a signed number
HASH_MASK = (1 << 35) - 1  # makes a shift by 29 fill with zeros


class PointNet2Encoder(Encoder):
    """The part of VoteNet that pre-training learns and fine-tuning keeps.

    Args:
        in_channels: width of ``points.feat``: 0 none, 1 height (default), 3 color, 4 color and height.
        samples: points kept by each set abstraction, the same for every scene.
        radii: metres.
        neighbors: most neighbors in a ball.
        widths: of the layers of each set abstraction, input excluded.
        up_widths: of the layers of the two feature propagations, input excluded.
        skip_origin: sampling never chooses points within 3.2 cm of the origin, as in the release.
        canonical_order: put each scene's points into :func:`canonical_order` first, so that their order in the input
            changes no result. Not in the release, whose sampling starts at the first point and whose balls keep the
            first neighbors. No plan can then be prepared: ``plan_spec()`` is None.

    Shapes:
        in: PointBatch of N points in B scenes; ``feat`` (N, in_channels).
        out: one level, the seeds: ``samples[1]`` points per scene with ``up_widths[-1][-1]`` features. Seeds are the
            first points of the scene's farthest point order; attributes and ``index`` follow them.

    Raises:
        ValueError: features of another width, an empty scene, or a plan made for another encoder.
    """

    def __init__(
        self,
        in_channels: int = 1,
        samples: Sequence[int] = (2048, 1024, 512, 256),
        radii: Sequence[float] = (0.2, 0.4, 0.8, 1.2),
        neighbors: Sequence[int] = (64, 32, 16, 16),
        widths: Sequence[Sequence[int]] = ((64, 64, 128), (128, 128, 256), (128, 128, 256), (128, 128, 256)),
        up_widths: Sequence[Sequence[int]] = ((256, 256), (256, 256)),
        skip_origin: bool = True,
        canonical_order: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.canonical_order = canonical_order
        self.channels = (up_widths[1][-1],)
        self._spec = seeds_plan_spec(samples, radii, neighbors, skip_origin)
        inputs = [in_channels, *(layers[-1] for layers in widths)]
        self.sa1, self.sa2, self.sa3, self.sa4 = (
            SetAbstraction([channels, *layers], radius)
            for channels, layers, radius in zip(inputs[:4], widths, radii, strict=True)
        )
        self.fp1 = SharedMLP([inputs[4] + inputs[3], *up_widths[0]])
        self.fp2 = SharedMLP([up_widths[0][-1] + inputs[2], *up_widths[1]])

    def plan_spec(self) -> Any:
        """The sampling orders, balls and interpolations of one forward pass; None if points are put in order first."""
        return None if self.canonical_order else self._spec

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """See the class."""
        points, plan = self.prepared(points)
        return [seeds_of(points, plan).with_feat(self.seed_features(points.feat, plan))]

    def prepared(self, points: PointBatch) -> tuple[PointBatch, GeometryPlan]:
        """The points in the order that is computed on, and their plan. Raises ValueError as :func:`plan_of`."""
        if not self.canonical_order:
            return points, plan_of(points, self._spec)
        if points.plan is not None:
            raise ValueError("the points carry a plan, but canonical_order needs the points without one")
        points = points.select(canonical_order(points), points.offset)
        return points, plan_of(points, self._spec)

    def seed_features(self, feat: Tensor, plan: GeometryPlan) -> Tensor:
        """Features of the seeds, (B * samples[1], C), from those of the input points, (N, in_channels)."""
        if feat.shape[1] != self.in_channels:
            raise ValueError(f"points.feat has {feat.shape[1]} channels, this encoder reads {self.in_channels}")
        features = [feat]
        for number, module in enumerate((self.sa1, self.sa2, self.sa3, self.sa4), start=1):
            before, level = plan.levels[number - 1], plan.levels[number]
            assert level.ball is not None
            ball = level.ball
            features.append(module(before.coord, features[-1], level.coord, ball.index, ball.inverse))
        up = self.fp1(torch.cat([_interpolated(features[4], plan, 4), features[3]], 1))
        return self.fp2(torch.cat([_interpolated(up, plan, 3), features[2]], 1))


def seeds_plan_spec(
    samples: Sequence[int], radii: Sequence[float], neighbors: Sequence[int], skip_origin: bool
) -> PlanSpec:
    """What one forward pass needs; shared by encoders whose towers see the same geometry."""
    if any(more < fewer for more, fewer in pairwise(samples)):
        raise ValueError(f"samples={tuple(samples)}, but each level is a part of the one before")
    return PlanSpec.pointnet2(tuple(samples), tuple(radii), tuple(neighbors), skip_origin=skip_origin)


def canonical_order(points: PointBatch) -> Tensor:
    """Rows (N,) that list each scene's points by a hash of their coordinates and features.

    The list is the same however the scene was permuted; points that share all values may trade places. A hash, and not
    the coordinates themselves, because balls keep their first neighbors: these should lie all around the center.
    """
    values = torch.cat([points.coord.float(), points.feat.float()], 1) + 0.0  # -0.0 becomes 0.0
    key = torch.zeros(points.num_points, dtype=torch.int64, device=values.device)
    for column in values.contiguous().view(torch.int32).long().unbind(1):
        key = (key ^ column) * HASH_FACTOR
        key = key ^ ((key >> 29) & HASH_MASK)
    rows = key.argsort(stable=True)
    scene = torch.bucketize(rows, points.offset, right=True)
    return rows[scene.argsort(stable=True)]


def seeds_of(points: PointBatch, plan: GeometryPlan) -> PointBatch:
    """The points of the second set abstraction; their features are still those of the input."""
    level = plan.levels[2]
    return points.select(level.index.long(), level.offset)


class SharedMLP(nn.Module):
    """Linear without bias, batch norm, ReLU, for each pair of ``widths``; rows (R, C) are points or neighbors."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        linears = [nn.Linear(first, second, bias=False) for first, second in pairs]
        for linear in linears:
            nn.init.kaiming_normal_(linear.weight)
        self.linears = nn.ModuleList(linears)
        self.norms = nn.ModuleList(PointNorm(second, negative_slope=0.0) for _, second in pairs)

    def forward(self, rows: Tensor) -> Tensor:
        """(R, widths[0]) -> (R, widths[-1])."""
        return self.after_first(self.linears[0](rows))

    def after_first(self, rows: Tensor) -> Tensor:
        """What follows the first linear layer, for callers that computed that one themselves."""
        rows = self.norms[0](rows)
        for linear, norm in zip(list(self.linears)[1:], list(self.norms)[1:], strict=True):
            rows = norm(linear(rows))
        return rows


class SetAbstraction(nn.Module):
    """Each query takes the largest value, channel by channel, of an MLP over the points in its ball.

    The MLP reads [offset to the query / radius, features of the neighbor].

    Args:
        widths: [C, first, ..., last]; C excludes the three offsets.
        radius: metres.

    Shapes:
        coord (N, 3), feat (N, C), query (M, 3), ball (M, K) rows of ``coord`` -> (M, widths[-1])
    """

    def __init__(self, widths: Sequence[int], radius: float) -> None:
        super().__init__()
        self.radius = radius
        self.mlp = SharedMLP([3 + widths[0], *widths[1:]])

    def forward(
        self, coord: Tensor, feat: Tensor, query: Tensor, ball: Tensor, inverse: InverseTable | None = None
    ) -> Tensor:
        """See the class; ``inverse`` is that of ``ball``, if a plan has it."""
        weight = self.mlp.linears[0].weight
        assert isinstance(weight, Tensor)
        offsets = (grouping2(coord, ball) - query[:, None]) / self.radius
        rows = nn.functional.linear(offsets, weight[:, :3])
        if feat.shape[1]:
            rows = rows + grouping2(nn.functional.linear(feat, weight[:, 3:]), ball, inverse=inverse)
        return self.mlp.after_first(rows.flatten(0, 1)).view(*ball.shape, -1).max(1).values


def _interpolated(feat: Tensor, plan: GeometryPlan, number: int) -> Tensor:
    """Features of plan level ``number`` carried to the level before it."""
    table = plan.levels[number].up
    assert table is not None
    assert table.weight is not None
    return interpolate(feat, table.index, table.weight, inverse=table.inverse)
