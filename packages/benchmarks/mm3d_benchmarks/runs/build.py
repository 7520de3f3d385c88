"""From a resolved configuration to objects, explicitly: ``_target_`` is an import path, its constructor is the schema.

Nothing is registered and nothing is guessed: a key that the constructor does not know is refused by name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.loading.features import feature_width
from mm3d_benchmarks.loading.loading import Sampling, Targets
from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.loading.labels import detection_targets, object_segments, segmentation_targets
from mm3d_benchmarks.runs.device import chosen_device, enough_gpus, loader_workers
from mm3d_benchmarks.supervision.protocol import LabelLimit, Protocol
from mm3d_benchmarks.supervision.probe import probed
from mm3d_core.errors import UserError
from mm3d_core.training.optimizers import make_optimizer
from mm3d_core.training.schedules import Schedule
from mm3d_core.training.fit import Reporting, Settings
from pointops.plan import PlanSpec

MISSING = object()


def instantiate(config: Any, path: str, **extra: Any) -> Any:
    """Build what a configuration describes; mappings without ``_target_`` and lists are built item by item.

    Args:
        path: the configuration's place, for messages.
        extra: arguments that only the program knows, such as the encoder.

    Raises:
        UserError: an import path that leads nowhere, a key that the constructor does not know or misses, or a value
            that it refuses.
    """
    if isinstance(config, Mapping) and "_target_" in config:
        target = resolve(str(config["_target_"]), f"{path}._target_")
        given = {key: instantiate(value, f"{path}.{key}") for key, value in config.items() if key != "_target_"}
        _check_arguments(target, {**given, **extra}, path)
        try:
            return target(**given, **extra)
        except (TypeError, ValueError) as error:
            raise UserError(f"{path} ({config['_target_']}): {error}") from error
    if isinstance(config, Mapping):
        return {key: instantiate(value, f"{path}.{key}") for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [instantiate(value, f"{path}[{number}]") for number, value in enumerate(config)]
    return config


def resolve(target: str, path: str) -> Any:
    """What an import path names.

    Raises:
        UserError: no such module or name, or one of Python's own modules (no configuration needs them).
    """
    module_name, _, name = target.rpartition(".")
    if not module_name or module_name.split(".")[0] in sys.stdlib_module_names:
        raise UserError(f"{path}={target}: is not an import path of a class that configurations may use")
    try:
        found = getattr(importlib.import_module(module_name), name, None)
    except ImportError as error:
        raise UserError(f"{path}={target}: {error}; correct the import path or install what provides it") from error
    if not callable(found):
        raise UserError(f"{path}={target}: {module_name} has no class {name}; correct the import path")
    return found


def _check_arguments(target: Any, given: Mapping[str, Any], path: str) -> None:
    """Hold the keys against the constructor's signature."""
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    unknown = [key for key in given if key not in parameters]
    if unknown:
        raise UserError(
            f"{path}.{unknown[0]}: {target.__qualname__} has no such option; it knows {', '.join(parameters)}"
        )
    missing = [
        name
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty
        and parameter.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        and name not in given
    ]
    if missing:
        raise UserError(f"{path}.{missing[0]}: {target.__qualname__} needs it; add it to the configuration")


def part(config: Mapping[str, Any], path: str, default: Any = MISSING) -> Any:
    """A dotted key of a configuration.

    Raises:
        UserError: it is not there and there is no default.
    """
    value: Any = config
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            if default is MISSING:
                raise UserError(f"{path}: this run's configuration lacks it")
            return default
        value = value[name]
    return value


# ----------------------------------------------------------------------------- machine


@dataclass(frozen=True)
class Machine:
    """Where and how a run runs; moves no number. The fields are the keys of the section ``machine``."""

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
    def of(cls, config: Mapping[str, Any]) -> Machine:
        """The machine section, ``auto`` resolved.

        Raises:
            UserError: an unknown key, or a GPU that is not there.
        """
        section = dict(config.get("machine") or {})
        known = [f.name for f in fields(cls)]
        unknown = [name for name in section if name not in known]
        if unknown:
            raise UserError(f"machine.{unknown[0]}: there is no such key; known are {', '.join(known)}")
        device, processes = chosen_device(section.get("device", "auto")), int(section.get("processes", 1))
        enough_gpus(device, processes)
        workers = loader_workers(section.get("workers", "auto"), device, processes)
        return cls(**{**section, "device": device, "workers": workers})

    def plan_spec(self, encoder: Any) -> PlanSpec | None:
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


# ----------------------------------------------------------------------------- recipe


@dataclass(frozen=True)
class Recipe:
    """How long and on what samples a network trains: the keys of ``recipe.pretrain`` and ``recipe.finetune``.

    Attributes:
        epochs: passes over ``loop`` times the scene list.
        steps: total optimizer steps, over ``epochs`` (a profile's abbreviation; schedules stretch to it).
        extra_steps: on top of either; schedules stretch too.
        batch: scenes per optimizer step, over all devices.
        votes: what detection's points vote for, see ``targets.detection_targets``.
        snapshots: how often a fine-tuning keeps its weights on the way, for ``evaluation.select=best``.
        mm3dscene: values in which the released code bases differ; read by ``pretrain/mm3dscene.yaml`` alone.
        others: see ``loading.Sampling``, ``loading.SceneLoader`` and ``mm3d_core.training.fit.Settings``.
    """

    optimizer: Mapping[str, Any]
    schedule: Mapping[str, Any]
    batch: int
    epochs: int | None = None
    steps: int | None = None
    extra_steps: int = 0
    loop: int = 1
    drop_last: bool = True
    accumulation: int = 1
    max_batch_points: int | None = None
    mix: float = 0.0
    batch_norm: Mapping[str, Any] | None = None
    clip: float | None = None
    precision: str = "fp32"
    synchronize_batch_norm: bool = False
    voxel: float | None = None
    max_points: int | None = None
    num_points: int | None = None
    augmentation: Sequence[Mapping[str, Any]] = ()
    crop: Mapping[str, Any] | None = None
    shift: bool = True
    votes: str = "hull"
    snapshots: int = 0
    mm3dscene: Mapping[str, Any] | None = None
    path: str = field(default="recipe", kw_only=True)

    @classmethod
    def of(cls, config: Mapping[str, Any], kind: str) -> Recipe:
        """The section of a kind of run.

        Raises:
            UserError: a missing or unknown key.
        """
        path = f"recipe.{kind}"
        section = part(config, path)
        known = [f.name for f in fields(cls) if f.name != "path"]
        unknown = [name for name in section if name not in known]
        if unknown:
            raise UserError(f"{path}.{unknown[0]}: there is no such key; known are {', '.join(known)}")
        for name in ("optimizer", "schedule", "batch"):
            part(config, f"{path}.{name}")
        recipe = cls(**section, path=path)
        if recipe.epochs is None and recipe.steps is None:
            raise UserError(f"{path}: give epochs or steps")
        if recipe.snapshots and kind != "finetune":
            raise UserError(f"{path}.snapshots={recipe.snapshots}: only fine-tunings keep snapshots")
        return recipe

    def sampling(self, inputs: Sequence[str], labels: Sequence[LabelLimit] = ()) -> Sampling:
        """How scenes become samples."""
        return Sampling(
            inputs=tuple(inputs),
            augmentation=tuple(instantiate(list(self.augmentation), f"{self.path}.augmentation")),
            voxel=self.voxel,
            max_points=self.max_points,
            num_points=self.num_points,
            shift=self.shift,
            crop=instantiate(self.crop, f"{self.path}.crop"),
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

    def schedules(self) -> tuple[Schedule, Schedule | None]:
        """Learning-rate factor, and batch-norm momentum if it is scheduled."""
        return (
            instantiate(self.schedule, f"{self.path}.schedule"),
            instantiate(self.batch_norm, f"{self.path}.batch_norm"),
        )

    def build_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of the module's trainable parameters."""
        options = {key: value for key, value in self.optimizer.items() if key != "_target_"}
        kind = resolve(str(self.optimizer.get("_target_")), f"{self.path}.optimizer._target_")
        _check_arguments(
            kind,
            {"params": None, **{key: options[key] for key in options if key != "groups"}},
            f"{self.path}.optimizer",
        )
        return make_optimizer(module, kind, **options)


# ----------------------------------------------------------------------------- data and networks


def open_data(config: Mapping[str, Any]) -> PreparedDataset:
    """The prepared data set of a run."""
    return open_dataset(Path(part(config, "dataset.root")))


def split_scenes(config: Mapping[str, Any], data: PreparedDataset, role: str) -> list[str]:
    """Scenes for a role: ``pretrain``, ``train`` or ``evaluate``."""
    return data.scenes(part(config, f"dataset.splits.{role}"))


def build_facts(config: Mapping[str, Any]) -> DatasetFacts:
    """What is known about the run's data set."""
    return instantiate(part(config, "dataset.facts"), "dataset.facts")


def build_encoder(config: Mapping[str, Any]) -> nn.Module:
    """The backbone's encoder, whose input width must be that of the chosen inputs."""
    width = feature_width(part(config, "backbone.input"))
    encoder = instantiate(part(config, "backbone.encoder"), "backbone.encoder")
    expected = part(config, "backbone.encoder.in_channels", width)
    if expected != width:
        raise UserError(
            f"backbone.encoder.in_channels={expected}, "
            f"but backbone.input={part(config, 'backbone.input')} has {width} channels"
        )
    return encoder


def build_method(config: Mapping[str, Any], encoder: nn.Module) -> nn.Module:
    """The pre-training method around an encoder."""
    method = part(config, "pretrain.method", None)
    if method is None:
        raise UserError("pretrain.method is null (pretrain=none): there is nothing to pre-train; choose a method")
    return instantiate(method, "pretrain.method", encoder=encoder)


def build_task(config: Mapping[str, Any], encoder: nn.Module, facts: DatasetFacts, data: PreparedDataset) -> nn.Module:
    """The network of the run's task around an encoder."""
    task = part(config, "task")
    heads = part(config, "backbone.task")
    if task not in heads:
        raise UserError(f"task={task}: backbone {part(config, 'backbone.name')} offers {', '.join(heads)}")
    extra: dict[str, Any] = {"encoder": encoder}
    if task == "detection":
        extra |= {"num_classes": facts.num_detection_classes, "num_heading_bins": facts.num_heading_bins}
        sizes = data.manifest.get("mean_sizes") or dict(zip(facts.detection_classes, facts.mean_sizes, strict=True))
        extra["mean_sizes"] = [list(sizes[name]) for name in facts.detection_classes]
    else:
        extra["num_classes"] = facts.num_segment_classes
    if not extra["num_classes"]:
        raise UserError(f"task={task}: data set {facts.name} has no classes for it; choose another data set or task")
    return instantiate(heads[task], f"backbone.task.{task}", **extra)


def build_network(config: Mapping[str, Any], facts: DatasetFacts, data: PreparedDataset) -> nn.Module:
    """What a fine-tuning trains and an evaluation scores: the task's network, or the protocol's probe."""
    return probed(build_task(config, build_encoder(config), facts, data), Protocol.of(config).train)


def build_metric(config: Mapping[str, Any], facts: DatasetFacts) -> Any:
    """The evaluation's metric over the data set's classes."""
    classes = facts.detection_classes if part(config, "task") == "detection" else facts.segment_classes
    return instantiate(part(config, "evaluation.metric"), "evaluation.metric", class_names=list(classes))


def build_targets(config: Mapping[str, Any], facts: DatasetFacts, votes: str) -> Targets:
    """The labels of the run's task."""
    if part(config, "task") == "detection":
        return partial(detection_targets, votes=votes, objects=object_segments(facts))
    return segmentation_targets
