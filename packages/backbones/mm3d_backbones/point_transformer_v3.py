"""Point Transformer V3: attention among points that follow each other on space-filling curves.

Source: Wu et al., CVPR 2024, arXiv:2312.10035. Widths, depths, patches and norms are those of Pointcept/Pointcept,
pointcept/models/point_transformer_v3/point_transformer_v3m1_base.py and configs/scannet/semseg-pt-v3m1-0-base.py (MIT;
nothing copied). 46,166,272 parameters with 6 input channels. The levels returned are the decoder's, and the encoder's
coarsest.

    level              0        1        2        3        4
    voxel edge       2 cm     4 cm     8 cm    16 cm    32 cm
    encoder     32, 2 blocks  64, 2   128, 2   256, 6   512, 2
    decoder     64, 2 blocks  64, 2   128, 2   256, 2

Changed: evaluation is deterministic (the release draws the order of the curves anew at every level in evaluation too:
``shuffle_orders="always"``); a scene has its own depth and minimum, and never feels its batch mates; points that share
a voxel are averaged into one, and read the same feature.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from mm3d_backbones.patch_attention import PatchAttention, Patches
from mm3d_backbones.stratified_transformer import DropPath
from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import gather_rows, known_counts, segment_max, segment_mean
from pointops.serialization import ORDERS
from pointops.serialized import SerializedLevel, SerializedPlan, SerializedSpec, make_serialized_plan
from pointops.submanifold import submanifold_convolution

NORM = {"eps": 1e-3, "momentum": 0.01}  # of all batch norms
STEM_KERNEL, KERNEL = 5, 3  # voxels
SHUFFLES = ("never", "training", "always")


class PointTransformerV3(Encoder):
    """The U-shaped network without its classifier: the part that pre-training learns and fine-tuning keeps.

    Args:
        in_channels: width of ``points.feat`` (6: RGB and normals, or coordinates and RGB).
        voxel: metres; edge of the finest level's voxels, which should be the loader's.
        channels: width of each level on the way down, finest first.
        depths: blocks of each level on the way down.
        heads: attention heads of these blocks.
        decoder_channels: width of each level but the coarsest on the way up; empty: there is no way up, and the
            levels returned are those of the way down (Sonata's use of the network).
        decoder_depths: blocks of each level on the way up.
        decoder_heads: attention heads of these.
        patch: most points that attend to each other.
        strides: a coarser voxel's edge in voxels of the level before, powers of two.
        orders: curves, taken by the blocks of a level in turn.
        shuffle_orders: the turn is drawn anew at every level and pass: in ``training``, ``always`` (released), or
            ``never``.
        drop_path: largest probability of dropping a block's branch at a point; it rises linearly down the encoder, and
            falls up the decoder.

    Shapes:
        in: PointBatch of N points in B scenes; ``coord`` (N, 3) in metres.
        out: one PointBatch per level, finest first; level 0 holds the input points in their order, a coarser level
            its voxels with the mean of their coordinates; level i carries ``channels[i]`` features (the attribute).

    Raises:
        ValueError: settings that contradict each other, features of another width, an empty scene, a plan made for
            another network or other points, or a scene of more than 65,535 voxels along an axis.
    """

    def __init__(
        self,
        in_channels: int = 6,
        voxel: float = 0.02,
        channels: Sequence[int] = (32, 64, 128, 256, 512),
        depths: Sequence[int] = (2, 2, 2, 6, 2),
        heads: Sequence[int] = (2, 4, 8, 16, 32),
        decoder_channels: Sequence[int] = (64, 64, 128, 256),
        decoder_depths: Sequence[int] = (2, 2, 2, 2),
        decoder_heads: Sequence[int] = (4, 4, 8, 16),
        patch: int = 1024,
        strides: Sequence[int] = (2, 2, 2, 2),
        orders: Sequence[str] = ORDERS,
        shuffle_orders: str = "training",
        drop_path: float = 0.3,
    ) -> None:
        super().__init__()
        _check_settings(channels, depths, heads, strides, "channels")
        if len(decoder_channels):
            _check_settings(
                (*decoder_channels, 0), (*decoder_depths, 0), (*decoder_heads, 1), strides, "decoder_channels"
            )
        if shuffle_orders not in SHUFFLES:
            raise ValueError(f"shuffle_orders must be one of {', '.join(SHUFFLES)}, not {shuffle_orders!r}")
        if patch < 1:
            raise ValueError(f"patch must be at least one point, not {patch}")
        self.in_channels, self.patch, self.shuffle_orders = in_channels, patch, shuffle_orders
        self.spec = SerializedSpec(voxel, tuple(orders), tuple(strides), STEM_KERNEL, KERNEL)
        self.stem = Stem(in_channels, channels[0])
        rates = iter(torch.linspace(0, drop_path, sum(depths)).tolist())
        self.encoder = nn.ModuleList()
        for level, (width, depth) in enumerate(zip(channels, depths, strict=True)):
            down = Pooling(channels[level - 1], width) if level else None
            self.encoder.append(Stage(down, width, heads[level], [next(rates) for _ in range(depth)]))
        up = (*decoder_channels, channels[-1])
        self.channels = up if len(decoder_channels) else tuple(channels)
        self.down_channels = tuple(channels)  # of descend()
        rising = torch.linspace(0, drop_path, sum(decoder_depths)).tolist()
        self.decoder = nn.ModuleList()
        for level, (width, coarser) in enumerate(pairwise(up)):
            first = sum(decoder_depths[:level])
            own = rising[first : first + decoder_depths[level]][::-1]
            self.decoder.append(Stage(Unpooling(coarser, channels[level], width), width, decoder_heads[level], own))

    def plan_spec(self) -> SerializedSpec:
        """Voxels, curves, neighbor tables and pools of every level."""
        return self.spec

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """The decoder's features at every level, finest first (the encoder's, if there is no decoder)."""
        plan = self._plan_of(points)
        feats, turns, patches = self._down(points, plan)
        feat = feats[-1]
        for level in reversed(range(len(self.decoder))):
            here, coarser, stage = plan.levels[level], plan.levels[level + 1], self.decoder[level]
            assert isinstance(stage, Stage)
            feat = stage.up(feats[level], feat, coarser.owner)
            feat = feats[level] = stage(feat, here, patches[level], turns[level])
        return self._levels(points, plan, feats)

    def descend(self, points: PointBatch) -> list[PointBatch]:
        """The features at every level on the way down, finest first, ``down_channels`` wide; raises as ``forward``."""
        plan = self._plan_of(points)
        return self._levels(points, plan, self._down(points, plan)[0])

    def _plan_of(self, points: PointBatch) -> SerializedPlan:
        if points.feat.shape[1] != self.in_channels:
            raise ValueError(f"points: feat has {points.feat.shape[1]} channels, the network reads {self.in_channels}")
        plan = points.plan
        if plan is None:
            return make_serialized_plan(points.coord, points.offset, self.spec)
        if not isinstance(plan, SerializedPlan) or replace(plan.spec, inverse=False) != self.spec:
            raise ValueError("points: the plan was made for another network; make it from this encoder's spec")
        if plan.num_points != points.num_points:
            raise ValueError(f"points: the plan was made for {plan.num_points} points, these are {points.num_points}")
        return plan

    def _down(self, points: PointBatch, plan: SerializedPlan) -> tuple[list[Tensor], list[list[int]], list[Patches]]:
        """The encoder's features, and of each level the turn of its curves and its patches."""
        finest = plan.levels[0]
        feat = gather_rows(points.feat, finest.members)
        feat = self.stem(feat if len(finest.ends) == len(feat) else segment_mean(feat, finest.ends), finest)
        turns, patches, feats = [], [], []
        for stage, level in zip(self.encoder, plan.levels, strict=True):
            assert isinstance(stage, Stage)
            turns.append(self._turn())
            patches.append(Patches.of(known_counts(level.offset), self.patch, feat.device))
            if feats:
                feat = stage.down(feat, level.ends)
            feat = stage(feat, level, patches[-1], turns[-1])
            feats.append(feat)
        return feats, turns, patches

    def _turn(self) -> list[int]:
        """The curves by number, in the order in which a level's blocks take them."""
        count = len(self.spec.orders)
        if self.shuffle_orders == "always" or (self.shuffle_orders == "training" and self.training):
            return torch.randperm(count).tolist()
        return list(range(count))

    def _levels(self, points: PointBatch, plan: SerializedPlan, feats: Sequence[Tensor]) -> list[PointBatch]:
        """The features with the points they belong to."""
        made = [points.with_feat(gather_rows(feats[0], plan.levels[0].owner))]
        for level, feat in zip(plan.levels[1:], feats[1:], strict=True):
            rows = level.rows.long()
            attributes = {name: value[rows] for name, value in points.attributes.items()}
            made.append(PointBatch(level.coord, feat, level.offset, points.index[rows], attributes))
        return made


class Stem(nn.Module):
    """Convolution over 5 x 5 x 5 voxels without bias, batch norm, GELU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.convolution = SubmanifoldConvolution(in_channels, channels, STEM_KERNEL, bias=False)
        self.norm = PointNorm(channels, **NORM)

    def forward(self, feat: Tensor, level: SerializedLevel) -> Tensor:
        """(n, in) -> (n, C)."""
        assert level.stem is not None
        return nn.functional.gelu(self.norm(self.convolution(feat, level.stem)))


class Stage(nn.Module):
    """What leads to a level, ``down`` or ``up`` (nothing leads to the first), and the level's blocks."""

    down: Pooling
    up: Unpooling

    def __init__(self, way: nn.Module | None, channels: int, heads: int, drop_path: Sequence[float]) -> None:
        super().__init__()
        if isinstance(way, Pooling):
            self.down = way
        elif isinstance(way, Unpooling):
            self.up = way
        self.blocks = nn.ModuleList(Block(channels, heads, rate) for rate in drop_path)

    def forward(self, feat: Tensor, level: SerializedLevel, patches: Patches, turn: Sequence[int]) -> Tensor:
        """(n, C) -> (n, C); the blocks take the curves in turn."""
        for number, block in enumerate(self.blocks):
            curve = turn[number % len(turn)]
            feat = block(feat, level.neighbors, patches, level.order[curve], level.place[curve])
        return feat


class Block(nn.Module):
    """Position by convolution, attention, perceptron, each added to what it reads."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self.position = Position(channels)
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = PatchAttention(channels, heads)
        self.norm_perceptron = nn.LayerNorm(channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, feat: Tensor, neighbors: Tensor, patches: Patches, order: Tensor, place: Tensor) -> Tensor:
        """(n, C) -> (n, C)."""
        feat = feat + self.position(feat, neighbors)
        feat = feat + self.drop_path(self.attention(self.norm_attention(feat), patches, order, place))
        return feat + self.drop_path(self.perceptron(self.norm_perceptron(feat)))


class Position(nn.Module):
    """Where a point is, from which neighbors it has: 3 x 3 x 3 convolution, linear layer, layer norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = SubmanifoldConvolution(channels, channels, KERNEL)
        self.linear = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)

    def forward(self, feat: Tensor, neighbors: Tensor) -> Tensor:
        """(n, C) -> (n, C)."""
        return self.norm(self.linear(self.convolution(feat, neighbors)))


class SubmanifoldConvolution(nn.Module):
    """Convolution of occupied voxels; initial values as spconv's, uniform within 1 / sqrt(fan in)."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, bias: bool = True) -> None:
        super().__init__()
        limit = 1 / math.sqrt(in_channels * kernel**3)
        self.weight = nn.Parameter(torch.empty(kernel**3, in_channels, out_channels).uniform_(-limit, limit))
        self.bias = nn.Parameter(torch.empty(out_channels).uniform_(-limit, limit)) if bias else None

    def forward(self, feat: Tensor, table: Tensor) -> Tensor:
        """(n, in) -> (n, out), in half precision under autocast."""
        weight, device = self.weight, feat.device.type
        if torch.is_autocast_enabled(device):
            wanted = torch.get_autocast_dtype(device)
            feat, weight = feat.to(wanted), weight.to(wanted)
        out = submanifold_convolution(feat, table, weight)
        return out if self.bias is None else out + self.bias.to(out.dtype)


class Pooling(nn.Module):
    """To the next coarser level: linear layer, the largest value of each channel in the voxel, batch norm, GELU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, channels)
        self.norm = PointNorm(channels, **NORM)

    def forward(self, feat: Tensor, ends: Tensor) -> Tensor:
        """(n, in) of the finer level, whose voxels lie together -> (m, C)."""
        return nn.functional.gelu(self.norm(segment_max(self.linear(feat), ends)))


class Unpooling(nn.Module):
    """To the next finer level: the coarse voxel's feature and the encoder's, each through linear, batch norm, GELU."""

    def __init__(self, coarse_channels: int, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.lift = nn.Sequential(nn.Linear(coarse_channels, channels), PointNorm(channels, **NORM), nn.GELU())
        self.skip = nn.Sequential(nn.Linear(skip_channels, channels), PointNorm(channels, **NORM), nn.GELU())

    def forward(self, skip: Tensor, coarse: Tensor, owner: Tensor) -> Tensor:
        """(n, skip), (m, coarse) and the (n,) coarse voxel of each fine one -> (n, C)."""
        return self.skip(skip) + gather_rows(self.lift(coarse), owner)


def _check_settings(
    channels: Sequence[int], depths: Sequence[int], heads: Sequence[int], strides: Sequence[int], name: str
) -> None:
    if not len(channels) == len(depths) == len(heads) == len(strides) + 1:
        raise ValueError(
            f"{name}: {len(channels)} widths, {len(depths)} depths and {len(heads)} heads do not suit {len(strides)} "
            "strides: give one of each per level (on the way up, per level but the coarsest), one stride fewer"
        )
    if any(width % number for width, number in zip(channels, heads, strict=True)):
        raise ValueError(f"{name}={tuple(channels)} must be multiples of their heads {tuple(heads)}")
