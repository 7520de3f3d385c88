"""``mm3d store prune``: what finished runs need no more: their checkpoints, and the folders of jobs that are over."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator
from pathlib import Path

from mm3d_benchmarks.launching.slurm_queue import may_still_run
from mm3d_benchmarks.store import locks
from mm3d_benchmarks.store.layout import JOB
from mm3d_benchmarks.store.store import Run, Store

JOBS = "jobs"  # folder of what jobs printed, by job number


def prune(options: argparse.Namespace) -> int:
    """List it; with ``--yes`` delete it. Results, weights, logs and whatever belongs to an unfinished run stay."""
    store = Store(options.store)
    runs = [store.run(key) for key in store.keys()]  # noqa: SIM118
    freed, count = 0, 0
    for run in runs:
        size = sum(path.stat().st_size for path in run.checkpoints()) if run.is_done else 0
        if size and (not options.yes or _dropped(run)):
            freed, count = freed + size, count + 1
    old = list(_jobs_over(store, runs))
    freed += sum(path.stat().st_size for folder in old for path in folder.rglob("*") if path.is_file())
    if options.yes:
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
    did = "freed" if options.yes else "would be freed; --yes deletes them"
    print(f"checkpoints of {count} finished runs and folders of {len(old)} jobs: {freed / 1e6:.1f} MB {did}")
    return 0


def _dropped(run: Run) -> bool:
    """Delete the run's checkpoints under its lock; False if somebody holds it."""
    try:
        with locks.hold(run.lock_file):
            run.drop_checkpoints()
    except locks.BusyError:
        return False
    return True


def _jobs_over(store: Store, runs: list[Run]) -> Iterator[Path]:
    """Folders of jobs that no unfinished run was sent with and that the queue knows nothing of."""
    folders = [path for path in sorted((store.root / JOBS).glob("*")) if path.is_dir()]
    if not folders:
        return
    open_runs = [run for run in runs if not run.is_done]
    needed = {_number(run) for run in open_runs} | {_number(store.run(key)) for key in may_still_run(runs)}
    yield from (folder for folder in folders if folder.name not in needed)


def _number(run: Run) -> str:
    """The number of the array that a run was sent with."""
    return str((run.read(JOB) or {}).get("job", "")).split("_")[0]
