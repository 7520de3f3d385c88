"""Parts of a scan as two views may show them: a ball, a box, or what a camera sees.

Sources: the nearest points to a random one (Masked Scene Contrast, Pointcept/Pointcept), boxes of the floor plan
(DepthContrast), camera views with occlusion in place of the depth frames of PointContrast and Contrastive Scene
Contexts.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from pointops import knn_query

COARSEST = 4  # depth images of near points have pixels up to 2**4 times as wide


def sphere_crop(coord: Tensor, share: float, generator: Generator, center: Tensor | None = None) -> Tensor:
    """Rows (M,) of the ``share`` of points (N, 3) nearest to ``center`` (3,), by default a random one; at least one."""
    if center is None:
        center = coord[int(torch.randint(len(coord), (), generator=generator))]
    count = max(1, int(share * len(coord)))
    return (coord - center).square().sum(1).topk(count, largest=False).indices.sort().values


def box_crop(coord: Tensor, sides: tuple[float, float], generator: Generator) -> Tensor:
    """Rows of the points (N, 3) in a box of the floor plan; sides are shares of the scan's, uniform in ``sides``."""
    low, high = coord[:, :2].amin(0), coord[:, :2].amax(0)
    draw = torch.rand(2, 2, generator=generator)
    side = (high - low) * (sides[0] + (sides[1] - sides[0]) * draw[0])
    start = low + (high - low - side) * draw[1]
    inside = ((coord[:, :2] >= start) & (coord[:, :2] <= start + side)).all(1)
    return inside.nonzero().flatten()


def camera_crop(
    coord: Tensor,
    generator: Generator,
    *,
    height: tuple[float, float] = (1.2, 1.8),
    pitch: tuple[float, float] = (-35.0, -5.0),
    field_of_view: float = 60.0,
    near: float = 0.5,
    far: float = 5.0,
    pixels: int = 80,
    tolerance: float = 0.1,
) -> Tensor:
    """Rows of the points (N, 3) that a random camera inside the footprint sees.

    Args:
        height: of the camera above the scan's lowest point, metres.
        pitch: angle of the view axis above the horizon, degrees.
        field_of_view: degrees, horizontally and vertically.
        near, far: range, metres.
        pixels: the depth image has so many columns and rows.
        tolerance: a point is seen if it lies less than this behind the nearest one of its pixel, metres.
    """
    low, high = coord.amin(0), coord.amax(0)
    draw = torch.rand(5, generator=generator)
    eye = torch.cat([low[:2] + (high - low)[:2] * draw[:2], (low[2] + _within(height, draw[2])).view(1)])
    axes = _camera_axes(2 * math.pi * float(draw[3]), math.radians(float(_within(pitch, draw[4]))))
    right, up, depth = ((coord - eye) @ axes.T).unbind(1)
    ahead = (depth > near) & (depth < far)
    scale = pixels / 2 / math.tan(math.radians(field_of_view) / 2)
    column = (right / depth.clamp_min(near) * scale + pixels / 2).floor().long()
    row = (up / depth.clamp_min(near) * scale + pixels / 2).floor().long()
    rows = (ahead & (column >= 0) & (column < pixels) & (row >= 0) & (row < pixels)).nonzero().flatten()
    column, row, depth = column[rows], row[rows], depth[rows]
    nearest = _depth_image(row, column, depth, _spacing(coord) * scale / depth, pixels)
    return rows[depth <= nearest[row * pixels + column] + tolerance]


def _depth_image(row: Tensor, column: Tensor, depth: Tensor, reach: Tensor, pixels: int) -> Tensor:
    """(pixels * pixels,) nearest depth, each point covering the gap to its neighbors, ``reach`` (N,) pixels away.

    Near points are drawn into coarser images, where that gap is about one pixel.
    """
    nearest = torch.full((pixels, pixels), torch.inf)
    level = reach.clamp_min(1).log2().ceil().long().clamp_max(COARSEST)
    for number in level.unique().tolist():
        own, side = level == number, 2**number
        width = -(-pixels // side)
        image = torch.full((width * width,), torch.inf)
        for down in (-1, 0, 1):
            for across in (-1, 0, 1):
                pixel = (row[own] // side + down).clamp(0, width - 1) * width
                pixel = pixel + (column[own] // side + across).clamp(0, width - 1)
                image.scatter_reduce_(0, pixel, depth[own], "amin")
        fine = image.view(width, width).repeat_interleave(side, 0).repeat_interleave(side, 1)
        nearest = torch.minimum(nearest, fine[:pixels, :pixels])
    return nearest.flatten()


def _spacing(coord: Tensor) -> Tensor:
    """Median distance to the nearest other point, over some points of the scan, metres."""
    some = coord[:: max(1, len(coord) // 500)]
    offset = torch.tensor([len(coord)])
    _, distance = knn_query(2, coord, offset, some, torch.tensor([len(some)]))
    return distance[:, 1].median()


def _camera_axes(heading: float, pitch: float) -> Tensor:
    """(3, 3) unit rows: right, up and forward of a camera."""
    level, rise = math.cos(pitch), math.sin(pitch)
    forward = torch.tensor([level * math.cos(heading), level * math.sin(heading), rise])
    right = torch.tensor([math.sin(heading), -math.cos(heading), 0.0])
    return torch.stack([right, torch.linalg.cross(right, forward), forward])


def _within(ends: tuple[float, float], draw: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * draw
