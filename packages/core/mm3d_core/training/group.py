"""A group of training processes: how it meets, waits without a collective, and ends as one.

Two things go through the group's store (a small table that all processes see) and not through the GPUs. Waiting that
may take long, as for the first process to write its files: in a collective it would keep a GPU busy and run into a time
limit. And failures: on a GPU nobody notices that another process of a collective is gone; it would wait for
``COLLECTIVE_MINUTES``. So whoever fails says why in the store, and a thread of each process looks there.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import torch.distributed as dist
from torch.distributed import PrefixStore, Store  # pyright: ignore[reportPrivateImportUsage]

#: The longest that a collective waits before its process is ended (torch's own limit for NCCL is 10). It is no remedy
#: for dead processes, which are noticed within seconds: it must outlast the slowest disk that a batch or a checkpoint
#: meets.
COLLECTIVE_MINUTES = 30
POLL_SECONDS = 0.2  # between two looks at the store while waiting
WATCH_SECONDS = 1.0  # between two looks for a failure
GRACE_SECONDS = 5.0  # for a process to end by itself after another has failed
LEAVE_SECONDS = 30.0  # for the others to hear that all is over
ENDED_STATUS = 1  # of a process that was ended because another failed

_FAILURE, _OVER = "failure", "over"


class Group:
    """What the processes of a group tell one another.

    Args:
        store: seen by all of them.
        rank: this process's number from 0 on.
        world: how many there are.
    """

    def __init__(self, store: Store, rank: int, world: int) -> None:
        self.store, self.rank, self.world = store, rank, world
        self._barriers = self._told = 0
        self._leaving = threading.Event()

    def barrier(self) -> None:
        """Wait for all processes, asleep and without a time limit."""
        self._barriers += 1
        name = f"barrier/{self._barriers}"
        self.store.add(name, 1)
        while self.store.add(name, 0) < self.world:
            time.sleep(POLL_SECONDS)

    def tell(self, word: str) -> None:
        """The first process: say the next word to all others."""
        self._told += 1
        self.store.set(f"told/{self._told}", word)

    def hear(self) -> str:
        """Another process: wait, asleep and without a time limit, for the first one's next word."""
        self._told += 1
        self._wait_for(f"told/{self._told}", None)
        return self.store.get(f"told/{self._told}").decode()

    def report(self, message: str) -> None:
        """Say that this process has failed; the first message stands."""
        with suppress(RuntimeError):  # the store went down with the first process
            self.store.compare_set(_FAILURE, "", message or "no reason was given")

    def failure(self, seconds: float = 0.0) -> str | None:
        """Why a process of the group failed; waits up to ``seconds`` for it to say so."""
        with suppress(RuntimeError):
            if self._wait_for(_FAILURE, seconds):
                return self.store.get(_FAILURE).decode()
        return None

    def watch(self, ended: Callable[[str], None] | None = None) -> None:
        """From now on, end this process soon after another has failed, whatever it waits for.

        Args:
            ended: called with the reason before the end, in a thread of its own.
        """
        threading.Thread(target=self._watch, args=(ended,), daemon=True, name="mm3d group").start()

    def leave(self) -> None:
        """The end: the first process says so and goes last, since the store is its own; the others stay until then."""
        with suppress(RuntimeError):
            if self.rank == 0:
                self.store.set(_OVER, "1")
            else:
                self._wait_for(_OVER, None)
            self.store.add("left", 1)
            deadline = time.monotonic() + LEAVE_SECONDS
            while self.rank == 0 and self.store.add("left", 0) < self.world and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
        self._leaving.set()

    def break_off(self) -> None:
        """An end on request: the others stay until the first says so, since it may have to send the job again."""
        self._leaving.set()
        with suppress(RuntimeError):
            if self.rank == 0:
                self.store.set(_OVER, "1")
            else:
                self._wait_for(_OVER, LEAVE_SECONDS)

    def _wait_for(self, name: str, seconds: float | None) -> bool:
        """Whether the store has a name, waiting for it up to ``seconds``, or for ever with None."""
        deadline = None if seconds is None else time.monotonic() + seconds
        while not self.store.check([name]):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def _watch(self, ended: Callable[[str], None] | None) -> None:
        # a connection of its own: the other may be waiting
        own = self.store.clone()  # pyright: ignore[reportAttributeAccessIssue]
        while not self._leaving.wait(WATCH_SECONDS):
            try:
                if not own.check([_FAILURE]):
                    continue
                reason = own.get(_FAILURE).decode()
            except RuntimeError:
                reason = "the first process is gone"
            if self._leaving.wait(GRACE_SECONDS):
                return
            print(f"mm3d: this process ends, since another of its group failed: {reason}", file=sys.stderr, flush=True)
            with suppress(Exception):
                if ended is not None:
                    ended(reason)
            os._exit(ENDED_STATUS)


_current: list[Group] = []  # of this process; at most one


def current() -> Group | None:
    """The group that this process is in, if :func:`joined` made it."""
    return _current[0] if _current else None


@contextmanager
def joined(store: Store, rank: int, world: int, backend: str) -> Iterator[Group]:
    """Member of a process group for the length of the block.

    Args:
        store: at which the processes meet.
        backend: ``nccl`` (the process's CUDA device is chosen already) or ``gloo``.
    """
    limit = timedelta(minutes=COLLECTIVE_MINUTES)
    dist.init_process_group(backend, store=PrefixStore("torch", store), rank=rank, world_size=world, timeout=limit)
    group = Group(PrefixStore("mm3d", store), rank, world)
    _current[:] = [group]
    try:
        yield group
    except SystemExit:
        group.break_off()
        raise
    else:
        group.leave()
        dist.destroy_process_group()  # not after an error: it could wait for processes that are gone
    finally:
        _current.clear()
