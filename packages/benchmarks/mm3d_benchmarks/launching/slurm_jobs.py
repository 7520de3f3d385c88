"""Runs on a Slurm cluster, through submitit: the only module that imports it.

Jobs are sent as arrays, their ids are written into the run folders before anybody waits, and their ends are found out
by our own poller (``slurm_queue.py``): submitit's waits for ever where there is no accounting. submitit's part is the
job's side: signals, requeue from the checkpoint, and where each process of a job stands.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching import slurm_queue as slurm
from mm3d_benchmarks.launching.execute import FAILED as FAILED_STATUS
from mm3d_benchmarks.launching.execute import execute, run_function
from mm3d_benchmarks.launching.outcome import DONE, FAILED, REQUEUE, Ended, last_error
from mm3d_benchmarks.planning.fingerprint import fingerprint
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store, read_json
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json

RESULT_SECONDS = 0.5  # between looks for results
MEETING_SECONDS = 300  # for the processes of one job to start


class SlurmLauncher:
    """Arrays on a cluster. The jobs go on when this process dies; the next one finds them again.

    Args:
        settings: ``conf/launcher/slurm.yaml`` with the cluster's own values.

    Raises:
        UserError: no Slurm, or a partition that does not exist.
    """

    def __init__(self, store: Store, settings: Mapping[str, Any]) -> None:
        slurm.check_cluster(settings["partition"])
        self._store, self._settings = store, settings
        self._jobs: dict[str, tuple[Run, str]] = {}
        self._strikes: dict[str, int] = {}
        self._states: dict[str, slurm.JobState] = {}
        self._asked = self._looked = float("-inf")
        self._answers = True  # the queue, when it was asked last

    def attach(self, run: Run) -> bool:
        """Whether the run's recorded job lives, or somebody else holds its lock."""
        job = str((run.read("job.json") or {}).get("job", ""))
        if job and self._state(job) is not None and self._states[job].alive:
            self._jobs[run.key] = (run, job)
            return True
        if run.holder() is not None:
            self._jobs[run.key] = (run, "")
            return True
        return False

    def submit(self, runs: Sequence[Run]) -> None:
        """Send runs as arrays, ``runs_per_job`` in each job, and record where they went.

        Raises:
            UserError: Slurm refuses.
        """
        size = max(1, int(self._settings["runs_per_job"]))
        groups = [list(runs[start : start + size]) for start in range(0, len(runs), size)]
        longest = slurm.longest_array()
        for start in range(0, len(groups), longest):
            chunk = groups[start : start + longest]
            for group, job in zip(chunk, self._send(chunk), strict=True):
                for run in group:
                    run.write("job.json", {"launcher": "slurm", "job": job, "submitted": round(time.time())})
                    self._jobs[run.key] = (run, job)
                    self._strikes.pop(run.key, None)

    def poll(self) -> list[Ended]:
        """Results first, then the queue; a job without a result counts as gone after several answers only."""
        now = time.monotonic()
        if now - self._looked < RESULT_SECONDS:
            return []
        self._looked = now
        ended = [Ended(key, DONE) for key, (run, _) in self._jobs.items() if run.is_done]
        for end in ended:
            del self._jobs[end.key]
        if now - self._asked >= float(self._settings["poll_seconds"]):
            self._asked = now
            if self._ask({job for _, job in self._jobs.values() if job}):
                ended += [end for key in list(self._jobs) if (end := self._judge(key))]
        return ended

    def close(self, cancel: bool) -> None:
        """The jobs are left alone; the same command attaches to them again."""
        if cancel and self._jobs:
            print(
                f"mm3d: {len(self._jobs)} runs go on in the cluster; the same command attaches to them again",
                file=sys.stderr,
            )

    def _judge(self, key: str) -> Ended | None:
        run, job = self._jobs[key]
        state = self._states.get(job)
        if (state is not None and state.alive) or run.holder() is not None:
            self._strikes[key] = 0
            return None
        self._strikes[key] = self._strikes.get(key, 0) + 1
        word = state.word if state else "UNKNOWN"
        told = word in ("COMPLETED", "FAILED") and run.read("failure.json") is not None
        if self._strikes[key] < (1 if told else int(self._settings["gone_after"])):
            return None
        del self._jobs[key]
        if run.is_done:
            return Ended(key, DONE)
        # No start of the run ended badly: the job failed before it, or in a requeue that crossed its end.
        innocent = word == "FAILED" and not told and run.attempts() == 0
        if innocent or word in slurm.ANOTHER_TRY or (word == "COMPLETED" and not told) or not job:
            return Ended(key, REQUEUE, f"job {job} ended as {word}")
        return Ended(key, FAILED, last_error(run) if told else f"job {job} ended as {word} without a word from the run")

    def _state(self, job: str) -> slurm.JobState | None:
        """The state of one job, from an answer that is at most two seconds old."""
        if time.monotonic() - self._asked > 2 or job not in self._states:
            recorded = [
                str((self._store.run(key).read("job.json") or {}).get("job", "")) for key in sorted(self._store.keys())
            ]
            if time.monotonic() - self._asked > 2:
                self._ask({name for name in [*recorded, job] if name})
                self._asked = time.monotonic()
        return self._states.get(job)

    def _ask(self, jobs: set[str]) -> bool:
        """Look at the queue; False if it does not answer: then nothing is known, and the first time that is said."""
        states = slurm.job_states(jobs)
        if states is not None:
            self._states = states
        elif self._answers:
            print("mm3d: squeue does not answer; waiting for it, and for results", file=sys.stderr)
        self._answers = states is not None
        return self._answers

    def _send(self, groups: Sequence[Sequence[Run]]) -> list[str]:
        """Submit one array; the job ids, in order."""
        import submitit

        folder = self._store.root.resolve() / "jobs" / "%A"
        try:
            executor = submitit.SlurmExecutor(folder=folder, max_num_timeout=1_000_000)
            executor.update_parameters(**parameters(self._settings))
            with executor.batch():
                jobs = [executor.submit(RunJob([str(run.folder.resolve()) for run in group])) for group in groups]
        except RuntimeError as error:
            text = " ".join(str(error).split())
            raise UserError(
                f"sbatch refuses the jobs: {text[-400:]}; check partition, account and limits in your machine file"
            ) from error
        return [job.job_id for job in jobs]


class RunJob:
    """What a job does: some runs, one after the other. After a requeue it finds the finished ones done."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = list(folders)

    def __call__(self) -> list[int]:
        """The exit status of each run; a failure also makes the job one that Slurm lists as failed."""
        place = Place.of_this_process()
        with place.joined(Path(self.folders[0]).parent / "jobs"):
            statuses = [place.run(Path(folder)) for folder in self.folders]
        if FAILED_STATUS in statuses:
            raise SystemExit(FAILED_STATUS)
        return statuses

    def checkpoint(self) -> Any:
        """Called by submitit on preemption and time limit: send the same again; the runs resume from their files."""
        import submitit

        return submitit.helpers.DelayedSubmission(self)


class Place:
    """A process's place among those of its job: alone, or one of a training that spans several."""

    def __init__(self, rank: int, world: int, local: int, incarnation: str) -> None:
        self.rank, self.world, self.local, self.incarnation = rank, world, local, incarnation

    @classmethod
    def of_this_process(cls) -> Place:
        """From submitit's description of the job."""
        import submitit

        job = submitit.JobEnvironment()
        incarnation = f"{job.job_id}.{os.environ.get('SLURM_RESTART_COUNT', '0')}"
        return cls(job.global_rank, job.num_tasks, job.local_rank, incarnation)

    @contextmanager
    def joined(self, folder: Path) -> Iterator[None]:
        """Member of the job's process group for the length of the block, if there are several.

        The first process writes where it listens into ``folder``: names of Slurm's nodes need not be names of hosts.
        """
        if self.world == 1:
            yield
            return
        import torch
        import torch.distributed as dist

        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(self.local % torch.cuda.device_count())
        meeting = self._meeting(folder / f"meeting-{self.incarnation}.json")
        dist.init_process_group("nccl" if cuda else "gloo", init_method=meeting, rank=self.rank, world_size=self.world)
        try:
            yield
        finally:
            with suppress(Exception):
                dist.destroy_process_group()

    def _meeting(self, file: Path) -> str:
        """The address at which the group meets; the others wait for the first to write it."""
        if self.rank == 0:
            with socket.socket() as probe:
                probe.bind(("", 0))
                write_json(file, {"host": socket.gethostname(), "port": probe.getsockname()[1]})
        deadline = time.monotonic() + MEETING_SECONDS
        while (found := read_json(file)) is None:
            if time.monotonic() > deadline:
                raise UserError(f"{file}: did not appear; is the run store on a file system that all nodes share?")
            time.sleep(0.1)
        return f"tcp://{found['host']}:{found['port']}"

    def run(self, folder: Path) -> int:
        """Do one run. The first process owns lock, files and result; the others only take part."""
        with _logged(folder, self.rank):
            if self.world == 1:
                return execute(folder, check=same_code)
            return execute(folder, self._tell, same_code) if self.rank == 0 else self._follow(folder)

    def _tell(self, go: bool) -> None:
        """Tell the others whether there is anything to do."""
        import torch.distributed as dist

        dist.broadcast_object_list([go], src=0)

    def _follow(self, folder: Path) -> int:
        import torch.distributed as dist

        answer: list[Any] = [None]
        dist.broadcast_object_list(answer, src=0)
        if not answer[0]:
            return 0
        spec = Run(folder).spec()
        store = Store(folder.parent)
        upstream = {role: store.run(key).folder for role, key in spec.upstream.items()}
        run_function(spec)(spec.effective_config(), folder, upstream)
        return 0


def same_code(spec: RunSpec) -> None:
    """A job may have waited for days: what it would compute now must be what its key says.

    Raises:
        UserError: the code that the run reaches was edited since it was planned.
    """
    if spec.code and spec.code != fingerprint(spec.kind, dict(spec.config)):
        raise UserError(
            "the code that this run reaches was edited after it was sent; run the same command again, which "
            "makes it a run of its own"
        )


def parameters(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The launcher's settings in submitit's words; what is null is left to the cluster."""
    gpus, nodes = int(settings["gpus"]), int(settings["nodes"])
    known = {
        "job_name": "mm3d",
        "partition": settings["partition"],
        "account": settings["account"],
        "qos": settings["qos"],
        "time": int(settings["minutes"]),
        "nodes": nodes,
        "ntasks_per_node": max(1, gpus),
        "cpus_per_task": int(settings["cpus"]),
        "gpus_per_node": gpus or None,
        "mem": None if settings["memory_gb"] is None else f"{settings['memory_gb']}G",
        "array_parallelism": int(settings["max_parallel"]),
        "signal_delay_s": int(settings["signal_seconds"]),
        "setup": [f"export OMP_NUM_THREADS={settings['threads']}", *settings["setup"]],
        "additional_parameters": dict(settings["additional"]),
        "stderr_to_stdout": True,
    }
    return {name: value for name, value in known.items() if value is not None}


@contextmanager
def _logged(folder: Path, rank: int) -> Iterator[None]:
    """Standard output and error go to the run's log for the length of the block."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(
        folder / ("log.txt" if rank == 0 else f"log.{rank}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666
    )
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for target, source in zip((1, 2), kept, strict=True):
            os.dup2(source, target)
            os.close(source)
        os.close(log)
