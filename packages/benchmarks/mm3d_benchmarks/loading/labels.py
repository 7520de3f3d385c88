"""Labels of one sample as the tensors that losses read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError

MAX_BOXES = 64  # facebookresearch/votenet; H3DNet allows 128 on ScanNet
POINT_LABELS = ("segment", "instance", "votes", "vote_mask")  # joined point by point; all others stack scene by scene


def segmentation_targets(sample: Sample) -> dict[str, Tensor]:
    """``segment`` (N,) int64, -1 = ignored.

    Raises:
        UserError: the scene has no labels.
    """
    if sample.segment is None:
        raise UserError(f"scene {sample.name} has no segment labels; fine-tune on a data set that has them")
    return {"segment": torch.from_numpy(sample.segment)}


def object_segments(facts: DatasetFacts) -> tuple[int, ...]:
    """Segment ids of the classes that have boxes (ScanNet's box class "garbagebin" is its segment "otherfurniture")."""
    names = {"otherfurniture" if name == "garbagebin" else name for name in facts.detection_classes}
    return tuple(number for number, name in enumerate(facts.segment_classes) if name in names)


def detection_targets(
    sample: Sample, votes: str = "hull", objects: Sequence[int] = (), num_boxes: int = MAX_BOXES
) -> dict[str, Tensor]:
    """Boxes (padded to ``num_boxes``) and votes of one sample.

    Args:
        votes: ``"hull"``: points of an object vote for the middle of the hull of its sampled points (VoteNet on
            ScanNet); ``"box"``: for the center of its box (H3DNet on ScanNet); ``"inside"``: points vote for the boxes
            they lie in (SUN RGB-D).
        objects: segment ids whose instances have boxes (``"hull"`` and ``"box"``).

    Returns:
        ``center`` (K, 3), ``size`` (K, 3) full, ``heading`` (K,), ``box_class`` (K,) int64, ``box_mask`` (K,) bool,
        ``votes`` (N, 3, 3) metres from the point, ``vote_mask`` (N,) bool, ``instance`` (N,), ``segment`` (N,) int64.

    Raises:
        UserError: the scene has no boxes, or more than ``num_boxes``; ``votes`` needs labels that it does not have.
    """
    boxes = sample.boxes
    if boxes is None:
        raise UserError(f"scene {sample.name} has no boxes; fine-tune detection on a data set that has them")
    if len(boxes) > num_boxes:
        raise UserError(f"scene {sample.name} has {len(boxes)} boxes, more than the {num_boxes} that the losses hold")
    padded = np.zeros((num_boxes, 8), dtype=np.float32)
    padded[: len(boxes)] = boxes
    offsets, mask = _votes(sample, boxes, votes, objects)
    nothing = np.full(sample.num_points, -1, dtype=np.int64)
    return {
        "center": torch.from_numpy(padded[:, :3].copy()),
        "size": torch.from_numpy(padded[:, 3:6].copy()),
        "heading": torch.from_numpy(padded[:, 6].copy()),
        "box_class": torch.from_numpy(padded[:, 7].astype(np.int64)),
        "box_mask": torch.arange(num_boxes) < len(boxes),
        "votes": torch.from_numpy(offsets),
        "vote_mask": torch.from_numpy(mask),
        "instance": torch.from_numpy(nothing if sample.instance is None else sample.instance),
        "segment": torch.from_numpy(nothing if sample.segment is None else sample.segment),
    }


def _votes(sample: Sample, boxes: np.ndarray, rule: str, objects: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    if rule == "inside":
        return votes_inside(sample.coord, boxes)
    if rule not in ("hull", "box"):
        raise UserError(f"votes={rule!r} is unknown: choose hull, box or inside")
    if sample.instance is None or sample.segment is None:
        raise UserError(
            f"scene {sample.name} has no instance and segment labels, which votes={rule} needs; choose votes=inside"
        )
    return votes_by_instance(sample.coord, sample.instance, sample.segment, objects, boxes if rule == "box" else None)


def votes_by_instance(
    coord: np.ndarray,
    instance: np.ndarray,
    segment: np.ndarray,
    objects: Sequence[int],
    boxes: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Votes of the points of objects, three identical copies each.

    An instance is an object if the segment of its first point is in ``objects``. Its points vote for the middle of
    their own hull, or with ``boxes`` for the center of the box nearest to it.

    Returns:
        votes: (N, 3, 3) float32 offsets from point to center, metres.
        mask: (N,) bool, which points vote.
    """
    votes = np.zeros((len(coord), 3, 3), dtype=np.float32)
    mask = np.zeros(len(coord), dtype=bool)
    order = np.argsort(instance, kind="stable")
    ids, starts = np.unique(instance[order], return_index=True)
    for number, rows in zip(ids, np.split(order, starts[1:]), strict=True):
        if number < 0 or segment[rows[0]] not in objects:
            continue
        center = (coord[rows].min(axis=0) + coord[rows].max(axis=0)) / 2
        if boxes is not None and len(boxes):
            center = boxes[np.abs(boxes[:, :3] - center).sum(axis=1).argmin(), :3]
        votes[rows] = (center - coord[rows])[:, None, :]
        mask[rows] = True
    return votes, mask


def votes_inside(coord: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Votes of the points inside oriented boxes: the first box fills the three slots, the second replaces slot 2, every
    further one slot 3 (facebookresearch/votenet sunrgbd/sunrgbd_data.py). Returns as :func:`votes_by_instance`."""
    votes = np.zeros((len(coord), 3, 3), dtype=np.float32)
    seen = np.zeros(len(coord), dtype=np.int64)
    for box in boxes:
        inside = np.flatnonzero(in_box(coord, box))
        vote = box[:3] - coord[inside]
        first = seen[inside] == 0
        votes[inside[first]] = vote[first][:, None, :]
        votes[inside[~first], np.minimum(seen[inside[~first]], 2)] = vote[~first]
        seen[inside] += 1
    return votes, seen > 0


def in_box(coord: np.ndarray, box: np.ndarray) -> np.ndarray:
    """(N,) whether each point lies in an upright box cx cy cz l w h heading (VoteNet's heading: from +x towards -y)."""
    cos, sin = np.cos(box[6]), np.sin(box[6])
    local = coord - box[:3]
    along = cos * local[:, 0] - sin * local[:, 1]
    across = sin * local[:, 0] + cos * local[:, 1]
    return (np.abs(along) <= box[3] / 2) & (np.abs(across) <= box[4] / 2) & (np.abs(local[:, 2]) <= box[5] / 2)
