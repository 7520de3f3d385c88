"""``ensure(cells)``: afterwards every run that can have a result has one. Idempotent, whatever the launcher.

Runs with a result are done. Runs that somebody is working on are attached to. The rest is submitted as soon as the
runs it starts from are done. Everything that can finish finishes; what failed is reported by name, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mm3d_benchmarks.launching.outcome import DONE, FAILED, REQUEUE, Ended, Launcher, Outcome, last_error
from mm3d_benchmarks.store.layout import FAILURE, LOG_TEXT, tail
from mm3d_benchmarks.store.spec import RunSpec, order_of
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError

MOST_RETURNS = 5


@dataclass
class _Work:
    """What is left to do."""

    runs: dict[str, Run]
    specs: dict[str, RunSpec]
    waiting: dict[str, set[str]]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    in_vain: dict[str, tuple[int, int]] = field(default_factory=dict)  # starts so far, and returns since the last one


def ensure(
    specs: Iterable[RunSpec],
    store: Store,
    launcher: Launcher,
    max_attempts: int = 3,
    again: bool = False,
    watch: Callable[[Mapping[str, Outcome], int], None] | None = None,
    poll_seconds: float = 0.05,
    carry_on: bool = False,
) -> list[Outcome]:
    """Give every run a result, or a reason why it has none.

    Args:
        max_attempts: starts in a row that got no further, after which a run is left alone.
        again: forget earlier failures first.
        watch: called with the outcomes so far and the number of all runs, whenever something ended.
        carry_on: an upstream that is not among the specs and not done blocks what starts from it, and nothing else.

    Raises:
        UserError: a cycle of upstreams, or without ``carry_on`` an upstream that is not among the specs and not done.
    """
    work = _survey(specs, store, max_attempts, again, carry_on)
    try:
        _start(work, launcher)
        while len(work.outcomes) < len(work.specs):
            ended = launcher.poll()
            for end in ended:
                _settle(work, end, launcher, max_attempts)
            if ended:
                _start(work, launcher)
                if watch:
                    watch(work.outcomes, len(work.specs))
            else:
                time.sleep(poll_seconds)
    except BaseException:
        launcher.close(cancel=True)
        raise
    launcher.close(cancel=False)
    return [work.outcomes[key] for key in work.specs]


def _survey(specs: Iterable[RunSpec], store: Store, max_attempts: int, again: bool, carry_on: bool) -> _Work:
    known = {spec.key: spec for spec in specs}
    done = store.done()
    missing = sorted({key for spec in known.values() for key in spec.upstream.values()} - set(known) - done)
    if missing and not carry_on:
        raise UserError(
            f"{store.root}: runs start from {', '.join(missing)}, which have no result; run their kind first"
        )
    order = order_of({key: [k for k in spec.upstream.values() if k in known] for key, spec in known.items()})
    work = _Work({}, {key: known[key] for key in order}, {})
    for key, spec in work.specs.items():
        if key in done:
            work.outcomes[key] = Outcome(spec, DONE)
            continue
        lacking = [k for k in spec.upstream.values() if k in missing]
        if lacking:
            work.outcomes[key] = Outcome(spec, "blocked", f"it starts from {lacking[0]}, which has no result")
            continue
        run = work.runs[key] = store.register(spec)
        if again:
            run.forgive()
        if run.attempts() >= max_attempts and run.holder() is None:
            reason = f"started {run.attempts()} times without getting further; last: {last_error(run)}; try --again"
            work.outcomes[key] = Outcome(spec, FAILED, reason)
        else:
            work.waiting[key] = {k for k in spec.upstream.values() if k in known and k not in done}
    return work


def _start(work: _Work, launcher: Launcher) -> None:
    """Submit what has become ready, give up what cannot become ready any more."""
    ready: list[Run] = []
    for key in list(work.waiting):
        failed = [k for k in work.waiting[key] if k in work.outcomes and work.outcomes[k].state != DONE]
        if failed:
            del work.waiting[key]
            work.outcomes[key] = Outcome(work.specs[key], "blocked", f"it starts from {failed[0]}, which has no result")
        elif all(k in work.outcomes for k in work.waiting[key]):
            del work.waiting[key]
            run = work.runs[key]
            if run.is_done:
                work.outcomes[key] = Outcome(work.specs[key], DONE)
            elif not launcher.attach(run):
                ready.append(run)
    if ready:
        launcher.submit(ready)
    elif any(k not in work.outcomes for k in work.waiting):
        return


def _settle(work: _Work, end: Ended, launcher: Launcher, max_attempts: int) -> None:
    run, spec = work.runs[end.key], work.specs[end.key]
    if run.is_done:
        work.outcomes[end.key] = Outcome(spec, DONE, computed=True)
    elif end.state == REQUEUE and run.attempts() < max_attempts and _may_return(work, run):
        launcher.submit([run])
    else:
        work.outcomes[end.key] = Outcome(spec, FAILED, end.reason or last_error(run), computed=True)


def _may_return(work: _Work, run: Run) -> bool:
    """Whether to send a run again: not if it came back ``MOST_RETURNS`` times in a row without having been started."""
    starts = run.starts()
    before, returns = work.in_vain.get(run.key, (starts - 1, 0))
    returns = returns + 1 if starts == before else 1
    work.in_vain[run.key] = (starts, returns)
    return returns < MOST_RETURNS


def describe(outcomes: Sequence[Outcome], names: Mapping[str, Sequence[str]], store: Store, lines: int = 5) -> str:
    """The failures, one paragraph each: name, state, reason, end of the log."""
    parts = []
    for outcome in outcomes:
        if outcome.state == DONE:
            continue
        key = outcome.spec.key
        used = ", ".join(names.get(key, ())[:3]) or "by hand"
        parts.append(f"{outcome.state}: {outcome.spec.kind} {key} (for {used}): {outcome.reason}")
        if outcome.state == FAILED:
            own = (store.run(key).read(FAILURE) or {}).get("log")  # of a job that never started its run
            log = tail(Path(own) if own else store.run(key).folder / LOG_TEXT, 8192).splitlines()[-lines:]
            parts.extend(f"    | {line}" for line in log)
    return "\n".join(parts)
