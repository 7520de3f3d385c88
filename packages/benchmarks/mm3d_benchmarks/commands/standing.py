"""What ``mm3d status`` and ``mm3d store ls`` are about: all that is planned, started without a plan, or run by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from mm3d_benchmarks.launching.progress import Standing, look
from mm3d_benchmarks.planning.planner import Plan, PlannedCell
from mm3d_benchmarks.results.collect import with_result
from mm3d_benchmarks.store.asks import Ask, asks
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Store
from mm3d_core.errors import UserError

BY_HAND = "by hand"


def everything(plans: Path, store: Store, profile: str, names: Sequence[str] | None) -> Plan:
    """The plan of a profile as this working folder last asked for it, planned or not; ``names``: of these sweeps only.

    Raises:
        UserError: there is nothing, or a damaged plan.
    """
    folder = plans / profile
    found = Plan.read(folder, names) if (folder / "runs").is_dir() else Plan(profile)
    for ask in asks(store):
        if ask.here and ask.profile == profile and ask.cells and (names is None or ask.sweep in names):
            _take(found, ask, store)
    if not found.specs:
        raise UserError(
            f"{folder}: nothing is planned, started or run by hand for profile {profile}; see `mm3d plan --help`, or "
            "name another --profile"
        )
    return found


def standings(plan: Plan, store: Store, results: Path) -> list[Standing]:
    """The standing of each run, by key; one whose result file came from elsewhere is done."""
    specs = [plan.specs[key] for key in sorted(plan.specs)]
    pulled = with_result(specs, results)
    return [
        replace(s, state="done", error="") if s.state == "waiting" and s.key in pulled else s
        for s in look(specs, store)
    ]


def pretraining_of(spec: RunSpec, specs: Mapping[str, RunSpec]) -> str:
    """The pre-training behind a run: its method, ``scratch`` where there is none, nothing where that is not known."""
    if spec.kind == "pretrain":
        return str(spec.config.get("pretrain", {}).get("name", ""))
    before = next(iter(spec.upstream.values()), None)
    if before is None:
        return "scratch"
    return pretraining_of(specs[before], specs) if before in specs else ""


def _take(plan: Plan, ask: Ask, store: Store) -> None:
    """Lay what was asked for over what is planned: it is the later of the two."""
    title = ask.sweep or BY_HAND
    if ask.sweep:
        plan.cells.pop(title, None)
    for label, runs in ask.cells.items():
        known = {kind: key for kind, key in runs.items() if _known(plan, key, store)}
        row, _, seed = label.rpartition("/")
        cell = PlannedCell(row or ask.title, int(seed) if seed.isdecimal() else 0, known)
        if known:
            plan.cells.setdefault(title, []).append(cell)


def _known(plan: Plan, key: str, store: Store) -> bool:
    """Whether it can be said what a run is: by the plan, or by its folder."""
    if key not in plan.specs and store.run(key).exists:
        plan.specs[key] = store.run(key).spec()
    return key in plan.specs
