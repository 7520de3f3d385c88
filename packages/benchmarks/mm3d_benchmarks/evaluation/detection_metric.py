"""Average precision of 3D detections, a scene at a time.

The protocol is VoteNet's (arXiv:1904.09664; facebookresearch/votenet, models/ap_helper.py and utils/eval_det.py):
proposals -> empty boxes removed -> non-maximum suppression -> objectness threshold -> one detection per class ->
greedy matching -> area under the precision envelope, all points.

Changed where the released evaluation is wrong or depends on the order of its input:

* a class with ground truth and no detection has AP 0 (the release raises or shifts the other classes);
* a class without ground truth has no AP: it is left out of the mean and counted (the release gives NaN);
* detections of equal score enter the curve together, so the order of scenes and of proposals changes nothing;
* oriented boxes whose footprints coincide have their true overlap (``mm3d_core.boxes``).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mm3d_core.boxes import box_iou, non_maximum_suppression
from mm3d_core.errors import UserError

STATE_VERSION = 1


class NothingToScoreError(UserError, ValueError):
    """No evaluated scene holds a box, so that no average precision is defined."""


@dataclass(frozen=True)
class Detections:
    """What is left of one scene's proposals: boxes (K, 7), and for each detection its row, class and score."""

    boxes: Tensor
    row: np.ndarray
    box_class: np.ndarray
    score: np.ndarray


class DetectionMetric:
    """mAP, AR and AP per class at any overlap thresholds.

    Args:
        class_names: C names in the order of the class numbers.
        iou_thresholds: a detection is right when its overlap is MORE than this (0.25 and 0.5 in the paper).
        nms_threshold: overlap above which the weaker box is dropped; one number for all ``iou_thresholds``, or one each
            (H3DNet's release suppresses at 0.25 for AP@0.25 and at 0.5 for AP@0.5).
        nms_measure: ``volume``, or ``footprint`` (2D suppression, the bare default of VoteNet's program).
        nms_over: ``union``, or ``second`` (the release's "old type").
        nms_per_class: only boxes of the same most likely class suppress each other.
        min_objectness: proposals at or below this probability are dropped.
        per_class_proposals: every kept box is a detection of every class, scored objectness times class probability;
            otherwise a detection of its most likely class, scored by objectness.
        min_points: boxes holding fewer points of the network's input are dropped before suppression; 0 keeps all.

    Raises:
        ValueError: thresholds outside of [0, 1), or as many ``nms_threshold`` as there are no ``iou_thresholds`` for.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        iou_thresholds: Sequence[float] = (0.25, 0.5),
        nms_threshold: float | Sequence[float] = 0.25,
        nms_measure: str = "volume",
        nms_over: str = "union",
        nms_per_class: bool = True,
        min_objectness: float = 0.05,
        per_class_proposals: bool = True,
        min_points: int = 5,
    ) -> None:
        self.class_names = list(class_names)
        self.iou_thresholds = [float(value) for value in iou_thresholds]
        if not self.iou_thresholds or not all(0 <= value < 1 for value in self.iou_thresholds):
            raise ValueError(f"iou_thresholds={list(iou_thresholds)}, but at least one in [0, 1) is needed")
        single = isinstance(nms_threshold, int | float)
        self.nms_threshold = [float(nms_threshold)] * len(self.iou_thresholds) if single else list(nms_threshold)
        if len(self.nms_threshold) != len(self.iou_thresholds):
            raise ValueError(
                f"nms_threshold has {len(self.nms_threshold)} values for {len(self.iou_thresholds)} iou_thresholds"
            )
        self.nms_measure, self.nms_over, self.nms_per_class = nms_measure, nms_over, nms_per_class
        self.min_objectness, self.per_class_proposals, self.min_points = min_objectness, per_class_proposals, min_points
        self._scenes = 0
        self._truth = np.zeros(len(self.class_names), np.int64)
        self._suppressions = sorted(set(self.nms_threshold))
        # Chunks by [suppression][class] and by [threshold][class], one chunk a scene.
        self._score: _Chunks = [[[] for _ in self.class_names] for _ in self._suppressions]
        self._right: _Chunks = [[[] for _ in self.class_names] for _ in self.iou_thresholds]

    def update(self, prediction: Mapping[str, Tensor], labels: Mapping[str, Tensor]) -> None:
        """Score the scenes of one batch; nothing of them is kept but a score and a bit per detection.

        Args:
            prediction: "boxes" (B, M, 7), "scores" (B, M) objectness in [0, 1], "class_scores" (B, M, C) probabilities,
                and, when ``min_points`` is positive, "point_count" (B, M), the input points inside each box.
            labels: "center" (B, K, 3), "size" (B, K, 3) full, "heading" (B, K), "box_class" (B, K), "box_mask" (B, K).

        Raises:
            UserError: a ground-truth box without positive size, or a class number outside of the class names.
            ValueError: a prediction that lacks "point_count" or has another number of classes.
        """
        if self.min_points and "point_count" not in prediction:
            raise ValueError('prediction lacks "point_count", which dropping empty boxes needs; set min_points to 0')
        for scene in range(prediction["boxes"].shape[0]):
            one = {name: value[scene].detach().cpu() for name, value in prediction.items() if name in _PREDICTION}
            truth, truth_class = self._ground_truth(
                {name: value[scene].cpu() for name, value in labels.items() if name in _TRUTH}
            )
            self._scenes += 1
            self._truth += np.bincount(truth_class, minlength=len(self.class_names))
            for number, suppression in enumerate(self._suppressions):
                self._match(number, self.detections(one, suppression), truth, truth_class)

    def detections(self, prediction: Mapping[str, Tensor], nms_threshold: float) -> Detections:
        """The detections of ONE scene: "boxes" (M, 7), "scores" (M,), "class_scores" (M, C) and "point_count" (M,).

        A box that is not finite, as a network that diverged gives, is no detection.
        """
        boxes, objectness, probability = prediction["boxes"], prediction["scores"], prediction["class_scores"]
        if probability.shape[-1] != len(self.class_names):
            raise ValueError(f"class_scores has {probability.shape[-1]} classes, the metric {len(self.class_names)}")
        alive = torch.isfinite(boxes).all(-1) & torch.isfinite(objectness)
        if self.min_points:
            alive &= prediction["point_count"] >= self.min_points
        rows = torch.nonzero(alive)[:, 0]
        best = probability[rows].argmax(-1)
        classes = best if self.nms_per_class else None
        kept = non_maximum_suppression(
            boxes[rows], objectness[rows], nms_threshold, classes, self.nms_measure, self.nms_over
        )
        kept = kept[objectness[rows[kept]] > self.min_objectness]
        rows, best = rows[kept], best[kept].numpy()
        score = objectness[rows].float().numpy()
        if not self.per_class_proposals:
            return Detections(boxes[rows], np.arange(len(rows)), best, score)
        classes_per_box = len(self.class_names)
        return Detections(
            boxes=boxes[rows],
            row=np.repeat(np.arange(len(rows)), classes_per_box),
            box_class=np.tile(np.arange(classes_per_box), len(rows)),
            score=(score[:, None] * probability[rows].float().numpy()).ravel(),
        )

    def compute(self) -> dict[str, float]:
        """In percent, for each threshold t: "mAP@t", "AR@t"; per class with truth "AP@t/<class>", "recall@t/<class>".

        "classes_scored" and "classes_undefined" count the classes with and without ground truth.

        Raises:
            NothingToScoreError: no evaluated scene holds a box.
        """
        scored = np.flatnonzero(self._truth).tolist()
        if not scored:
            raise NothingToScoreError(
                f"none of the {self._scenes} evaluated scenes holds a box of any class; choose another split"
            )
        result = {"classes_scored": float(len(scored)), "classes_undefined": float(len(self.class_names) - len(scored))}
        for level, threshold in enumerate(self.iou_thresholds):
            curves = {c: self.curve(level, c) for c in scored}
            precision = {c: 100 * average_precision(*curves[c]) for c in scored}
            recall = {c: 100 * float(curves[c][0][-1]) if len(curves[c][0]) else 0.0 for c in scored}
            result[f"mAP@{threshold:g}"] = float(np.mean(list(precision.values())))
            result[f"AR@{threshold:g}"] = float(np.mean(list(recall.values())))
            for c in scored:
                result[f"AP@{threshold:g}/{self.class_names[c]}"] = precision[c]
                result[f"recall@{threshold:g}/{self.class_names[c]}"] = recall[c]
        return result

    def curve(self, level: int, box_class: int) -> tuple[np.ndarray, np.ndarray]:
        """Recall and precision of one class at ``iou_thresholds[level]``, after each distinct score, best first."""
        score = _joined(self._score[self._suppressions.index(self.nms_threshold[level])][box_class], np.float32)
        right = _joined(self._right[level][box_class], np.bool_)
        order = np.argsort(-score, kind="stable")
        ends = np.flatnonzero(np.diff(score[order], append=np.float32(-np.inf)))
        found = np.cumsum(right[order].astype(np.float64))[ends]
        return found / self._truth[box_class], found / (ends + 1)

    def state(self) -> dict[str, Any]:
        """Everything ``load_state`` needs to go on after a stop, fit for JSON."""
        return {
            "version": STATE_VERSION,
            "class_names": self.class_names,
            "iou_thresholds": self.iou_thresholds,
            "nms_threshold": self.nms_threshold,
            "scenes": self._scenes,
            "truth": self._truth.tolist(),
            "score": [[_pack(_joined(chunks, np.float32)) for chunks in part] for part in self._score],
            "right": [[_pack(np.packbits(_joined(chunks, np.bool_))) for chunks in part] for part in self._right],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state`` was taken. Raises UserError when it belongs to other classes or thresholds."""
        for name in ("class_names", "iou_thresholds", "nms_threshold"):
            if list(state[name]) != list(getattr(self, name)):
                raise UserError(
                    f"the saved evaluation has {name} {state[name]}, this one {getattr(self, name)}; start it anew"
                )
        if state["version"] != STATE_VERSION:
            raise UserError(f"the saved evaluation has version {state['version']}, not {STATE_VERSION}; start it anew")
        self._scenes, self._truth = int(state["scenes"]), np.array(state["truth"], np.int64)
        self._score = [[[_unpack(text, np.float32)] for text in part] for part in state["score"]]
        self._right = []
        for level, texts in enumerate(state["right"]):
            lengths = [len(part[0]) for part in self._score[self._suppressions.index(self.nms_threshold[level])]]
            bits = [np.unpackbits(_unpack(t, np.uint8), count=n) for t, n in zip(texts, lengths, strict=True)]
            self._right.append([[part.astype(np.bool_)] for part in bits])

    def _match(self, number: int, found: Detections, truth: Tensor, truth_class: np.ndarray) -> None:
        """Each detection claims the box of its class that it overlaps most; the best-scored claim on a box is right."""
        overlap = box_iou(found.boxes, truth).numpy()
        levels = [n for n, value in enumerate(self.nms_threshold) if value == self._suppressions[number]]
        for c in np.unique(found.box_class):
            of_class = np.flatnonzero(found.box_class == c)
            of_class = of_class[np.argsort(-found.score[of_class], kind="stable")]
            self._score[number][c].append(found.score[of_class])
            table = overlap[np.ix_(found.row[of_class], np.flatnonzero(truth_class == c))]
            for level in levels:
                self._right[level][c].append(_first_claims(table, self.iou_thresholds[level]))

    def _ground_truth(self, labels: Mapping[str, Tensor]) -> tuple[Tensor, np.ndarray]:
        mask = labels["box_mask"].bool()
        boxes = torch.cat([labels["center"], labels["size"], labels["heading"][:, None]], -1)[mask].double()
        classes = labels["box_class"][mask].numpy()
        if bool((boxes[:, 3:6] <= 0).any()):
            bad = boxes[(boxes[:, 3:6] <= 0).any(-1)][0].tolist()
            raise UserError(f"a ground-truth box has a size that is not positive: {bad}; prepare the data set again")
        if len(classes) and not 0 <= classes.min() <= classes.max() < len(self.class_names):
            raise UserError(
                f"ground-truth classes reach {classes.min()}..{classes.max()}, but there are {len(self.class_names)} "
                "class names; evaluate with the data set the boxes belong to"
            )
        return boxes, classes


def average_precision(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the precision envelope, all points: sum of recall steps times the best precision from there on."""
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())


_Chunks = list[list[list[np.ndarray]]]
_PREDICTION = ("boxes", "scores", "class_scores", "point_count")
_TRUTH = ("center", "size", "heading", "box_class", "box_mask")


def _first_claims(overlap: np.ndarray, threshold: float) -> np.ndarray:
    """Which detections (rows, best first) are the first to overlap their best box (columns) by over ``threshold``."""
    right = np.zeros(len(overlap), np.bool_)
    if overlap.shape[1]:
        claims = np.flatnonzero(overlap.max(1) > threshold)
        right[claims[np.unique(overlap[claims].argmax(1), return_index=True)[1]]] = True
    return right


def _joined(chunks: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *chunks])


def _pack(values: np.ndarray) -> str:
    return base64.b64encode(values.tobytes()).decode("ascii")


def _unpack(text: str, dtype: type) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype).copy()
