"""What launchers and those who wait for them say to each other: what a launcher does, and how runs end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mm3d_benchmarks.store.layout import LOG_TEXT, read_error, tail
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run

DONE, FAILED, REQUEUE = "done", "failed", "requeue"


@dataclass(frozen=True)
class Ended:
    """What became of a submitted run: ``done``, ``failed`` (with a reason) or ``requeue`` (to be sent again)."""

    key: str
    state: str
    reason: str = ""


class Launcher(Protocol):
    """Where runs happen."""

    def attach(self, run: Run) -> bool:
        """Whether somebody is already working on the run; from now on it is watched."""
        ...

    def submit(self, runs: Sequence[Run]) -> None:
        """Start runs, or queue them."""
        ...

    def poll(self) -> list[Ended]:
        """Those that ended since the last call."""
        ...

    def close(self, cancel: bool) -> None:
        """Let go; with ``cancel`` ask what runs to stop at its next checkpoint."""
        ...


@dataclass(frozen=True)
class Outcome:
    """The end of one run: ``done``, ``failed`` or ``blocked`` (something it starts from failed)."""

    spec: RunSpec
    state: str
    reason: str = ""
    computed: bool = False


def last_error(run: Run) -> str:
    """Why the last attempt ended, in one line."""
    lines = [line.strip() for line in tail(run.folder / LOG_TEXT, 4096).splitlines() if line.strip()]
    return read_error(run.folder) or (lines[-1] if lines else "no log was written")
