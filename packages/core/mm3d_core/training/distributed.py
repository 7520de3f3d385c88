"""One training on several processes of one machine: start them, join them, bring their errors home."""

from __future__ import annotations

import os
import signal
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch.distributed import FileStore  # pyright: ignore[reportPrivateImportUsage]

from mm3d_core.errors import UserError
from mm3d_core.training import group
from mm3d_core.training.interruption import PREEMPTED_STATUS, STOP_SIGNALS, Preempted, StopRequest


def rank() -> int:
    """This process's number, 0 outside of a group."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together, 1 outside of a group."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process writes files."""
    return rank() == 0


def any_process(*flags: bool) -> list[bool]:
    """For each flag, whether it is set in any process of the group; every process must call it."""
    if world_size() == 1:
        return list(flags)
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    votes = torch.tensor(flags, dtype=torch.int32, device=device)
    dist.all_reduce(votes, op=dist.ReduceOp.MAX)
    return [bool(vote) for vote in votes.tolist()]


def barrier() -> None:
    """Wait for the whole group: asleep and for as long as it takes, where :mod:`mm3d_core.training.group` made it."""
    own = group.current()
    if own is not None:
        own.barrier()
    elif world_size() > 1:
        dist.barrier()


def run_in_processes(function: Callable[..., None], arguments: tuple[Any, ...], processes: int, device: str) -> None:
    """Call ``function(*arguments)`` in ``processes`` processes that form one group; one means this very process.

    Args:
        function: importable (a module's own function); each process finds its place through :func:`rank`.
        device: ``"cpu"`` (gloo) or ``"cuda"`` (nccl, one device for each process).

    Raises:
        UserError: the first one raised by any process.
        Preempted: the processes stopped on request.
        RuntimeError: a process died or raised anything else; the others are ended.
    """
    if processes == 1 or dist.is_initialized():  # a cluster job that spans nodes brings its group along
        function(*arguments)
        return
    context = torch.multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="mm3d-group-") as meeting, StopRequest() as stop:
        reports = context.SimpleQueue()
        workers = [
            context.Process(target=_enter, args=(function, arguments, number, processes, device, meeting, reports))
            for number in range(processes)
        ]
        for worker in workers:
            worker.start()
        _watch(workers, stop)
        errors = []
        while not reports.empty():
            errors.append(reports.get())
        codes = [worker.exitcode for worker in workers]
    users = [text for kind, text in errors if kind == "user"]
    if users:
        raise UserError(users[0])
    if PREEMPTED_STATUS in codes:
        stop.hand_on(-1)
    if any(codes):
        raise RuntimeError(f"training processes ended with {codes}\n" + "\n".join(text for _, text in errors))


def _watch(workers: list[Any], stop: StopRequest) -> None:
    """Wait for all; pass a stop signal on once; when one fails, end the others, which would wait for it in vain."""
    passed_on = False
    while any(worker.is_alive() for worker in workers):
        for worker in workers:
            worker.join(0.1)
        if stop.signal is not None and not passed_on:
            passed_on = True
            for worker in workers:
                if worker.is_alive():
                    os.kill(worker.pid, stop.signal)
        if any(worker.exitcode not in (None, 0, PREEMPTED_STATUS) for worker in workers):
            deadline = time.monotonic() + group.GRACE_SECONDS
            for worker in workers:
                worker.join(max(0.0, deadline - time.monotonic()))
                if worker.is_alive():
                    worker.kill()


def _enter(
    function: Callable[..., None],
    arguments: tuple[Any, ...],
    number: int,
    processes: int,
    device: str,
    meeting: str,
    reports: Any,
) -> None:
    """One process's life: join the group, work, report an error in words."""
    for name in STOP_SIGNALS:
        signal.signal(name, signal.SIG_DFL)
    try:
        if device == "cuda":
            torch.cuda.set_device(number)
        store = FileStore(str(Path(meeting) / "store"), processes)
        with group.joined(store, number, processes, "nccl" if device == "cuda" else "gloo"):
            function(*arguments)
    except UserError as error:
        reports.put(("user", str(error)))
        os._exit(1)
    except Preempted:
        os._exit(PREEMPTED_STATUS)
    except BaseException:
        reports.put(("other", traceback.format_exc()[-8000:]))  # a pipe holds little until somebody reads
        os._exit(2)
