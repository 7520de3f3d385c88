"""Networks that read the answer from the colors of their input, so that an evaluation's true scores are known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mm3d_core.points import PointBatch

STEP = 15  # of 255: red is the class of a point, green the number of its object (0: none), blue marks every other point


class NoEncoder(nn.Module):
    """An encoder with one parameter."""

    channels = (1,)

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(in_channels))


class SegmentReader(nn.Module):
    """Says each point's class, or class 0 for the marked half of them."""

    def __init__(self, encoder: nn.Module, num_classes: int, half: bool = False) -> None:
        super().__init__()
        self.encoder, self.num_classes, self.by_half = encoder, num_classes, half

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """``logits`` (N, classes)."""
        red, _, blue = _numbers(points).T
        said = torch.where(blue > 0, 0, red) if self.by_half else red
        return {"logits": nn.functional.one_hot(said, self.num_classes).float()}


class BoxReader(nn.Module):
    """Finds the box around each object of one scene, or of every other object."""

    def __init__(self, encoder: nn.Module, num_classes: int, half: bool = False, **_: Any) -> None:
        super().__init__()
        self.encoder, self.num_classes, self.by_half = encoder, num_classes, half

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """``boxes`` (1, M, 7), ``scores``, ``point_count`` (1, M), ``class_scores`` (1, M, classes): all of class 0."""
        number = _numbers(points)[:, 1]
        objects = [points.coord[number == n] for n in number.unique().tolist() if n and (n % 2 or not self.by_half)]
        rows = [torch.cat([(o.amin(0) + o.amax(0)) / 2, o.amax(0) - o.amin(0), torch.zeros(1)]) for o in objects]
        scores = torch.ones(1, len(rows))
        classes = nn.functional.one_hot(torch.zeros(1, len(rows), dtype=torch.long), self.num_classes).float()
        return {
            "boxes": torch.stack(rows)[None],
            "scores": scores,
            "class_scores": classes,
            "point_count": torch.tensor([[len(o) for o in objects]]),
        }


def _numbers(points: PointBatch) -> Tensor:
    """(N, 3) what the colors, the last three columns of the input, say."""
    return (points.feat[:, -3:] * 255 / STEP).round().long()
