"""What Slurm knows about jobs: ``squeue`` first, ``sacct`` for what it has forgotten, and neither is believed at once.

``squeue`` works without accounting and reports ended jobs for a while (``MinJobAge``). ``sacct`` may not exist, and
lags by seconds where it does. A job that nobody knows is only gone after several answers: controllers restart, and file
systems lag. No answer is not an answer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass

from mm3d_benchmarks.store.store import Run
from mm3d_core.errors import UserError

#: A job in one of these states may still produce its result. The last four are stations of a requeue.
ALIVE = frozenset(
    [
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETING",
        "CONFIGURING",
        "RESIZING",
        "SIGNALING",
        "STAGE_OUT",
        "STOPPED",
        "REQUEUED",
        "REQUEUE_HOLD",
        "REQUEUE_FED",
        "SPECIAL_EXIT",
    ]
)
#: Slurm ended the job through no fault of its own: worth another try.
ANOTHER_TRY = frozenset(["PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "TIMEOUT", "REVOKED"])


@dataclass(frozen=True)
class JobState:
    """Slurm's word for a job's state."""

    word: str

    @property
    def alive(self) -> bool:
        """Whether a result may still come."""
        return self.word in ALIVE


def job_states(jobs: Iterable[str]) -> dict[str, JobState] | None:
    """The states of some jobs (``123`` or ``123_4``), without those that nobody knows; None if ``squeue`` is silent."""
    wanted = set(jobs)
    queue = _squeue() if wanted else {}
    if queue is None:
        return None
    known = {job: JobState(word) for job, word in queue.items() if job in wanted}
    forgotten = wanted - set(known)
    if forgotten:
        known.update({job: JobState(word) for job, word in _sacct(forgotten).items() if job in forgotten})
    return known


def may_still_run(runs: Iterable[Run]) -> set[str]:
    """Keys of those runs whose jobs live, or may live since the queue is silent."""
    jobs = {run.key: str(job) for run in runs if (job := (run.read("job.json") or {}).get("job"))}
    states = job_states(jobs.values())
    return {key for key, job in jobs.items() if states is None or (job in states and states[job].alive)}


def check_cluster(partition: str | None) -> None:
    """Find out what can be known before anything is submitted.

    Raises:
        UserError: no Slurm here, a controller that does not answer, or a partition that does not exist.
    """
    answer = _call("sinfo", "--noheader", "--format=%R")
    if answer is None:
        raise UserError(
            "launcher=slurm: sinfo does not answer; is this a Slurm cluster, and is SLURM_CONF set? "
            "launcher=local needs none"
        )
    partitions = sorted(set(answer.split()))
    if partition is not None and partition not in partitions:
        raise UserError(
            f"launcher.partition={partition}: there is no such partition; choose one of {', '.join(partitions)}"
        )


def longest_array() -> int:
    """How many jobs one array may hold."""
    for line in (_call("scontrol", "show", "config") or "").splitlines():
        if line.startswith("MaxArraySize"):
            return max(1, int(line.split("=")[1]) - 1)
    return 1000


def _squeue() -> dict[str, str] | None:
    answer = _call("squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--format=%i|%T")
    if answer is None:
        return None
    pairs = [line.strip().split("|") for line in answer.splitlines() if "|" in line]
    return {pair[0]: pair[1] for pair in pairs}


def _sacct(jobs: set[str]) -> dict[str, str]:
    found = {}
    ordered = sorted(jobs)
    for start in range(0, len(ordered), 500):
        chosen = ",".join(ordered[start : start + 500])
        answer = _call(
            "sacct", "--noheader", "--parsable2", "--allocations", "--format=JobID,State", f"--jobs={chosen}"
        )
        for line in (answer or "").splitlines():
            job, _, word = line.partition("|")
            found[job] = word.split()[0] if word else ""  # "CANCELLED by 0"
    return found


def _call(*command: str) -> str | None:
    """Standard output of a Slurm client, or None when it does not answer."""
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout if answer.returncode == 0 else None
