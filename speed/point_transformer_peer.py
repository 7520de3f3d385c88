"""Point Transformer as Pointcept's module computes it, in plain torch over ``pointops``: the measure of speed.

The order of operations, the searches (one in every layer) and the layouts (norms on transposed copies) are those of
Pointcept/Pointcept, pointcept/models/point_transformer/point_transformer_seg.py (MIT; nothing copied). Depths are those
of its largest network: 1, 2, 3, 5, 2 blocks on the way down, one at each level on the way up.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

import pointops

WIDTHS, DEPTHS, NEIGHBORS, STRIDES = (32, 64, 128, 256, 512), (1, 2, 3, 5, 2), (8, 16, 16, 16, 16), (1, 4, 4, 4, 4)
SHARE = 8


class TransposedNorm(nn.BatchNorm1d):
    """Batch norm of (N, k, C), channels moved to the middle and back."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, k, C) -> (N, k, C)."""
        return super().forward(input.transpose(1, 2).contiguous()).transpose(1, 2).contiguous()


class PeerAttention(nn.Module):
    """Vector attention with tensors for everything."""

    def __init__(self, width: int, neighbors: int) -> None:
        super().__init__()
        self.neighbors, narrow = neighbors, width // SHARE
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.place = nn.Sequential(nn.Linear(3, 3), TransposedNorm(3), nn.ReLU(inplace=True), nn.Linear(3, width))
        self.weigh = nn.Sequential(
            TransposedNorm(width), nn.ReLU(inplace=True), nn.Linear(width, narrow),
            TransposedNorm(narrow), nn.ReLU(inplace=True), nn.Linear(narrow, narrow),
        )  # fmt: skip

    def forward(self, coord: Tensor, feat: Tensor, offset: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        asked = (coord, offset, coord, offset)
        near, idx = pointops.knn_query_and_group(self.key(feat), *asked, nsample=self.neighbors, with_xyz=True)
        value, _ = pointops.knn_query_and_group(self.value(feat), *asked, idx, nsample=self.neighbors, with_xyz=False)
        place = self.place(near[..., :3])
        weight = self.weigh(near[..., 3:] - self.query(feat).unsqueeze(1) + place).softmax(1)
        shared = (value + place).unflatten(2, (SHARE, -1))
        return torch.einsum("nksi,nki->nsi", shared, weight).flatten(1)


class PeerBlock(nn.Module):
    """A residual block around the attention."""

    def __init__(self, width: int, neighbors: int) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(3))
        self.attention = PeerAttention(width, neighbors)

    def forward(self, coord: Tensor, feat: Tensor, offset: Tensor) -> Tensor:
        """(N, C) -> (N, C)."""
        inner = self.norms[0](self.first(feat)).relu_()
        inner = self.norms[1](self.attention(coord, inner, offset)).relu_()
        return (self.norms[2](self.last(inner)) + feat).relu_()


class PeerPointTransformer(nn.Module):
    """The whole network with its classifier; reads a dictionary of ``coord``, ``feat`` and ``offset``."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.down = nn.ModuleList()
        for before, width, stride in zip((in_channels, *WIDTHS), WIDTHS, STRIDES, strict=False):
            linear = nn.Linear(before + 3 * (stride > 1), width, bias=False)
            self.down.append(nn.ModuleList([linear, nn.BatchNorm1d(width)]))
        deep = zip(WIDTHS, NEIGHBORS, DEPTHS, strict=True)
        self.encoder = nn.ModuleList(nn.ModuleList(PeerBlock(w, k) for _ in range(d)) for w, k, d in deep)
        self.decoder = nn.ModuleList(PeerBlock(w, k) for w, k in zip(WIDTHS, NEIGHBORS, strict=True))
        self.context = nn.Sequential(nn.Linear(WIDTHS[-1], WIDTHS[-1]), nn.ReLU(inplace=True))
        self.fuse = _dense(2 * WIDTHS[-1], WIDTHS[-1])
        self.skip = nn.ModuleList(_dense(w, w) for w in WIDTHS[:-1])
        self.lift = nn.ModuleList(_dense(b, a) for a, b in pairwise(WIDTHS))
        self.head = nn.Sequential(*_dense(WIDTHS[0], WIDTHS[0]), nn.Linear(WIDTHS[0], num_classes))

    def forward(self, data: Mapping[str, Tensor]) -> Tensor:
        """(N, classes)."""
        coord, feat, offset = data["coord"], data["feat"], data["offset"].int()
        levels = []
        for number, stride in enumerate(STRIDES):
            coord, feat, offset = self._sampled(number, stride, coord, feat, offset)
            for block in self.encoder[number]:  # pyright: ignore[reportGeneralTypeIssues]
                feat = block(coord, feat, offset)
            levels.append((coord, feat, offset))
        feat = self.fuse(torch.cat([feat, self.context(self._mean(feat, offset))], 1))
        feat = self.decoder[-1](coord, feat, offset)
        for number in reversed(range(len(WIDTHS) - 1)):
            fine, own, ends = levels[number]
            lifted = pointops.interpolation(coord, fine, self.lift[number](feat), offset, ends)
            coord, offset = fine, ends
            feat = self.decoder[number](coord, self.skip[number](own) + lifted, offset)
        return self.head(feat)

    def _sampled(self, number: int, stride: int, coord: Tensor, feat: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
        linear, norm = self.down[number]  # pyright: ignore[reportGeneralTypeIssues]
        if stride == 1:
            return coord, norm(linear(feat)).relu_(), offset
        ends = torch.diff(offset, prepend=offset.new_zeros(1)).div(stride, rounding_mode="floor").cumsum(0).int()
        fewer = coord[pointops.farthest_point_sampling(coord, offset, ends).long()]
        near, _ = pointops.knn_query_and_group(feat, coord, offset, fewer, ends, nsample=16, with_xyz=True)
        wide = norm(linear(near).transpose(1, 2).contiguous()).relu_()
        return fewer, nn.functional.max_pool1d(wide, wide.shape[2]).squeeze(-1), ends

    def _mean(self, feat: Tensor, offset: Tensor) -> Tensor:
        return torch.cat([part.mean(0, keepdim=True).expand_as(part) for part in _scenes(feat, offset)])


def _dense(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(inplace=True))


def _scenes(feat: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
    return feat.split(torch.diff(offset, prepend=offset.new_zeros(1)).tolist())
