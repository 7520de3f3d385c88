"""What `collect` wrote for one table: measured values by row, column and seed, and where they come from.

The two CSV files of a table are those of :mod:`columns`; what leaves a value out of its mean is named in a footnote.
``inputs/<table>.provenance.json`` holds, all optional: ``profile``, ``datasets`` (each ``synthetic`` or ``official``),
``commits``, ``devices``, ``ops_backends``, ``footnotes``, ``runs`` (row to run keys),
``places`` (row to ``x`` and ``series`` in the figure).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.manifest import origin_kind
from mm3d_benchmarks.results.columns import Line, read_lines
from mm3d_benchmarks.store.layout import KEY
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json

_LISTS = ("commits", "devices", "ops_backends", "footnotes")  # of the provenance

Places = Mapping[str, tuple[Any, str]]  # row to its x and its series in a figure, from the configuration of its runs


@dataclass(frozen=True)
class Measured:
    """The values of one row in one column.

    Attributes:
        values: seed to value, of the seeds that are done, finite and claimed by one run.
        runs: seed to the key of that run.
        problems: seed to what is wrong with it (``missing``, ``failed``, ``NaN``, ``conflict``, ...).
        details: one sentence per problem, for the footnote.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    runs: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    details: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inputs:
    """Everything measured for one table; ``found`` tells whether there was a CSV at all."""

    found: bool
    cells: Mapping[tuple[str, str], Measured]
    provenance: Mapping[str, Any]
    runs: Mapping[str, tuple[str, ...]]
    seeds: tuple[str, ...]

    def cell(self, row: str, column: str) -> Measured:
        """The values of a row in a column; empty where no run was planned."""
        return self.cells.get((row, column), Measured())

    def run_of(self, row: str, column: str, seed: str) -> str:
        """Key of the run that gave a value; empty when none is recorded."""
        return self.cell(row, column).runs.get(seed, "")

    def data_source(self) -> str:
        """``synthetic``, ``official``, ``user``, ``mixed`` or ``unknown``."""
        kinds = sorted(set(self.datasets().values()))
        return kinds[0] if len(kinds) == 1 else ("mixed" if kinds else "unknown")

    def places(self) -> Places:
        """Row to (x, series) in the figure of its sweep."""
        found = self.provenance.get("places")
        known = found.items() if isinstance(found, Mapping) else ()
        return {str(k): (v.get("x"), str(v.get("series", ""))) for k, v in known if isinstance(v, Mapping)}

    def datasets(self) -> dict[str, str]:
        """Data set to ``synthetic`` or ``official``."""
        found = self.provenance.get("datasets") or {}
        return {str(k): origin_kind(str(v)) for k, v in sorted(found.items())} if isinstance(found, Mapping) else {}


def load_inputs(folder: Path, name: str) -> Inputs:
    """What was collected for the table; empty when nothing was.

    Raises:
        UserError: a file that is there but is not what `collect` writes.
    """
    path = folder / f"{name}.csv"
    if not path.exists():
        return Inputs(False, {}, _provenance(folder / f"{name}.provenance.json"), {}, ())
    costs = folder / f"{name}.efficiency.csv"
    lines = [*read_lines(path), *(read_lines(costs) if costs.exists() else ())]
    provenance = _provenance(folder / f"{name}.provenance.json")
    return Inputs(
        found=True,
        cells={key: _measured(part) for key, part in _cells(lines).items()},
        provenance=provenance,
        runs=_runs(lines, provenance),
        seeds=tuple(sorted({line.seed for line in lines}, key=_seed_order)),
    )


def _cells(lines: Iterable[Line]) -> dict[tuple[str, str], list[Line]]:
    """The lines of each (row, column), in the order of the file."""
    parts: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        parts.setdefault((line.row, line.column), []).append(line)
    return parts


def _measured(lines: list[Line]) -> Measured:
    by_seed: dict[str, list[Line]] = {}
    for line in lines:
        by_seed.setdefault(line.seed, []).append(line)
    values: dict[str, float] = {}
    runs: dict[str, str] = {}
    problems: dict[str, str] = {}
    details: list[str] = []
    for seed in sorted(by_seed, key=_seed_order):
        claims = by_seed[seed]
        if len(claims) > 1:
            problems[seed] = "conflict"
            claimants = " and ".join(sorted(line.run or "?" for line in claims))
            details.append(f"{_seed(seed)}: claimed by {len(claims)} runs ({claimants}); none is used")
            continue
        value, problem, detail = _value(claims[0])
        if not seed and not problem:
            problem, detail = "no seed", "a value without a seed; it cannot be paired and is left out"
        if problem:
            problems[seed] = problem
            details.append(f"{_seed(seed)}: {detail}")
        else:
            values[seed], runs[seed] = value, claims[0].run
    return Measured(values, runs, problems, tuple(details))


def _value(line: Line) -> tuple[float, str, str]:
    """(number, problem, sentence); the problem is empty when the number counts."""
    _, _, _, value, status, run = line
    where = f" (run {run})" if run else ""
    if status in ("", "missing"):
        return math.nan, "missing", "no result yet; `mm3d status` names the run"
    if status != "done":
        return math.nan, status, f"{status}{where}"
    if not value:
        return math.nan, "no value", f"done, but without this metric{where}"
    try:
        number = float(value)
    except ValueError:
        return math.nan, "no number", f"{value!r} is not a number{where}"
    if not math.isfinite(number):
        return math.nan, "NaN", f"the metric is {value}{where}; the run diverged or had nothing to score"
    return number, "", ""


def _runs(lines: Iterable[Line], provenance: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Row to the keys of its runs: those that the lines name first, then those they started from."""
    found: dict[str, dict[str, None]] = {}
    for row, run in sorted({(line.row, line.run) for line in lines}):
        if run:
            found.setdefault(row, {})[run] = None
    recorded = provenance.get("runs")
    for row, keys in sorted(recorded.items()) if isinstance(recorded, Mapping) else ():
        known = [key for key in keys if isinstance(key, str) and KEY.fullmatch(key)] if isinstance(keys, list) else []
        found.setdefault(str(row), {}).update(dict.fromkeys(known))
    return {row: tuple(keys) for row, keys in found.items()}


def _provenance(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); run `mm3d collect` again") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: must hold a JSON object; run `mm3d collect` again")
    strange = [name for name in _LISTS if not isinstance(found.get(name) or [], list)]
    if strange:
        raise UserError(f"{path}: {strange[0]} must be a list; run `mm3d collect` again")
    return found


def _seed(seed: str) -> str:
    return f"seed {seed}" if seed else "no seed"


def _seed_order(seed: str) -> tuple[int, int, str]:
    """Numbers by size, then other names."""
    return (0, int(seed), "") if seed.isdecimal() and len(seed) < 19 else (1, 0, seed)
