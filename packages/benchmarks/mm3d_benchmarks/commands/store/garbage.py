"""``mm3d store gc``: runs that nobody asks for any more. It lists them with the reason, and deletes with ``--yes``."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.launching.slurm_queue import may_still_run
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.asks import Ask, asks, forget
from mm3d_benchmarks.store.layout import SPEC
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError


@dataclass(frozen=True)
class Garbage:
    """A run that nobody asks for, and why it was made as far as that is on record."""

    run: Run
    reason: str
    recorded: bool


def collect_garbage(options: argparse.Namespace) -> int:
    """List what nobody asks for; with ``--yes`` delete it."""
    store = Store(options.store)
    if options.forget:
        return _forget(store, options.forget)
    planned = {key for plan in plans_in(options.plans) for key in plan.specs}
    asked = asks(store)
    found = list(garbage(store, asked, planned))
    taken = [entry for entry in found if entry.recorded or options.unrecorded]
    freed = 0
    for entry in taken:
        size = entry.run.size()
        if not options.yes:
            print(f"would remove {entry.run.key} {_kind(entry.run):9} {size / 1e6:8.1f} MB: {entry.reason}")
        elif not _removed(entry.run):
            print(f"kept {entry.run.key}: somebody began to work on it")
            continue
        else:
            print(f"removed {entry.run.key} {_kind(entry.run)}: {entry.reason}")
        freed += size
    print(f"{freed / 1e6:.1f} MB {'freed' if options.yes else 'would be freed; --yes deletes them'}")
    _tell_rest(found, taken, asked)
    return 0


def garbage(store: Store, asked: Iterable[Ask], planned: set[str]) -> Iterable[Garbage]:
    """Runs that no record and no plan asks for, that no such run starts from, and that nobody works on."""
    asked = list(asked)
    wanted = planned.union(*(ask.keys for ask in asked))
    spare = [store.run(key) for key in store.keys() if key not in wanted]  # noqa: SIM118
    busy = {run.key for run in spare if run.holder() is not None} | may_still_run([r for r in spare if not r.is_done])
    kept = _with_upstreams(store, wanted | busy)
    for run in spare:
        if run.key in kept:
            continue
        once = [ask for ask in asked if run.key in ask.before]
        if once:
            names = ", ".join(f"{ask.title} in {ask.folder} ({ask.user}@{ask.host})" for ask in once[:2])
            yield Garbage(run, f"{names} asked for it, and asks for something else now", True)
        else:
            yield Garbage(run, "nobody is on record as having asked for it", False)


def plans_in(folder: Path) -> list[Plan]:
    """The plans of all profiles in a folder."""
    return [Plan.read(path.parent) for path in sorted(folder.glob("*/runs"))]


def _with_upstreams(store: Store, keys: set[str]) -> set[str]:
    """These runs and all that they start from."""
    there, found = set(store.keys()), set[str]()
    waiting = [key for key in keys if key in there]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            upstream = (store.run(key).read(SPEC) or {}).get("upstream")
            waiting.extend(before for before in upstream.values() if before in there) if upstream else None
    return found


def _removed(run: Run) -> bool:
    """Delete the run under its lock; False if somebody has taken it meanwhile."""
    try:
        with locks.hold(run.lock_file):
            run.remove()
    except locks.BusyError:
        return False
    return True


def _forget(store: Store, folder: Path) -> int:
    """Drop what a working folder that is gone for good asked for."""
    wanted = str(folder.resolve())
    asked = asks(store)
    if not any(ask.folder == wanted for ask in asked):
        known = sorted({ask.folder for ask in asked})
        raise UserError(f"--forget {folder}: asks for nothing here; on record are {', '.join(known) or 'none'}")
    for ask in asked:
        if ask.folder == wanted:
            forget(ask)
    print(f"{wanted} asks for nothing any more; see `mm3d store gc`")
    return 0


def _tell_rest(found: list[Garbage], taken: list[Garbage], asked: list[Ask]) -> None:
    """What is kept, and for whom."""
    left = len(found) - len(taken)
    if left:
        print(f"{left} runs are kept because nobody is on record for them (an older version?); --unrecorded takes them")
    for folder in sorted({ask.folder for ask in asked if ask.cells}):
        own = [ask for ask in asked if ask.folder == folder and ask.cells]
        names = sorted({ask.sweep or "by hand" for ask in own})
        listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        print(f"kept: {len(set().union(*(ask.keys for ask in own)))} runs for {folder} ({own[0].user}): {listed}")
        if not Path(folder).is_dir():
            print(f"  {folder} is not on this machine; if it is gone for good: mm3d store gc --forget {folder}")


def _kind(run: Run) -> str:
    spec = run.read(SPEC) or {}
    return str(spec.get("kind", "unknown"))
