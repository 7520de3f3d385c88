"""How a network trains: the sections ``recipe.pretrain`` and ``recipe.finetune`` of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.loading.loading import Sampling
from mm3d_benchmarks.runs.instantiate import check_keys, instantiate, resolve, value_at
from mm3d_benchmarks.supervision.protocol import LabelLimit
from mm3d_core.errors import UserError
from mm3d_core.training.fit import Settings
from mm3d_core.training.optimizers import make_optimizer
from mm3d_core.training.schedules import Schedule


@dataclass(frozen=True)
class Optimizer:
    """Which optimizer: its class, and its options as :func:`mm3d_core.training.optimizers.make_optimizer` takes them."""

    kind: Callable[..., torch.optim.Optimizer]
    options: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any], path: str) -> Optimizer:
        """The section of a recipe.

        Raises:
            UserError: a class that is not there, or an option that it does not know.
        """
        kind = resolve(str(given.get("_target_")), f"{path}._target_")
        options = {key: value for key, value in given.items() if key != "_target_"}
        check_keys(kind, {"params": None, **{key: options[key] for key in options if key != "groups"}}, path)
        return cls(kind, options)


@dataclass(frozen=True)
class Recipe:
    """How long and on what samples a network trains.

    Attributes:
        epochs: passes over ``loop`` times the scene list.
        steps: total optimizer steps, over ``epochs`` (a profile's abbreviation; schedules stretch to it).
        extra_steps: on top of either; schedules stretch too.
        batch: scenes per optimizer step, over all devices.
        schedule: factor on the learning rate.
        batch_norm: momentum of batch norm, if it is scheduled.
        votes: what detection's points vote for, see ``loading.labels.detection_targets``.
        snapshots: how often a fine-tuning keeps its weights on the way, for ``evaluation.select=best``.
        mm3dscene: values in which the released code bases differ; read by ``pretrain/mm3dscene.yaml`` alone.
        others: see ``loading.Sampling``, ``loading.SceneLoader`` and ``mm3d_core.training.fit.Settings``.
    """

    optimizer: Optimizer
    schedule: Schedule
    batch: int
    epochs: int | None = None
    steps: int | None = None
    extra_steps: int = 0
    loop: int = 1
    drop_last: bool = True
    accumulation: int = 1
    max_batch_points: int | None = None
    mix: float = 0.0
    batch_norm: Schedule | None = None
    clip: float | None = None
    precision: str = "fp32"
    synchronize_batch_norm: bool = False
    voxel: float | None = None
    max_points: int | None = None
    num_points: int | None = None
    augmentation: Sequence[Any] = ()
    crop: Any = None
    shift: bool = True
    votes: str = "hull"
    snapshots: int = 0
    mm3dscene: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any], kind: str) -> Recipe:
        """The section of a kind of run.

        Raises:
            UserError: a missing or unknown key, or a value that what it describes refuses.
        """
        path = f"recipe.{kind}"
        values = dict(value_at(given, path))
        check_keys(cls, values, path)
        for name in ("schedule", "batch_norm", "augmentation", "crop"):
            if name in values:
                values[name] = instantiate(values[name], f"{path}.{name}")
        recipe = cls(**{**values, "optimizer": Optimizer.of(values["optimizer"], f"{path}.optimizer")})
        if recipe.epochs is None and recipe.steps is None:
            raise UserError(f"{path}: give epochs or steps")
        if recipe.snapshots and kind != "finetune":
            raise UserError(f"{path}.snapshots={recipe.snapshots}: only fine-tunings keep snapshots")
        return recipe

    def sampling(self, inputs: Sequence[str], labels: Sequence[LabelLimit] = ()) -> Sampling:
        """How scenes become samples."""
        return Sampling(
            inputs=tuple(inputs),
            augmentation=tuple(self.augmentation),
            voxel=self.voxel,
            max_points=self.max_points,
            num_points=self.num_points,
            shift=self.shift,
            crop=self.crop,
            labels=tuple(labels),
        )

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimizer steps of the whole training."""
        return (self.steps or (self.epochs or 0) * steps_per_epoch) + self.extra_steps

    def settings(self, steps_per_epoch: int, seed: int) -> Settings:
        """What :func:`mm3d_core.training.fit.fit` needs to know."""
        return Settings(
            steps=self.total_steps(steps_per_epoch),
            seed=seed,
            accumulation=self.accumulation,
            clip=self.clip,
            precision=self.precision,
            synchronize_batch_norm=self.synchronize_batch_norm,
            snapshots=self.snapshots,
        )

    def build_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the module's trainable parameters."""
        return make_optimizer(module, self.optimizer.kind, **self.optimizer.options)
