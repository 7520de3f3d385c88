"""Difficulty: a classifier of single points is neither perfect nor helpless, gains by more scans and by context."""

from __future__ import annotations

import numpy as np
import pytest

from tools.calibration.acceptance import scan
from tools.calibration.probe import (
    POINTS,
    Difficulty,
    Looked,
    look_at,
    look_at_default_profile,
    mean_iou,
    measure_difficulty,
)


def test_a_point_is_described_by_its_surroundings() -> None:
    looked = look_at(scan("office", 0, 0, spacing=0.08), 0)
    assert looked.features.shape == (POINTS, 7 + 3 * 12)
    assert np.isfinite(looked.features).all()
    assert looked.label.min() >= 0
    again = look_at(scan("office", 0, 0, spacing=0.08), 0)
    np.testing.assert_array_equal(looked.features, again.features)
    floor, wall = (looked.features[looked.label == c] for c in (1, 0))
    slope = 7 + 12 + 4  # |z| of the flattest direction within 25 cm
    assert np.median(floor[:, slope]) > 0.8 > 0.4 > np.median(wall[:, slope])


def test_mean_iou_counts_the_classes_that_occur() -> None:
    label = np.array([0, 0, 1, 1])
    assert mean_iou(label, label) == 1
    assert mean_iou(np.array([0, 0, 1, 5]), label) == pytest.approx((1 + 0.5) / 2)


def test_a_gate_that_is_not_met_is_a_sentence() -> None:
    assert Difficulty(0.25, 0.43, 0.47, (160, 40)).misses() == []
    assert len(Difficulty(0.35, 0.55, 0.56, (160, 40)).misses()) == 3


def test_context_is_found_where_it_is_there() -> None:
    """Rooms of one class each; single points look alike."""
    pytest.importorskip("sklearn")
    random = np.random.default_rng(0)

    def room(number: int) -> Looked:
        label = np.full(60, number % 2)
        hint = label[:, None] + random.normal(0, 1.0, (60, 1))
        return Looked(random.uniform(0, 3, (60, 3)), hint.astype(np.float32), label)

    measured = measure_difficulty([room(n) for n in range(40)], [room(n) for n in range(20)])
    assert measured.context > measured.local + 0.2


@pytest.mark.slow
def test_synthetic_scans_are_difficult_and_context_helps() -> None:
    pytest.importorskip("sklearn")
    difficulty = measure_difficulty(*look_at_default_profile())
    assert difficulty.scans == (160, 40)
    assert difficulty.misses() == [], difficulty
