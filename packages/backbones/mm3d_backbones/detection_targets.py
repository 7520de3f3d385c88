"""How boxes are written as numbers a network can predict, and back: VoteNet's parametrization (arXiv:1904.09664).

A heading is a bin and a residual, a size is a class template plus a residual; the center is an offset to the clustered
vote. Values and slice order: facebookresearch/votenet, models/proposal_module.py, scannet/ and sunrgbd/model_util_*.py.

    slice of the head's output    length   meaning
    0                             2        objectness logits (1 = object)
    2                             3        center - clustered vote, metres
    5                             NH       heading bin logits
    5 + NH                        NH       heading residual / (pi / NH)
    5 + 2 NH                      C        size class logits
    5 + 2 NH + C                  3 C      size residual / template, class by class
    5 + 2 NH + 4 C                C        semantic logits
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mm3d_core.boxes import count_points_in_boxes, wrap_heading
from mm3d_core.points import PointBatch


@dataclass(frozen=True)
class Proposals:
    """What a proposal head says about K proposals in each of B scenes.

    Attributes:
        cluster: (B, K, 3) clustered votes, metres.
        feat: (B, K, F) features of the clusters.
        objectness: (B, K, 2) logits.
        center: (B, K, 3) metres.
        heading_logits: (B, K, NH).
        heading_residuals: (B, K, NH) in units of pi / NH.
        size_logits: (B, K, C).
        size_residuals: (B, K, C, 3) in units of the class template.
        class_logits: (B, K, C).
    """

    cluster: Tensor
    feat: Tensor
    objectness: Tensor
    center: Tensor
    heading_logits: Tensor
    heading_residuals: Tensor
    size_logits: Tensor
    size_residuals: Tensor
    class_logits: Tensor


@dataclass(frozen=True)
class BoxTargets:
    """Ground truth of B scenes in the network's terms; padding rows are all zero.

    Attributes:
        center: (B, G, 3) metres.
        mask: (B, G) bool, which rows are boxes.
        heading_bin: (B, G) int64.
        heading_residual: (B, G) radians, at most pi / NH in magnitude.
        box_class: (B, G) int64; also the size class.
        size_residual: (B, G, 3) metres.
        boxes: (B, G, 7).
    """

    center: Tensor
    mask: Tensor
    heading_bin: Tensor
    heading_residual: Tensor
    box_class: Tensor
    size_residual: Tensor
    boxes: Tensor


def encode_heading(heading: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Bin (int64) and residual (radians); bin k is centered at k * 2 pi / bins and closed at its lower border."""
    width = 2 * math.pi / bins
    shifted = torch.remainder(torch.remainder(heading, 2 * math.pi) + width / 2, 2 * math.pi)
    number = torch.floor(shifted / width).long().clamp(max=bins - 1)
    return number, shifted - (number.to(shifted.dtype) * width + width / 2)


def decode_heading(number: Tensor, residual: Tensor, bins: int) -> Tensor:
    """The heading in (-pi, pi] of a bin and a residual in radians."""
    return wrap_heading(number.to(residual.dtype) * (2 * math.pi / bins) + residual)


class BoxCodec(nn.Module):
    """Writes boxes as targets and reads boxes out of proposals.

    Args:
        num_heading_bins: NH; 1 means that boxes are axis-aligned: whatever the network says, headings are 0.
        mean_sizes: (C, 3) size template of each class, full l w h in metres.
        head_heading_bins: bins the head predicts, by default NH. H3DNet's ScanNet head carries 24 that nobody reads.

    Raises:
        ValueError: templates that are not (C, 3) and positive.
    """

    mean_sizes: Tensor

    def __init__(
        self,
        num_heading_bins: int,
        mean_sizes: Sequence[Sequence[float]] | Tensor,
        head_heading_bins: int | None = None,
    ) -> None:
        super().__init__()
        sizes = torch.as_tensor(mean_sizes, dtype=torch.float32)
        if sizes.ndim != 2 or sizes.shape[1] != 3 or not bool((sizes > 0).all()):
            raise ValueError(f"mean_sizes must be (classes, 3) positive metres, not {tuple(sizes.shape)}")
        if num_heading_bins < 1:
            raise ValueError(f"num_heading_bins={num_heading_bins}, but 1 stands for axis-aligned boxes")
        self.axis_aligned = num_heading_bins == 1
        self.num_heading_bins = head_heading_bins or num_heading_bins
        self.register_buffer("mean_sizes", sizes, persistent=False)

    @property
    def num_classes(self) -> int:
        """C."""
        return self.mean_sizes.shape[0]

    @property
    def width(self) -> int:
        """Outputs of a proposal head."""
        return 2 + 3 + 2 * self.num_heading_bins + 5 * self.num_classes

    def read(self, output: Tensor, cluster: Tensor, feat: Tensor) -> Proposals:
        """Proposals of a head's ``output`` (B, K, width) for clusters (B, K, 3) with features (B, K, F)."""
        bins, classes = self.num_heading_bins, self.num_classes
        parts = output.split([2, 3, bins, bins, classes, 3 * classes, classes], dim=-1)
        return Proposals(
            cluster=cluster,
            feat=feat,
            objectness=parts[0],
            center=cluster + parts[1],
            heading_logits=parts[2],
            heading_residuals=parts[3],
            size_logits=parts[4],
            size_residuals=parts[5].unflatten(-1, (classes, 3)),
            class_logits=parts[6],
        )

    def sizes(self, size_class: Tensor, size_residuals: Tensor) -> Tensor:
        """Full sizes (B, K, 3) for the chosen classes (B, K) of normalized residuals (B, K, C, 3)."""
        return self.mean_sizes[size_class] * (1 + pick(size_residuals, size_class))

    def headings(self, number: Tensor, heading_residuals: Tensor) -> Tensor:
        """Headings (B, K) for the chosen bins (B, K) of normalized residuals (B, K, NH); 0 when axis-aligned."""
        if self.axis_aligned:
            return torch.zeros_like(number, dtype=heading_residuals.dtype)
        residual = pick(heading_residuals, number) * (math.pi / self.num_heading_bins)
        return decode_heading(number, residual, self.num_heading_bins)

    def decode(self, proposals: Proposals) -> Tensor:
        """Boxes (B, K, 7) by the most likely heading bin and size class of each proposal."""
        size = self.sizes(proposals.size_logits.argmax(-1), proposals.size_residuals)
        heading = self.headings(proposals.heading_logits.argmax(-1), proposals.heading_residuals)
        return torch.cat([proposals.center, size, heading[..., None]], -1)

    def encode(self, labels: Mapping[str, Tensor]) -> BoxTargets:
        """Targets of "center", "size", "heading", "box_class", "box_mask" (B, G, ...).

        Raises:
            ValueError: a box without positive size, or a class without a template (checked on the CPU only; a GPU check
                would wait).
        """
        mask, box_class = labels["box_mask"].bool(), labels["box_class"]
        if mask.device.type == "cpu":
            _check_labels(labels, self.num_classes)
        box_class = torch.where(mask, box_class, 0)
        heading = torch.where(mask, labels["heading"], 0.0)
        bins = self.num_heading_bins
        number, residual = encode_heading(torch.zeros_like(heading) if self.axis_aligned else heading, bins)
        center = torch.where(mask[..., None], labels["center"], 0.0)
        size = torch.where(mask[..., None], labels["size"], 0.0)
        return BoxTargets(
            center=center,
            mask=mask,
            heading_bin=number,
            heading_residual=residual,
            box_class=box_class,
            size_residual=torch.where(mask[..., None], size - self.mean_sizes[box_class], 0.0),
            boxes=torch.cat([center, size, heading[..., None]], -1),
        )


def pick(values: Tensor, choice: Tensor) -> Tensor:
    """values[b, k, choice[b, k]]: (B, K, C, ...) and (B, K) -> (B, K, ...)."""
    index = choice.reshape(*choice.shape, 1, *[1] * (values.ndim - 3)).expand(*choice.shape, 1, *values.shape[3:])
    return values.gather(2, index).squeeze(2)


def take(values: Tensor, row: Tensor) -> Tensor:
    """values[b, row[b, k]]: (B, G, ...) and (B, K) -> (B, K, ...)."""
    return values[torch.arange(row.shape[0], device=row.device)[:, None], row]


def predictions(points: PointBatch, boxes: Tensor, objectness: Tensor, class_logits: Tensor) -> dict[str, Tensor]:
    """What ``predict`` of a detector returns.

    Args:
        points: what the detector read.
        boxes: (B, K, 7).
        objectness: (B, K, 2) logits.
        class_logits: (B, K, C).

    Returns:
        "boxes"; "scores" (B, K) objectness probability; "class_scores" (B, K, C) probabilities; "point_count" (B, K)
        int64, the points of the input inside each box, by which an evaluation drops empty boxes.
    """
    counts = [count_points_in_boxes(points.coord[rows], boxes[scene]) for scene, rows in enumerate(points.scenes())]
    return {
        "boxes": boxes,
        "scores": objectness.softmax(-1)[..., 1],
        "class_scores": class_logits.softmax(-1),
        "point_count": torch.stack(counts),
    }


def _check_labels(labels: Mapping[str, Tensor], num_classes: int) -> None:
    mask = labels["box_mask"].bool()
    sizes, classes = labels["size"][mask], labels["box_class"][mask]
    if bool((sizes <= 0).any()):
        raise ValueError(
            f"labels['size'] holds a box of size {sizes[(sizes <= 0).any(1)][0].tolist()}; sizes are positive"
        )
    if classes.numel() and not 0 <= int(classes.min()) <= int(classes.max()) < num_classes:
        raise ValueError(
            f"labels['box_class'] reaches {int(classes.min())}..{int(classes.max())} of {num_classes} classes"
        )
