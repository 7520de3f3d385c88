"""Where and how a run runs: the section ``machine`` of its configuration, which moves no number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mm3d_benchmarks.runs.device import chosen_device, enough_gpus, loader_workers
from mm3d_benchmarks.runs.instantiate import check_keys
from mm3d_core.encoder import Encoder
from mm3d_core.training.fit import Reporting
from pointops.plan import PlanSpec


@dataclass(frozen=True)
class Machine:
    """The keys of the section ``machine``, ``auto`` resolved."""

    device: str = "auto"
    processes: int = 1
    workers: int = 0
    log_every: int = 10
    checkpoint_minutes: float = 10.0
    checkpoint_every: int | None = None
    tensorboard: bool = False
    wandb: str | None = None
    progress: bool | None = None
    deterministic: bool = True

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Machine:
        """The section of a configuration, or its defaults.

        Raises:
            UserError: an unknown key, or a GPU that is not there.
        """
        values = {"device": "auto", "workers": "auto", **(given.get("machine") or {})}
        check_keys(cls, values, "machine")
        device, processes = chosen_device(values["device"]), int(values.get("processes", 1))
        enough_gpus(device, processes)
        workers = loader_workers(values["workers"], device, processes)
        return cls(**{**values, "device": device, "workers": workers})

    def plan_spec(self, encoder: Encoder) -> PlanSpec | None:
        """What loader workers prepare for an encoder: its tables and, for a GPU, their inverses.

        With them the gradients of gathered features are sums in a fixed order instead of atomic additions; the CPU's
        kernels need none. The network's results are the same.
        """
        spec = encoder.plan_spec()
        return spec if spec is None or self.device == "cpu" else replace(spec, inverse=True)

    def reporting(self, folder: Path) -> Reporting:
        """How often the training of ``folder`` writes."""
        return Reporting(
            log_every=self.log_every,
            checkpoint_seconds=60 * self.checkpoint_minutes,
            checkpoint_every=self.checkpoint_every,
            tensorboard=self.tensorboard,
            wandb=self.wandb,
            progress=self.progress,
            replay=f"python -m mm3d_benchmarks.runs.replay {folder}",
        )
