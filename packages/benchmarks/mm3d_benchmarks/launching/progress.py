"""Where every run stands, read from the store alone: what ``mm3d status`` shows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mm3d_benchmarks.launching.outcome import last_error
from mm3d_benchmarks.launching.slurm_queue import JobState, job_states, last_line
from mm3d_benchmarks.planning.planner import Plan
from mm3d_benchmarks.store.layout import FAILURE, JOB, PROGRESS
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store

STATES = ("done", "running", "queued", "preempted", "failed", "waiting")


@dataclass(frozen=True)
class Standing:
    """One run as it stands.

    Attributes:
        state: one of STATES. ``queued``: sent to a cluster and not started; ``preempted``: it stopped on request and
        will
            go on; ``waiting``: nobody has started it.
        step, steps: of its training, as far as its log tells.
        seconds_left: from the speed of the last logged step.
        job: the cluster's job id, if it has one.
        error: last error line of a failed run.
        reason: why the cluster does not run its job yet, in Slurm's word.
    """

    key: str
    kind: str
    what: str
    state: str
    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    seconds_per_step: float | None = None
    seconds_left: float | None = None
    job: str = ""
    error: str = ""
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def look(specs: Iterable[RunSpec], store: Store) -> list[Standing]:
    """The standing of each run; the cluster is asked only if something was sent to it that is not done or running."""
    specs = list(specs)
    standings = survey(specs, store)
    sent = {s.job for s in standings if s.job and s.state not in ("done", "running")}
    return survey(specs, store, job_states(sent)) if sent else standings


def survey(specs: Iterable[RunSpec], store: Store, jobs: Mapping[str, JobState] | None = None) -> list[Standing]:
    """The standing of each run.

    Args:
        jobs: job id -> state of what the cluster knows; None if it was not asked or does not answer.
    """
    done = store.done()
    return [
        Standing(spec.key, spec.kind, what(spec), "done")
        if spec.key in done
        else _open(spec, store.run(spec.key), jobs)
        for spec in specs
    ]


def counts(standings: Iterable[Standing]) -> dict[str, int]:
    """How many runs are in each state."""
    found: dict[str, int] = dict.fromkeys(map(str, STATES), 0)
    for standing in standings:
        found[standing.state] += 1
    return found


def by_sweep(plan: Plan, standings: Iterable[Standing]) -> dict[str, dict[str, int]]:
    """The counts of each sweep; a shared run counts in every sweep that uses it."""
    by_key = {standing.key: standing for standing in standings}
    found = {}
    for sweep, cells in sorted(plan.cells.items()):
        keys = {key for cell in cells for key in cell.runs.values()}
        found[sweep] = counts(by_key[key] for key in sorted(keys))
    return found


def what(spec: RunSpec) -> str:
    """A run in a few words."""
    config = spec.config
    parts = [
        config.get(group, {}).get("name", "")
        for group in ("backbone", "dataset", "pretrain", "evaluation")
        if config.get(group)
    ]
    return " ".join([*filter(None, parts), f"seed {config.get('seed', 0)}"])


def _open(spec: RunSpec, run: Run, jobs: Mapping[str, JobState] | None) -> Standing:
    """A run that has no result yet."""
    if not run.folder.is_dir():
        return Standing(spec.key, spec.kind, what(spec), "waiting")
    sent = run.read(JOB) or {}
    job = str(sent.get("job", ""))
    known = (jobs or {}).get(job)
    progress = run.last_progress()
    step, speed, steps = progress.get("step"), progress.get("seconds_per_step"), _steps(run)
    left = speed * (steps - step) if step and speed and steps else None
    state, error, reason = "waiting", "", ""
    if run.holder() is not None:
        state = "running"
    elif known is not None and known.alive:
        state, reason = "preempted" if step else "queued", known.reason
    elif run.read(FAILURE):
        state, error = "failed", last_error(run)
    elif run.attempts():
        state, error = "failed", "ended without a word (killed?); the next sweep goes on from its checkpoint"
    elif job and jobs is not None:
        log = str(sent.get("log", ""))
        state, error = "failed", f"job {job} ended before its run started: {last_line(log)} (its log: {log})"
    return Standing(
        spec.key, spec.kind, what(spec), state, step, steps, progress.get("loss"), speed, left, job, error, reason
    )


def _steps(run: Run) -> int | None:
    """How many steps the run will take, if it said so."""
    value = (run.read(PROGRESS) or {}).get("steps")
    return int(value) if value else None


def clock(seconds: float | None) -> str:
    """``1:05:00``, or nothing."""
    if seconds is None:
        return ""
    text = time.strftime("%H:%M:%S", time.gmtime(seconds % 86400))
    return f"{int(seconds // 86400)}d {text}" if seconds >= 86400 else text
