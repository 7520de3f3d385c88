"""From results of runs to one small CSV per table: just the rows and columns that it shows, in fixed order and format.

    results/<profile>/runs/<kind>/<key>.json          what a finished run found, and where it was computed
    results/<profile>/runs/evaluate/scenes/<key>/     what each scene scored: statistics read it where no store is
    results/<profile>/inputs/<table>.csv              row,column,seed,value,status,run
    results/<profile>/inputs/<table>.efficiency.csv   the same for times and memory, which differ from run to run
    results/<profile>/inputs/<table>.provenance.json  commits, devices, data source, footnotes, run keys of each row

Equal results give equal bytes, so whatever depends on a CSV is rebuilt only when a number in it changed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.results.failures import read_failures
from mm3d_benchmarks.store.result_form import FORM, check_form
from mm3d_benchmarks.store.spec import KINDS, LISTS, WEIGHTS, RunSpec
from mm3d_benchmarks.store.layout import EFFICIENCY, FAILURE, PROVENANCE, SCENES, read_json
from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.planning.figure_spec import FigureSpec
from mm3d_benchmarks.planning.sweepfile import Sweep
from mm3d_benchmarks.results.columns import COSTS, Line, csv_text
from mm3d_core.files.atomic import write_text_if_changed


SCENE_SCORES = "scenes"  # folder beside the evaluations' results, with a folder for each as in a store
OWN = "folder"  # the data set of a user's own scans


def write_results(specs: Iterable[RunSpec], store: Store, folder: Path, kind: str, prune: bool) -> None:
    """Write ``folder/<key>.json`` for each finished run; files whose bytes would not change are left alone.

    Args:
        prune: the specs are all that is planned; remove the files of other runs.
    """
    wanted = set()
    for spec in specs:
        run, path, scenes = store.run(spec.key), folder / f"{spec.key}.json", folder / SCENE_SCORES / spec.key / SCENES
        wanted |= {path, scenes}  # also those that came from elsewhere: the run is planned
        if not run.is_done:
            continue
        origin = run.read(PROVENANCE) or {}
        result = {
            "kind": kind,
            "form": FORM,
            "key": spec.key,
            "metrics": run.metrics()["metrics"],
            "efficiency": run.read(EFFICIENCY) or {},
            "provenance": {name: origin.get(name) for name in ("commit", "device", "device_kind", "ops_backend")}
            | ({"weights": origin["weights"]} if "weights" in origin else {}),
        }
        write_text_if_changed(path, json.dumps(result, sort_keys=True, indent=1) + "\n")
        if found := run.read(SCENES):
            write_text_if_changed(scenes, json.dumps(found, sort_keys=True, separators=(",", ":")) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    for stale in {*folder.glob("*.json"), *folder.glob(f"{SCENE_SCORES}/*/{SCENES}")} - wanted if prune else ():
        stale.unlink()
        if stale.name == SCENES:
            stale.parent.rmdir()


def with_result(specs: Iterable[RunSpec], results: Path) -> set[str]:
    """Keys of the runs whose result files are there and whole, wherever they were made."""
    found = Results(results / "runs")
    return {spec.key for spec in specs if found.get(spec.kind, spec.key) is not None}


@dataclass(frozen=True)
class Collected:
    """What collecting one table found: how many values are there, missing, failed."""

    sweep: str
    done: int
    missing: int
    failed: int


def collect(sweeps: Sequence[Sweep], plan: Plan, results: Path, store: Store | None = None) -> list[Collected]:
    """Write the inputs of each sweep's table.

    Args:
        results: ``results/<profile>``; holds ``runs/`` and receives ``inputs/``.
        store: tells a failed run from one that was never started; without it both are ``missing``.
    """
    found, failures = Results(results / "runs"), set(read_failures(results))
    summary = []
    for sweep in sweeps:
        lines, measured = [], []
        for cell in plan.cells.get(sweep.name, []):
            for column in sweep.columns:
                line = _line(cell, column, plan.kinds[sweep.name], found, store, failures)
                (measured if column in COSTS else lines).append(line)
        target = results / "inputs" / sweep.name
        write_text_if_changed(target.with_suffix(".csv"), csv_text(lines))
        write_text_if_changed(target.with_suffix(".efficiency.csv"), csv_text(measured))
        origin = provenance(plan, plan.cells.get(sweep.name, []), found)
        origin["footnotes"] = [*plan.notes.get(sweep.name, []), *origin["footnotes"]]
        if sweep.figure is not None and sweep.figure.x:
            cells = reversed(plan.cells.get(sweep.name, []))  # of several seeds the first says it
            origin["places"] = {cell.row: place_of(sweep.figure, plan, cell) for cell in cells}
        write_text_if_changed(
            target.with_suffix(".provenance.json"), json.dumps(origin, sort_keys=True, indent=1) + "\n"
        )
        states = [line.status for line in (*lines, *measured)]
        summary.append(Collected(sweep.name, states.count("done"), states.count("missing"), states.count("failed")))
    return summary


class Results:
    """The result files of a profile, read once each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[tuple[str, str], dict[str, Any] | None] = {}

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """What a run found, or None.

        Raises:
            UserError: an evaluation whose scores are of another form.
        """
        if (kind, key) not in self._known:
            path = self._folder / kind / f"{key}.json"
            found = read_json(path)
            check_form(found or {}, str(path), key)
            self._known[kind, key] = found if found is not None and _is_result(found) else None
        return self._known[kind, key]


def value_of(column: str, cell: PlannedCell, kind: str, found: Results) -> float | None:
    """The value of a column for a cell, or None.

    A metric is looked up in the cell's last run, then in those before it. Sizes and times are of the whole chain: the
    task's network with what pre-training added to its encoder (as in the paper's Tables 6, 10 and 11), the hours of all
    trainings.
    """
    chain = {k: result for k in KINDS if k in cell.runs and (result := found.get(k, cell.runs[k]))}
    if kind not in chain:
        return None
    records = {k: result.get("efficiency") or {} for k, result in chain.items()}
    if column == "params_M":
        return _size(records)
    if column == "train_hours":
        seconds = [_number(r.get("seconds_total")) for k, r in records.items() if k != "evaluate"]
        return sum(s for s in seconds if s is not None) / 3600 if any(s is not None for s in seconds) else None
    if column == "infer_seconds":
        scenes = records.get("evaluate", {}).get("seconds_per_scene") or {}
        seconds = [number for value in scenes.values() if (number := _number(value)) is not None]
        return sum(seconds) / len(seconds) if seconds else None
    if column == "peak_memory_GB":
        peaks = [p for r in records.values() if (p := _number(r.get("peak_memory_bytes"))) is not None]
        return max(peaks) / 1e9 if peaks else None
    for k in reversed([k for k in KINDS if k in chain]):
        if column in chain[k]["metrics"]:
            return _number(chain[k]["metrics"][column])
    return None


def _size(records: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Millions of parameters: the network that solves the task, and what pre-training trained beside its encoder.

    The paper counts so: 1.48 M of VoteNet with its folding decoder include the proposal head, which waits meanwhile.
    """
    network = _number(records.get("evaluate", {}).get("parameters"))
    added = _number(records["pretrain"].get("parameters_beside_encoder")) if "pretrain" in records else 0.0
    return None if network is None or added is None else (network + added) / 1e6


def provenance(plan: Plan, cells: Sequence[PlannedCell], found: Results) -> dict[str, Any]:
    """Where a table's numbers come from, and what a reader must know about it."""
    rows: dict[str, set[str]] = {}
    commits, devices, backends = set(), set(), set()
    datasets: dict[str, str] = {}
    dirty = False
    for cell in cells:
        for kind, key in cell.runs.items():
            rows.setdefault(cell.row, set()).add(key)
            for name in plan.specs[key].data.keys() - {*LISTS, WEIGHTS}:
                datasets[name] = "user" if name == OWN else plan.origins.get(name, plan.source)
            origin = (found.get(kind, key) or {}).get("provenance") or {}
            commit = origin.get("commit") or {}
            if commit.get("id"):
                commits.add(commit["id"][:12] + ("+" if commit.get("dirty") else ""))
                dirty |= bool(commit.get("dirty"))
            for known, name in ((devices, "device"), (backends, "ops_backend")):
                if origin.get(name):
                    known.add(origin[name])
    footnotes = [
        f"The runs of this table come from {len(known)} {what}: {', '.join(sorted(known))}."
        for known, what in ((commits, "commits"), (devices, "kinds of device"), (backends, "back ends of the point operations"))
        if len(known) > 1
    ]
    if dirty:
        footnotes.append("Some runs were made with uncommitted changes (marked +).")
    return {
        "profile": plan.profile,
        "datasets": datasets,
        "commits": sorted(commits),
        "devices": sorted(devices),
        "ops_backends": sorted(backends),
        "footnotes": footnotes,
        "runs": {row: sorted(keys) for row, keys in sorted(rows.items())},
    }


def _line(cell: PlannedCell, column: str, kind: str, found: Results, store: Store | None, failures: set[str]) -> Line:
    key = cell.runs[kind]
    value, text, status = value_of(column, cell, kind, found), "", "done"
    if value is not None:
        text = f"{value:.6f}" if math.isfinite(value) else str(value)
    elif found.get(kind, key) is None:
        failed = any(k in failures or (store is not None and store.run(k).read(FAILURE)) for k in cell.runs.values())
        status = "failed" if failed else "missing"
    return Line(cell.row, column, str(cell.seed), text, status, key)


def place_of(figure: FigureSpec, plan: Plan, cell: PlannedCell) -> dict[str, Any]:
    """``x`` and ``series`` of a row, from the configuration of its runs: the last one that has the key says it."""

    def said(key: str) -> Any:
        for kind in reversed([kind for kind in KINDS if kind in cell.runs]):
            value: Any = plan.specs[cell.runs[kind]].config
            for name in key.split("."):
                value = value.get(name) if isinstance(value, Mapping) else None
            if value is not None:
                return value.get("name") if isinstance(value, Mapping) else value
        return None

    places = [said(key) for key in figure.x]
    x = places[0] if len(places) == 1 else ", ".join(str(value) for value in places)
    if figure.series:
        series = str(said(figure.series) or "none")
    else:
        series = "numbers" if isinstance(x, int | float) else str(x)
    return {"x": x, "series": figure.names.get(series, series)}


def _is_result(value: Mapping[str, Any]) -> bool:
    """Whether a result file, which anybody may have touched, has the parts that are read below."""
    origin, efficiency = value.get("provenance") or {}, value.get("efficiency") or {}
    parts = [value.get("metrics"), efficiency, origin]
    if not all(isinstance(part, dict) for part in parts):
        return False
    commit, seconds = origin.get("commit") or {}, efficiency.get("seconds_per_scene") or {}
    texts = [origin.get(name) or "" for name in ("device", "device_kind", "ops_backend")]
    known = isinstance(commit, dict) and isinstance(commit.get("id") or "", str) and isinstance(seconds, dict)
    return known and all(isinstance(text, str) for text in texts)


def _number(value: Any) -> float | None:
    """A number, also when JSON had to carry it as a word (``NaN``)."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None
