"""The arithmetic of differences, on numbers whose answers are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mm3d_benchmarks.reports.verdicts.statistics import (
    SceneScores,
    paired,
    pooled_deviation,
    scene_interval,
    seed_interval,
    wilson,
)

NAMES = tuple(f"scene{i:03d}" for i in range(200))


def scores(values: np.ndarray) -> SceneScores:
    return SceneScores.of_scores(NAMES[: values.shape[1]], values)


def test_only_shared_seeds_are_paired():
    assert paired({"0": 3.0, "1": 5.0}, {"1": 4.0, "2": 9.0}) == {"1": 1.0}


def test_the_student_interval_is_that_of_the_tables():
    interval = seed_interval([1.0, 2.0, 3.0])
    assert interval is not None
    half = 4.302652729749464 / math.sqrt(3)  # t(0.975, 2) = 4.3027, deviation 1
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((2.0, 2 - half, 2 + half))
    assert seed_interval([1.0]) is None


def test_a_constant_difference_has_an_interval_of_no_width():
    base = np.random.default_rng(0).uniform(0, 50, (3, 40))
    interval = scene_interval(scores(base + 2.5), scores(base))
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((2.5, 2.5, 2.5))


def test_the_bootstrap_of_a_mean_has_the_textbook_width():
    rng = np.random.default_rng(1)
    base = rng.normal(50, 10, (1, 200))
    difference = rng.normal(1.0, 4.0, (1, 200))
    interval = scene_interval(scores(base + difference), scores(base), resamples=4000)
    error = difference.std() / math.sqrt(200)
    assert interval.estimate == pytest.approx(difference.mean())
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * error, rel=0.06)


def test_the_interval_covers_a_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(200):
        base = rng.normal(50, 10, (1, 100))
        interval = scene_interval(scores(base + rng.normal(1, 5, (1, 100))), scores(base), resamples=400)
        hits += interval.low <= 1 <= interval.high
    assert 0.88 <= hits / 200 <= 0.99


def test_pairing_removes_what_the_rows_share():
    rng = np.random.default_rng(3)
    hard = rng.normal(50, 20, (1, 100))
    together = scene_interval(scores(hard + rng.normal(1, 1, (1, 100))), scores(hard))
    apart = scene_interval(scores(rng.normal(51, 20, (1, 100))), scores(hard))
    assert together.high - together.low < (apart.high - apart.low) / 5


def test_counts_are_summed_before_they_are_divided():
    above = np.array([[[10.0, 0.0], [0.0, 30.0]]])
    below = np.array([[[20.0, 0.0], [20.0, 30.0]]])
    ours = SceneScores(("a", "b"), above, below)
    zero = SceneScores(("a", "b"), np.zeros_like(above), below)
    assert scene_interval(ours, zero).estimate == pytest.approx((10 / 40 + 30 / 30) / 2)


def test_scenes_without_a_score_are_left_out_not_counted_as_zero():
    ours = scores(np.array([[4.0, np.nan, 8.0]]))
    zero = scores(np.array([[0.0, np.nan, 0.0]]))
    assert scene_interval(ours, zero).estimate == pytest.approx(6.0)


def test_rows_scored_on_other_scenes_are_refused():
    ours = SceneScores.of_scores(("a",), np.ones((1, 1)))
    theirs = SceneScores.of_scores(("b",), np.ones((1, 1)))
    with pytest.raises(ValueError, match="different scenes"):
        scene_interval(ours, theirs)
    with pytest.raises(ValueError, match="shape"):
        scene_interval(ours, SceneScores.of_scores(("a",), np.ones((2, 1))))


def test_the_bootstrap_is_the_same_every_time():
    values = np.random.default_rng(4).uniform(0, 1, (2, 50))
    assert scene_interval(scores(values), scores(values**2)) == scene_interval(scores(values), scores(values**2))


@pytest.mark.parametrize(
    ("holds", "total", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (50, 100, 0.4038, 0.5962)],
)
def test_wilson_intervals_are_the_published_ones(holds, total, low, high):
    interval = wilson(holds, total)
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-4)


def test_no_comparison_has_no_share():
    with pytest.raises(ValueError, match="0 of 0"):
        wilson(0, 0)


def test_the_pooled_deviation_ignores_differences_between_rows():
    assert pooled_deviation([[1.0, 3.0], [101.0, 103.0]]) == pytest.approx(math.sqrt(2))
    assert pooled_deviation([[1.0, 2.0, 3.0], [5.0, 9.0]]) == pytest.approx(math.sqrt((2 + 8) / 3))
    assert pooled_deviation([[1.0], []]) is None
