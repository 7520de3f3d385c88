"""The job's side of a run on a cluster: what is pickled, sent and called there, alone or as one of several."""

from __future__ import annotations

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from mm3d_benchmarks.launching import slurm_queue as slurm
from mm3d_benchmarks.launching.execute import FAILED as FAILED_STATUS
from mm3d_benchmarks.launching.execute import execute, run_function
from mm3d_benchmarks.launching.out_of_memory import is_out_of_memory, out_of_memory
from mm3d_benchmarks.planning.fingerprint import fingerprint
from mm3d_benchmarks.store.layout import LOG_TEXT, read_json, write_failure
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json

MEETING_SECONDS = 300  # for the processes of one job to start
PEER_SECONDS = 2.0  # for the process that failed first to say why


class RunJob:
    """What a job does: some runs, one after the other. After a requeue it finds the finished ones done."""

    def __init__(self, folders: Sequence[str], title: str = "") -> None:
        self.folders, self.title = list(folders), title

    def __call__(self) -> list[int]:
        """The exit status of each run; a failure also makes the job one that Slurm lists as failed."""
        place = Place.of_this_process()
        if place.rank == 0 and self.title:  # the tasks of an array share a name until they start
            slurm.rename_this_job(self.title)
        statuses: list[int] = []
        with place.joined(Path(self.folders[0]).parent / "jobs"):
            for folder in self.folders:
                statuses.append(place.run(Path(folder)))
                if place.broken:  # the others may be anywhere in what failed; what is left of the job is sent again
                    raise SystemExit(FAILED_STATUS)
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
        self.broken = False  # a run of several processes has failed
        self._group: Any = None
        self._folder: Path | None = None  # of the run at hand

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

        from mm3d_core.training.group import joined

        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(self.local % torch.cuda.device_count())
        store = self._meeting(folder / f"meeting-{self.incarnation}.json")
        with joined(store, self.rank, self.world, "nccl" if cuda else "gloo") as self._group:
            self._group.watch(self._ended)
            yield

    def _meeting(self, file: Path) -> Any:
        """The store at which the group meets: the first process's; the others wait for it to write its address."""
        from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

        limit = timedelta(seconds=MEETING_SECONDS)
        if self.rank == 0:
            store = TCPStore(socket.gethostname(), 0, self.world, True, limit, wait_for_workers=False)
            write_json(file, {"host": socket.gethostname(), "port": store.port})
            return store
        deadline = time.monotonic() + MEETING_SECONDS
        while (found := read_json(file)) is None:
            if time.monotonic() > deadline:
                raise UserError(f"{file}: did not appear; is the run store on a file system that all nodes share?")
            time.sleep(0.1)
        return TCPStore(str(found["host"]), int(found["port"]), self.world, False, limit)

    def run(self, folder: Path) -> int:
        """Do one run. The first process owns lock, files and result; the others only take part."""
        self._folder = folder
        with _logged(folder, self.rank):
            if self.world == 1:
                return execute(folder, check=same_code)
            return self._lead(folder) if self.rank == 0 else self._follow(folder)

    def _lead(self, folder: Path) -> int:
        """The first process's part; after a failure, the reason of whichever process failed first."""
        started: list[bool] = []

        def announce(go: bool) -> None:
            started[:] = [go]
            self._group.tell("go" if go else "")

        status = execute(folder, announce, same_code)
        self.broken = status == FAILED_STATUS and started == [True]
        if self.broken:
            reason = self._group.failure(PEER_SECONDS)
            if reason is not None:
                self._ended(reason)
            self._group.report("the first process failed")
        return status

    def _follow(self, folder: Path) -> int:
        """Another process's part; between two runs, and while the first evaluates, it sleeps."""
        if not self._group.hear():
            return 0
        spec = Run(folder).spec()
        store = Store(folder.parent)
        upstream = {role: store.run(key).folder for role, key in spec.upstream.items()}
        try:
            run_function(spec)(spec.effective_config(), folder, upstream)
        except Exception as error:
            said = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            if is_out_of_memory(error):
                said = out_of_memory(spec)
            self._group.report(f"{said} (process {self.rank + 1} of {self.world})")
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(FAILED_STATUS)  # not the long way: torch could wait for a collective that nobody ends
        return 0

    def _ended(self, reason: str) -> None:
        """Another process failed: the run's failure is its reason, not what came of it here."""
        if self.rank == 0 and self._folder is not None and not Run(self._folder).is_done:
            with suppress(UserError):  # the disk may be what failed
                write_failure(self._folder, reason)


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
