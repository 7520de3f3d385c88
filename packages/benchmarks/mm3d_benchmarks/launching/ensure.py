"""``ensure(cells)``: afterwards every run that can have a result has one. Idempotent, whatever the launcher.

Runs with a result are done. Runs that somebody is working on are attached to. The rest is submitted as soon as the
runs it
starts from are done. Everything that can finish finishes; what failed is reported by name, with the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from mm3d_benchmarks.store.spec import RunSpec, order_of
from mm3d_benchmarks.store.store import Run, Store, tail
from mm3d_core.errors import UserError

DONE, FAILED, REQUEUE = "done", "failed", "requeue"
MOST_RETURNS = 5


@dataclass(frozen=True)
class Ended:
    """What became of a submitted run: ``done``,
    ``failed`` (with a reason) or ``requeue`` (it wants to be sent again).
    """

    key: str
    state: str
    reason: str = ""


class Launcher(Protocol):
    """Where runs happen."""

    def attach(self, run: Run) -> bool:
        """Whether somebody is already working on the run; from now on it is watched."""
        ...

    def submit(self, runs: Sequence[Run]) -> None:
        """Start runs, or queue them."""
        ...

    def poll(self) -> list[Ended]:
        """Those that ended since the last call."""
        ...

    def close(self, cancel: bool) -> None:
        """Let go; with ``cancel`` ask what runs to stop at its next checkpoint."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The end of one run: ``done``, ``failed`` or ``blocked`` (something it starts from failed)."""

    spec: RunSpec
    state: str
    reason: str = ""
    computed: bool = False


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
) -> list[Outcome]:
    """Give every run a result, or a reason why it has none.

    Args:
        max_attempts: starts in a row that got no further, after which a run is left alone.
        again: forget earlier failures first.
        watch: called with the outcomes so far and the number of all runs, whenever something ended.

    Raises:
        UserError: a cycle of upstreams, or an upstream that is not among the specs and not done.
    """
    work = _survey(specs, store, max_attempts, again)
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


def _survey(specs: Iterable[RunSpec], store: Store, max_attempts: int, again: bool) -> _Work:
    known = {spec.key: spec for spec in specs}
    done = store.done()
    missing = sorted({key for spec in known.values() for key in spec.upstream.values()} - set(known) - done)
    if missing:
        raise UserError(
            f"{store.root}: runs start from {', '.join(missing)}, which have no result; run their kind first"
        )
    order = order_of({key: [k for k in spec.upstream.values() if k in known] for key, spec in known.items()})
    work = _Work({}, {key: known[key] for key in order}, {})
    for key, spec in work.specs.items():
        if key in done:
            work.outcomes[key] = Outcome(spec, DONE)
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


def last_error(run: Run) -> str:
    """Why the last attempt ended, in one line."""
    failure = run.read("failure.json")
    if failure and failure.get("error"):
        return " ".join(str(failure["error"]).split())
    lines = [line.strip() for line in tail(run.folder / "log.txt", 4096).splitlines() if line.strip()]
    return lines[-1] if lines else "no log was written"


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
            log = tail(store.run(key).folder / "log.txt", 8192).splitlines()[-lines:]
            parts.extend(f"    | {line}" for line in log)
    return "\n".join(parts)


def make_launcher(settings: Mapping[str, Any], store: Store, specs: Sequence[RunSpec]) -> Launcher:
    """The launcher that some settings name (``conf/launcher/*.yaml``).

    Raises:
        UserError: there is no such launcher.
    """
    name = settings.get("name")
    if name == "local":
        from mm3d_benchmarks.launching.local import LocalPool

        return LocalPool(store, int(settings["max_parallel"]), int(settings["threads"]), modules_of(specs))
    if name == "debug":
        from mm3d_benchmarks.launching.local import InProcess

        return InProcess()
    if name == "slurm":
        from mm3d_benchmarks.launching.slurm_jobs import SlurmLauncher

        return SlurmLauncher(store, settings)
    raise UserError(f"launcher={name}: there is no such launcher; choose local, slurm or debug")


def modules_of(specs: Iterable[RunSpec]) -> list[str]:
    """Modules that some runs import, for a worker to import beforehand."""
    from mm3d_benchmarks.planning.import_paths import module_of, targets_in

    found = set()
    for spec in specs:
        found.add(str(spec.local.get("function") or f"mm3d_benchmarks.runs.{spec.kind}._").rpartition(".")[0])
        for key, target in targets_in(spec.config):  # type: ignore[arg-type]
            module = module_of(target, key)
            found.add(module.name if module else target.rpartition(".")[0])
    return sorted(found)
