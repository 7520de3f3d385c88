"""The benchmark of scoring detections: it measures what it says, and scoring is quick enough."""

from __future__ import annotations

from speed.detection_metric import main, measure


def test_every_part_is_measured_for_both_kinds_of_boxes(capsys):
    assert main(["--scenes", "2", "--proposals", "8", "--classes", "3", "--points", "100"]) == 0
    heading, _, _, *rows = capsys.readouterr().out.strip().split("\n")
    assert heading.startswith("2 scenes of 8 proposals")
    assert [row.split("|")[1].strip() for row in rows] == ["axis-aligned", "oriented"]


def test_random_proposals_around_true_boxes_find_some_of_them():
    for oriented in (False, True):
        found = measure(3, 128, 4, 2000, oriented)
        assert 5 < found["mAP@0.25"] < 100
        parts = [seconds for part, seconds in found.items() if part not in ("all", "mAP@0.25")]
        assert abs(sum(parts) - found["all"]) < 1e-9


def test_a_validation_split_of_proposals_is_scored_in_seconds():
    """312 scenes of 256 proposals in less than 80 s, so a twentieth of them in less than 4 s (1 s is usual)."""
    found = measure(16, 256, 18, 2000, oriented=True)
    assert found["suppression, overlaps, matching"] + found["curves"] < 4
