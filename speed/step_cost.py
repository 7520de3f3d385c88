"""What one step of pre-training costs, part by part, and against a supervised step on the same scans.

``python -m speed.pretraining`` measures and prints this for the backbones of the suite. Steps are
timed in processor time, which other work on the machine does not change, or, where there is a GPU, by the clock.
"""

from __future__ import annotations

import statistics as stats
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile, record_function

from mm3d_core.points import PointBatch

PARTS = ("student", "teacher", "decoders", "chamfer", "consistency")
PREFIX = "mm3dscene/"


@dataclass(frozen=True)
class Step:
    """One training step: what gives the loss, what it updates, and what follows (a teacher's average, say)."""

    objective: Callable[[], dict[str, Tensor]]
    optimizer: torch.optim.Optimizer
    after: Callable[[], None] = lambda: None

    def run(self) -> float:
        """Seconds of loss, gradient, optimizer step and what follows."""
        _wait()
        start = clock()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective()["loss"].backward()
        self.optimizer.step()
        self.after()
        _wait()
        return clock() - start


def clock() -> float:
    """Seconds: of this process's processors, or by the clock where a GPU does the work."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def step_seconds(steps: Sequence[Step], repeats: int = 3) -> list[float]:
    """Median seconds of each step after one that does not count; they take turns, so that all meet the same machine."""
    seconds = [[step.run() for step in steps] for _ in range(repeats + 1)]
    return [stats.median(column) for column in list(zip(*seconds[1:], strict=True))]


def seconds_of(work: Callable[[], object], repeats: int = 3) -> float:
    """Median seconds of some work, after one time that does not count."""
    seconds = []
    for _ in range(repeats + 1):
        start = clock()
        work()
        seconds.append(clock() - start)
    return stats.median(seconds[1:])


def time_shares(
    method: nn.Module, views: Mapping[str, PointBatch], optimizer: torch.optim.Optimizer, seed: int = 0
) -> dict[str, float]:
    """Share of one step's time in each part: the named parts' forward passes, ``backward``, ``update`` and ``rest``.

    On a GPU the forward parts show what launching them takes, and their kernels' time is part of ``rest``.

    Args:
        method: an :class:`~mm3d_core.methods.mm3dscene.MM3DScene`.
        views: a batch for it.
    """
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])
    with profile(activities=activities) as profiler:
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = method.loss(views, torch.Generator().manual_seed(seed))["loss"]  # pyright: ignore[reportCallIssue]
        _wait()
        with record_function(PREFIX + "backward"):
            loss.backward()
            _wait()
        with record_function(PREFIX + "update"):
            optimizer.step()
            method.after_step()  # pyright: ignore[reportCallIssue]
            _wait()
        total = time.perf_counter() - start
    named = {event.key.removeprefix(PREFIX): event for event in profiler.key_averages() if event.key.startswith(PREFIX)}
    shares = {
        name: named[name].cpu_time_total / 1e6 / total for name in (*PARTS, "backward", "update") if name in named
    }
    return {**shares, "rest": max(0.0, 1 - sum(shares.values()))}


def _wait() -> None:
    """Let the GPU finish, if there is one: kernels are timed where they run."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
