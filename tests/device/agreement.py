"""One training step on two devices, from the same weights, batch and random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mm3d_benchmarks.runs import finetune, pretrain
from mm3d_benchmarks.runs.training import Training
from mm3d_core.seeding import generator, seed_everything

KINDS = {"pretrain": pretrain, "finetune": finetune}


@dataclass(frozen=True)
class Step:
    """Losses and gradients by name, on the CPU."""

    losses: dict[str, float]
    gradients: dict[str, Tensor]


def take_step(config: Mapping[str, Any], kind: str, device: str, add: float = 0.0) -> Step:
    """Forward and backward of the first step of a run, in float32.

    Args:
        add: to every weight, for a step that must not agree.
    """
    here = {**config, "machine": {**config["machine"], "device": device, "workers": 0}}
    training: Training = KINDS[kind].training_of(here)
    module: Any = training.module
    module.train()
    for part in training.frozen:
        part.eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(add)
    batch = next(iter(training.loader().stream(0, 1)))
    keys = (int(here["seed"]), "step", 0, 0)
    seed_everything(*keys)
    losses = training.objective(module, batch.to(device), generator(*keys, "objective"))
    losses["loss"].backward()
    gradients = {n: p.grad.detach().cpu() for n, p in module.named_parameters() if p.grad is not None}
    return Step({name: float(value.detach()) for name, value in losses.items()}, gradients)


def largest_differences(one: Step, other: Step) -> tuple[float, float]:
    """Of losses, relative; and of the whole gradient, as a share of its length."""
    assert one.losses.keys() == other.losses.keys()
    assert one.gradients.keys() == other.gradients.keys()
    losses = max(abs(value - other.losses[name]) / max(abs(value), 1e-6) for name, value in one.losses.items())
    between = sum(
        float((value - other.gradients[name]).double().square().sum()) for name, value in one.gradients.items()
    )
    whole = sum(float(value.double().square().sum()) for value in one.gradients.values())
    return losses, (between / whole) ** 0.5
