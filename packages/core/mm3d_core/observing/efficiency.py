"""What a training cost: time for each step, memory, parameters. None of it is ever part of a result."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

WARM_UP = 2  # steps left out of the step times: allocators and caches fill there
KEPT_TIMES = 2000  # the newest step times; enough for a median, and small in a checkpoint


class Meter:
    """Times the steps of one training, over interruptions."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._times: list[float] = []
        self._seen = 0
        self._total = 0.0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Measure what happens inside as one step, waiting for batches included.

        On a GPU a step ends when its losses are read; what the optimizer does after that falls into the next step.
        """
        start = time.perf_counter()
        yield
        seconds = time.perf_counter() - start
        self._total += seconds
        self._seen += 1
        if self._seen > WARM_UP:
            self._times = [*self._times[-KEPT_TIMES + 1 :], seconds]

    def rates(self) -> dict[str, float]:
        """The newest step time and the peak of memory so far, for the log."""
        memory = {"peak_memory_bytes": float(peak_memory(self._device))}
        return {"seconds_per_step": round(self._times[-1], 4), **memory} if self._times else memory

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps: the seconds so far."""
        return {"total": self._total, "steps": self._seen}

    def load_state(self, state: dict[str, Any]) -> None:
        """Continue the count; the first steps of this process are warm-up again."""
        self._total = float(state["total"])

    def summary(self, module: nn.Module) -> dict[str, Any]:
        """The efficiency record of the training of ``module``."""
        times = sorted(self._times)
        return {
            "device": device_name(self._device),
            "seconds_total": round(self._total, 3),
            "seconds_per_step_median": round(statistics.median(times), 5) if times else None,
            "seconds_per_step_p90": round(times[-(-9 * (len(times) - 1) // 10)], 5) if times else None,
            "peak_memory_bytes": peak_memory(self._device),
            "parameters_trainable": sum(p.numel() for p in module.parameters() if p.requires_grad),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }


def device_name(device: torch.device) -> str:
    """The device in words."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def peak_memory(device: torch.device) -> int:
    """Largest memory so far in bytes: of the GPU's allocator, or of this process on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts kilobytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
