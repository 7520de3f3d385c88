"""Point Transformer: vector self-attention over local neighborhoods, in a U-shaped network of five resolutions.

Source: Zhao et al., ICCV 2021, arXiv:2012.09164. Widths, strides and depths are those of
POSTECH-CVLab/point-transformer, model/pointtransformer/pointtransformer_seg.py (nothing copied). MM-3DScene pre-trains
encoder and decoder alike and reconstructs from the decoder's levels; so these are the levels returned here.

    level       0     1     2     3     4
    points      N   N/4  N/16  N/64 N/256    farthest-point sampled, scene by scene
    channels   32    64   128   256   512
    neighbors   8    16    16    16    16    the point itself included

Parameters, 6 input channels: 7,766,180 (encoder 4,903,210, decoder 2,862,970).

Changed: every neighbor table is made once (13 searches, the release makes 44); a scene keeps at least one point at each
level (in the release a scene below 256 points ends with none). As in the release, a scene with fewer points than a
level's neighbors fills up with its first point; ``missing="refuse"`` refuses it instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mm3d_backbones.geometry import level_points, plan_of
from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import (
    InverseTable,
    aggregation,
    grouping2,
    interpolate,
    neighbor_relation,
    segment_broadcast,
    segment_mean,
)
from pointops.grouping import relative_coordinates
from pointops.plan import PlanLevel, PlanSpec, Table

DOWN_NEIGHBORS = 16  # points pooled into one when a level is sampled
UP_NEIGHBORS = 3  # points from which a finer level is interpolated


class PointTransformer(Encoder):
    """Encoder and decoder of Point Transformer: the part that pre-training learns and fine-tuning keeps.

    Args:
        in_channels: width of ``points.feat`` (6: absolute xyz in metres, then RGB in [0, 1]).
        channels: width of each level, finest first.
        depths: attention blocks of the encoder at each level.
        decoder_depths: attention blocks of the decoder at each level.
        neighbors: neighbors of each level's attention.
        strides: sampling stride of each level; the first is 1.
        share: value channels that share one attention weight.
        missing: what a scene with fewer points than neighbors does: ``first_point`` (repeats its first point) or
            ``refuse``.

    Shapes:
        in: PointBatch of N points in B scenes; ``coord`` (N, 3) in metres, z up.
        out: one PointBatch per level, finest first; level i carries ``channels[i]`` features.

    Raises:
        ValueError: features of another width, a plan made for another network, an empty scene, and, with
            ``missing="refuse"``, a scene with fewer points at some level than that level's neighbors.
    """

    def __init__(
        self,
        in_channels: int = 6,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        depths: Sequence[int] = (1, 2, 3, 5, 2),
        decoder_depths: Sequence[int] = (1, 1, 1, 1, 1),
        neighbors: Sequence[int] = (8, 16, 16, 16, 16),
        strides: Sequence[int] = (1, 4, 4, 4, 4),
        share: int = 8,
        missing: str = "first_point",
    ) -> None:
        super().__init__()
        per_level = {"depths": depths, "decoder_depths": decoder_depths, "neighbors": neighbors, "strides": strides}
        for name, value in per_level.items():
            if len(value) != len(channels):
                raise ValueError(
                    f"{name} has {len(value)} entries, channels has {len(channels)}: one per level is needed"
                )
        if any(width % share for width in channels):
            raise ValueError(f"channels {tuple(channels)} must be multiples of share={share}")
        if missing not in ("first_point", "refuse"):
            raise ValueError(f"missing must be 'first_point' or 'refuse', not {missing!r}")
        self.in_channels = in_channels
        self.channels = tuple(channels)
        self._spec = PlanSpec.point_transformer(
            tuple(strides), tuple(neighbors), DOWN_NEIGHBORS, UP_NEIGHBORS, missing=missing
        )
        self.down = nn.ModuleList([PointwiseTransition(in_channels, channels[0])])
        self.down.extend(TransitionDown(a, b) for a, b in pairwise(channels))
        self.encoder_blocks = nn.ModuleList(Blocks(c, d, share) for c, d in zip(channels, depths, strict=True))
        self.up = nn.ModuleList(TransitionUp(b, a) for a, b in pairwise(channels))
        self.up.append(SceneContext(channels[-1]))
        self.decoder_blocks = nn.ModuleList(Blocks(c, d, share) for c, d in zip(channels, decoder_depths, strict=True))

    def plan_spec(self) -> PlanSpec:
        """Four samplings from one, and 13 searches: 5 within levels, 4 down, 4 up."""
        return self._spec

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """The decoder's features at every level, finest first."""
        levels, around, encoded = self._encoded(points)
        decoded: list[PointBatch] = []
        for number in reversed(range(len(levels))):
            level = levels[number]
            if number == len(levels) - 1:
                feat = self.up[number](encoded[number], level.offset)
            else:
                feat = self.up[number](encoded[number], decoded[-1].feat, levels[number + 1].up)
            feat = self.decoder_blocks[number](feat, around[number])
            decoded.append(level_points(points, level, feat))
        return decoded[::-1]

    def encode(self, points: PointBatch) -> list[PointBatch]:
        """The encoder's features at every level, finest first, before any way up. Raises as :meth:`forward`."""
        levels, _, encoded = self._encoded(points)
        return [level_points(points, level, feat) for level, feat in zip(levels, encoded, strict=True)]

    @torch.no_grad()
    def first_layer(self, points: PointBatch) -> Tensor:
        """(N, channels[0]) what the first layer makes of each point alone, by its running statistics."""
        first = self.down[0]
        training = first.training
        first.eval()
        try:
            return first(points.feat)
        finally:
            first.train(training)

    def _encoded(self, points: PointBatch) -> tuple[tuple[PlanLevel, ...], list[Neighborhood], list[Tensor]]:
        """The plan's levels, their neighborhoods and the encoder's features."""
        if points.feat.shape[1] != self.in_channels:
            raise ValueError(f"points: feat has {points.feat.shape[1]} channels, the network reads {self.in_channels}")
        levels = plan_of(points, self._spec).levels
        around = [Neighborhood.of(level.neighbors, level.coord, level.coord) for level in levels]

        feat = self.down[0](points.feat)
        encoded = []
        for number, level in enumerate(levels):
            if number:
                feat = self.down[number](feat, levels[number - 1], level)
            feat = self.encoder_blocks[number](feat, around[number])
            encoded.append(feat)
        return levels, around, encoded


@dataclass(frozen=True)
class Neighborhood:
    """k neighbors of each of M points.

    Attributes:
        index: (M, k) rows.
        relative: (M, k, 3) neighbor minus point, metres.
        inverse: of ``index``, if the plan has it.
    """

    index: Tensor
    relative: Tensor
    inverse: InverseTable | None = None

    @classmethod
    def of(cls, table: Table | None, source: Tensor, query: Tensor) -> Neighborhood:
        """From a plan's table over the coordinates ``source`` (N, 3), for the points ``query`` (M, 3)."""
        assert table is not None, "the plan was checked against plan_spec(), which asks for this table"
        return cls(table.index, relative_coordinates(table.index, source, query), table.inverse)


class PointwiseTransition(nn.Module):
    """The first level's transition: no sampling, just a wider feature."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, out_channels, bias=False)
        self.norm = PointNorm(out_channels, negative_slope=0.0)

    def forward(self, feat: Tensor) -> Tensor:
        """(N, in) -> (N, out)."""
        return self.norm(self.linear(feat))


class TransitionDown(nn.Module):
    """From one level to the next coarser: the largest value of each channel over the sampled point's neighbors."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(3 + in_channels, out_channels, bias=False)
        self.norm = PointNorm(out_channels, negative_slope=0.0)

    def forward(self, feat: Tensor, fine: PlanLevel, coarse: PlanLevel) -> Tensor:
        """(N, in) of the fine level -> (M, out) of the coarse one."""
        around = Neighborhood.of(coarse.down, fine.coord, coarse.coord)
        near = grouping2(feat, around.index, inverse=around.inverse)
        grouped = torch.cat([around.relative.to(feat.dtype), near], -1)
        return self.norm(self.linear(grouped)).max(1).values


class TransitionUp(nn.Module):
    """From one level to the next finer: the encoder's feature there plus what is interpolated from the coarse level."""

    def __init__(self, coarse_channels: int, fine_channels: int) -> None:
        super().__init__()
        self.skip = _linear_norm(fine_channels, fine_channels)
        self.lift = _linear_norm(coarse_channels, fine_channels)

    def forward(self, fine: Tensor, coarse: Tensor, table: Table) -> Tensor:
        """(N, fine) and (M, coarse) -> (N, fine)."""
        assert table.weight is not None
        return self.skip(fine) + interpolate(self.lift(coarse), table.index, table.weight, inverse=table.inverse)


class SceneContext(nn.Module):
    """The coarsest level's transition: every point learns the mean feature of its scene."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.context = nn.Sequential(nn.Linear(channels, channels), nn.ReLU())
        self.fuse = _linear_norm(2 * channels, channels)

    def forward(self, feat: Tensor, offset: Tensor) -> Tensor:
        """(M, C) -> (M, C)."""
        mean = self.context(segment_mean(feat, offset))
        return self.fuse(torch.cat([feat, segment_broadcast(mean, offset)], 1))


class Blocks(nn.ModuleList):
    """The attention blocks of one level, one after the other."""

    def __init__(self, channels: int, depth: int, share: int) -> None:
        super().__init__(Block(channels, share) for _ in range(depth))

    def forward(self, feat: Tensor, around: Neighborhood) -> Tensor:
        """(N, C) -> (N, C)."""
        for block in self:
            feat = block(feat, around)
        return feat


class Block(nn.Module):
    """A residual block around the attention layer."""

    def __init__(self, channels: int, share: int) -> None:
        super().__init__()
        self.linear_in = nn.Linear(channels, channels, bias=False)
        self.norm_in = PointNorm(channels, negative_slope=0.0)
        self.attention = VectorAttention(channels, share)
        self.norm_attention = PointNorm(channels, negative_slope=0.0)
        self.linear_out = nn.Linear(channels, channels, bias=False)
        self.norm_out = PointNorm(channels, negative_slope=0.0)

    def forward(self, feat: Tensor, around: Neighborhood) -> Tensor:
        """(N, C) -> (N, C)."""
        inner = self.norm_in(self.linear_in(feat))
        inner = self.norm_attention(self.attention(inner, around))
        return self.norm_out(self.linear_out(inner), feat)


class VectorAttention(nn.Module):
    """Attention whose weights are vectors: one weight for every ``share`` channels that lie C / share apart.

    The sum over neighbors of weight times (value + position) is split: positions are linear in four numbers, so their
    part is summed in these four, and the tensor of all positions (N, k, C) is needed once instead of five times.
    """

    def __init__(self, channels: int, share: int) -> None:
        super().__init__()
        width = channels // share
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.position = nn.Sequential(*_linear_norm(3, 3), nn.Linear(3, channels))
        self.weight = nn.Sequential(
            PointNorm(channels, negative_slope=0.0),
            nn.Identity(),  # where the release has the ReLU: names of parameters hold its place
            *_linear_norm(channels, width),
            nn.Linear(width, width),
        )

    def forward(self, feat: Tensor, around: Neighborhood) -> Tensor:
        """Attend to the neighbors.

        Args:
            feat: (N, C).
            around: k neighbors of each point.

        Returns:
            (N, C); channel g * (C / share) + m is weighted by the m-th weight.
        """
        narrow, norm, _, widen = cast(Sequence[Any], self.position)
        hidden = F.pad(norm(narrow(around.relative.to(feat.dtype))), (0, 1), value=1.0)
        spread = torch.cat([widen.weight, widen.bias.unsqueeze(1)], 1)  # (C, 4): what is 1 everywhere takes the bias
        table, inverse = around.index, around.inverse
        position = F.linear(hidden, spread)
        relation = neighbor_relation(self.query(feat), self.key(feat), position, table, inverse=inverse)
        weight = self.weight(relation).softmax(1)
        mixed = weight.transpose(1, 2) @ hidden  # (N, W, 4): positions are summed before they are widened
        placed = torch.einsum("nmi,gmi->ngm", mixed, spread.view(-1, weight.shape[2], 4)).flatten(1)
        return aggregation(self.value(feat), None, weight, table, inverse=inverse) + placed


def _linear_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    """Linear, norm, ReLU; the last is the norm's, and its place in the release's list is held for the sake of names."""
    return nn.Sequential(
        nn.Linear(in_channels, out_channels), PointNorm(out_channels, negative_slope=0.0), nn.Identity()
    )
