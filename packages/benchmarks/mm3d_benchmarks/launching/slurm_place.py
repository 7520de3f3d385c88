"""The job's side of a run on a cluster: what is pickled, sent and called there, alone or as one of several."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching import slurm_queue as slurm
from mm3d_benchmarks.launching.execute import FAILED as FAILED_STATUS
from mm3d_benchmarks.launching.execute import execute, run_function
from mm3d_benchmarks.planning.fingerprint import fingerprint
from mm3d_benchmarks.store.layout import LOG_TEXT, read_json
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json

MEETING_SECONDS = 300  # for the processes of one job to start


class RunJob:
    """What a job does: some runs, one after the other. After a requeue it finds the finished ones done."""

    def __init__(self, folders: Sequence[str], title: str = "") -> None:
        self.folders, self.title = list(folders), title

    def __call__(self) -> list[int]:
        """The exit status of each run; a failure also makes the job one that Slurm lists as failed."""
        place = Place.of_this_process()
        if place.rank == 0 and self.title:  # the tasks of an array share a name until they start
            slurm.rename_this_job(self.title)
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


@contextmanager
def _logged(folder: Path, rank: int) -> Iterator[None]:
    """Standard output and error go to the run's log for the length of the block."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    folder.mkdir(parents=True, exist_ok=True)
    log = os.open(
        folder / (LOG_TEXT if rank == 0 else f"log.{rank}.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666
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
