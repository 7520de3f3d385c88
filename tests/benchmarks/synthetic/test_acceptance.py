"""Synthetic scans look like real ones in the statistics that the methods depend on."""

from __future__ import annotations

import numpy as np
import pytest

from mm3d_benchmarks.datasets.readers.s3dis import CLASSES as ROOM_CLASSES
from mm3d_benchmarks.datasets.readers.s3dis import SHARES as PUBLISHED_ROOM_SHARES
from mm3d_benchmarks.datasets.readers.scannet import CLASSES, SHARES
from tools.calibration.acceptance import (
    BANDS,
    FRAME_BANDS,
    ROOM_SHARES,
    Measured,
    measure,
    measure_frames,
    measure_room_shares,
    outside,
    table_text,
)


def test_five_scans_stay_within_doubled_bands() -> None:
    measured = measure(5)
    assert outside(measured.mean, widen=2.0) == {}
    assert measured.shares.min() >= 0
    assert measured.shares.sum() == pytest.approx(100)


@pytest.mark.slow
def test_twenty_scans_stay_within_the_bands_and_every_class_within_a_factor_of_two() -> None:
    measured = measure(20)
    assert outside(measured.mean) == {}
    assert measured.mean["mean red"] > measured.mean["mean green"] > measured.mean["mean blue"]
    assert measured.shares[0] <= 40
    ratio = measured.shares / np.array(SHARES)
    assert {c: round(float(r), 2) for c, r in zip(CLASSES, ratio, strict=True) if not 0.5 <= r <= 2} == {}


def test_six_frames_stay_within_doubled_bands() -> None:
    assert outside(measure_frames(6), widen=2.0, bands=FRAME_BANDS) == {}


@pytest.mark.slow
def test_twenty_frames_have_the_holes_the_noise_and_the_pose_of_real_ones() -> None:
    assert outside(measure_frames(20), bands=FRAME_BANDS) == {}


@pytest.mark.slow
def test_every_class_of_the_rooms_is_near_its_published_share() -> None:
    ratio = measure_room_shares(8) / np.array(PUBLISHED_ROOM_SHARES)
    low, high = ROOM_SHARES
    assert {c: round(float(r), 2) for c, r in zip(ROOM_CLASSES, ratio, strict=True) if not low <= r <= high} == {}


def test_a_statistic_outside_its_band_is_reported() -> None:
    good = {name: (low + high) / 2 for name, (_, low, high) in BANDS.items()}
    assert outside(good) == {}
    assert list(outside({**good, "nearest": 60.0})) == ["nearest"]
    assert outside({**good, "nearest": 41.9}, widen=2.0) == {}


def test_the_table_prints_every_statistic() -> None:
    good = {name: real for name, (real, _, _) in BANDS.items()}
    text = table_text(Measured(good, np.zeros(20), np.zeros(18)), 20)
    assert all(f"| {name} |" in text for name in BANDS)
