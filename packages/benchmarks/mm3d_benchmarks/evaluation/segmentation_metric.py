"""Semantic segmentation scores: per-class IoU and accuracy, their means, and overall accuracy.

Source: the counts and the 1e-10 of POSTECH-CVLab/point-transformer, util/common_util.py. Counts are summed over all
rooms before any division; a class that never occurs counts as 0 in the means, it is not skipped (the published rule).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mm3d_core.errors import UserError

DIVERGED = "the network diverged; fine-tune it again with a smaller learning rate"
EPSILON = 1e-10  # added to every denominator; POSTECH-CVLab/point-transformer, tool/test.py


class NothingToScoreError(UserError, ValueError):
    """No labelled point was seen, so that no score means anything."""


class SegmentationMetric:
    """Counts over every labelled point of every room.

    Args:
        class_names: one name per class, in label order.
        ignore_label: points with this label, and what is predicted there, are left out of all counts.
    """

    def __init__(self, class_names: Sequence[str], ignore_label: int = -1) -> None:
        if not class_names:
            raise ValueError("class_names is empty")
        if len(set(class_names)) != len(class_names):
            raise ValueError("class_names repeats a name; the scores of the two classes could not be told apart")
        self.class_names = tuple(class_names)
        self.ignore_label = ignore_label
        classes = len(self.class_names)
        self._intersection = torch.zeros(classes, dtype=torch.int64)
        self._target = torch.zeros(classes, dtype=torch.int64)
        self._predicted = torch.zeros(classes, dtype=torch.int64)
        self._rooms = 0

    def update(self, prediction: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
        """Add one room (or several laid end to end).

        Args:
            prediction: ``"segment"`` (N,) class numbers, or ``"logits"`` (N, classes) whose largest entry is the class.
            labels: ``"segment"`` (N,) class numbers or ``ignore_label``.

        Raises:
            UserError: logits that are not finite.
            ValueError: labels or predictions outside the classes, or sizes that differ.
        """
        segment, truth = self._classes(prediction), labels["segment"].long().cpu()
        if segment.shape != truth.shape:
            raise ValueError(f"prediction has {segment.shape[0]} points, labels have {truth.shape[0]}")
        counted = truth != self.ignore_label
        segment, truth = segment[counted], truth[counted]
        self._check_range("prediction", segment)
        self._check_range("labels['segment']", truth)
        classes = len(self.class_names)
        self._intersection += torch.bincount(truth[segment == truth], minlength=classes)
        self._target += torch.bincount(truth, minlength=classes)
        self._predicted += torch.bincount(segment, minlength=classes)
        self._rooms += 1

    def compute(self) -> dict[str, float]:
        """Scores in percent: mIoU, mAcc, OA, then ``IoU/<class>`` and ``Acc/<class>``.

        Raises:
            NothingToScoreError: no labelled point was seen.
        """
        if int(self._target.sum()) == 0:
            raise NothingToScoreError(
                f"none of the {self._rooms} evaluated rooms has a labelled point; choose a split with labels"
            )
        intersection, target = self._intersection.double(), self._target.double()
        iou = 100 * intersection / (target + self._predicted.double() - intersection + EPSILON)
        accuracy = 100 * intersection / (target + EPSILON)
        scores = {
            "mIoU": float(iou.mean()),
            "mAcc": float(accuracy.mean()),
            "OA": float(100 * intersection.sum() / (target.sum() + EPSILON)),
        }
        scores |= {f"IoU/{name}": float(value) for name, value in zip(self.class_names, iou, strict=True)}
        scores |= {f"Acc/{name}": float(value) for name, value in zip(self.class_names, accuracy, strict=True)}
        return scores

    def state(self) -> dict[str, Any]:
        """The counts, as JSON can hold them: an interrupted evaluation goes on from here."""
        return {
            "class_names": list(self.class_names),
            "intersection": self._intersection.tolist(),
            "target": self._target.tolist(),
            "predicted": self._predicted.tolist(),
            "rooms": self._rooms,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take over the counts that :meth:`state` returned.

        Raises:
            ValueError: the state was kept for other classes.
        """
        if tuple(state["class_names"]) != self.class_names:
            raise ValueError(f"the state counts the classes {state['class_names']}, not {list(self.class_names)}")
        self._intersection = torch.tensor(state["intersection"], dtype=torch.int64)
        self._target = torch.tensor(state["target"], dtype=torch.int64)
        self._predicted = torch.tensor(state["predicted"], dtype=torch.int64)
        self._rooms = int(state["rooms"])

    def _classes(self, prediction: Mapping[str, Tensor]) -> Tensor:
        """(N,) int64 predicted classes on the CPU."""
        if "segment" in prediction:
            return prediction["segment"].long().cpu()
        logits = prediction["logits"]
        if logits.ndim != 2 or logits.shape[1] != len(self.class_names):
            raise ValueError(f"logits must be (N, {len(self.class_names)}), not {tuple(logits.shape)}")
        if not bool(torch.isfinite(logits).all()):
            raise UserError(f"logits are not finite: {DIVERGED}")
        return logits.argmax(1).cpu()

    def _check_range(self, name: str, value: Tensor) -> None:
        if value.numel() and (int(value.min()) < 0 or int(value.max()) >= len(self.class_names)):
            raise ValueError(f"{name} holds classes outside 0..{len(self.class_names) - 1}")
