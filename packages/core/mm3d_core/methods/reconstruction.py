"""Folding decoders that unfold features into points, and the chamfer distance to the target.

Source: MM-3DScene (Xu et al., CVPR 2023, arXiv:2212.09948), Eq. 3; layers of MingyeXu/mm-3dscene,
pointtransformer_pretrain.py (segmentation) and det/pretrain/models/votenet.py (detection; no licence file: nothing
copied). Changed: a prediction that meets its target exactly has gradient 0 (the release: infinite); the detection
decoder's copies of a point meet different cells of the grid (in the release the same one twice; ``paired_cells=False``
reproduces it).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch
from pointops import chamfer_nearest, segment_mean
from pointops.chamfer import safe_sqrt


class FoldingDecoder(nn.Module):
    """Moves copies of each point by what its feature says; each copy also reads its own cell of a small grid.

    Args:
        channels: width of the level's features.
        width: hidden width of the two perceptrons; their second layer has half of it. 256 (segmentation), 512
            (detection).
        grid: cells along the grid's two axes; their product is the number of copies. (2, 2) or (2, 1).
        extent: the cells span [-extent, extent]; an axis of one cell sits at -extent. 1 (segmentation), 0.2
            (detection).
        with_coord: features are followed by the point's coordinates (segmentation).
        paired_cells: every copy of a point meets its own cell. False: copy c of point i of a scene of P points meets
            cell (c * P + i) mod cells, as the release's tiling does.

    Shapes:
        in: a level of N points. out: (N * cells, 3) metres, the copies of a point side by side.
    """

    cells: Tensor

    def __init__(
        self,
        channels: int,
        *,
        width: int = 256,
        grid: Sequence[int] = (2, 2),
        extent: float = 1.0,
        with_coord: bool = True,
        paired_cells: bool = True,
    ) -> None:
        super().__init__()
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(f"grid must be two positive numbers of cells, not {tuple(grid)}")
        axes = [torch.linspace(-extent, extent, cells) if cells > 1 else torch.tensor([-extent]) for cells in grid]
        across, along = torch.meshgrid(axes[0], axes[1], indexing="xy")  # the first coordinate varies fastest
        self.register_buffer("cells", torch.stack([across.flatten(), along.flatten()], dim=1), persistent=False)
        self.with_coord = with_coord
        self.paired_cells = paired_cells
        inputs = channels + (3 if with_coord else 0)
        self.fold = FoldingPerceptron(2, inputs, width)
        self.refold = FoldingPerceptron(3, inputs, width)

    @property
    def copies(self) -> int:
        """Predicted points per point of the level."""
        return self.cells.shape[0]

    def forward(self, level: PointBatch) -> Tensor:
        feat = torch.cat([level.feat, level.coord], dim=1) if self.with_coord else level.feat
        if self.paired_cells:
            cells = self.cells.repeat(level.num_points, 1)
        else:
            cells = self.cells[self._tiled_cells(level)]
        displacement = self.refold(self.fold(cells, feat), feat)
        return level.coord.repeat_interleave(self.copies, dim=0) + displacement

    def _tiled_cells(self, level: PointBatch) -> Tensor:
        """(N * cells,) the cell that each copy meets when a scene is tiled as a whole."""
        scene = level.scene_of_point()
        counts = level.counts()
        row = torch.arange(level.num_points, device=scene.device) - (level.offset - counts)[scene]
        copy = torch.arange(self.copies, device=scene.device)
        return ((copy * counts[scene].unsqueeze(1) + row.unsqueeze(1)) % self.copies).flatten()


class FoldingPerceptron(nn.Module):
    """Three layers on [own (N * copies, a), shared (N, b)] to 3 values per copy.

    The first layer multiplies what the copies of a point share only once; this is the layer on the concatenation.
    """

    def __init__(self, own: int, shared: int, width: int) -> None:
        super().__init__()
        self.own = own
        self.first = nn.Linear(own + shared, width)
        self.rest = nn.Sequential(
            PointNorm(width, negative_slope=0.0),
            nn.Identity(),  # where the release has the ReLU: names of parameters hold its place
            nn.Linear(width, width // 2),
            PointNorm(width // 2, negative_slope=0.0),
            nn.Identity(),
            nn.Linear(width // 2, 3),
        )

    def forward(self, own: Tensor, shared: Tensor) -> Tensor:
        weight = self.first.weight
        common = nn.functional.linear(shared, weight[:, self.own :], self.first.bias)
        each = nn.functional.linear(own, weight[:, : self.own])
        hidden = each.view(len(shared), -1, each.shape[1]) + common.unsqueeze(1)
        return self.rest(hidden.flatten(0, 1))


class Chamfer(nn.Module):
    """The chamfer distance of predicted points to the target scene, per scene and then over scenes.

    With a, b the mean distance from target to prediction and from prediction to target:

    Args:
        kind: ``half`` (a + b) / 2 as in the released code, ``sum`` a + b as in Eq. 3 of the paper, or ``squared``
            a + b of squared distances.
        over_scenes: ``mean``, or ``sum`` as in the released segmentation code.
    """

    def __init__(
        self, kind: Literal["half", "sum", "squared"] = "half", over_scenes: Literal["mean", "sum"] = "mean"
    ) -> None:
        super().__init__()
        if kind not in ("half", "sum", "squared"):
            raise ValueError(f"kind must be 'half', 'sum' or 'squared', not {kind!r}")
        if over_scenes not in ("mean", "sum"):
            raise ValueError(f"over_scenes must be 'mean' or 'sum', not {over_scenes!r}")
        self.kind = kind
        self.over_scenes = over_scenes

    def forward(self, predicted: Tensor, predicted_offset: Tensor, target: Tensor, target_offset: Tensor) -> Tensor:
        """The loss of predicted (M, 3) and target (N, 3) points, both packed; offsets (B,) are cumulative ends."""
        near = chamfer_nearest(target, target_offset, predicted, predicted_offset)
        both = near.distance2, near.new_distance2
        to_prediction, to_target = both if self.kind == "squared" else (safe_sqrt(squares) for squares in both)
        each = segment_mean(to_prediction, target_offset) + segment_mean(to_target, predicted_offset)
        each = each * (0.5 if self.kind == "half" else 1.0)
        return each.mean() if self.over_scenes == "mean" else each.sum()
