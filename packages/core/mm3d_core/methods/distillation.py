"""A teacher that follows the student slowly, and the teacher's features where the student's points are.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), section 3.3. Momentum 0.99, averaging of parameters but
not of normalization statistics, and a teacher in training mode are those of MingyeXu/mm-3dscene,
pointtransformer_pretrain.py.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from mm3d_core.points import PointBatch
from pointops import interpolation, knn_query

Correspondence = Literal["interpolate", "nearest", "exact"]


class Teacher(nn.Module):
    """A copy of the student that learns only by averaging the student's weights.

    Args:
        student: copied as it is now; no gradient ever reaches the copy.
        momentum: after each step teacher = momentum * teacher + (1 - momentum) * student.
        average_buffers: normalization statistics are averaged too; otherwise the teacher keeps its own.
        mode: ``train`` normalizes by the statistics of the batch (released code), ``eval`` by the running ones.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        momentum: float = 0.99,
        average_buffers: bool = False,
        mode: Literal["train", "eval"] = "train",
    ) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], not {momentum}")
        if mode not in ("train", "eval"):
            raise ValueError(f"mode must be 'train' or 'eval', not {mode!r}")
        self.momentum = momentum
        self.average_buffers = average_buffers
        self.mode = mode
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Teacher:
        """Follows the student's mode, except that ``mode='eval'`` holds always."""
        return super().train(mode and self.mode == "train")

    @torch.no_grad()
    def forward(self, points: PointBatch) -> list[PointBatch]:
        """The copy's feature levels, without gradient."""
        return self.network(points)

    @torch.no_grad()
    def encode(self, points: PointBatch) -> list[PointBatch]:
        """The levels that the copy knows on its way down, see :class:`mm3d_core.methods.mm3dscene.MM3DScene`."""
        return self.network.encode(points)  # pyright: ignore[reportCallIssue]

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Move towards the student by one step of the average."""
        for own, its in zip(self.network.parameters(), student.parameters(), strict=True):
            own.lerp_(its.to(own), 1 - self.momentum)
        if not self.average_buffers:
            return
        for own, its in zip(self.network.buffers(), student.buffers(), strict=True):
            if own.is_floating_point():
                own.lerp_(its.to(own), 1 - self.momentum)
            else:
                own.copy_(its)


def correspond(
    student: PointBatch,
    teacher: PointBatch,
    mode: Correspondence = "interpolate",
) -> tuple[Tensor, Tensor]:
    """The teacher's features at the student's points, scene by scene.

    Args:
        student: the points asked about (their features are not used).
        teacher: the same level of the teacher's view.
        mode: ``interpolate`` the 3 nearest points by inverse distance (released code), take the ``nearest``, or only
            ``exact`` matches, student points that the teacher's level contains too.

    Returns:
        features: (N, C) in the order of the student's points.
        matched: (N,) bool, False where the scene has no teacher point (or, with ``exact``, not this one).
    """
    if mode == "interpolate":
        feat = interpolation(teacher.coord, student.coord, teacher.feat, teacher.offset, student.offset)
        return feat, teacher.counts()[student.scene_of_point()] > 0
    index, distance = knn_query(1, teacher.coord, teacher.offset, student.coord, student.offset)
    matched = index[:, 0] >= 0
    if mode == "exact":
        matched = matched & (distance[:, 0] == 0)
    return teacher.feat[index[:, 0].clamp_min(0).long()], matched
