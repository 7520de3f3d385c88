"""Voxel validation: one random point of every voxel is predicted once. Quick, for use during training.

Not the published test protocol: its numbers are usually lower than those of :mod:`mm3d_benchmarks.evaluation.voting`
and must not stand in one column with them. Source: POSTECH-CVLab/point-transformer, util/data_util.py (its
validation branch).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.planned import planned_for
from mm3d_benchmarks.loading.crops import shift_to_minimum, voxel_groups
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.sample import Sample, sample_of
from mm3d_core.seeding import numpy_generator

Prediction = tuple[dict[str, Tensor], dict[str, Tensor]]
"""What a metric's ``update`` takes: prediction and labels."""


class VoxelValidation:
    """One pass over each room.

    Args:
        voxel: metres, the training's voxel size.
        max_points: a larger room is cut to the voxels nearest to its middle point (800,000 on S3DIS; MM-3DScene on
            ScanNet: 80,000). None: no limit.
        all_points: carry each voxel's prediction over to all of its points and score these (Pointcept's validation);
            ``max_points`` must be None.
        seed: of the choice of points; together with the room's name, so that rooms do not depend on their order.
    """

    name = "voxel_validation"

    def __init__(
        self, voxel: float, max_points: int | None = 800_000, all_points: bool = False, seed: int = 123
    ) -> None:
        if voxel <= 0:
            raise ValueError(f"voxel must be a positive length in metres, not {voxel}")
        if all_points and max_points is not None:
            raise ValueError("all_points needs max_points=null: points outside of the cut would have no prediction")
        self.voxel, self.max_points, self.all_points, self.seed = voxel, max_points, all_points, seed

    @torch.no_grad()
    def __call__(
        self,
        model: Any,
        scene: Scene,
        inputs: tuple[str, ...],
        device: torch.device | str = "cpu",
        checkpoint: Path | None = None,
    ) -> Prediction:
        """Predict one room.

        Args:
            model: a segmentation task model in evaluation mode.
            scene: the room; its labels may be missing, then all points count as ignored.
            inputs: what the network reads, by name, in order (``backbone.input``).
            checkpoint: not used, a pass is short.

        Returns:
            prediction: ``logits`` (M, classes) and, unless all points are predicted, ``index`` (M,) the points' rows of
            the room; labels: ``segment`` (M,); M voxels, or all points of the room.
        """
        sample = sample_of(scene)
        order, starts, counts = voxel_groups(sample.coord, self.voxel)
        random = numpy_generator(self.seed, self.name, scene.name)
        rows = order[starts + random.integers(0, counts.max(), len(counts)) % counts]
        chosen = self._cut(sample.take(rows))
        points = planned_for(model, points_of(shift_to_minimum(chosen), inputs), device)
        logits = model.predict(points)["logits"].cpu()
        if not self.all_points:
            return {"logits": logits, "index": torch.from_numpy(chosen.index)}, {"segment": segment_of(chosen)}
        voxel_of_point = np.empty(sample.num_points, dtype=np.int64)
        voxel_of_point[order] = np.repeat(np.arange(len(counts)), counts)
        return {"logits": logits[torch.from_numpy(voxel_of_point)]}, {"segment": segment_of(sample)}

    def _cut(self, sample: Sample) -> Sample:
        if self.max_points is None or sample.num_points <= self.max_points:
            return sample
        distance = ((sample.coord - sample.coord[sample.num_points // 2]) ** 2).sum(axis=1)
        return sample.take(np.argpartition(distance, self.max_points - 1)[: self.max_points])


def segment_of(sample: Sample) -> Tensor:
    """(N,) int64 labels, -1 throughout when the room has none."""
    if sample.segment is None:
        return torch.full((sample.num_points,), -1)
    return torch.from_numpy(np.ascontiguousarray(sample.segment, dtype=np.int64))
