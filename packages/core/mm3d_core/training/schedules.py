"""Learning rates and batch-norm momenta as pure functions of the step.

A schedule holds no state, so a resumed training needs only its step. Milestones are fractions of the whole training:
a shortened profile keeps the shape of the full one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from torch import nn


@dataclass(frozen=True)
class Position:
    """Where a training stands.

    Attributes:
        step: optimizer steps done so far; the step about to be taken is the ``step``-th, counted from 0.
        steps: optimizer steps of the whole training.
        steps_per_epoch: optimizer steps of one epoch.
    """

    step: int
    steps: int
    steps_per_epoch: int

    @property
    def epoch(self) -> int:
        """The epoch of the step about to be taken, counted from 0."""
        return self.step // self.steps_per_epoch

    def share(self, per_epoch: bool) -> float:
        """The part of the training that is over, in [0, 1); ``per_epoch`` lets it move at epoch starts only."""
        step = self.epoch * self.steps_per_epoch if per_epoch else self.step
        return step / self.steps


class Schedule(Protocol):
    """What a training calls before every step."""

    def __call__(self, position: Position) -> float:
        """The factor on the base learning rate (or, for batch norm, the momentum itself)."""
        ...


@dataclass(frozen=True)
class Constant:
    """The base learning rate throughout."""

    def __call__(self, position: Position) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True)
class MultiStep:
    """Multiply by ``factor`` at each milestone (fractions of the training), at epoch starts.

    ``warmup`` is the share of the training over which the rate first rises linearly, step by step.
    """

    milestones: tuple[float, ...] | list[float]
    factor: float = 0.1
    per_epoch: bool = True
    warmup: float = 0.0

    def __call__(self, position: Position) -> float:
        """``factor`` to the number of milestones reached."""
        if position.share(False) < self.warmup:
            return (position.step + 1) / max(1.0, self.warmup * position.steps)
        # A milestone such as 80 epochs of 180 is 0.444...: compare with a slack far below one step.
        share = position.share(self.per_epoch) + 1e-9
        return self.factor ** sum(share >= milestone for milestone in self.milestones)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine from 1 to ``final``, after a linear rise over the share ``warmup``."""

    final: float = 0.0
    warmup: float = 0.0
    per_epoch: bool = False

    def __call__(self, position: Position) -> float:
        """The factor at this position."""
        share = position.share(self.per_epoch)
        if share < self.warmup:
            return (position.step + 1) / max(1.0, self.warmup * position.steps)
        share = (share - self.warmup) / (1 - self.warmup)
        return self.final + (1 - self.final) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class OneCycle:
    """Cosine rise from ``1 / start_divisor`` to 1 over the share ``rise``, then cosine fall.

    The end is ``1 / (start_divisor * final_divisor)``, as in torch's ``OneCycleLR``. Momentum is left alone.
    """

    rise: float = 0.05
    start_divisor: float = 10.0
    final_divisor: float = 1000.0

    def __call__(self, position: Position) -> float:
        """The factor at this position."""
        start, share = 1 / self.start_divisor, position.step / max(1, position.steps - 1)
        if share <= self.rise:
            return _cosine(start, 1.0, share / self.rise if self.rise else 1.0)
        return _cosine(1.0, start / self.final_divisor, (share - self.rise) / (1 - self.rise))


@dataclass(frozen=True)
class BatchNormDecay:
    """Batch-norm momentum (torch's sense) max(start * factor^floor(epoch / every), floor); VoteNet's train.py.

    Attributes:
        every: epochs between two decays; a fraction below 1 means that share of the training.
    """

    start: float = 0.5
    factor: float = 0.5
    every: float = 20
    floor: float = 0.001

    def __call__(self, position: Position) -> float:
        """The momentum at this position."""
        decays = int(position.share(True) / self.every + 1e-9) if self.every < 1 else int(position.epoch // self.every)
        return max(self.start * self.factor**decays, self.floor)


def set_batch_norm_momentum(module: nn.Module, momentum: float) -> None:
    """Set the momentum of every batch norm inside ``module``."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.momentum = momentum


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
