"""What Slurm knows about jobs: ``squeue`` first, ``sacct`` for what it has forgotten, and neither is believed at once.

``squeue`` works without accounting and reports ended jobs for a while (``MinJobAge``). ``sacct`` may not exist, and
lags by seconds where it does. A job that nobody knows is only gone after several answers: controllers restart, and file
systems lag. No answer is not an answer.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mm3d_benchmarks.store.layout import JOB, tail
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
    """Slurm's word for a job's state, and its reason for not running it."""

    word: str
    reason: str = ""

    @property
    def alive(self) -> bool:
        """Whether a result may still come."""
        return self.word in ALIVE

    @property
    def stuck(self) -> bool:
        """Whether it waits for something that does not come by itself."""
        return self.word in ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT") and bool(remedy(self.reason))


#: Beginnings of Slurm's reasons that do not pass by themselves, and what does help.
_REMEDIES = {
    "PartitionTimeLimit": "launcher.minutes is more than the partition allows; lower it, `scancel` the jobs, try again",
    "PartitionNodeLimit": "launcher.nodes is more than the partition allows; lower it, `scancel` the jobs, try again",
    "PartitionConfig": "the partition's nodes lack what is asked for (nodes, CPUs, memory, minutes); lower it in your "
    "machine file, `scancel` the jobs, try again",
    "PartitionDown": "the partition is down; ask its administrators, or choose another",
    "PartitionInactive": "the partition is inactive; ask its administrators, or choose another",
    "BadConstraints": "no node satisfies launcher.additional; correct it, `scancel` the jobs, try again",
    "JobHeldUser": "`scontrol release` the jobs, or `scancel` them",
    "JobHeldAdmin": "an administrator holds the jobs; ask, or `scancel` them",
    "launch failed requeued held": "a node could not start them (a prolog, a full disk); `scontrol release` the jobs",
    "launch_failed_requeued_held": "a node could not start them (a prolog, a full disk); `scontrol release` the jobs",
    "user env retrieval failed": "a node could not read your environment; `scontrol release` the jobs",
    "job requeued in held state": "`scontrol release` the jobs, or `scancel` them",
    "DependencyNeverSatisfied": "launcher.additional names a dependency that cannot come; `scancel` the jobs",
    "InvalidAccount": "launcher.account is not yours; correct it, `scancel` the jobs, try again",
    "InvalidQOS": "launcher.qos is not yours; correct it, `scancel` the jobs, try again",
    "AccountNotAllowed": "launcher.account may not use this partition; correct it, `scancel` the jobs, try again",
    "QOSNotAllowed": "launcher.qos may not be used in this partition; correct it, `scancel` the jobs, try again",
    "AssocMaxWall": "launcher.minutes is more than your account allows; lower it, `scancel` the jobs, try again",
    "QOSMaxWall": "launcher.minutes is more than the QOS allows; lower it, `scancel` the jobs, try again",
    "Licenses": "launcher.additional asks for licenses; see `scontrol show licenses`",
}
_PER_JOB = "a job asks for more than your account or QOS allows; lower it, `scancel` the jobs, try again"


def remedy(reason: str) -> str:
    """What helps against a reason that does not pass by itself; empty for those that do."""
    for beginning, text in _REMEDIES.items():
        if reason.startswith(beginning):
            return text
    return _PER_JOB if "PerJob" in reason or "MinutesPerJob" in reason else ""


def job_states(jobs: Iterable[str]) -> dict[str, JobState] | None:
    """The states of some jobs (``123`` or ``123_4``), without those that nobody knows; None if ``squeue`` is silent."""
    wanted = set(jobs)
    queue = _squeue() if wanted else {}
    if queue is None:
        return None
    known = {job: state for job, state in queue.items() if job in wanted}
    forgotten = wanted - set(known)
    if forgotten:  # a colleague's, in a store that several people share
        known |= {job: state for job, state in (_squeue(sorted(forgotten)) or {}).items() if job in forgotten}
        forgotten = wanted - set(known)
    if forgotten:
        known.update({job: JobState(word) for job, word in _sacct(forgotten).items() if job in forgotten})
    return known


def may_still_run(runs: Iterable[Run]) -> set[str]:
    """Keys of those runs whose jobs live, or may live since the queue is silent."""
    jobs = {run.key: str(job) for run in runs if (job := (run.read(JOB) or {}).get("job"))}
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


def rename_this_job(name: str) -> None:
    """Give the job that this process is in a name of its own, if the cluster lets us."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{task}" if array else os.environ.get("SLURM_JOB_ID", "")  # an array's last task bears its number
    _call("scontrol", "update", f"JobId={job}", f"JobName={name}")


def last_line(log: str) -> str:
    """The last line that a job printed about its end, of a log that it left; Slurm's own remarks count only alone."""
    lines = [line.strip() for line in tail(Path(log), 4096).splitlines() if line.strip()]
    own = [line for line in lines if not line.startswith(("srun: ", "slurmstepd: "))]
    return (own or lines or [""])[-1][-300:]


def _squeue(jobs: Sequence[str] = ()) -> dict[str, JobState] | None:
    """Our own jobs, or some that may be anybody's."""
    whose = [f"--jobs={','.join(jobs)}"] if jobs else [f"--user={os.getuid()}"]
    answer = _call("squeue", "--noheader", "--array", "--states=all", *whose, "--format=%i|%T|%r")
    if answer is None:
        return None
    parts = [[*line.strip().split("|", 2), ""] for line in answer.splitlines() if "|" in line]
    return {part[0]: JobState(part[1], "" if part[2] == "None" else part[2]) for part in parts}


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
