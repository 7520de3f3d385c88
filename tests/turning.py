"""Boxes of a scene that was turned: what overlaps and primitives are held against."""

from __future__ import annotations

import math

from torch import Tensor


def rotate_boxes(boxes: Tensor, angle: float) -> Tensor:
    """(..., 7) boxes turned by ``angle`` radians about z, counter-clockwise from above (headings shrink)."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turned = boxes.clone()
    turned[..., 0] = cosine * boxes[..., 0] - sine * boxes[..., 1]
    turned[..., 1] = sine * boxes[..., 0] + cosine * boxes[..., 1]
    turned[..., 6] = boxes[..., 6] - angle
    return turned
