"""Semantic segmentation: a per-point classifier on the finest level of any encoder.

Source: the head of POSTECH-CVLab/point-transformer, model/pointtransformer/pointtransformer_seg.py; Stratified
Transformer uses the same one (linear, batch norm, ReLU, linear). Loss: plain cross-entropy over the labelled points of
the batch, no class weights, no smoothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mm3d_core.encoder import Encoder
from mm3d_core.norm import PointNorm
from mm3d_core.points import PointBatch


class Segmentor(nn.Module):
    """An encoder and the classifier of its finest level.

    Args:
        encoder: any encoder whose finest level holds the input points, in their order.
        num_classes: classes to tell apart; 13 for S3DIS, 20 for ScanNet.
        ignore_label: points with this label bear no loss.
        init_std: standard deviation of the classifier's weights, its biases being 0 (Stratified Transformer: 0.02), or
            None for torch's own initialization (Point Transformer).

    Shapes:
        in: PointBatch of N points.
        out: ``predict`` gives {"logits": (N, num_classes) float32}.
    """

    def __init__(
        self, encoder: Encoder, num_classes: int, ignore_label: int = -1, init_std: float | None = None
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes={num_classes}: a classifier needs at least two classes")
        self.encoder = encoder
        self.num_classes = num_classes
        self.ignore_label = ignore_label
        width = encoder.channels[0]
        self.head = nn.Sequential(
            nn.Linear(width, width),
            PointNorm(width, negative_slope=0.0),
            nn.Identity(),  # where the release has the ReLU: names of parameters hold its place
            nn.Linear(width, num_classes),
        )
        if init_std is not None:
            for module in self.head:
                if isinstance(module, nn.Linear):
                    nn.init.normal_(module.weight, std=init_std)
                    nn.init.zeros_(module.bias)

    def forward(self, points: PointBatch) -> Tensor:
        """(N, num_classes) logits."""
        finest = self.encoder(points)[0]
        if finest.num_points != points.num_points:
            raise ValueError(
                f"the encoder's finest level has {finest.num_points} of {points.num_points} points; "
                "segmentation needs a feature for every input point"
            )
        return self.head(finest.feat)

    def predict(self, points: PointBatch) -> dict[str, Tensor]:
        """Logits of every point, in float32. Softmax and voting belong to the test protocol."""
        return {"logits": self(points).float()}

    def loss(self, points: PointBatch, labels: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Mean cross-entropy over the labelled points; a batch without any gives a loss of 0 (and zero gradients).

        Args:
            points: N points.
            labels: ``"segment"`` (N,) int64, ``ignore_label`` where unknown.

        Raises:
            ValueError: labels outside the classes, or of another length.
        """
        segment = labels["segment"].long()
        if segment.shape != (points.num_points,):
            raise ValueError(f"labels['segment'] is {tuple(segment.shape)}, the batch has {points.num_points} points")
        labelled = segment != self.ignore_label
        outside = labelled & ((segment < 0) | (segment >= self.num_classes))
        if bool(outside.any()):
            raise ValueError(
                f"labels['segment'] holds values outside 0..{self.num_classes - 1} and {self.ignore_label}"
            )
        logits = self(points).float()
        total = F.cross_entropy(logits, segment, ignore_index=self.ignore_label, reduction="sum")
        count = labelled.sum()
        with torch.no_grad():
            correct = ((logits.argmax(1) == segment) & labelled).sum() / count.clamp(min=1)
        return {"loss": total / count.clamp(min=1), "accuracy": correct}
