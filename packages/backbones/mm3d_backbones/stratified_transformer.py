"""Stratified Transformer: attention in cubic windows, with dense keys nearby and sparse keys farther away.

Source: Lai et al., CVPR 2022, arXiv:2203.14508; values: JIA-Lab-research/Stratified-Transformer (MIT),
model/stratified_transformer.py and its two configurations; nothing copied.

    level            0      1      2      3            S3DIS: stem of one kernel point convolution
    points           N   N/4+1  N/16   N/64            farthest-point sampled, scene by scene
    channels        48     96    192    384
    blocks, heads  2, 3   2, 6   6, 12  2, 24
    window, m     0.16   0.32   0.64   1.28            sparse keys come from windows of twice the edge

ScanNet's configuration has a stem of two convolutions, no attention on level 0, and a fifth level. Parameters with the
head: 8,022,970 (S3DIS, 13 classes), 18,798,662 (ScanNet, 20 classes). The levels returned are the decoder's. The
folding decoders of pre-training on widths 48, 96, 192, 384 have 654,360 parameters (8,677,330 with the head); the 8.89
M of MM-3DScene's Table 11 are 8,022,970 plus the decoders of Point Transformer's widths, 865,054, which do not fit
these levels.

Changed: convolution neighbors are the nearest (the release: a random choice, or by row); windows count from each
scene's own minimum (``origin="batch"``: the release); kernel points come from a seed; geometry is made once per pass or
by the loader.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mm3d_backbones.geometry import level_points, plan_of
from mm3d_backbones.kernel_points import kernel_points
from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import grouping2, interpolate
from pointops.kpconv import kernel_point_convolution
from pointops.plan import LevelSpec, PlanLevel, PlanSpec, Table
from pointops.window_attention import window_attention
from pointops.windows import WindowPairs, WindowSpec, table_length

STEM_NEIGHBORS = 34  # most neighbors of a kernel point convolution; config max_num_neighbors
STEM_RADIUS = 2.5  # in voxels
STRIDE, DOWN_NEIGHBORS, UP_NEIGHBORS = 4, 16, 3
STEM_MOMENTUM = 0.02  # of the stem's batch norms
STEM_SLOPE = 0.2  # of the leaky ReLUs behind them
INIT_STD = 0.02  # of linear layers and position tables


class StratifiedTransformer(Encoder):
    """Stem, stages and decoder of Stratified Transformer: the part that pre-training learns and fine-tuning keeps.

    Args:
        in_channels: width of ``points.feat`` (6: RGB in [0, 1], then xyz in metres from the crop's minimum).
        voxel: metres; the size of everything else follows from it. 0.04 on S3DIS, 0.02 on ScanNet.
        channels: width of each level, finest first.
        depths: attention blocks of each level; 0 on level 0 means the two-convolution stem without attention.
        heads: attention heads of each level (of level 0 unused without attention).
        window: edge of level 0's small windows in voxels, doubled from level to level. 4 on S3DIS, 5 on ScanNet.
        key_stride: sparse keys are 1 / key_stride of a level's points. 8 on S3DIS, 4 on ScanNet.
        drop_path: largest probability of dropping a block's branch at a point; it rises linearly over the blocks.
        skipped_blocks: blocks counted on that rise before the first real one (ScanNet's configuration: 3).
        origin: windows count from the minimum of each ``scene``, or of the whole ``batch`` (released; no plans by
            loaders).
        neighbor_order: convolution neighbors kept of too many: ``nearest``, or ``index`` (the released test).
        kernel_seed: of the random turn and noise of the kernel points.

    Shapes:
        in: PointBatch of N points in B scenes; ``coord`` (N, 3) in metres.
        out: one PointBatch per level, finest first; level i carries ``channels[i]`` features.

    Raises:
        ValueError: features of another width, a plan made for another network, or an empty scene.
    """

    def __init__(
        self,
        in_channels: int = 6,
        voxel: float = 0.04,
        channels: Sequence[int] = (48, 96, 192, 384),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (3, 6, 12, 24),
        window: float = 4,
        key_stride: int = 8,
        drop_path: float = 0.3,
        skipped_blocks: int = 0,
        origin: str = "scene",
        neighbor_order: str = "nearest",
        kernel_seed: int = 0,
    ) -> None:
        super().__init__()
        _check_settings(channels, depths, heads, voxel)
        self.in_channels = in_channels
        self.channels = tuple(channels)
        self._spec = _plan_spec(voxel, window, depths, key_stride, origin, neighbor_order)
        self._origin = origin
        random = torch.Generator().manual_seed(kernel_seed)
        self.stem = nn.ModuleList([ConvolutionBlock(in_channels, channels[0], voxel, random)])
        if depths[0] == 0:
            self.stem.append(ResidualConvolutionBlock(channels[0], voxel, random))
        rates = torch.linspace(0, drop_path, skipped_blocks + sum(depths))[skipped_blocks:].tolist()
        self.stages = nn.ModuleList()
        for level, depth in enumerate(depths):
            own, rates = rates[:depth], rates[depth:]
            spec = self._spec.levels[level].windows
            length = table_length(spec.window, spec.quant) if spec else 0
            self.stages.append(Stage(channels[level], heads[level], length, own))
        self.down = nn.ModuleList(TransitionDown(a, b) for a, b in pairwise(channels))
        self.up = nn.ModuleList(TransitionUp(b, a) for a, b in pairwise(channels))
        self.apply(_initialize)

    def plan_spec(self) -> PlanSpec | None:
        """One sampling, a self search in the stem, a search down and up between levels, two pair lists per level.

        None with ``origin="batch"``: then a scene's windows depend on its batch mates.
        """
        return self._spec if self._origin == "scene" else None

    def forward(self, points: PointBatch) -> list[PointBatch]:
        """The decoder's features at every level, finest first."""
        if points.feat.shape[1] != self.in_channels:
            raise ValueError(f"points: feat has {points.feat.shape[1]} channels, the network reads {self.in_channels}")
        levels = plan_of(points, self._spec).levels
        feat = points.feat
        for convolution in self.stem:
            feat = convolution(feat, levels[0])
        encoded = []
        for number, level in enumerate(levels):
            if number:
                feat = self.down[number - 1](feat, level)
            feat = self.stages[number](feat, level)
            encoded.append(feat)
        decoded = [level_points(points, levels[-1], feat)]
        for number in reversed(range(len(levels) - 1)):
            feat = self.up[number](encoded[number], feat, levels[number + 1].up)
            decoded.append(level_points(points, levels[number], feat))
        return decoded[::-1]


class ConvolutionBlock(nn.Module):
    """Kernel point convolution, batch norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, voxel: float, random: torch.Generator) -> None:
        super().__init__()
        self.convolution = KernelPointConvolution(in_channels, out_channels, voxel, random)
        self.norm = PointNorm(out_channels, STEM_SLOPE, momentum=STEM_MOMENTUM)

    def forward(self, feat: Tensor, level: PlanLevel) -> Tensor:
        """(N, in) -> (N, out)."""
        return self.norm(self.convolution(feat, level))


class ResidualConvolutionBlock(nn.Module):
    """Narrow, convolve, widen, add; the release puts no norm and no activation behind the convolution.

    It also owns a batch norm that it never uses: ``unused``, kept so that sizes and checkpoints agree, not trained.
    """

    def __init__(self, channels: int, voxel: float, random: torch.Generator) -> None:
        super().__init__()
        narrow = channels // 4
        self.narrow = _linear_norm(channels, narrow)
        self.convolution = KernelPointConvolution(narrow, narrow, voxel, random)
        self.widen = _linear_norm(narrow, channels)
        self.unused = PointNorm(channels, momentum=STEM_MOMENTUM).requires_grad_(False)

    def forward(self, feat: Tensor, level: PlanLevel) -> Tensor:
        """(N, C) -> (N, C)."""
        return feat + self.widen(self.convolution(self.narrow(feat), level))


class KernelPointConvolution(nn.Module):
    """15 kernel points in a ball of 1.5 voxels, each with an influence of one voxel."""

    def __init__(self, in_channels: int, out_channels: int, voxel: float, random: torch.Generator) -> None:
        super().__init__()
        self.influence = voxel
        self.points = nn.Parameter(kernel_points(1.5 * voxel, random), requires_grad=False)
        self.weight = nn.Parameter(torch.empty(len(self.points), in_channels, out_channels))
        nn.init.xavier_normal_(self.weight)  # of a rank-3 tensor: fan_in is in x out, fan_out 15 x out, as released

    def forward(self, feat: Tensor, level: PlanLevel) -> Tensor:
        """(N, in) -> (N, out)."""
        assert level.around is not None
        return kernel_point_convolution(feat, level.coord, level.around.index, self.points, self.weight, self.influence)


class Stage(nn.ModuleList):
    """The attention blocks of one level, in plain and shifted windows by turns."""

    def __init__(self, channels: int, heads: int, length: int, drop_path: Sequence[float]) -> None:
        super().__init__(WindowBlock(channels, heads, length, rate) for rate in drop_path)

    def forward(self, feat: Tensor, level: PlanLevel) -> Tensor:
        """(n, C) -> (n, C)."""
        for number, block in enumerate(self):
            assert level.windows is not None
            feat = block(feat, level.windows[number % 2])
        return feat


class WindowBlock(nn.Module):
    """Attention and a perceptron, each behind a layer norm and around a skip connection."""

    def __init__(self, channels: int, heads: int, length: int, drop_path: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(channels)
        self.attention = WindowAttention(channels, heads, length)
        self.norm_perceptron = nn.LayerNorm(channels)
        self.perceptron = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels))
        self.drop_path = DropPath(drop_path)

    def forward(self, feat: Tensor, pairs: WindowPairs) -> Tensor:
        """(n, C) -> (n, C)."""
        feat = feat + self.drop_path(self.attention(self.norm_attention(feat), pairs))
        return feat + self.drop_path(self.perceptron(self.norm_perceptron(feat)))


class WindowAttention(nn.Module):
    """Multi-head attention over pairs, with position tables for query, key and value."""

    def __init__(self, channels: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads = heads
        width = channels // heads
        self.scale = width**-0.5
        self.query_table = nn.Parameter(torch.empty(length, heads, width, 3))
        self.key_table = nn.Parameter(torch.empty(length, heads, width, 3))
        self.value_table = nn.Parameter(torch.empty(length, heads, width, 3))
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, feat: Tensor, pairs: WindowPairs) -> Tensor:
        """(n, C) -> (n, C); the query is scaled before it meets keys and tables."""
        query, key, value = self.query_key_value(feat).view(len(feat), 3, self.heads, -1).unbind(1)
        tables = self.query_table, self.key_table, self.value_table
        return self.out(window_attention(query * self.scale, key, value, pairs, *tables).flatten(1).to(feat.dtype))


class DropPath(nn.Module):
    """In training, drops a branch point by point and scales up where it is kept (timm's layer on packed points)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """(n, C) -> (n, C)."""
        if not self.training or self.probability == 0:
            return branch
        kept = torch.rand(len(branch), 1, device=branch.device, dtype=branch.dtype) >= self.probability
        return branch * kept / (1 - self.probability)


class TransitionDown(nn.Module):
    """To the next coarser level: the largest value of each channel over the sampled point's neighbors."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels)
        self.linear = nn.Linear(in_channels, out_channels, bias=False)

    def forward(self, feat: Tensor, coarse: PlanLevel) -> Tensor:
        """(n, in) of the fine level -> (m, out); norm and linear work point by point, so they precede the gathering."""
        assert coarse.down is not None
        return grouping2(self.linear(self.norm(feat)), coarse.down.index, inverse=coarse.down.inverse).amax(1)


class TransitionUp(nn.Module):
    """To the next finer level: the encoder's feature there plus what is interpolated from the coarse level."""

    def __init__(self, coarse_channels: int, fine_channels: int) -> None:
        super().__init__()
        self.skip = nn.Sequential(nn.LayerNorm(fine_channels), nn.Linear(fine_channels, fine_channels))
        self.lift = nn.Sequential(nn.LayerNorm(coarse_channels), nn.Linear(coarse_channels, fine_channels))

    def forward(self, fine: Tensor, coarse: Tensor, table: Table) -> Tensor:
        """(n, fine) and (m, coarse) -> (n, fine)."""
        assert table.weight is not None
        return self.skip(fine) + interpolate(self.lift(coarse), table.index, table.weight, inverse=table.inverse)


def _linear_norm(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, out_channels, bias=False),
        PointNorm(out_channels, STEM_SLOPE, momentum=STEM_MOMENTUM),
    )


def _plan_spec(
    voxel: float, window: float, depths: Sequence[int], key_stride: int, origin: str, order: str
) -> PlanSpec:
    """Windows double from level to level; a position bin is a quarter of a voxel on level 0."""
    windows = [
        WindowSpec(voxel * window * 2**level, voxel / 4 * 2**level, key_stride, origin) if depth else None
        for level, depth in enumerate(depths)
    ]
    stem = LevelSpec(around=(STEM_RADIUS * voxel, STEM_NEIGHBORS), around_order=order, windows=windows[0])
    rest = [LevelSpec(STRIDE, 1, down=DOWN_NEIGHBORS, up=UP_NEIGHBORS, windows=spec) for spec in windows[1:]]
    return PlanSpec((stem, *rest))


def _check_settings(channels: Sequence[int], depths: Sequence[int], heads: Sequence[int], voxel: float) -> None:
    for name, value in {"depths": depths, "heads": heads}.items():
        if len(value) != len(channels):
            raise ValueError(f"{name} has {len(value)} entries, channels has {len(channels)}: one per level is needed")
    if any(width % number for width, number in zip(channels, heads, strict=True)):
        raise ValueError(f"channels {tuple(channels)} must be multiples of heads {tuple(heads)}")
    if voxel <= 0:
        raise ValueError(f"voxel must be a positive length in metres, not {voxel}")


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=INIT_STD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    if isinstance(module, WindowAttention):
        for table in (module.query_table, module.key_table, module.value_table):
            nn.init.normal_(table, std=INIT_STD)
