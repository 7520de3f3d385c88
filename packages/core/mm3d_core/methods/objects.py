"""Objects for synthetic rooms, taken from a scan without labels or made from boxes and cylinders.

Scan-only stand-in for ShapeNet in RandomRooms and 4DContrast: floor and walls are taken away as dominant planes, what
is left falls into clusters, and each large cluster is an object.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from torch import Generator, Tensor

from mm3d_core.points import PointBatch
from pointops import knn_query

MAX_WALLS = 6
WALL_SHARE = 0.05  # a vertical plane with fewer of the scan's points is not a wall
WALL_DRAWS = 64
LEAST = 16  # points of an object
LINKS = 8  # neighbors that a point may be joined to


@dataclass(frozen=True)
class ObjectFinder:
    """Cuts a scan into background and objects.

    Args:
        thickness: points within this distance of a plane belong to it, metres.
        radius: points nearer than this belong to one cluster, metres; never less than 1.5 times the scan's spacing.
        min_share: of the scan's points, in a cluster that counts as an object; never fewer than ``LEAST`` points.
    """

    thickness: float = 0.06
    radius: float = 0.05
    min_share: float = 0.005

    def __call__(self, points: PointBatch, generator: Generator) -> Tensor:
        """(N,) int64 object of each point of one scene, largest object first, -1 for background and small clusters."""
        left = ~self.background(points.coord, generator)
        label = torch.full((points.num_points,), -1)
        rows = left.nonzero().flatten()
        least = max(LEAST, round(self.min_share * points.num_points))
        if len(rows) >= least:
            label[rows] = self.clusters(points.coord[rows], least)
        return label

    def background(self, coord: Tensor, generator: Generator) -> Tensor:
        """(N,) bool: floor, ceiling and walls."""
        taken = horizontal_planes(coord[:, 2], self.thickness)
        for _ in range(MAX_WALLS):
            rows = (~taken).nonzero().flatten()
            wall = vertical_plane(coord[rows], self.thickness, generator)
            if int(wall.sum()) < max(3, WALL_SHARE * len(coord)):
                break
            taken[rows[wall]] = True
        return taken

    def clusters(self, coord: Tensor, least: int) -> Tensor:
        """(N,) int64 cluster of each point, largest first; -1 in clusters of fewer than ``least`` points."""
        offset = torch.tensor([len(coord)])
        index, distance = knn_query(min(LINKS + 1, len(coord)), coord, offset)
        radius = max(self.radius, 1.5 * float(distance[:, 1].median())) if distance.shape[1] > 1 else self.radius
        linked = (index >= 0) & (distance <= radius)
        source = torch.arange(len(coord)).unsqueeze(1).expand_as(index)[linked].numpy()
        graph = coo_matrix((np.ones(len(source)), (source, index[linked].numpy())), shape=(len(coord),) * 2)
        component = torch.from_numpy(connected_components(graph, directed=False)[1]).long()
        sizes = torch.bincount(component)
        order = sizes.argsort(descending=True, stable=True)
        number = torch.full((len(sizes),), -1)
        number[order] = torch.where(sizes[order] >= least, torch.arange(len(sizes)), -1)
        return number[component]


def horizontal_planes(height: Tensor, thickness: float) -> Tensor:
    """(N,) bool of the lowest and of the highest densely filled layer of heights (N,)."""
    low = float(height.min())
    layer = ((height - low) / thickness).floor().long()
    counts = torch.bincount(layer).float()
    dense = (counts > max(WALL_SHARE * len(height), 2 * float(counts.median()))).nonzero().flatten()
    if not len(dense):
        return torch.zeros_like(height, dtype=torch.bool)
    taken = (layer - dense[0]).abs() <= 1  # noise spreads a floor over its neighboring layers
    if len(counts) > 4 and dense[-1] > 0.8 * (len(counts) - 1):
        taken |= (layer - dense[-1]).abs() <= 1
    return taken


def vertical_plane(coord: Tensor, thickness: float, generator: Generator) -> Tensor:
    """(N,) bool of the points near the best of some vertical planes through pairs of points (N, 3)."""
    best = torch.zeros(len(coord), dtype=torch.bool)
    if len(coord) < 3:
        return best
    pairs = torch.randint(len(coord), (WALL_DRAWS, 2), generator=generator)
    along = coord[pairs[:, 1], :2] - coord[pairs[:, 0], :2]
    length = along.norm(dim=1, keepdim=True)
    normal = torch.stack([-along[:, 1], along[:, 0]], dim=1) / length.clamp_min(1e-6)
    level = (normal * coord[pairs[:, 0], :2]).sum(1)
    near = ((coord[:, :2] @ normal.T - level).abs() < thickness) & (length[:, 0] > 4 * thickness)
    tall = torch.stack([_is_tall(coord[near[:, draw], 2]) for draw in range(WALL_DRAWS)])
    votes = torch.where(tall, near.sum(0), 0)
    return near[:, int(votes.argmax())] if int(votes.max()) else best


def procedural_object(points: int, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A table, shelf, stool or lamp on z = 0: coordinates, colors in [0, 1] and normals, (points, 3) each."""
    draw = torch.rand(8, generator=generator)
    width, depth, height = 0.4 + 1.2 * float(draw[0]), 0.3 + 0.7 * float(draw[1]), 0.4 + 1.2 * float(draw[2])
    kind = int(4 * float(draw[3]))
    if kind == 0:  # table
        corners = [(x * (width / 2 - 0.05), y * (depth / 2 - 0.05)) for x in (-1, 1) for y in (-1, 1)]
        parts = [("box", (x, y, 0.0, 0.05, 0.05, height)) for x, y in corners]
        parts.append(("box", (0.0, 0.0, height - 0.05, width, depth, 0.05)))
    elif kind == 1:  # shelf
        parts = [("box", (0.0, 0.0, height * step / 4, width, depth, 0.04)) for step in range(4)]
        parts += [("box", (side * width / 2, 0.0, 0.0, 0.04, depth, height)) for side in (-1, 1)]
    elif kind == 2:  # stool
        parts = [("cylinder", (0.0, 0.0, 0.0, 0.1, 0.1, height / 2))]
        parts.append(("cylinder", (0.0, 0.0, height / 2, depth, depth, 0.06)))
    else:  # lamp
        parts = [("cylinder", (0.0, 0.0, 0.0, 0.05, 0.05, 1.5)), ("cylinder", (0.0, 0.0, 1.4, 0.4, 0.4, 0.3))]
    area = torch.tensor([a * b + 2 * c * (a + b) for _, (_, _, _, a, b, c) in parts])
    owner = torch.multinomial(area, points, replacement=True, generator=generator)
    place, facing = torch.empty(points, 3), torch.empty(points, 3)
    for number, (shape, (x, y, z, a, b, c)) in enumerate(parts):
        rows = (owner == number).nonzero().flatten()
        surface, normal = _surface(shape, len(rows), a, b, c, generator)
        place[rows], facing[rows] = surface + torch.tensor([x, y, z + c / 2]), normal
    color = (draw[4:7] + 0.05 * torch.randn(points, 3, generator=generator)).clamp(0, 1)
    return place, color, facing


def _surface(
    shape: str, points: int, width: float, depth: float, height: float, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Points and normals, (points, 3) each, on a box or an upright cylinder around the origin."""
    half = torch.tensor([width, depth, height]) / 2
    inside = 2 * torch.rand(points, 3, generator=generator) - 1
    if shape == "cylinder":
        angle = math.pi * inside[:, 0]
        normal = torch.stack([angle.cos(), angle.sin(), torch.zeros(points)], dim=1)
        return torch.cat([normal[:, :2], inside[:, 2:]], dim=1) * half, normal
    faces = torch.tensor([depth * height, width * height, width * depth])
    axis = torch.multinomial(faces, points, replacement=True, generator=generator) if points else torch.zeros(0).long()
    side = torch.where(torch.rand(points, generator=generator) < 0.5, -1.0, 1.0)
    normal = torch.zeros(points, 3).scatter(1, axis.unsqueeze(1), side.unsqueeze(1))
    return torch.where(normal != 0, normal, inside) * half, normal


def _is_tall(height: Tensor) -> Tensor:
    """Whether points reach over 1.2 m, as walls do and most furniture does not."""
    return (height.max() - height.min() > 1.2) if len(height) else torch.tensor(False)


Bank = Literal["clusters", "procedural"]
