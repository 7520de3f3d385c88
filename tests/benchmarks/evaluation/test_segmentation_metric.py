"""Segmentation scores: a case small enough for pencil and paper, the published rules, and state that survives."""

from __future__ import annotations

import json

import pytest
import torch

from mm3d_benchmarks.evaluation.segmentation_metric import SegmentationMetric
from mm3d_core.errors import UserError

TRUTH = torch.tensor([0, 0, 0, 1, 1, 2, -1])
GUESS = torch.tensor([0, 0, 1, 1, 1, 0, 2])


def scored(
    *rooms: tuple[torch.Tensor, torch.Tensor], names: tuple[str, ...] = ("wall", "floor", "chair")
) -> dict[str, float]:
    metric = SegmentationMetric(names)
    for guess, truth in rooms:
        metric.update({"segment": guess}, {"segment": truth})
    return metric.compute()


def test_scores_equal_those_by_hand():
    # wall: 2 of 3 right, 3 predicted -> 2/4; floor: 2 of 2, 3 predicted -> 2/3; chair: 0 of 1 -> 0, one guess ignored
    scores = scored((GUESS, TRUTH))
    assert scores["IoU/wall"] == pytest.approx(50)
    assert scores["IoU/floor"] == pytest.approx(200 / 3)
    assert scores["IoU/chair"] == pytest.approx(0)
    assert scores["mIoU"] == pytest.approx((50 + 200 / 3) / 3)
    assert scores["mAcc"] == pytest.approx((200 / 3 + 100) / 3)
    assert scores["OA"] == pytest.approx(400 / 6)


def test_counts_are_summed_over_rooms_before_dividing():
    apart = scored((GUESS[:3], TRUTH[:3]), (GUESS[3:], TRUTH[3:]))
    assert apart == scored((GUESS, TRUTH))


def test_a_class_that_never_occurs_counts_as_zero():
    present = scored((torch.tensor([0, 1]), torch.tensor([0, 1])), names=("wall", "floor"))
    absent = scored((torch.tensor([0, 1]), torch.tensor([0, 1])))
    assert (present["mIoU"], absent["mIoU"]) == (pytest.approx(100), pytest.approx(200 / 3))


def test_logits_and_classes_score_alike():
    logits = torch.nn.functional.one_hot(GUESS, 3).float()
    metric = SegmentationMetric(("wall", "floor", "chair"))
    metric.update({"logits": logits}, {"segment": TRUTH})
    assert metric.compute() == scored((GUESS, TRUTH))


def test_an_interrupted_evaluation_goes_on_from_its_state():
    metric = SegmentationMetric(("wall", "floor", "chair"))
    metric.update({"segment": GUESS[:3]}, {"segment": TRUTH[:3]})
    resumed = SegmentationMetric(("wall", "floor", "chair"))
    resumed.load_state(json.loads(json.dumps(metric.state())))
    resumed.update({"segment": GUESS[3:]}, {"segment": TRUTH[3:]})
    assert resumed.compute() == scored((GUESS, TRUTH))
    with pytest.raises(ValueError, match="counts the classes"):
        SegmentationMetric(("wall", "floor")).load_state(metric.state())


def test_bad_predictions_are_refused():
    metric = SegmentationMetric(("wall", "floor", "chair"))
    broken = torch.zeros(7, 3)
    broken[4, 1] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        metric.update({"logits": broken}, {"segment": TRUTH})
    with pytest.raises(ValueError, match="7"):
        metric.update({"segment": GUESS[:3]}, {"segment": TRUTH})
    with pytest.raises(ValueError, match="outside"):
        metric.update({"segment": GUESS}, {"segment": TRUTH + 1})


def test_rooms_without_labels_cannot_be_scored():
    with pytest.raises(UserError, match="labelled point"):
        scored((GUESS, torch.full((7,), -1)))
