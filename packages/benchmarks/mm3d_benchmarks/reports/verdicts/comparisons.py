"""Statements about differences between rows: against the baseline, against the paper's order, and over seeds."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.reports.scores import MOST_FILES, SceneReader, readable_store
from mm3d_benchmarks.reports.text import escape_markdown
from mm3d_benchmarks.reports.verdicts import resolution, statistics
from mm3d_benchmarks.reports.verdicts.resolution import (
    ONE_SEED,
    Resolution,
    Verdict,
    published_pairs,
    resolutions,
    verdicts,
)
from mm3d_benchmarks.reports.verdicts.statistics import Interval, paired, pooled_deviation, seed_interval, wilson
from mm3d_benchmarks.results.columns import column
from mm3d_benchmarks.results.inputs import Inputs


@dataclass(frozen=True)
class Difference:
    """One row against its baseline in one column.

    Attributes:
        seeds: how many seeds are paired; ``agree`` of them have the sign of the mean.
        over_scenes: None without scene scores; ``exact`` tells whether these add up to the table's metric.
        published: the paper's difference of the two printed values, if both are printed.
    """

    table: str
    row: str
    baseline: str
    column: str
    mean: float
    seeds: int
    agree: int
    over_seeds: Interval | None
    over_scenes: Interval | None
    exact: bool
    published: float | None


@dataclass(frozen=True)
class Agreement:
    """Of ``total`` pairs that the paper's table orders, ``holds`` have that order here, ``firm`` in every seed."""

    table: str
    total: int
    holds: int
    firm: int


@dataclass(frozen=True)
class Spread:
    """Deviation over seeds in one column of one table."""

    table: str
    column: str
    rows: int
    pooled: float
    largest: float
    widest: float
    gain: float | None


def differences(spec: TableSpec, inputs: Inputs, store: Path | None) -> list[Difference]:
    """Every measured row against its baseline, in the order of the table."""
    printed = {entry.row: entry for entry in spec.published}
    found, reader = [], SceneReader(store)
    for row, name in itertools.product(spec.rows, spec.columns):
        base = spec.baseline(row)
        if base is None or base == row or not column(name).better:
            continue
        pairs = paired(inputs.cell(row, name).values, inputs.cell(base, name).values)
        if not pairs:
            continue
        mean = sum(pairs.values()) / len(pairs)
        ours, theirs = (printed[r].values.get(name) if r in printed else None for r in (row, base))
        scenes = reader.interval(inputs, row, base, name, list(pairs))
        found.append(
            Difference(
                table=spec.name,
                row=row,
                baseline=base,
                column=name,
                mean=mean,
                seeds=len(pairs),
                agree=sum(_sign(value) == _sign(mean) for value in pairs.values()),
                over_seeds=seed_interval(list(pairs.values())),
                over_scenes=scenes[0] if scenes else None,
                exact=bool(scenes and scenes[1]),
                published=None if ours is None or theirs is None else ours - theirs,
            )
        )
    return found


def agreement(spec: TableSpec, inputs: Inputs, seen: set[tuple] | None = None) -> Agreement:
    """How much of the order of the paper's table is found again.

    Args:
        seen: comparisons of the same runs in other tables; they are left out, and those of this table are added.
    """
    total = holds = firm = 0
    for pair in published_pairs(spec, inputs):
        runs = [frozenset(inputs.runs.get(row, ())) for row in (pair.first, pair.second)]
        key = (pair.column, frozenset(runs))
        if seen is not None:
            if key in seen and len(key[1]) == 2:
                continue
            seen.add(key)
        sign = _sign(pair.published)
        total += 1
        holds += _sign(sum(pair.measured.values())) == sign
        firm += all(_sign(value) == sign for value in pair.measured.values())
    return Agreement(spec.name, total, holds, firm)


def spreads(spec: TableSpec, inputs: Inputs) -> list[Spread]:
    """The deviation over seeds of each column with at least one row of two seeds."""
    found = []
    for name in spec.columns:
        values = {row: list(inputs.cell(row, name).values.values()) for row in spec.rows}
        groups = [group for group in values.values() if len(group) > 1]
        pooled = pooled_deviation(groups)
        if pooled is None:
            continue
        largest = max(pooled_deviation([group]) or 0.0 for group in groups)
        widest = max(max(group) - min(group) for group in groups)
        gains = [d for entry in spec.published if (d := entry.delta.get(name)) is not None]
        found.append(Spread(spec.name, name, len(groups), pooled, largest, widest, max(gains, default=None)))
    return found


def judge(specs: Sequence[TableSpec], load: Callable[[TableSpec], Inputs], store: Path | None) -> list[Verdict]:
    """The verdict on every comparison of the paper, over all tables."""
    tables, scenes = _measured(specs, load, store)
    return [verdict for spec, inputs in tables for verdict in verdicts(spec, inputs, scenes)]


def write_statistics(
    specs: Sequence[TableSpec], load: Callable[[TableSpec], Inputs], store: Path | None, judged: Sequence[Verdict]
) -> dict[str, str]:
    """File name to text: ``statistics_{differences,agreement,spread,comparisons,resolution}.{csv,md}``.

    Args:
        judged: what :func:`judge` found in the same tables.
    """
    tables, scenes = _measured(specs, load, store)
    left_out = "" if scenes is store else f"Intervals over scenes are left out: more than {MOST_FILES} runs."
    apart = [d for spec, inputs in tables for d in differences(spec, inputs, scenes)]
    orders = [a for spec, inputs in tables if (a := agreement(spec, inputs)).total]
    seen: set[tuple] = set()
    once = [agreement(spec, inputs, seen) for spec, inputs in tables]
    overall = Agreement(_OVERALL, *(sum(getattr(a, part) for a in once) for part in ("total", "holds", "firm")))
    wide = [s for spec, inputs in tables for s in spreads(spec, inputs)]
    single = ONE_SEED if judged and all(v.over_seeds is None for v in judged) else ""
    resolved = [r for spec, inputs in tables for r in resolutions(spec, inputs, scenes)]
    made: dict[str, str] = {}
    for name, head, lines, remark in (
        ("differences", _DIFFERENCES, [_difference_line(d) for d in apart], left_out),
        ("agreement", _AGREEMENT, [_agreement_line(a) for a in [*orders, overall] if a.total], ""),
        ("spread", _SPREAD, [_spread_line(s) for s in wide], ""),
        ("comparisons", _COMPARISONS, [_verdict_line(v) for v in judged], f"{single} {left_out}".strip()),
        ("resolution", _RESOLUTION, [_resolution_line(r) for r in resolved], f"{single} {left_out}".strip()),
    ):
        made[f"statistics_{name}.csv"] = _csv(head, lines)
        made[f"statistics_{name}.md"] = _markdown(name, head, lines, remark)
    return made


def _measured(
    specs: Sequence[TableSpec], load: Callable[[TableSpec], Inputs], store: Path | None
) -> tuple[list[tuple[TableSpec, Inputs]], Path | None]:
    """The tables with columns, and the store if the scores of their scenes can be read."""
    tables = [(spec, load(spec)) for spec in specs if spec.columns]
    return tables, readable_store([inputs for _, inputs in tables], store)


_OVERALL = "all tables, each comparison of runs once"
_DIFFERENCES = (
    "table", "row", "baseline", "column", "difference", "seeds", "seeds of that sign", "low over seeds",
    "high over seeds", "low over scenes", "high over scenes", "scene score", "published difference",
)  # fmt: skip
_AGREEMENT = ("table", "comparisons", "hold here", "hold in every seed", "share", "low", "high")
_SPREAD = (
    "table", "column", "rows", "pooled deviation", "largest deviation", "largest range", "largest published gain",
)  # fmt: skip
_COMPARISONS = (
    "table", "first", "second", "column", "difference", "seeds", "low over seeds", "high over seeds", "low over scenes",
    "high over scenes", "published difference", "verdict",
)  # fmt: skip
_RESOLUTION = ("table", "column", "rows", "seeds", "smallest by seeds", "smallest by scenes", "smallest difference")


def _sign(value: float) -> int:
    """-1, 0 or 1; differences below 1e-9 are rounding, not an order."""
    return 0 if abs(value) < 1e-9 else (1 if value > 0 else -1)


def _difference_line(d: Difference) -> list[str]:
    over_scenes = "" if d.over_scenes is None else ("counts" if d.exact else "mean of scenes")
    line = [d.table, d.row, d.baseline, d.column, _two(d.mean), str(d.seeds), str(d.agree)]
    for interval in (d.over_seeds, d.over_scenes):
        line += ["", ""] if interval is None else [_two(interval.low), _two(interval.high)]
    return [*line, over_scenes, _two(d.published)]


def _agreement_line(a: Agreement) -> list[str]:
    share = wilson(a.holds, a.total)
    numbers = (share.estimate, share.low, share.high)
    return [a.table, str(a.total), str(a.holds), str(a.firm), *(_two(value) for value in numbers)]


def _spread_line(s: Spread) -> list[str]:
    return [s.table, s.column, str(s.rows), *(_two(v) for v in (s.pooled, s.largest, s.widest, s.gain))]


def _verdict_line(v: Verdict) -> list[str]:
    line = [v.table, v.first, v.second, v.column, _two(v.mean), str(v.seeds)]
    for interval in (v.over_seeds, v.over_scenes):
        line += ["", ""] if interval is None else [_two(interval.low), _two(interval.high)]
    return [*line, _two(v.published), v.verdict]


def _resolution_line(r: Resolution) -> list[str]:
    limits = (r.by_seeds, r.by_scenes, r.smallest)
    return [r.table, r.column, str(r.rows), str(r.seeds), *(_two(limit) for limit in limits)]


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}".replace("-0.00", "0.00")


def _csv(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([head, *lines])
    return stream.getvalue()


def _markdown(name: str, head: Sequence[str], lines: Sequence[Sequence[str]], remark: str) -> str:
    rows = ["| " + " | ".join(escape_markdown(text) for text in line) + " |" for line in [head, *lines]]
    rows.insert(1, "|" + " --- |" * len(head))
    body = "\n".join(rows) if lines else "Nothing measured yet."
    source = resolution if name in ("comparisons", "resolution") else statistics
    method = (source.__doc__ or "").split("Method\n", 1)[-1]
    paragraphs = " ".join(line.strip() for line in method.splitlines())
    parts = [f"# Statistics: {name}", body, remark, f"Method. {paragraphs.strip()}"]
    return "\n\n".join(part for part in parts if part) + "\n"
