"""``mm3d status``: a table of what is queued, running, done and failed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from mm3d_benchmarks.launching.health import health
from mm3d_benchmarks.launching.progress import STATES, Standing, by_sweep, clock, counts, survey, what
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.planning.sweepfile import find_sweeps
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

SHOWN = 30  # open runs in the table; the rest is counted


def status(options: argparse.Namespace) -> int:
    """Show the standing of a profile's planned runs once, or until Ctrl-C."""
    names = [path.stem for path in find_sweeps(options.sweeps)] if options.sweeps else None
    folder = options.plans / options.profile
    if not (folder / "runs").is_dir():
        raise UserError(
            f"{folder}: nothing is planned for profile {options.profile}; run `mm3d plan --profile "
            f"{options.profile}` first"
        )
    store, plan = Store(options.store), Plan.read(folder, names)
    if options.json:
        standings = look(plan, store)
        value = {
            "sweeps": by_sweep(plan, standings),
            "total": counts(standings),
            "runs": [s.to_json() for s in standings],
            "pretraining": health(plan.of_kind("pretrain"), store),
        }
        print(json.dumps(value, indent=1, sort_keys=True))
        return 0
    from rich.console import Console

    if not options.watch:
        Console().print(table(plan, look(plan, store), store))
        return 0
    from rich.live import Live

    with Live(table(plan, look(plan, store), store), auto_refresh=False) as live:
        while True:
            time.sleep(2)
            live.update(table(plan, look(plan, store), store), refresh=True)


def look(plan: Plan, store: Store) -> list[Standing]:
    """The standing of all planned runs; the cluster is asked only if something was sent to it."""
    specs = [plan.specs[key] for key in sorted(plan.specs)]
    standings = survey(specs, store)
    sent = {s.job for s in standings if s.job and s.state not in ("done", "running")}
    if not sent:
        return standings
    from mm3d_benchmarks.launching.slurm_queue import job_states

    return survey(specs, store, {job: state.word for job, state in (job_states(sent) or {}).items() if state.alive})


def table(plan: Plan, standings: list[Standing], store: Store) -> Any:
    """Counts by sweep, a line for each run that is not done and not merely waiting, and how pre-trainings fare."""
    from rich.console import Group
    from rich.table import Table

    overview = Table(title=f"profile {plan.profile}", title_justify="left")
    overview.add_column("sweep")
    for state in STATES:
        overview.add_column(state, justify="right")
    for sweep, found in by_sweep(plan, standings).items():
        overview.add_row(sweep, *(str(found[state] or "") for state in STATES))
    total = counts(standings)
    overview.add_section()
    overview.add_row("distinct runs", *(str(total[state] or "") for state in STATES))
    open_runs = [s for s in standings if s.state not in ("done", "waiting")]
    if not open_runs:
        return Group(overview, *_health(plan, store))
    detail = Table()
    for heading in ("run", "kind", "what", "state", "step", "loss", "s/step", "left", "job", "last error"):
        detail.add_column(heading, overflow="fold" if heading in ("what", "last error") else "ellipsis")
    for s in open_runs[:SHOWN]:
        steps = f"{s.step or ''}{f'/{s.steps}' if s.steps else ''}"
        detail.add_row(
            s.key, s.kind, s.what, s.state, steps, _short(s.loss), _short(s.seconds_per_step), clock(s.seconds_left),
            s.job, s.error[:200],
        )  # fmt: skip
    rest = len(open_runs) - SHOWN
    return Group(overview, detail, *([f"and {rest} more"] if rest > 0 else []), *_health(plan, store))


def _health(plan: Plan, store: Store) -> list[Any]:
    """A few lines for each pre-training that has logged a step, which any width can show."""
    from rich.padding import Padding
    from rich.text import Text

    specs = {spec.key: spec for spec in plan.of_kind("pretrain")}
    found = health(specs.values(), store)
    if not found:
        return []
    shown: list[Any] = [Text("\npre-trainings, last logged step; values by level, finest first", style="italic")]
    for key, texts in list(found.items())[:SHOWN]:
        shown.append(Text(f"{key}  {what(specs[key])}"))
        values = " · ".join(f"{name} {text}" for name, text in texts.items() if text)
        shown.append(Padding(Text(values), (0, 0, 0, 4), expand=False))
    rest = len(found) - SHOWN
    return [*shown, *([f"and {rest} more"] if rest > 0 else [])]


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
