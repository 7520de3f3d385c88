"""The arithmetic behind the statements about differences. Everything here is a pure function of numbers.

Method
    Pairing. Two rows of a table are compared seed by seed: the same seed means the same data order and the same
    initialization of what both rows have in common. The estimate is the mean of the paired differences.
    Seeds. The interval over seeds is Student's, mean ± t(0.975, n - 1) s / sqrt(n); it needs two seeds.
    Scenes. The held-out scenes are a sample too. They are drawn with replacement, the same draw for both rows and for
    all seeds, and the difference of the scores is formed anew; its 2.5 % and 97.5 % quantiles are the interval. The
    seeds are kept as they are: the interval says how far another set of scenes could have moved the same networks.
    A score is a mean of ratios of sums over scenes: of intersections over unions for mIoU when an evaluation kept its
    counts per scene; otherwise the mean of the scenes' own scores, which is another quantity than the table's, and
    is named so.
    Signs. A published comparison is two rows of one table whose printed values differ. It holds when the measured mean
    difference over shared seeds has the same sign; a measured tie does not hold. The interval of the share that holds
    is Wilson's. It treats comparisons as independent, which rows of one table are not: read it as a lower bound of the
    uncertainty.
    Spread. The standard deviation over seeds is pooled over the rows of a table: the root of the mean variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RESAMPLES = 2000
LEVEL = 0.95
SEED = 20230617  # of the scene resampling; fixed, so that a report is the same every time


@dataclass(frozen=True)
class Interval:
    """An estimate between two bounds."""

    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class SceneScores:
    """What one row's runs scored, scene by scene, as sums that can be added up.

    Attributes:
        scenes: N names.
        above: (S, N, K) numerators for S seeds and K terms.
        below: (S, N, K) denominators; a term whose denominators sum to zero is left out of the mean over terms.
    """

    scenes: tuple[str, ...]
    above: np.ndarray
    below: np.ndarray

    @classmethod
    def of_scores(cls, scenes: Sequence[str], scores: np.ndarray) -> SceneScores:
        """From (S, N) scores of scenes by themselves; NaN where a scene had nothing to score."""
        there = np.isfinite(scores)
        return cls(tuple(scenes), np.where(there, scores, 0.0)[..., None], there.astype(float)[..., None])


def paired(row: Mapping[str, float], baseline: Mapping[str, float]) -> dict[str, float]:
    """Seed to (row - baseline), for the seeds that both have."""
    return {seed: row[seed] - baseline[seed] for seed in row if seed in baseline}


def seed_interval(differences: Sequence[float]) -> Interval | None:
    """Mean and Student interval of differences; None for fewer than two."""
    if len(differences) < 2:
        return None
    values = np.asarray(differences, dtype=float)
    half = _student(len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    mean = float(values.mean())
    return Interval(mean, mean - float(half), mean + float(half))


def scene_interval(row: SceneScores, baseline: SceneScores, resamples: int = RESAMPLES) -> Interval:
    """Difference of two rows' scores, averaged over seeds, with a bootstrap interval over scenes.

    Raises:
        ValueError: the rows were scored on other scenes or with other numbers of seeds.
    """
    if row.scenes != baseline.scenes:
        raise ValueError("row and baseline were scored on different scenes")
    if row.above.shape != baseline.above.shape:
        raise ValueError(f"row and baseline differ in shape: {row.above.shape} and {baseline.above.shape}")
    weights = _draws(len(row.scenes), resamples)
    differences = _scores(row, weights) - _scores(baseline, weights)
    even = np.ones((1, len(row.scenes)))
    estimate = float((_scores(row, even) - _scores(baseline, even))[0])
    low, high = np.quantile(differences, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(estimate, float(low), float(high))


def wilson(holds: int, total: int) -> Interval:
    """Share of successes with Wilson's score interval.

    Raises:
        ValueError: not 0 <= holds <= total with total > 0.
    """
    if not 0 <= holds <= total or total == 0:
        raise ValueError(f"{holds} of {total} is no share")
    z, share = 1.959963984540054, holds / total
    scale = 1 + z * z / total
    center = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    return Interval(share, max(0.0, center - half), min(1.0, center + half))


def pooled_deviation(groups: Sequence[Sequence[float]]) -> float | None:
    """Root of the variance within groups, weighted by degrees of freedom; None when no group has two values."""
    usable = [np.asarray(group, dtype=float) for group in groups if len(group) > 1]
    freedom = sum(len(group) - 1 for group in usable)
    return math.sqrt(sum(float(((g - g.mean()) ** 2).sum()) for g in usable) / freedom) if freedom else None


def _scores(scores: SceneScores, weights: np.ndarray) -> np.ndarray:
    """(R,) scores under (R, N) weights of the scenes: ratios of sums, averaged over terms, then over seeds."""
    above = np.einsum("rn,snk->rsk", weights, scores.above)
    below = np.einsum("rn,snk->rsk", weights, scores.below)
    there = below > 0
    ratio = np.divide(above, below, out=np.zeros_like(above), where=there)
    terms = np.maximum(there.sum(axis=2), 1)
    return (ratio.sum(axis=2) / terms).mean(axis=1)


@lru_cache(maxsize=16)
def _draws(scenes: int, resamples: int) -> np.ndarray:
    """(R, N) how often each scene is drawn; shared by all comparisons on equally many scenes."""
    return np.random.default_rng(SEED).multinomial(scenes, np.full(scenes, 1 / scenes), resamples).astype(float)


@lru_cache(maxsize=64)
def _student(freedom: int) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(freedom, (1 + LEVEL) / 2))
