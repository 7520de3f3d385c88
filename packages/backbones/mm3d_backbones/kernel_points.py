"""Where a kernel point convolution has its 15 kernel points."""

from __future__ import annotations

import math

import torch
from torch import Tensor

POLE = 0.9908  # distance of the two poles from the center, in radii
RING = 1.0015  # distance of the points of the two rings
POLAR_ANGLE = 62.93  # degrees from the upper pole to the upper ring
NOISE = 0.01  # standard deviation of each coordinate's noise, in radii; torch-points3d, kernel_utils.py


def kernel_points(radius: float, random: torch.Generator) -> Tensor:
    """(15, 3) float32 metres: the center, two poles, two staggered rings of six; randomly turned, with a little noise.

    The layout is that of torch-points3d's k_015_center.ply (which minimizes a repulsion) to within 5e-4 radii.

    Args:
        radius: metres.
        random: of the turn and the noise; two networks of different seeds have different kernels.
    """
    points = [(0.0, 0.0, 0.0), (0.0, 0.0, POLE), (0.0, 0.0, -POLE)]
    for polar, stagger in ((POLAR_ANGLE, 0.0), (180 - POLAR_ANGLE, 30.0)):
        polar = math.radians(polar)
        for azimuth in (math.radians(stagger + 60 * number) for number in range(6)):
            x, y = math.cos(azimuth) * math.sin(polar), math.sin(azimuth) * math.sin(polar)
            points.append((RING * x, RING * y, RING * math.cos(polar)))
    layout = torch.tensor(points, dtype=torch.float64)
    noise = NOISE * torch.randn(layout.shape, generator=random, dtype=torch.float64)
    return (radius * (layout + noise) @ _random_rotation(random)).float()


def _random_rotation(random: torch.Generator) -> Tensor:
    """(3, 3) float64 rotation, from two random vectors made orthonormal."""
    first, second = torch.randn(2, 3, generator=random, dtype=torch.float64)
    first = first / first.norm()
    second = second - (first @ second) * first
    second = second / second.norm()
    return torch.stack([first, second, torch.linalg.cross(first, second)])
