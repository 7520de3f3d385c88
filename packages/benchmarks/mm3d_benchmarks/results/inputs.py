"""What `collect` wrote for one table: measured values by row, column and seed, and where they come from.

``inputs/<table>.csv`` is long form, one line per value: ``row,column,seed,value,status,run``; times and memory, which
differ from run to run, stand in ``<table>.efficiency.csv`` in the same form. A status other than
``done`` (``missing``, ``failed``, or any other word) leaves the value out of every mean and is named in a footnote.
``inputs/<table>.provenance.json`` holds, all optional: ``profile``, ``datasets`` (each ``synthetic`` or ``official``),
``commits``, ``devices``, ``ops_backends``, ``footnotes``, ``runs`` (row to run keys).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mm3d_benchmarks.datasets.manifest import origin_kind
from mm3d_benchmarks.reports.artefacts import KEY
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json

_LISTS = ("commits", "devices", "ops_backends", "footnotes")  # of the provenance
HEADER = ["row", "column", "seed", "value", "status", "run"]


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
    frame = read_frame(path)
    measured = folder / f"{name}.efficiency.csv"
    if measured.exists():
        frame = pd.concat([frame, read_frame(measured)], ignore_index=True)
    provenance = _provenance(folder / f"{name}.provenance.json")
    return Inputs(
        found=True,
        cells={key: _measured(part) for key, part in _cells(frame)},
        provenance=provenance,
        runs=_runs(frame, provenance),
        seeds=tuple(sorted(set(frame["seed"]), key=_seed_order)),
    )


def read_frame(path: Path) -> pd.DataFrame:
    """The CSV as text, one column per name in ``HEADER``.

    Raises:
        UserError: unreadable, or with other columns.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines longer than the header
            frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8", index_col=False)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        raise UserError(f"{path}: cannot be read ({error}); run `mm3d collect` again") from error
    if list(frame.columns) != HEADER:
        raise UserError(f"{path}: columns are {list(frame.columns)}, expected {HEADER}; run `mm3d collect` again")
    strange = next((run for run in frame["run"] if run and not KEY.fullmatch(run)), None)
    if strange is not None:
        raise UserError(f"{path}: {strange[:100]!r} is no run's key; run `mm3d collect` again")
    return frame


def _cells(frame: pd.DataFrame) -> Iterable[tuple[tuple[str, str], list[tuple[str, str, str, str]]]]:
    """The lines of each (row, column), in the order of the file."""
    parts: dict[tuple[str, str], list[tuple[str, str, str, str]]] = {}
    lines = zip(*(frame[name] for name in HEADER), strict=True)
    for row, column, seed, value, status, run in lines:
        parts.setdefault((row, column), []).append((seed, value, status, run))
    return parts.items()


def _measured(lines: list[tuple[str, str, str, str]]) -> Measured:
    by_seed: dict[str, list[tuple[str, str, str]]] = {}
    for seed, value, status, run in lines:
        by_seed.setdefault(seed, []).append((value, status, run))
    values: dict[str, float] = {}
    runs: dict[str, str] = {}
    problems: dict[str, str] = {}
    details: list[str] = []
    for seed in sorted(by_seed, key=_seed_order):
        claims = by_seed[seed]
        if len(claims) > 1:
            problems[seed] = "conflict"
            claimants = " and ".join(sorted(run or "?" for _, _, run in claims))
            details.append(f"{_seed(seed)}: claimed by {len(claims)} runs ({claimants}); none is used")
            continue
        value, problem, detail = _value(*claims[0])
        if not seed and not problem:
            problem, detail = "no seed", "a value without a seed; it cannot be paired and is left out"
        if problem:
            problems[seed] = problem
            details.append(f"{_seed(seed)}: {detail}")
        else:
            values[seed], runs[seed] = value, claims[0][2]
    return Measured(values, runs, problems, tuple(details))


def _value(value: str, status: str, run: str) -> tuple[float, str, str]:
    """(number, problem, sentence); the problem is empty when the number counts."""
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


def _runs(frame: pd.DataFrame, provenance: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Row to the keys of its runs: those that the lines name first, then those they started from."""
    found: dict[str, dict[str, None]] = {}
    for row, run in sorted(set(zip(frame["row"], frame["run"], strict=True))):
        if run:
            found.setdefault(str(row), {})[str(run)] = None
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
