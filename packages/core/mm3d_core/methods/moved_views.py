"""Masked views of which the teacher's has been moved and recolored on its own, so that no place gives a match away.

Ours, beyond the paper. In MM-3DScene student and teacher read the same points at the same coordinates in the same
colors; features that merely tell where a point is agree from the start (Sonata, arXiv:2503.16429, names this the
geometric shortcut of 3D self-distillation). Here the teacher's copy of the target is turned, mirrored, scaled,
jittered and recolored; which points belong together is known from their places in the scan, kept as an attribute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator

from mm3d_core.features import FeatureLayout
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.points import PointBatch

ORIGIN = "origin"  # attribute: (N, 3) metres, where a point lay in the scan before any motion


@dataclass(frozen=True)
class MovedViews(MaskedViews):
    """The views ``student`` and ``target``, and ``teacher``: the target's points as the teacher reads them.

    Reconstruction stays in the student's frame: ``target`` is moved as ``student`` is.

    Args:
        inputs: names of the columns of ``feat`` (the backbone's ``input``).
        motion: of the teacher's view; None leaves it where it is.
        color_change: of the teacher's view; None keeps the scan's colors.
        moves_student: the scan that the student is masked from is moved and recolored as well, by other draws.

    Raises:
        ValueError: as :class:`MaskedViews`, masks that must wait for the training step, or nothing that changes.
    """

    inputs: Sequence[str] = ("coord", "color")
    motion: Motion | None = None
    color_change: ColorChange | None = None
    moves_student: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "inputs", FeatureLayout(self.inputs).inputs)
        if self.needs_batch:
            raise ValueError("moved views are made one scan at a time: set draw and statistic.scope to 'scene'")
        if self.motion is None and self.color_change is None:
            raise ValueError("motion and color_change are both null, so nothing would be moved; use MaskedViews")

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The three views of one scan, all with the attribute ``origin``; raises as :class:`MaskedViews`."""
        points = points.with_attributes(**{ORIGIN: points.coord, "row": torch.arange(points.num_points)})
        views = super().__call__(self._changed(points, generator) if self.moves_student else points, generator)
        target = views["target"]
        teacher = self._changed(points.select(target.attributes["row"], target.offset), generator)
        return {**views, "teacher": teacher}

    def _changed(self, points: PointBatch, generator: Generator) -> PointBatch:
        """Recolored, then moved, each by its own draw."""
        layout = FeatureLayout(self.inputs)
        if self.color_change is not None:
            points = self.color_change(points, layout, generator)
        return points if self.motion is None else self.motion(points, layout, generator)
