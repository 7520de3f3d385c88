"""The paper's own values, planted into a store, come out of every table as printed: values, gains, bold marks, order.

Whatever turns a number on its way (a unit, a fraction for a percent, a sign, a row for another) turns it here too.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy

from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.planning.sweepfile import Sweep, load_sweeps
from mm3d_benchmarks.planning.table_spec import Published
from mm3d_benchmarks.reports.build import Report, build_report
from mm3d_benchmarks.results.collect import collect, write_results
from mm3d_benchmarks.results.columns import column
from mm3d_benchmarks.store.layout import EFFICIENCY, write_result
from mm3d_benchmarks.store.spec import KINDS, RunSpec
from mm3d_benchmarks.store.store import Store

SWEEPS = Path(__file__).parents[2] / "sweeps"
ROUNDING = 0.0501  # of a gain that the paper printed, from two values with one decimal
ADDED = 123_000  # parameters of a pre-training's own part


def planted(sweep: Sweep) -> list[Published]:
    """Printed rows that runs of ours fill."""
    assert sweep.table is not None
    return [entry for entry in sweep.table.published if entry.row in sweep.table.run_rows]


CHOSEN = [sweep for sweep in load_sweeps(SWEEPS) if sweep.table is not None and planted(sweep)]


def plant(sweep: Sweep, entry: Published, store: Store, plan: Plan) -> None:
    """The runs of one row, whose files say what the paper printed."""
    specs = {kind: toy.spec(kind, table=sweep.name, row=entry.row) for kind in KINDS}
    for kind, spec in specs.items():
        run = store.register(spec)
        run.write(EFFICIENCY, efficiency(kind, entry))
        scores = {n: v for n, v in entry.values.items() if v is not None and n not in ("params_M", "train_hours")}
        write_result(run.folder, kind, scores if kind == "evaluate" else {"loss": 1.0})
        plan.specs[spec.key] = spec
    plan.cells[sweep.name].append(PlannedCell(entry.row, 0, {kind: spec.key for kind, spec in specs.items()}))


def efficiency(kind: str, entry: Published) -> dict[str, object]:
    """What a run records of its cost, in the units of the record: seconds, bytes, parameters."""
    hours, size, wait = (entry.values.get(name) for name in ("train_hours", "params_M", "infer_seconds"))
    record: dict[str, object] = {}
    if hours is not None:
        record["seconds_total"] = 3600 * hours * {"pretrain": 0.75, "finetune": 0.25, "evaluate": 9.0}[kind]
    if size is not None:
        record |= {"parameters": 1e6 * size - ADDED, "parameters_beside_encoder": ADDED}
    if wait is not None:
        record["seconds_per_scene"] = {"one": 0.5 * wait, "two": 1.5 * wait}
    return record


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """All tables that the paper printed, built from a store of its own values."""
    root = tmp_path_factory.mktemp("planted")
    store, plan = Store(root / "runs"), Plan("smoke")
    for sweep in CHOSEN:
        plan.kinds[sweep.name], plan.cells[sweep.name] = "evaluate", []
        for entry in planted(sweep):
            plant(sweep, entry, store, plan)
    for kind in KINDS:
        own: list[RunSpec] = plan.of_kind(kind)
        write_results(own, store, root / "results/smoke/runs" / kind, kind, prune=True)
    collect(CHOSEN, plan, root / "results/smoke", store)
    build_report(None, "smoke", root / "results", SWEEPS, partial=True)
    return Report(root / "results/smoke", "smoke", CHOSEN, None, True)


def printed(sweep: Sweep) -> Iterator[tuple[str, str, float, float | None]]:
    """Row, column, printed value and printed gain of every number that a run of ours stands beside."""
    for entry in planted(sweep):
        for name, value in entry.values.items():
            if value is not None:
                yield entry.row, name, value, entry.delta.get(name)


def lines(report: Report, sweep: Sweep) -> dict[str, dict[str, str]]:
    with (report.folder / f"{sweep.name}.csv").open(encoding="utf-8", newline="") as stream:
        return {line["row"]: line for line in csv.DictReader(stream)}


def test_all_that_the_paper_printed_of_its_runs_is_planted():
    assert sum(1 for sweep in CHOSEN for _ in printed(sweep)) >= 143


@pytest.mark.parametrize("sweep", CHOSEN, ids=lambda sweep: sweep.name)
def test_values_and_gains_come_out_as_printed(report: Report, sweep: Sweep):
    found = lines(report, sweep)
    for row, name, value, gain in printed(sweep):
        line = found[row]
        assert float(line[f"{name} mean"]) == pytest.approx(value, abs=1e-6), (row, name)
        assert float(line[f"{name} published"]) == value
        if gain is not None and line[f"{name} delta"]:
            assert float(line[f"{name} delta"]) == pytest.approx(gain, abs=ROUNDING), (row, name)


@pytest.mark.parametrize("sweep", CHOSEN, ids=lambda sweep: sweep.name)
def test_the_best_is_marked_where_the_printed_values_say(report: Report, sweep: Sweep):
    table = report.table(sweep)
    for name in sweep.columns:
        values = {row: value for row, column_name, value, _ in printed(sweep) if column_name == name}
        better = column(name).better
        if better and len(set(values.values())) > 1:
            best = (max if better == "higher" else min)(values.values())
            marked = {row.name for row in table.rows if (cell := row.cells.get(name)) and cell.best}
            assert marked == {row for row, value in values.items() if value == best}, name


def test_every_printed_comparison_holds(report: Report):
    with (report.folder / "statistics_agreement.csv").open(encoding="utf-8", newline="") as stream:
        counted = list(csv.DictReader(stream))
    assert sum(int(line["comparisons"]) for line in counted) >= 180
    assert all(line["hold here"] == line["comparisons"] for line in counted)
