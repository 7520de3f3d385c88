"""``mm3d status``: a table of what is queued, running, done and failed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from mm3d_benchmarks.commands.standing import everything, pretraining_of, standings
from mm3d_benchmarks.launching.health import health
from mm3d_benchmarks.launching.progress import STATES, Standing, by_sweep, clock, counts, what
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.planning.sweepfile import find_sweeps
from mm3d_benchmarks.store.store import Store

WIDE = 240  # columns where no terminal says how many there are: a name that is cut helps nobody
SHOWN = 30  # open runs in the table; the rest is counted


def status(options: argparse.Namespace) -> int:
    """Show the standing of a profile's planned runs once, or until Ctrl-C."""
    names = [path.stem for path in find_sweeps(options.sweeps)] if options.sweeps else None
    store, results = Store(options.store), options.results / options.profile
    plan = everything(options.plans, store, options.profile, names)
    if options.json:
        found = standings(plan, store, results)
        value = {
            "sweeps": by_sweep(plan, found),
            "total": counts(found),
            "runs": [s.to_json() for s in found],
            "pretraining": health(plan.of_kind("pretrain"), store),
        }
        print(json.dumps(value, indent=1, sort_keys=True))
        return 0
    from rich.console import Console

    if not options.watch:
        console = Console()
        if not console.is_terminal:
            console.width = WIDE
        console.print(table(plan, standings(plan, store, results), store))
        return 0
    from rich.live import Live

    with Live(table(plan, standings(plan, store, results), store), auto_refresh=False) as live:
        while True:
            time.sleep(2)
            plan = everything(options.plans, store, options.profile, names)
            live.update(table(plan, standings(plan, store, results), store), refresh=True)


def table(plan: Plan, found: list[Standing], store: Store) -> Any:
    """Counts by sweep, a line for each run that is not done and not merely waiting, and how pre-trainings fare."""
    from rich.console import Group
    from rich.table import Table

    overview = Table(title=f"profile {plan.profile}", title_justify="left")
    overview.add_column("sweep", overflow="fold")
    for state in STATES:
        overview.add_column(state, justify="right")
    for sweep, numbers in by_sweep(plan, found).items():
        overview.add_row(sweep, *(str(numbers[state] or "") for state in STATES))
    total = counts(found)
    overview.add_section()
    overview.add_row("distinct runs", *(str(total[state] or "") for state in STATES))
    open_runs = [s for s in found if s.state not in ("done", "waiting")]
    if not open_runs:
        return Group(overview, *_health(plan, store))
    detail = Table()
    users = plan.used_by()
    for heading in ("run", "kind", "for", "pre-training", "state", "step", "loss", "s/step", "left", "job", "why"):
        detail.add_column(heading, overflow="fold")
    for s in open_runs[:SHOWN]:
        steps = f"{s.step or ''}{f'/{s.steps}' if s.steps else ''}"
        detail.add_row(
            s.key, s.kind, (users[s.key] or [s.what])[0], pretraining_of(plan.specs[s.key], plan.specs), s.state,
            steps, _short(s.loss), _short(s.seconds_per_step), clock(s.seconds_left), s.job,
            (s.error or s.reason)[:300],
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
