"""How long runs would take: by finished runs of the same kind and network, else by the hours that the paper prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from mm3d_benchmarks.planning.needed import Needed
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.planning.published_hours import PublishedHours
from mm3d_benchmarks.store.layout import EFFICIENCY
from mm3d_benchmarks.store.spec import KINDS, RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError


def estimate(plan: Plan, specs: Sequence[RunSpec], store: Store, need: Needed) -> list[str]:
    """Lines for ``--dry-run``: by kind, what is done, what is to do, and the hours that would take."""
    done = {spec.key for spec in specs} - need.to_do
    users = plan.used_by()
    speeds = recorded(specs, done - need.by_result, store)
    lines, total = [], 0.0
    unknown: list[RunSpec] = []
    for kind in KINDS:
        own = [spec for spec in specs if spec.kind == kind]
        open_runs = [spec for spec in own if spec.key not in done]
        shared = sum(1 for spec in own if len(users.get(spec.key, ())) > 1)
        unknown += [spec for spec in open_runs if group(spec) not in speeds]
        total += sum(speeds.get(group(spec), 0.0) for spec in open_runs)
        lines.append(
            f"{kind:9} {len(open_runs):4} to do, {len(own) - len(open_runs):4} done, {shared:4} shared by several cells"
        )
    if any(spec.key not in done for spec in specs):
        guess = f"about {total:.2g} hours of one device for the rest" if total else "no recorded speeds yet"
        left = f"; {len(unknown)} runs of kinds that never ran here are not in it" if unknown and total else ""
        lines += [guess + left, *by_published_hours(unknown)]
    return lines


def by_published_hours(specs: Sequence[RunSpec]) -> list[str]:
    """A line about the trainings among ``specs`` whose networks the paper's Tables 10 and 11 have, if there are any."""
    try:
        published = PublishedHours.read() if specs else None
    except UserError:  # sweep files of one's own, without those tables
        return []
    hours = [hours for spec in specs if published and (hours := published.hours(spec)) is not None]
    if not hours:
        return []
    return [
        f"by the hours that the paper prints (Tables 10 and 11, GPU not named) {len(hours)} trainings of full networks",
        f"take about {sum(hours):,.0f} hours of one GPU: an estimate; {len(specs) - len(hours)} runs are not in it",
    ]


def recorded(specs: Sequence[RunSpec], done: set[str], store: Store) -> dict[tuple[Any, ...], float]:
    """Median hours of the finished runs in each group."""
    seconds: dict[tuple[Any, ...], list[float]] = {}
    for spec in specs:
        if spec.key in done:
            record = store.run(spec.key).read(EFFICIENCY) or {}
            if record.get("seconds_total"):
                seconds.setdefault(group(spec), []).append(float(record["seconds_total"]))
    return {name: statistics.median(values) / 3600 for name, values in seconds.items()}


def group(spec: RunSpec) -> tuple[Any, ...]:
    """Runs that should take about equally long."""
    config = spec.config
    method = config.get("pretrain") or {}
    dataset = (config.get("dataset") or {}).get("name")  # weights that were given have none
    return (spec.kind, config["backbone"]["name"], dataset, method.get("name"), config.get("task"))
