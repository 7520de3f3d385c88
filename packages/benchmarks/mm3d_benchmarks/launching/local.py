"""Runs on this machine: a bounded pool of processes, or this very process for debugging."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mm3d_benchmarks.launching.execute import BUSY, PREEMPTED, execute
from mm3d_benchmarks.launching.gpu_slots import GpuSlots
from mm3d_benchmarks.launching.outcome import DONE, FAILED, REQUEUE, Ended, last_error
from mm3d_benchmarks.store.layout import tail
from mm3d_benchmarks.store.store import Run, Store
from mm3d_core.errors import UserError

WITHOUT_GPUS = 2  # runs at once on a machine without GPUs
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class LocalPool:
    """At most ``max_parallel`` processes, each forked for one run from a warm worker.

    Where there are GPUs, each run sees its own alone; ``max_parallel`` None is one run a GPU, two without any.
    A run whose lock somebody else holds (a driver that died, a second driver) is watched, not started.
    """

    def __init__(
        self,
        store: Store,
        max_parallel: int | None,
        threads: int = 1,
        preload: Sequence[str] = (),
        gpus: Sequence[str] = (),
    ) -> None:
        limit = max_parallel if max_parallel is not None else len(gpus) or WITHOUT_GPUS
        self._store, self._limit, self._threads = store, max(1, limit), threads
        self._slots = GpuSlots(gpus, max_parallel)
        self._preload = list(preload)
        self._queue: list[Run] = []
        self._running: dict[str, Run] = {}
        self._watched: dict[str, Run] = {}
        self._worker: subprocess.Popen[bytes] | None = None
        self._chooser = selectors.DefaultSelector()
        self._pending = b""
        self._closing = False
        self._stillborn = 0

    def attach(self, run: Run) -> bool:
        """Watch the run if its lock is held."""
        if run.holder() is None:
            return False
        self._watched[run.key] = run
        return True

    def submit(self, runs: Sequence[Run]) -> None:
        """Queue runs and start as many as the pool holds."""
        self._queue.extend(runs)
        self._fill()

    def poll(self) -> list[Ended]:
        """Those that ended; waits up to a tenth of a second for the first."""
        ended = self._listen(0.1) if self._running else []
        ended += self._look()
        self._fill()
        return ended

    def close(self, cancel: bool) -> None:
        """End the worker.

        With ``cancel``, ask the runs to stop at a checkpoint and wait for them, 30 seconds at most.
        """
        if self._worker is None:
            return
        self._queue.clear()
        self._closing = True
        if cancel and self._running:
            self._tell({"stop": int(signal.SIGTERM)})
            deadline = time.monotonic() + 30
            while self._running and time.monotonic() < deadline:
                self._listen(0.2)
            self._tell({"stop": int(signal.SIGKILL)})
        assert self._worker.stdin is not None
        try:
            self._worker.stdin.close()
            self._worker.wait(timeout=10)
        except (OSError, subprocess.TimeoutExpired):
            self._worker.kill()
        self._worker = None

    def _fill(self) -> None:
        while self._queue and len(self._running) + len(self._watched) < self._limit:
            if self.attach(self._queue[0]):
                self._queue.pop(0)
                continue
            gpus = self._slots.take(self._queue[0].key, _processes(self._queue[0]))
            if gpus is None:
                break
            run = self._queue.pop(0)
            self._running[run.key] = run
            self._tell({"run": str(run.folder), **({"gpus": gpus} if gpus else {})})

    def _tell(self, message: dict[str, object]) -> None:
        worker = self._worker or self._start_worker()
        assert worker.stdin is not None
        try:
            worker.stdin.write(json.dumps(message).encode() + b"\n")
            worker.stdin.flush()
        except OSError:
            self._lose_worker()

    def _start_worker(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **dict.fromkeys(_THREADS, str(self._threads))}
        command = [sys.executable, "-m", "mm3d_benchmarks.launching.worker", *self._preload]
        log = self._store.root / "worker.log"
        with open(log, "ab") as stream:
            self._worker = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=environment,
                start_new_session=True,
            )
        assert self._worker.stdout is not None
        os.set_blocking(self._worker.stdout.fileno(), False)
        self._chooser.register(self._worker.stdout, selectors.EVENT_READ)
        self._pending = b""
        return self._worker

    def _listen(self, seconds: float) -> list[Ended]:
        """What the worker says within some seconds."""
        if self._worker is None or not self._chooser.select(seconds):
            if self._worker is None:
                time.sleep(min(seconds, 0.05))
            return []
        assert self._worker.stdout is not None
        chunk = self._worker.stdout.read() or b""
        if not chunk:
            self._lose_worker()
            return []
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        ended = []
        for line in lines:
            message = json.loads(line)
            if "ready" in message:
                self._stillborn = 0
            if "status" in message:
                run = self._running.pop(Path(message["run"]).name)
                self._slots.release(run.key)
                ended += self._ended(run, message["status"])
        return ended

    def _ended(self, run: Run, status: int) -> list[Ended]:
        if run.is_done:
            return [Ended(run.key, DONE)]
        if status == BUSY:
            self._watched[run.key] = run
            return []
        if status == PREEMPTED or status in (-signal.SIGTERM, -signal.SIGUSR2, -signal.SIGINT):
            return [] if self._closing else [Ended(run.key, REQUEUE, "stopped on request")]
        if status < 0:
            return [Ended(run.key, FAILED, f"killed by {signal.Signals(-status).name}")]
        return [Ended(run.key, FAILED, last_error(run))]

    def _lose_worker(self) -> None:
        """The worker died. Its children go on; from now on their locks are watched."""
        if self._worker is not None:
            assert self._worker.stdout is not None
            self._chooser.unregister(self._worker.stdout)
            self._worker.kill()
            self._worker.wait()
            self._worker = None
        self._stillborn += 1
        if self._stillborn > 3:
            log = self._store.root / "worker.log"
            raise UserError(f"{log}: the process that starts runs dies again and again: {tail(log, 500).strip()}")
        time.sleep(0.2)  # a child that was just forked takes its lock
        self._watched.update(self._running)
        self._running.clear()  # their GPUs stay theirs until their locks are free

    def _look(self) -> list[Ended]:
        """Watched runs whose lock has become free."""
        ended = []
        for key, run in list(self._watched.items()):
            if run.is_done:
                ended.append(Ended(key, DONE))
            elif run.holder() is None and not run.is_done:
                ended.append(Ended(key, REQUEUE, "whoever worked on it is gone"))
            else:
                continue
            del self._watched[key]
            self._slots.release(key)
        if self._watched and not self._running:
            time.sleep(0.1)
        return ended


def _processes(run: Run) -> int:
    """Training processes of a run; one where its description cannot be read (the run will say so)."""
    try:
        machine = run.spec().effective_config().get("machine") or {}
        return 1 if machine.get("device") == "cpu" else int(machine.get("processes", 1))
    except (UserError, TypeError, ValueError):
        return 1


class InProcess:
    """One run after the other, here: breakpoints work."""

    def __init__(self) -> None:
        self._queue: list[Run] = []

    def attach(self, run: Run) -> bool:
        """Nothing is attached to: a run that somebody holds is an error to see at once."""
        holder = run.holder()
        if holder is not None:
            raise UserError(
                f"{run.folder}: is being run by pid {holder.get('pid')} on {holder.get('host')}; wait for it"
            )
        return False

    def submit(self, runs: Sequence[Run]) -> None:
        """Queue runs."""
        self._queue.extend(runs)

    def poll(self) -> list[Ended]:
        """Do the next run."""
        if not self._queue:
            return []
        run = self._queue.pop(0)
        status = execute(run.folder)
        if status == PREEMPTED:
            raise KeyboardInterrupt
        return [Ended(run.key, DONE if status == 0 else FAILED, "" if status == 0 else last_error(run))]

    def close(self, cancel: bool) -> None:
        """Nothing to let go of."""
        self._queue.clear()
