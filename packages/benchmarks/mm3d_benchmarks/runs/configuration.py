"""A run's configuration, read once at the top of the run: what is below gets names and types, and looks nothing up.

Each kind of run has its own class, with what that kind may see of a composed configuration (``store.spec``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.runs.controls import Control
from mm3d_benchmarks.runs.instantiate import instantiate, section, value_at
from mm3d_benchmarks.runs.machine import Machine
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.supervision.protocol import Protocol
from mm3d_core.errors import UserError

SELECTIONS = ("last", "best")  # which weights of a fine-tuning are scored, see runs/selection.py


@dataclass(frozen=True)
class Backbone:
    """The section ``backbone``.

    Attributes:
        inputs: what the network reads at every point, by name, in order.
        encoder, heads: what ``build`` makes the encoder of, and the network of each task around it.
    """

    name: str
    inputs: tuple[str, ...]
    encoder: Mapping[str, Any]
    heads: Mapping[str, Any]

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Backbone:
        """Raises UserError: no encoder, or no inputs."""
        inputs, encoder = value_at(given, "backbone.input"), value_at(given, "backbone.encoder")
        name, heads = value_at(given, "backbone.name", ""), value_at(given, "backbone.task", {})
        return cls(str(name), tuple(inputs), encoder, heads)


@dataclass(frozen=True)
class Dataset:
    """The section ``dataset``: what is known about the scenes, where they lie, and which split has which role."""

    name: str
    root: Path
    splits: Mapping[str, str]
    facts: DatasetFacts

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Dataset:
        """Raises UserError: a key that is missing, or facts that cannot be found."""
        facts = facts_of(given)
        root, splits = value_at(given, "dataset.root"), value_at(given, "dataset.splits", {})
        return cls(str(value_at(given, "dataset.name", facts.name)), Path(root), splits, facts)

    def open(self) -> PreparedDataset:
        """The prepared scenes."""
        return open_dataset(self.root)

    def scenes(self, data: PreparedDataset, role: str) -> list[str]:
        """Names of the scenes of a role: ``pretrain``, ``train`` or ``evaluate``."""
        return data.scenes(value_at({"dataset": {"splits": self.splits}}, f"dataset.splits.{role}"))


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """What every run knows.

    Attributes:
        given: the configuration as it came, resolved and plain.
    """

    given: Mapping[str, Any]
    seed: int
    machine: Machine
    backbone: Backbone
    dataset: Dataset

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Read a resolved, plain configuration.

        Raises:
            UserError: a missing or an unknown key, or a value that cannot be; each is named.
        """
        common = {
            "given": given,
            "machine": Machine.of(given),
            "seed": int(value_at(given, "seed")),
            "backbone": Backbone.of(given),
            "dataset": Dataset.of(given),
        }
        return cls(**common, **cls._own(given))

    @classmethod
    def _own(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """What this kind of run reads beside."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Pretraining(Configuration):
    """Of a pre-training.

    Attributes:
        name: the choice of ``pretrain``.
        method: what ``build`` makes the method of; None of a control.
    """

    name: str
    method: Mapping[str, Any] | None
    control: Control | None
    recipe: Recipe

    @classmethod
    def _own(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        control = value_at(given, "pretrain.control", None)
        return {
            "name": str(value_at(given, "pretrain.name", "unnamed")),
            "method": value_at(given, "pretrain.method", None),
            "control": None if control is None else section(Control, control, "pretrain.control"),
            "recipe": Recipe.of(given, "pretrain"),
        }


@dataclass(frozen=True, kw_only=True)
class Finetuning(Configuration):
    """Of a fine-tuning.

    Attributes:
        pretraining: the recipe of the pre-training whose steps a longer training adds; None of any other.
    """

    task: str
    recipe: Recipe
    protocol: Protocol
    pretraining: Recipe | None

    @classmethod
    def _own(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        protocol = protocol_of(given)
        return {
            "task": value_at(given, "task"),
            "recipe": Recipe.of(given, "finetune"),
            "protocol": protocol,
            "pretraining": Recipe.of(given, "pretrain") if protocol.longer else None,
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation(Configuration):
    """Of an evaluation.

    Attributes:
        name: the choice of ``evaluation``.
        way: its protocol, such as voting: (model, scene, inputs, device, file) -> prediction and labels.
        metric: what ``build`` makes the metric of.
        select: one of ``SELECTIONS``.
    """

    task: str
    protocol: Protocol
    name: str
    way: Any
    metric: Mapping[str, Any]
    select: str

    @classmethod
    def _own(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        select = value_at(given, "evaluation.select", "last")
        if select not in SELECTIONS:
            raise UserError(f"evaluation.select={select}: choose one of {', '.join(SELECTIONS)}")
        return {
            "task": value_at(given, "task"),
            "protocol": protocol_of(given),
            "name": value_at(given, "evaluation.name", "unnamed"),
            "way": instantiate(value_at(given, "evaluation.protocol"), "evaluation.protocol"),
            "metric": value_at(given, "evaluation.metric"),
            "select": select,
        }


def facts_of(given: Mapping[str, Any]) -> DatasetFacts:
    """What is known about the data set, also of a configuration without prepared data (``dataset.root``)."""
    return instantiate(value_at(given, "dataset.facts"), "dataset.facts")


def protocol_of(given: Mapping[str, Any]) -> Protocol:
    """The section ``protocol``, or its defaults; lists follow the run's seed unless they have their own.

    Raises:
        UserError: an unknown key, or a value that cannot be.
    """
    values = dict(given.get("protocol") or {})
    if values.get("list_seed") is None:
        values["list_seed"] = int(given.get("seed", 0))
    return section(Protocol, values, "protocol")
