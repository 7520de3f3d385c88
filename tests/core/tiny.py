"""A small encoder and small scans for the tests of the pre-training methods."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch
from pointops import farthest_point_sampling, knn_query


class TinyEncoder(Encoder):
    """Two levels: a perceptron on each point, and a maximum over 8 neighbors at a quarter of the points."""

    def __init__(self, in_channels: int = 6, channels: tuple[int, int] = (8, 16)) -> None:
        super().__init__()
        self.channels = channels
        self.near = nn.Sequential(nn.Linear(in_channels, 32), nn.ReLU(), nn.Linear(32, channels[0]))
        self.far = nn.Sequential(nn.Linear(channels[0] + 3, channels[1]), nn.BatchNorm1d(channels[1]), nn.ReLU())

    def encode(self, points: PointBatch) -> list[PointBatch]:
        """There is no way up: the levels as they are."""
        return self(points)

    @torch.no_grad()
    def first_layer(self, points: PointBatch) -> Tensor:
        return self.near(points.feat)

    def forward(self, points: PointBatch) -> list[PointBatch]:
        fine = points.with_feat(self.near(points.feat))
        offset = (points.counts() // 4).clamp_min(1).cumsum(0)
        rows = farthest_point_sampling(points.coord, points.offset, offset).long()
        coarse = fine.select(rows, offset)
        index, _ = knn_query(8, points.coord, points.offset, coarse.coord, offset)
        index = torch.where(index < 0, index[:, :1], index).long()
        relative = points.coord[index] - coarse.coord.unsqueeze(1)
        grouped = torch.cat([relative, fine.feat[index]], dim=2)
        return [fine, coarse.with_feat(self.far(grouped.flatten(0, 1)).view(*index.shape, -1).amax(1))]


class IdentityEncoder(Encoder):
    """One level: the features as they are."""

    def __init__(self, channels: int = 6) -> None:
        super().__init__()
        self.channels = (channels,)

    def forward(self, points: PointBatch) -> list[PointBatch]:
        return [points]


def scan(points: int = 200, seed: int = 0, color: bool = True, offset: float = 0.0) -> PointBatch:
    """A random floor with a random box on it, colored by place; feat is coordinates, then colors."""
    generator = torch.Generator().manual_seed(seed)
    coord = torch.rand(points, 3, generator=generator) * torch.tensor([4.0, 3.0, 0.02])
    on_box = torch.arange(points) % 3 == 0
    box = torch.rand(points, 3, generator=generator) * 0.8 + torch.tensor([1.0, 1.0, 0.0])
    coord = torch.where(on_box.unsqueeze(1), box, coord) + offset
    shade = torch.rand(points, 3, generator=generator) * 0.2 + on_box.unsqueeze(1) * 0.5
    attributes = {"color": shade} if color else {}
    return PointBatch.single(coord, torch.cat([coord, shade], dim=1), attributes)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def joined(views: list[dict[str, PointBatch]]) -> dict[str, PointBatch]:
    """What a loader makes of the views of several scenes."""
    return {name: PointBatch.join([view[name] for view in views]) for name in views[0]}


def line(*places: float, colors: Tensor | None = None) -> PointBatch:
    """Points on the x axis, with gray colors in [0, 1]."""
    coord = torch.tensor([[x, 0.0, 0.0] for x in places])
    attributes = {} if colors is None else {"color": colors.view(-1, 1).expand(-1, 3)}
    return PointBatch.single(coord, coord, attributes)
