"""Detection metric: hand-made precision-recall cases, and independence of order."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import Tensor

from mm3d_benchmarks.evaluation.detection_metric import DetectionMetric, average_precision
from mm3d_core.errors import UserError

NAMES = ["bed", "chair", "table"]


def truth(*boxes: tuple[float, int], size: float = 1.0) -> dict[str, Tensor]:
    """Unit cubes at (x, 0, 0) of a class, one scene, with a padding row that must not count."""
    count = len(boxes) + 1
    labels = {
        "center": torch.zeros(1, count, 3),
        "size": torch.full((1, count, 3), size),
        "heading": torch.zeros(1, count),
        "box_class": torch.zeros(1, count, dtype=torch.int64),
        "box_mask": torch.arange(count)[None] < count - 1,
    }
    for row, (x, box_class) in enumerate(boxes):
        labels["center"][0, row, 0] = x
        labels["box_class"][0, row] = box_class
    return labels


def found(*boxes: tuple[float, float, int]) -> dict[str, Tensor]:
    """Unit cubes at (x, 0, 0) with an objectness and one certain class, one scene."""
    rows = torch.zeros(1, len(boxes), 7)
    rows[..., 3:6] = 1
    scores, classes = torch.zeros(1, len(boxes)), torch.zeros(1, len(boxes), len(NAMES))
    for row, (x, score, box_class) in enumerate(boxes):
        rows[0, row, 0], scores[0, row], classes[0, row, box_class] = x, score, 1.0
    return {"boxes": rows, "scores": scores, "class_scores": classes}


def metric(**options) -> DetectionMetric:
    return DetectionMetric(NAMES, **{"per_class_proposals": False, "min_points": 0, **options})


def scored(*scenes: tuple[dict, dict], **options) -> dict[str, float]:
    judge = metric(**options)
    for prediction, labels in scenes:
        judge.update(prediction, labels)
    return judge.compute()


def test_perfect_detections_have_an_average_precision_of_100_percent():
    result = scored((found((0, 0.9, 0), (5, 0.8, 1)), truth((0, 0), (5, 1))))
    assert result["mAP@0.25"] == result["mAP@0.5"] == result["AR@0.25"] == 100.0
    assert result["classes_undefined"] == 1.0
    assert "AP@0.25/table" not in result


def test_area_is_under_the_envelope_over_all_points():
    # right, wrong, right of 4 boxes: recall 1/4, 1/4, 2/4; precision 1, 1/2, 2/3
    scene = found((0, 0.9, 0), (50, 0.8, 0), (5, 0.7, 0)), truth((0, 0), (5, 0), (10, 0), (15, 0))
    assert scored(scene)["AP@0.25/bed"] == pytest.approx(100 * (1 / 4 + 1 / 4 * 2 / 3))
    assert scored(scene)["recall@0.25/bed"] == 50.0


def test_envelope_lifts_a_dip_in_precision():
    assert average_precision(torch.tensor([0.0, 0.5]).numpy(), torch.tensor([0.0, 0.5]).numpy()) == 0.25


def test_an_overlap_exactly_at_the_threshold_is_wrong():
    # cubes shifted by 1/2: overlap (1/2) / (3/2) = 1/3
    scene = found((0.5, 0.9, 0)), truth((0, 0))
    assert scored(scene, iou_thresholds=[1 / 3])["mAP@0.333333"] == 0.0
    assert scored(scene, iou_thresholds=[1 / 3 - 1e-9])["mAP@0.333333"] == 100.0


def test_a_second_detection_of_a_box_is_wrong_and_the_better_scored_one_is_right():
    # suppression keeps both: they overlap by 1/3 in hull, allowed here
    scene = found((0.1, 0.8, 0), (-0.2, 0.9, 0)), truth((0, 0), (9, 0))
    result = scored(scene, nms_threshold=1.0)
    assert result["AP@0.25/bed"] == pytest.approx(50.0)
    reverse = found((0.1, 0.9, 0), (0.35, 0.8, 0), (0.45, 0.7, 0)), truth((0, 0))
    assert scored(reverse, nms_threshold=1.0)["AP@0.25/bed"] == 100.0


def test_a_detection_whose_best_box_is_taken_gets_no_second_choice():
    # Both detections overlap the first box most; the second also overlaps the second box by more than 0.25.
    labels = truth((0, 0), (0.8, 0))
    scene = found((0.0, 0.9, 0), (0.3, 0.8, 0)), labels
    assert scored(scene, nms_threshold=1.0, iou_thresholds=[0.25])["recall@0.25/bed"] == 50.0


def test_a_class_without_detections_has_average_precision_zero():
    result = scored((found((0, 0.9, 0)), truth((0, 0), (5, 1))))
    assert result["AP@0.25/chair"] == 0.0
    assert result["mAP@0.25"] == 50.0


def test_a_detected_class_without_ground_truth_is_left_out_and_counted():
    judge = metric()
    judge.update(found((0, 0.9, 0), (5, 0.9, 2)), truth((0, 0)))
    assert judge.compute()["mAP@0.25"] == 100.0
    assert judge.compute()["classes_scored"] == 1.0


def test_scenes_without_boxes_still_count_their_false_positives():
    full = found((0, 0.8, 0)), truth((0, 0))
    empty = found((0, 0.9, 0)), truth()
    assert scored(full)["mAP@0.25"] == 100.0
    assert scored(full, empty)["mAP@0.25"] == 50.0


def test_scenes_without_any_proposal_are_handled():
    nothing = {"boxes": torch.zeros(1, 0, 7), "scores": torch.zeros(1, 0), "class_scores": torch.zeros(1, 0, 3)}
    assert scored((nothing, truth((0, 0))))["mAP@0.25"] == 0.0
    assert scored((nothing, truth((0, 0))), per_class_proposals=True)["AR@0.5"] == 0.0


def test_no_ground_truth_at_all_is_refused():
    with pytest.raises(UserError, match="none of the 1 evaluated scenes"):
        scored((found((0, 0.9, 0)), truth()))


def test_ground_truth_without_positive_size_is_refused():
    with pytest.raises(UserError, match="not positive"):
        scored((found((0, 0.9, 0)), truth((0, 0), size=0.0)))


def test_ground_truth_of_another_data_set_is_refused():
    with pytest.raises(UserError, match="class names"):
        scored((found((0, 0.9, 0)), truth((0, 7))))


def test_a_head_of_another_width_is_refused():
    with pytest.raises(ValueError, match="3 classes, the metric 2"):
        DetectionMetric(["a", "b"], min_points=0).update(found((0, 0.9, 0)), truth((0, 0)))


def test_missing_point_counts_are_refused_when_empty_boxes_are_dropped():
    with pytest.raises(ValueError, match="point_count"):
        scored((found((0, 0.9, 0)), truth((0, 0))), min_points=5)


@pytest.mark.parametrize("options", [{"iou_thresholds": [1.0]}, {"iou_thresholds": []}, {"nms_threshold": [0.25]}])
def test_impossible_thresholds_are_refused(options):
    with pytest.raises(ValueError, match="threshold"):
        metric(**options)


def test_boxes_with_four_points_are_dropped_and_with_five_are_kept():
    prediction = {**found((0, 0.9, 0), (5, 0.9, 1)), "point_count": torch.tensor([[4, 5]])}
    result = scored((prediction, truth((0, 0), (5, 1))), min_points=5)
    assert (result["AP@0.25/bed"], result["AP@0.25/chair"]) == (0.0, 100.0)


def test_objectness_at_the_threshold_is_dropped():
    scene = found((0, 0.5, 0), (5, 0.5001, 1)), truth((0, 0), (5, 1))
    result = scored(scene, min_objectness=0.5)
    assert (result["AP@0.25/bed"], result["AP@0.25/chair"]) == (0.0, 100.0)


def test_every_kept_box_is_a_detection_of_every_class_when_asked():
    prediction = found((0, 1.0, 0))
    prediction["class_scores"][0, 0] = torch.tensor([0.6, 0.4, 0.0])
    assert scored((prediction, truth((0, 1))))["mAP@0.25"] == 0.0
    assert scored((prediction, truth((0, 1))), per_class_proposals=True)["mAP@0.25"] == 100.0


def test_each_threshold_can_have_its_own_suppression():
    # Shifted by 0.45: overlap 0.55 / 1.45 = 0.379. Suppressed at 0.25, kept at 0.5.
    scene = found((0, 0.9, 0), (0.45, 0.8, 0)), truth((0, 0), (0.45, 0))
    result = scored(scene, nms_threshold=[0.25, 0.5])
    assert (result["AR@0.25"], result["AR@0.5"]) == (50.0, 100.0)


def test_oriented_boxes_are_compared_with_their_heading():
    labels = truth((0, 0))
    labels["size"][..., 0] = 4
    labels["heading"][:] = math.pi / 2
    prediction = found((0, 0.9, 0))
    prediction["boxes"][0, 0, 3] = 4
    assert scored((prediction, labels))["mAP@0.25"] == 0.0
    prediction["boxes"][0, 0, 6] = -math.pi / 2
    assert scored((prediction, labels))["mAP@0.25"] == 100.0


def random_scenes(count: int, proposals: int, seed: int = 0) -> list[tuple[dict, dict]]:
    generator = torch.Generator().manual_seed(seed)
    scenes = []
    for _ in range(count):
        labels = truth(*[(0.0, int(c)) for c in torch.randint(0, 3, (15,), generator=generator)])
        labels["center"] = torch.rand(1, 16, 3, generator=generator) * torch.tensor([8.0, 8.0, 0.5])
        of = torch.randint(0, 15, (proposals,), generator=generator)
        boxes = torch.cat([labels["center"][:, of], torch.ones(1, proposals, 3), torch.zeros(1, proposals, 1)], -1)
        boxes[..., :6] += 0.2 * torch.randn(1, proposals, 6, generator=generator)
        scores = (torch.rand(1, proposals, generator=generator) * 20).round() / 20  # many ties
        classes = torch.softmax(torch.randn(1, proposals, 3, generator=generator), -1)
        scenes.append(({"boxes": boxes, "scores": scores, "class_scores": classes}, labels))
    return scenes


def test_the_order_of_scenes_and_of_ground_truth_changes_nothing():
    scenes = random_scenes(12, 40)
    expected = scored(*scenes, per_class_proposals=True)
    shuffled = []
    for prediction, labels in reversed(scenes):
        order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
        shuffled.append((prediction, {name: value[:, order] for name, value in labels.items()}))
    assert 5 < expected["mAP@0.25"] < 95
    assert scored(*shuffled, per_class_proposals=True) == expected


def test_a_batch_of_scenes_scores_as_the_scenes_one_by_one():
    scenes = random_scenes(6, 30)
    batch = [{name: torch.cat([scene[side][name] for scene in scenes]) for name in scenes[0][side]} for side in (0, 1)]
    assert scored((batch[0], batch[1])) == scored(*scenes)


def test_an_evaluation_continues_from_its_saved_state():
    scenes = random_scenes(8, 30)
    first, second = metric(), metric()
    for scene in scenes[:5]:
        first.update(*scene)
    second.load_state(json.loads(json.dumps(first.state())))
    for scene in scenes[5:]:
        second.update(*scene)
    assert second.compute() == scored(*scenes)


def test_a_state_of_other_thresholds_is_refused():
    with pytest.raises(UserError, match="iou_thresholds"):
        metric(iou_thresholds=[0.3]).load_state(metric(iou_thresholds=[0.4]).state())


def test_average_precision_agrees_with_a_loop_over_detections():
    scenes = random_scenes(10, 50, seed=3)
    for prediction, _ in scenes:  # distinct scores, so that the loop's order is the only one
        prediction["scores"] = torch.rand(
            1, 50, generator=torch.Generator().manual_seed(int(prediction["boxes"].sum() * 1e3))
        )
    judge = metric()
    for scene in scenes:
        judge.update(*scene)
    result = judge.compute()
    for c, name in enumerate(NAMES):
        assert result[f"AP@0.25/{name}"] == pytest.approx(100 * looped_average_precision(judge, scenes, c, 0.25))


def looped_average_precision(judge: DetectionMetric, scenes: list, box_class: int, threshold: float) -> float:
    """The protocol, word for word: walk down the scores, claim boxes, add up the curve."""
    detections, free, total = [], [], 0
    for number, (prediction, labels) in enumerate(scenes):
        kept = judge.detections({name: value[0] for name, value in prediction.items()}, 0.25)
        mine = labels["box_mask"][0] & (labels["box_class"][0] == box_class)
        free.append([list(map(float, c)) for c in labels["center"][0][mine]])
        total += int(mine.sum())
        for row, c, score in zip(kept.row, kept.box_class, kept.score, strict=True):
            if c == box_class:
                detections.append((score, number, [float(v) for v in kept.boxes[row]]))
    taken, right, points = set(), 0, []
    for count, (_, number, candidate) in enumerate(sorted(detections, reverse=True), 1):
        overlaps = [cube_overlap(candidate, center) for center in free[number]]
        best = max(range(len(overlaps)), key=overlaps.__getitem__, default=None)
        if best is not None and overlaps[best] > threshold and (number, best) not in taken:
            taken.add((number, best))
            right += 1
        points.append((right / total, right / count))
    area, before = 0.0, 0.0
    for row, (recall, _) in enumerate(points):
        area += (recall - before) * max(precision for _, precision in points[row:])
        before = recall
    return area


def cube_overlap(candidate: list[float], center: list[float]) -> float:
    """Overlap of an axis-aligned box with the unit cube around ``center``."""
    shared, volume = 1.0, 1.0
    for axis in range(3):
        low = max(candidate[axis] - candidate[3 + axis] / 2, center[axis] - 0.5)
        high = min(candidate[axis] + candidate[3 + axis] / 2, center[axis] + 0.5)
        shared *= max(0.0, high - low)
        volume *= candidate[3 + axis]
    return shared / (volume + 1 - shared)


def test_the_saved_state_is_small():
    """312 scenes are saved again after each: a score of four bytes and two bits per detection."""
    judge = metric(per_class_proposals=True)
    for scene in random_scenes(4, 50):
        judge.update(*scene)
    detections = 4 * 50 * len(NAMES)
    assert len(json.dumps(judge.state())) < 6 * detections + 1000


def test_thresholds_with_their_own_suppression_continue_from_a_saved_state():
    scenes = random_scenes(4, 30)
    options = {"nms_threshold": [0.25, 0.5], "per_class_proposals": True}
    first, second = metric(**options), metric(**options)
    for scene in scenes[:2]:
        first.update(*scene)
    second.load_state(json.loads(json.dumps(first.state())))
    for scene in scenes[2:]:
        second.update(*scene)
    assert second.compute() == scored(*scenes, **options)
