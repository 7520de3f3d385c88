"""Stopping between two steps when the cluster says so.

Slurm warns a job with SIGUSR2 before preemption or its time limit, and everybody ends processes with SIGTERM. Both ask
the training for a checkpoint at the next step boundary; then the signal goes to whoever handled it before (submitit
requeues the job), and failing that the process ends with a status of its own, which tells "run me again" from "I am
broken".
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGTERM)
PREEMPTED_STATUS = 75  # EX_TEMPFAIL of sysexits.h: "try again later"


class Preempted(SystemExit):
    """The training stopped early on request; its checkpoint is written and the same command continues it."""

    def __init__(self, step: int) -> None:
        super().__init__(PREEMPTED_STATUS)
        self.step = step

    def __str__(self) -> str:
        return f"stopped on request after step {self.step}; run the same command again to continue"


class StopRequest:
    """A context in which the stop signals are noted instead of ending the process.

    Outside the main thread (where Python allows no handlers) it notes nothing.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in STOP_SIGNALS:
                self._former[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._former.clear()

    def hand_on(self, step: int) -> None:
        """Give the noted signal to its former handler; if that did not end the process, raise :class:`Preempted`."""
        number = self.signal
        former = self._former.get(number) if number is not None else None
        self.__exit__()
        if callable(former):
            former(number, None)
        raise Preempted(step)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.signal = number


def ignore_stop_signals(_: int = 0) -> None:
    """For loader workers (``worker_init_fn``): Slurm signals every process of a step, and only the main one may react.

    Workers end by themselves when their parent is gone.
    """
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
