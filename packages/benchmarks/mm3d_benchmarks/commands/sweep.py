"""``mm3d plan``, ``mm3d sweep`` and ``mm3d collect``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mm3d_benchmarks.commands.common import launcher_settings, machine_file
from mm3d_benchmarks.launching.by_hand import with_machine
from mm3d_benchmarks.launching.choose import make_launcher
from mm3d_benchmarks.launching.ensure import describe, ensure
from mm3d_benchmarks.launching.outcome import DONE, Outcome
from mm3d_benchmarks.launching.watching import Watcher
from mm3d_benchmarks.planning.conditions import holds, parse_conditions
from mm3d_benchmarks.planning.estimate import estimate
from mm3d_benchmarks.planning.needed import Needed, needed
from mm3d_benchmarks.planning.planner import Plan, Planner
from mm3d_benchmarks.planning.sweepfile import Sweep, find_sweeps, load_sweep
from mm3d_benchmarks.results import collect as collecting
from mm3d_benchmarks.results.failures import Failure, write_failures
from mm3d_benchmarks.store.asks import Ask, record, withdraw
from mm3d_benchmarks.store.spec import KINDS, RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError


def plan(options: argparse.Namespace) -> int:
    """Write the plan of some or all sweeps."""
    sweeps = [load_sweep(path) for path in find_sweeps(options.sweeps)]
    made = Planner(options.profile).plan(sweeps)
    store = Store(options.store)
    told = summary(made)
    record_sweeps(store, made, sweeps)
    folder = options.plans / options.profile
    if options.sweeps and (folder / "runs").is_dir():
        made.add(Plan.read(folder))  # what else is planned stays planned
    elif not options.sweeps:
        withdraw(store, made.profile, made.cells)
    changed = made.write(folder)
    print(f"{told}; {folder} {'written' if changed else 'unchanged'}")
    return 0


def sweep(options: argparse.Namespace) -> int:
    """Ensure all runs of some sweeps, then write their results; by hand also collect."""
    sweeps = [load_sweep(path) for path in find_sweeps(options.sweeps)]
    made = _plan_of(options, sweeps)
    store, results = Store(options.store), options.results / options.profile
    need = needed(made.specs.values(), store.done(), collecting.with_result(made.specs.values(), results))
    wanted = _wanted(made, options.where)
    planned = [
        spec for kind in KINDS for spec in made.of_kind(kind) if options.kind in (None, kind) and spec.key in wanted
    ]
    if options.dry_run:
        print("\n".join(filter(None, [summary(made), *estimate(made, planned, store, need), need.sentence()])))
        return 0
    settings = launcher_settings(options.launcher, options)
    record_sweeps(store, made, sweeps)
    specs = [spec for spec in planned if spec.key not in need.by_result]
    specs = with_machine(specs, machine_file(options.machine).get("machine") or {})
    _announce(made, planned, need)
    already = len(specs) - sum(spec.key in need.to_do for spec in specs)
    with Watcher(options.kind or "runs", specs, already, store, made.used_by()) as watch:
        outcomes = ensure(
            specs, store, make_launcher(settings, store, specs), settings["max_attempts"], options.again,
            watch, settings.get("poll_seconds", 0.05), options.carry_on,
        )  # fmt: skip
    write_all(made, store, results, options.kind, prune=options.planned and not options.sweeps)
    failed = [outcome for outcome in outcomes if outcome.state != DONE]
    if options.carry_on:
        record_failures(results, failed, made.used_by(), options.kind)
    if not options.planned:
        collecting.collect(sweeps, made, results, store)
    if failed:
        print(describe(failed, made.used_by(), store), file=sys.stderr)
        print(
            f"{len(failed)} of {len(outcomes)} runs have no result; the same command tries them again", file=sys.stderr
        )
    return 1 if failed and not options.partial and not options.carry_on else 0


def _announce(made: Plan, planned: Sequence[RunSpec], need: Needed) -> None:
    """What is done and what is to do, before anything starts."""
    to_do = sum(spec.key in need.to_do for spec in planned)
    alone = sum(spec.key in need.by_result for spec in planned)
    told = f", {alone} of them by their result files alone" if alone else ""
    print(f"{summary(made)}; {len(planned) - to_do} of {len(planned)} done{told}, {to_do} to do", file=sys.stderr)
    if need.absent:
        print(f"mm3d: {need.sentence()}", file=sys.stderr)


def record_failures(
    results: Path, failed: Sequence[Outcome], used_by: Mapping[str, Sequence[str]], kind: str | None
) -> None:
    """Write down which runs have no result, for the pipeline's last stage."""
    for each in KINDS if kind is None else (kind,):
        found = {
            o.spec.key: Failure(o.state, o.reason, used_by.get(o.spec.key, ())) for o in failed if o.spec.kind == each
        }
        write_failures(results, each, found)


def collect(options: argparse.Namespace) -> int:
    """Write the inputs of some or all tables."""
    sweeps = [load_sweep(path) for path in find_sweeps(options.sweeps)]
    folder = options.plans / options.profile
    made = Plan.read(folder, [sweep.name for sweep in sweeps])
    unplanned = [sweep.name for sweep in sweeps if sweep.name not in made.cells]
    if unplanned:
        raise UserError(f"{folder}: does not plan {', '.join(unplanned)}; run `mm3d plan` first")
    results = options.results / options.profile
    summaries = collecting.collect(sweeps, made, results, Store(options.store))
    _remove_stale(results / "inputs", options.plans / options.profile)
    incomplete = [s for s in summaries if s.missing or s.failed]
    for entry in incomplete:
        print(f"{entry.sweep}: {entry.done} values, {entry.missing} missing, {entry.failed} failed", file=sys.stderr)
    print(f"{len(summaries)} tables, {sum(s.done for s in summaries)} values")
    return 1 if incomplete and not options.partial and not options.carry_on else 0


def summary(made: Plan) -> str:
    """Cells against distinct runs, in one line."""
    cells = sum(len(cells) for cells in made.cells.values())
    asked = sum(len(cell.runs) for cells in made.cells.values() for cell in cells)
    kinds = ", ".join(f"{len(made.of_kind(kind))} {kind}" for kind in KINDS)
    return (
        f"{len(made.cells)} sweeps, {cells} cells that need {asked} runs, {len(made.specs)} of them distinct ({kinds})"
    )


def write_all(made: Plan, store: Store, folder: Path, kind: str | None = None, prune: bool = False) -> None:
    """Write the result files of the finished runs of a plan; ``prune`` removes those of runs outside of it."""
    for each in KINDS:
        if kind in (None, each):
            collecting.write_results(made.of_kind(each), store, folder / "runs" / each, each, prune)


def record_sweeps(store: Store, made: Plan, sweeps: Sequence[Sweep]) -> None:
    """Put on record that this working folder asks for these sweeps: what it asks for is no garbage."""
    for sweep in sweeps:
        if sweep.name in made.cells:
            cells = {f"{cell.row}/{cell.seed}": dict(cell.runs) for cell in made.cells[sweep.name]}
            record(store, Ask(made.profile, sweep.name, str(sweep.path), cells))


def _wanted(made: Plan, where: Sequence[str]) -> set[str]:
    """Keys of the runs behind the cells that the conditions of ``--where`` hold for; all without conditions."""
    if not where:
        return set(made.specs)
    conditions = parse_conditions(where)
    rows = conditions.pop("row", None)
    found: set[str] = set()
    for cell in (cell for cells in made.cells.values() for cell in cells):
        if (rows is None or cell.row in rows) and holds(
            {kind: made.specs[key] for kind, key in cell.runs.items()}, conditions
        ):
            found |= set(cell.runs.values())
    if not found:
        told = " ".join(f"--where {word}" for word in where)
        raise UserError(f"{told}: no cell of these sweeps is so; `mm3d info` prints a run's configuration")
    return found


def _plan_of(options: argparse.Namespace, sweeps: Sequence[Sweep]) -> Plan:
    if options.planned:
        return Plan.read(options.plans / options.profile, [sweep.name for sweep in sweeps])
    return Planner(options.profile, needs_data=not options.dry_run).plan(sweeps)


def _remove_stale(inputs: Path, plans: Path) -> None:
    """Inputs of tables that are planned no more."""
    planned = {path.stem for path in plans.glob("sweeps/*.json")}
    for path in inputs.glob("*"):
        if path.name.split(".")[0] not in planned:
            path.unlink()
