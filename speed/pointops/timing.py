"""Interleaved medians: in every round each contestant runs once, so that a busy machine slows all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch

ROUNDS = 7
PATIENCE = 6.0  # seconds after which a contestant sits out the remaining rounds


def clock() -> float:
    """Seconds: of this process's CPU with one thread (a busy machine then hardly counts), else of the wall."""
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def once(work: Callable[[], Any]) -> float:
    """Seconds of one run."""
    start = clock()
    work()
    return clock() - start


def interleaved(contestants: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each contestant, after one unmeasured run of those that turn out to be quick."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, work in contestants.items():
            if sum(times[name]) > PATIENCE:
                continue
            seconds = once(work)
            if turn > 0 or seconds > PATIENCE / 2:
                times[name].append(seconds)
    return {name: median(values) for name, values in times.items()}
