"""A Slurm controller without machines: takes arrays, runs them on a clock of its own, answers as the clients do."""

from __future__ import annotations

import heapq
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from mm3d_benchmarks.launching.slurm_send import TryLaterError
from mm3d_benchmarks.store.layout import write_failure, write_result
from mm3d_benchmarks.store.store import Run

ENDS = ("done", "PREEMPTED", "NODE_FAIL", "failed")
FORGOTTEN = 300.0  # seconds after which squeue knows an ended job no more (MinJobAge)


@dataclass
class Job:
    """One task of an array."""

    run: Run
    word: str = "PENDING"
    ended: float = 0.0


@dataclass
class SimulatedCluster:
    """Slots, limits and rates of misfortune.

    Attributes:
        slots: jobs that run at once.
        submits: jobs that one user may have in the queue (QOSMaxSubmitJobPerUserLimit).
        longest: MaxArraySize less one.
        hours: least and most of a run.
        shares: of the ends in ``ENDS``.
        silent: share of the questions that are not answered.
    """

    slots: int = 400
    submits: int = 1500
    longest: int = 1000
    hours: tuple[float, float] = (0.3, 1.5)
    shares: tuple[float, ...] = (0.94, 0.03, 0.02, 0.01)
    silent: float = 0.02
    now: float = 0.0
    own_seconds: float = 0.0  # processor time of the simulation itself
    most_running: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    jobs: dict[str, Job] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = random.Random(0)
        self._ends: list[tuple[float, str]] = []
        self._pending: list[str] = []
        self._arrays = 0

    def install(self, patch: Any, jobs_module: Any, queue_module: Any, ensure_module: Any) -> None:
        """Stand where the clients, the clock and the sleep are. Nothing waits for a disk: that takes no processor."""
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(jobs_module, "send", self.send)
        patch.setattr(queue_module, "_call", self.call)
        clock = SimpleNamespace(monotonic=lambda: self.now, time=lambda: self.now)
        patch.setattr(jobs_module, "time", clock)
        patch.setattr(ensure_module, "time", SimpleNamespace(sleep=self.sleep))

    def send(
        self, folder: Path, settings: Mapping[str, Any], groups: Sequence[Sequence[Run]], titles: Sequence[str]
    ) -> list[str]:
        """sbatch: one array, or none where a limit is reached."""
        start = time.process_time()
        self.calls["sbatch"] += 1
        alive = len(self._pending) + len(self._ends)
        if alive + len(groups) > self.submits:
            raise TryLaterError("QOSMaxSubmitJobPerUserLimit", many=True)
        assert len(groups) <= self.longest
        self._arrays += 1
        names = [f"{self._arrays}_{task}" for task in range(len(groups))]
        for name, group in zip(names, groups, strict=True):
            self.jobs[name] = Job(group[0])
        self._pending += names
        self._start()
        self.own_seconds += time.process_time() - start
        return names

    def sleep(self, seconds: float) -> None:
        """Let time pass; what ends meanwhile ends."""
        self.now += seconds
        if not self._ends or self._ends[0][0] > self.now:
            return
        start = time.process_time()
        while self._ends and self._ends[0][0] <= self.now:
            at, name = heapq.heappop(self._ends)
            self._end(self.jobs[name], at)
        self._start()
        self.own_seconds += time.process_time() - start

    def call(self, *command: str) -> str | None:
        """What a client prints; None when it does not answer."""
        start = time.process_time()
        self.calls[command[0]] += 1
        answer = self._answer(*command)
        self.own_seconds += time.process_time() - start
        return answer

    def _answer(self, *command: str) -> str | None:
        if command[0] == "sinfo":
            return "main\n"
        if command[0] == "scontrol":
            return f"MaxArraySize = {self.longest + 1}\n"
        if command[0] == "squeue" and self._random.random() >= self.silent:
            self.jobs = {n: j for n, j in self.jobs.items() if not j.ended or self.now - j.ended < FORGOTTEN}
            return "".join(f"{name}|{job.word}|None\n" for name, job in self.jobs.items())
        return None  # no accounting here, or no answer this time

    def _start(self) -> None:
        while self._pending and len(self._ends) < self.slots:
            name = self._pending.pop(0)
            self.jobs[name].word = "RUNNING"
            heapq.heappush(self._ends, (self.now + 3600 * self._random.uniform(*self.hours), name))
        self.most_running = max(self.most_running, len(self._ends))

    def _end(self, job: Job, at: float) -> None:
        end = self._random.choices(ENDS, self.shares)[0]
        job.word, job.ended = {"done": "COMPLETED", "failed": "FAILED"}.get(end, end), at
        job.run.begin_attempt()
        if end == "done":
            write_result(job.run.folder, "pretrain", {"loss": 1.0})
        elif end == "failed":
            write_failure(job.run.folder, "UserError: made to fail")
        else:
            job.run.take_back_attempt()
