"""One pass of a detector over each scene: one random sample of its points (facebookresearch/votenet, eval.py).

The sample decides some tenths of mAP, so its seed is an argument: repeat with other seeds for the spread.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.planned import planned_for
from mm3d_benchmarks.loading.features import points_of
from mm3d_benchmarks.loading.labels import MAX_BOXES, detection_targets
from mm3d_benchmarks.loading.loading import Sampling
from mm3d_core.seeding import numpy_generator

LABELS = ("center", "size", "heading", "box_class", "box_mask")


class DetectionPass:
    """Predict the boxes of one scene.

    Args:
        num_points: points read from each scene, with repeats only when it has fewer; None reads all.
        seed: of the sample; together with the scene's name, so that scenes do not depend on their order.
        max_boxes: most ground-truth boxes of a scene.

    Raises:
        ValueError: ``num_points`` below 1.
    """

    name = "detection_pass"

    def __init__(self, num_points: int | None, seed: int = 0, max_boxes: int = MAX_BOXES) -> None:
        if num_points is not None and num_points < 1:
            raise ValueError(f"num_points={num_points}, but a detector reads at least one point")
        self.num_points, self.seed, self.max_boxes = num_points, seed, max_boxes

    @torch.no_grad()
    def __call__(
        self,
        model: Any,
        scene: Scene,
        inputs: tuple[str, ...],
        device: torch.device | str = "cpu",
        checkpoint: Path | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Predict one scene.

        Args:
            model: a detector in evaluation mode.
            scene: with boxes.
            inputs: what the network reads, by name, in order (``backbone.input``).
            checkpoint: not used, a pass is short.

        Returns:
            prediction and labels as
            :meth:`mm3d_benchmarks.evaluation.detection_metric.DetectionMetric.update` takes them.

        Raises:
            UserError: the scene has no list of boxes (an empty one is fine), or lacks an input.
        """
        sampling = Sampling(inputs=tuple(inputs), num_points=self.num_points, shift=False)
        sample = sampling(scene, numpy_generator(self.seed, self.name, scene.name))
        labels = detection_targets(sample, votes="inside", num_boxes=self.max_boxes)
        prediction = model.predict(planned_for(model, points_of(sample, inputs), device))
        return (
            {name: value.cpu() for name, value in prediction.items()},
            {name: labels[name][None] for name in LABELS},
        )
