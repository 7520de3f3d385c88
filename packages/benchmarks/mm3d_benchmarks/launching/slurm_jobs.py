"""Runs on a Slurm cluster, as its front end sees them; what a job does stands in ``slurm_place.py``.

Jobs are sent as arrays (``slurm_send.py``), their ids are written into the run folders before anybody waits, and their
ends are found out by our own poller (``slurm_queue.py``): submitit's waits for ever where there is no accounting. At
most ``max_parallel`` jobs run at once, over all arrays: the first array is as long as the cluster allows and throttled,
what follows is held here until fewer than that are left, and so is what a limit of submissions turns away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from mm3d_benchmarks.launching import slurm_queue as slurm
from mm3d_benchmarks.launching.outcome import DONE, FAILED, REQUEUE, Ended, last_error
from mm3d_benchmarks.launching.slurm_send import TryLaterError, send
from mm3d_benchmarks.launching.slurm_settings import parameters, whole
from mm3d_benchmarks.store.asks import asks, users_of
from mm3d_benchmarks.store.layout import FAILURE, JOB, write_failure
from mm3d_benchmarks.store.store import Run, Store

RESULT_SECONDS = 0.5  # between looks for results; longer where many jobs run, a second for RUNS_LOOKED_AT of them
RUNS_LOOKED_AT = 200
SLOWER, SLOWEST = 20.0, 30.0  # the pause between questions to the queue grows with time, to so many poll_seconds
NOBODY_KNOWS = "UNKNOWN"  # the end of a job that was over while the queue was silent
WORTH_AN_ARRAY = 0.05  # share of max_parallel that must be free to be filled at once; fewer wait for each other
RETRY_SECONDS = 30.0  # after sbatch would take no more


class SlurmLauncher:
    """Arrays on a cluster. The jobs go on when this process dies; the next one finds them again.

    Args:
        settings: ``conf/launcher/slurm.yaml`` with the cluster's own values.

    Raises:
        UserError: no Slurm, a partition that does not exist, or a setting that cannot be read.
    """

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        parameters(settings)
        slurm.check_cluster(settings["partition"])
        self._store, self._settings = store, settings
        self._limit, self._longest = whole(settings, "max_parallel", 1), slurm.longest_array()
        self._jobs: dict[str, tuple[Run, str]] = {}
        self._held: list[Run] = []
        self._strikes: dict[str, int] = {}
        self._deaths: dict[str, str] = {}  # how a job ended that never started its run
        self._states: dict[str, slurm.JobState] = {}
        self._told: set[str] = set()
        self._titles: dict[str, list[str]] | None = None
        self._started = time.monotonic()
        self._asked = self._looked = self._refused = self._sent = float("-inf")
        self._most = sys.maxsize  # jobs that the cluster took at once
        self._answers = True  # the queue, when it was asked last

    def attach(self, run: Run) -> bool:
        """Whether the run's recorded job lives, or somebody else holds its lock."""
        job = str((run.read(JOB) or {}).get("job", ""))
        if job and self._state(job) is not None and self._states[job].alive:
            self._jobs[run.key] = (run, job)
            return True
        if run.holder() is not None:
            self._jobs[run.key] = (run, "")
            return True
        return False

    def submit(self, runs: Sequence[Run]) -> None:
        """Send runs as arrays, ``runs_per_job`` in each job; what cannot be sent yet is held.

        Raises:
            UserError: Slurm refuses for good.
        """
        self._held.extend(runs)
        self._send_held()

    def poll(self) -> list[Ended]:
        """Results first, then the queue; a job without a result counts as gone after several answers only."""
        now = time.monotonic()
        if now - self._looked < max(RESULT_SECONDS, len(self._jobs) / RUNS_LOOKED_AT):
            return []
        self._looked = now
        pending = {job for job, state in self._states.items() if state.word == "PENDING"}
        ended = [Ended(key, DONE) for key, (run, job) in self._jobs.items() if job not in pending and run.is_done]
        for end in ended:
            del self._jobs[end.key]
        if now - self._asked >= self._pause(now):
            self._asked = now
            if self._ask({job for _, job in self._jobs.values() if job}):
                ended += [end for key in list(self._jobs) if (end := self._judge(key))]
                self._complain()
        if self._held and (self._room() >= self._limit * WORTH_AN_ARRAY or now - self._sent >= self._pause(now)):
            self._send_held()
        return ended

    def close(self, cancel: bool) -> None:
        """The jobs are left alone; the same command attaches to them again."""
        if cancel and self._jobs:
            self._say(f"{len(self._jobs)} runs go on in the cluster; the same command attaches to them again")

    def _pause(self, now: float) -> float:
        """Seconds between questions to the queue: short at first, when jobs end young, longer the longer it takes."""
        return float(self._settings["poll_seconds"]) * min(SLOWEST, max(1.0, (now - self._started) / SLOWER))

    def _room(self) -> int:
        """How many jobs may be sent now."""
        alive = len({job for _, job in self._jobs.values() if job})
        return self._most if alive == 0 else min(self._most, self._limit - alive)

    def _send_held(self) -> None:
        size = whole(self._settings, "runs_per_job", 1)
        if time.monotonic() - self._refused < RETRY_SECONDS:
            return
        while self._held and (room := min(self._room(), self._longest)) > 0:
            chunk = self._held[: room * size]
            groups = [chunk[start : start + size] for start in range(0, len(chunk), size)]
            for run in chunk:
                run.forget_failure()  # what it failed of before says nothing about this try
            try:
                jobs = send(self._store.root.resolve() / "jobs", self._settings, groups, [*map(self._title, groups)])
            except TryLaterError as later:
                if later.many and len(groups) > 1:
                    self._most = len(groups) // 2
                    continue
                self._most, self._refused = sys.maxsize, time.monotonic()
                self._tell_once(
                    "later", f"the cluster takes no more jobs at present ({later}); {len(self._held)} runs are held "
                    "here and sent as soon as it does"
                )  # fmt: skip
                return
            self._sent = time.monotonic()
            del self._held[: len(chunk)]
            self._record(groups, jobs)

    def _record(self, groups: Sequence[Sequence[Run]], jobs: Sequence[str]) -> None:
        for group, job in zip(groups, jobs, strict=True):
            log = self._store.root.resolve() / "jobs" / job.split("_")[0] / f"{job}_0_log.out"
            for run in group:
                run.write(JOB, {"launcher": "slurm", "job": job, "submitted": round(time.time()), "log": str(log)})
                self._jobs[run.key] = (run, job)
                self._strikes.pop(run.key, None)

    def _title(self, group: Sequence[Run]) -> str:
        """What a job is for: the first cell that asks for its first run, and how many runs more it does."""
        if self._titles is None:
            self._titles = users_of(asks(self._store))
        users = self._titles.get(group[0].key) or [group[0].key]
        return users[0] + (f" and {len(group) - 1} more" if len(group) > 1 else "")

    def _judge(self, key: str) -> Ended | None:
        run, job = self._jobs[key]
        state = self._states.get(job)
        if (state is not None and state.alive) or run.holder() is not None:
            self._strikes[key] = 0
            return None
        self._strikes[key] = self._strikes.get(key, 0) + 1
        word = state.word if state else NOBODY_KNOWS
        told = word in ("COMPLETED", "FAILED") and run.read(FAILURE) is not None
        if self._strikes[key] < (1 if told else int(self._settings["gone_after"])):
            return None
        del self._jobs[key]
        if run.is_done:
            return Ended(key, DONE)
        if word == "FAILED" and not told and run.attempts() == 0:
            return self._stillborn(run, job)
        if word in (*slurm.ANOTHER_TRY, NOBODY_KNOWS) or (word == "COMPLETED" and not told) or not job:
            return Ended(key, REQUEUE, f"job {job} ended as {word}")
        return Ended(key, FAILED, last_error(run) if told else f"job {job} ended as {word} without a word from the run")

    def _stillborn(self, run: Run, job: str) -> Ended:
        """No start of the run ended badly: the job failed before it, or in a requeue that crossed its end.

        Once is bad luck; twice in the same way is a line of the job's setup, say, and a third time would be no better.
        """
        log = str((run.read(JOB) or {}).get("log", ""))
        last = slurm.last_line(log)
        manner = "".join("#" if letter.isdigit() else letter for letter in last)
        before, self._deaths[run.key] = self._deaths.get(run.key), manner
        reason = f"job {job} ended as FAILED before its run started: {last or 'it printed nothing'} (its log: {log})"
        if before != manner:
            return Ended(run.key, REQUEUE, reason)
        write_failure(run.folder, reason, log=log)
        return Ended(run.key, FAILED, reason)

    def _complain(self) -> None:
        """Say once for each reason what waits for something that does not come by itself."""
        waiting: dict[str, list[str]] = {}
        for _, job in self._jobs.values():
            state = self._states.get(job)
            if state is not None and state.stuck:
                waiting.setdefault(state.reason, []).append(job)
        for reason, jobs in waiting.items():
            self._tell_once(
                reason, f"{len(jobs)} jobs ({jobs[0]}{', ...' if len(jobs) > 1 else ''}) wait for {reason}, which does "
                f"not pass by itself: {slurm.remedy(reason)}"
            )  # fmt: skip

    def _tell_once(self, topic: str, text: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self._say(text)

    @staticmethod
    def _say(text: str) -> None:
        print(f"mm3d: {text}", file=sys.stderr, flush=True)

    def _state(self, job: str) -> slurm.JobState | None:
        """The state of one job, from an answer that is at most two seconds old."""
        if time.monotonic() - self._asked > 2 or job not in self._states:
            recorded = [
                str((self._store.run(key).read(JOB) or {}).get("job", "")) for key in sorted(self._store.keys())
            ]
            if time.monotonic() - self._asked > 2:
                self._ask({name for name in [*recorded, job] if name})
                self._asked = time.monotonic()
        return self._states.get(job)

    def _ask(self, jobs: set[str]) -> bool:
        """Look at the queue; False if it does not answer: then nothing is known, and the first time that is said."""
        states = slurm.job_states(jobs)
        if states is not None:  # what ended is forgotten by the queue (MinJobAge) while strikes are counted, not here
            over = {job: state for job, state in self._states.items() if job in jobs and not state.alive}
            self._states = over | states
        elif self._answers:
            self._say("squeue does not answer; waiting for it, and for results")
        self._answers = states is not None
        return self._answers
