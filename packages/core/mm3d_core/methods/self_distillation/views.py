"""Views of one scan for self-distillation: two large parts, the same with cells hidden, and several small parts.

Source: Sonata (Wu et al., CVPR 2025, arXiv:2503.16429); values of Pointcept/Pointcept,
configs/sonata/pretrain-sonata-v1m1-0-base.py and pointcept/models/sonata/sonata_v1m1_base.py (MIT; nothing copied).
Changed: masks are made here, per view, at their final size and share (the release lets both grow during the first 5 %
of the steps); noise on hidden points is clipped on both sides (there on one); no elastic distortion, no change of hue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor

from mm3d_core.features import FeatureLayout
from mm3d_core.methods.crops import sphere_crop
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.points import PointBatch
from pointops import make_offset

GLOBALS = 2  # the loss across large views exchanges two


@dataclass(frozen=True)
class DistillationViews:
    """The views ``global_0``, ``global_1``, ``masked_0``, ``masked_1`` and ``local_0``, ... of one scan.

    All have the attribute ``origin`` (N, 3), metres: where a point lay in the scan. A masked view holds the points of
    its global view; its attribute ``masked`` (N,) bool names those that are hidden, whose coordinates are jittered, so
    that nothing can be read off from where exactly they lie.

    Args:
        inputs: names of the columns of ``feat`` (the backbone's ``input``).
        locals: number of small views, which lie around points of the first large one.
        global_share, local_share: uniform ranges of the share of the scan's points that a view holds, nearest to a
            random point.
        min_points: of a view, if the scan has as many.
        mask_share: of the cells of a large view that are hidden.
        cell: their side, metres.
        jitter: standard deviation of the noise on each coordinate of a hidden point, metres, clipped at two of them.
        motion: of each view on its own.
        color_change: the large views share one draw, small ones have their own; None keeps the colors.

    Raises:
        ValueError: shares outside (0, 1], or sizes that make no sense.
    """

    inputs: Sequence[str] = ("coord", "color")
    locals: int = 4
    global_share: tuple[float, float] = (0.4, 1.0)
    local_share: tuple[float, float] = (0.1, 0.4)
    min_points: int = 64
    mask_share: float = 0.7
    cell: float = 0.4
    jitter: float = 0.01
    motion: Motion = field(default_factory=Motion)
    color_change: ColorChange | None = field(default_factory=ColorChange)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", FeatureLayout(self.inputs).inputs)
        for name in ("global_share", "local_share"):
            low, high = getattr(self, name)
            object.__setattr__(self, name, (low, high))
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} must be an increasing range within (0, 1], not {low}..{high}")
        if not 0 < self.mask_share < 1:
            raise ValueError(f"mask_share must be in (0, 1), not {self.mask_share}")
        if self.cell <= 0 or self.jitter < 0 or self.locals < 1 or self.min_points < 1:
            raise ValueError("cell must be positive, jitter not negative, locals and min_points at least 1")

    @property
    def names(self) -> tuple[str, ...]:
        """All views by name."""
        large = [f"{kind}_{number}" for kind in ("global", "masked") for number in range(GLOBALS)]
        return (*large, *(f"local_{number}" for number in range(self.locals)))

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The views of one scan.

        Raises:
            ValueError: the scan is empty, or its features are not what ``inputs`` says.
        """
        if points.num_points == 0:
            raise ValueError("points has no points: there is nothing to view")
        layout = FeatureLayout(self.inputs)
        layout.check(points)
        points = points.with_attributes(origin=points.coord)
        shared = self._recolored(points, layout, generator)
        views: dict[str, PointBatch] = {}
        parts = [self._part(points.coord, None, self.global_share, generator) for _ in range(GLOBALS)]
        for number, rows in enumerate(parts):
            view = self.motion(shared.select(rows, make_offset([len(rows)])), layout, generator)
            views[f"global_{number}"] = view
            views[f"masked_{number}"] = self._hidden(view, generator)
        inner = points.coord[parts[0]]
        for number in range(self.locals):
            center = inner[int(torch.randint(len(inner), (), generator=generator))]
            rows = self._part(points.coord, center, self.local_share, generator)
            part = self._recolored(points.select(rows, make_offset([len(rows)])), layout, generator)
            views[f"local_{number}"] = self.motion(part, layout, generator)
        return {name: views[name] for name in self.names}

    def _part(self, coord: Tensor, center: Tensor | None, share: tuple[float, float], generator: Generator) -> Tensor:
        """Rows of the points nearest to ``center``, or to a random point."""
        drawn = share[0] + (share[1] - share[0]) * float(torch.rand((), generator=generator))
        least = min(1.0, (self.min_points + 0.5) / len(coord))
        return sphere_crop(coord, max(drawn, least), generator, center)

    def _recolored(self, points: PointBatch, layout: FeatureLayout, generator: Generator) -> PointBatch:
        return points if self.color_change is None else self.color_change(points, layout, generator)

    def _hidden(self, view: PointBatch, generator: Generator) -> PointBatch:
        """The view with a share of its cells hidden; features stay as they are, the network's token replaces them."""
        masked = hidden_cells(view.coord, self.cell, self.mask_share, generator)
        noise = torch.randn(view.coord.shape, generator=generator).clamp(-2, 2) * self.jitter
        coord = torch.where(masked.unsqueeze(1), view.coord + noise, view.coord)
        return replace(view, coord=coord).with_attributes(masked=masked)


def hidden_cells(coord: Tensor, cell: float, share: float, generator: Generator) -> Tensor:
    """(N,) bool: the points (N, 3) in a random ``share`` of the occupied cells, of which one at least is shown."""
    cells = torch.floor((coord - coord.amin(0)) / cell).long()
    number, owner = torch.unique(cells, dim=0, return_inverse=True)
    count = min(len(number) - 1, int(share * len(number)))
    hidden = torch.zeros(len(number), dtype=torch.bool)
    hidden[torch.randperm(len(number), generator=generator)[:count]] = True
    return hidden[owner]
