"""What a table could tell from nothing, and what it says about each comparison of the paper.

Method
    Comparison. Two rows of one table whose printed values differ. It is measured seed by seed over the seeds that both
    rows have.
    Verdict. A comparison holds when the 95 % interval of the measured difference over seeds excludes 0 on the paper's
    side and, where the evaluations kept the scores of their scenes, the interval over scenes does so too. It is
    reversed when both exclude 0 on the other side. All else is unresolved, one seed alone included.
    Smallest difference. The size of a true difference that the test over seeds would have found with 80 % power: the
    non-centrality of Student's t at n - 1 degrees of freedom that gives this power, times s / sqrt(n), where s is the
    deviation of the paired differences, pooled over the table's rows against their baselines. Where scenes limit more
    than seeds do, the larger value counts: (1.96 + 0.84) times the deviation over resampled scenes, pooled likewise.
    A difference below this size that is "not significant" says nothing about whether it exists.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.reports.scores import SceneReader
from mm3d_benchmarks.reports.verdicts.statistics import LEVEL, Interval, paired, pooled_deviation, seed_interval
from mm3d_benchmarks.results.columns import column
from mm3d_benchmarks.results.inputs import Inputs

POWER = 0.8
TIE = 1e-9  # differences below are rounding, not an order
ONE_SEED = "One seed: no interval can be given, and no comparison counts as resolved."
HOLDS, REVERSED, UNRESOLVED = "holds", "reversed", "unresolved"
_NORMAL = 1.959963984540054  # the normal distribution's quantile at 97.5 %; 0.8416... at 80 %
_NORMAL_POWER = 0.8416212335729143


@dataclass(frozen=True)
class Pair:
    """Two rows that the paper orders: ``published`` is first minus second as printed, ``measured`` the same by seed."""

    first: str
    second: str
    column: str
    published: float
    measured: Mapping[str, float]


@dataclass(frozen=True)
class Verdict:
    """What was measured about one comparison of the paper.

    Attributes:
        mean: first minus second over the shared seeds, points.
        over_seeds, over_scenes: 95 % intervals; None for a single seed or without scores of scenes.
        verdict: ``holds``, ``reversed`` or ``unresolved``.
    """

    table: str
    first: str
    second: str
    column: str
    mean: float
    seeds: int
    over_seeds: Interval | None
    over_scenes: Interval | None
    published: float
    verdict: str


@dataclass(frozen=True)
class Resolution:
    """The smallest difference, in points, that one column of a table could have told from nothing.

    Attributes:
        seeds: the fewest shared seeds of a row and its baseline.
        by_seeds, by_scenes: the two limits; ``by_scenes`` is None without scores of scenes.
    """

    table: str
    column: str
    rows: int
    seeds: int
    by_seeds: float
    by_scenes: float | None

    @property
    def smallest(self) -> float:
        """The limit that binds."""
        return max(self.by_seeds, self.by_scenes or 0.0)


def published_pairs(spec: TableSpec, inputs: Inputs) -> Iterator[Pair]:
    """Every comparison of the paper's table for which both rows were measured with a common seed."""
    printed = {entry.row: entry for entry in spec.published}
    rows = [row for row in spec.rows if row in printed]
    for (first, second), name in itertools.product(itertools.combinations(rows, 2), spec.columns):
        ours, theirs = (printed[row].values.get(name) for row in (first, second))
        measured = paired(inputs.cell(first, name).values, inputs.cell(second, name).values)
        if column(name).better and measured and ours is not None and theirs is not None and ours != theirs:
            yield Pair(first, second, name, ours - theirs, measured)


def verdicts(spec: TableSpec, inputs: Inputs, store: Path | None) -> list[Verdict]:
    """One verdict for each comparison of the paper that was measured, in the order of the table."""
    found, reader = [], SceneReader(store)
    for pair in published_pairs(spec, inputs):
        values = list(pair.measured.values())
        over = seed_interval(values)
        scenes = reader.interval(inputs, pair.first, pair.second, pair.column, list(pair.measured))
        interval = scenes[0] if scenes else None
        found.append(
            Verdict(
                table=spec.name,
                first=pair.first,
                second=pair.second,
                column=pair.column,
                mean=sum(values) / len(values),
                seeds=len(values),
                over_seeds=over,
                over_scenes=interval,
                published=pair.published,
                verdict=_verdict(over, interval, pair.published),
            )
        )
    return found


def resolutions(spec: TableSpec, inputs: Inputs, store: Path | None) -> list[Resolution]:
    """What each column could resolve; columns without two seeds of a row and its baseline are left out."""
    found, reader = [], SceneReader(store)
    for name in spec.columns:
        if not column(name).better:
            continue
        apart: list[list[float]] = []
        over: list[float] = []
        for row in spec.rows:
            base = spec.baseline(row)
            if base is None or base == row:
                continue
            measured = paired(inputs.cell(row, name).values, inputs.cell(base, name).values)
            if len(measured) < 2:
                continue
            apart.append(list(measured.values()))
            scenes = reader.interval(inputs, row, base, name, list(measured))
            if scenes:
                over.append((scenes[0].high - scenes[0].low) / (2 * _NORMAL))
        deviation = pooled_deviation(apart)
        if deviation is None:
            continue
        seeds = min(len(values) for values in apart)
        limit = (_NORMAL + _NORMAL_POWER) * math.sqrt(sum(d * d for d in over) / len(over)) if over else None
        found.append(
            Resolution(spec.name, name, len(apart), seeds, smallest_difference(deviation, seeds), limit),
        )
    return found


def smallest_difference(deviation: float, seeds: int, power: float = POWER) -> float:
    """The true mean of paired differences that a two-sided t test at 5 % finds with the given power.

    Args:
        deviation: standard deviation of the paired differences, in the unit of the result.
        seeds: how many differences, at least 2.

    Raises:
        ValueError: fewer than two seeds, or a power outside of (0.05, 1).
    """
    if seeds < 2 or not 1 - LEVEL < power < 1:
        raise ValueError(f"seeds={seeds}, power={power}: two seeds and a power between 0.05 and 1 are needed")
    return _non_centrality(seeds - 1, power) * deviation / math.sqrt(seeds)


def sentence(found: Sequence[Resolution]) -> tuple[str, ...]:
    """The remark under a table; none where no column has two seeds of a row and its baseline."""
    if not found:
        return ()
    parts = ", ".join(f"{column(r.column).heading} {r.smallest:.1f}" for r in found)
    return (
        f"Smallest difference to its baseline that a row could have shown, at {min(r.seeds for r in found)} paired "
        f"seeds and the evaluated scenes, with 80 % power: {parts} points; smaller ones are unresolved, not absent.",
    )


def blind(spec: TableSpec, inputs: Inputs) -> tuple[str, ...]:
    """A remark for each oracle that beats its baseline in no column: what stands beside it can resolve nothing.

    With two seeds or more, beating means an interval above 0; with one, a difference above 0.
    """
    remarks = []
    for row in spec.oracles:
        base = spec.baseline(row)
        told, beats = [], False
        for name in spec.columns if base is not None and base != row else ():
            pairs = paired(inputs.cell(row, name).values, inputs.cell(base or "", name).values)
            if not pairs:
                continue
            mean, interval = sum(pairs.values()) / len(pairs), seed_interval(list(pairs.values()))
            beats = beats or (interval.low if interval else mean) > TIE
            between = f" ({interval.low:+.1f} to {interval.high:+.1f})" if interval else ""
            told.append(f"{column(name).heading} {mean:+.1f}{between}")
        if told and not beats:
            remarks.append(
                f"{spec.label(row)} does not beat {spec.label(base or '')} ({', '.join(told)}): "
                "a comparison in which labels themselves bring nothing cannot resolve anything."
            )
    return tuple(remarks)


def _verdict(over_seeds: Interval | None, scenes: Interval | None, published: float) -> str:
    if over_seeds is None:
        return UNRESOLVED
    signs = {_side(interval) for interval in (over_seeds, scenes) if interval is not None}
    if len(signs) != 1 or signs == {0}:
        return UNRESOLVED
    return HOLDS if signs.pop() == math.copysign(1, published) else REVERSED


def _side(interval: Interval) -> int:
    """1 or -1 where an interval lies above or below 0, else 0."""
    return 1 if interval.low > TIE else (-1 if interval.high < -TIE else 0)


@lru_cache(maxsize=64)
def _non_centrality(freedom: int, power: float) -> float:
    """The shift of Student's t at which a two-sided 5 % test has that power, by bisection."""
    from scipy.special import nctdtr, stdtrit  # scipy.stats takes a second to import

    critical = float(stdtrit(freedom, (1 + LEVEL) / 2))
    low, high = 0.0, 2 * critical + 10.0
    for _ in range(80):
        middle = (low + high) / 2
        reached = 1 - nctdtr(freedom, middle, critical) + nctdtr(freedom, middle, -critical)
        low, high = (middle, high) if reached < power else (low, middle)
    return (low + high) / 2
