"""From a run's configuration to its networks, labels and metric."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.scene import PreparedDataset
from mm3d_benchmarks.loading.features import feature_width
from mm3d_benchmarks.loading.labels import detection_targets, object_segments, segmentation_targets
from mm3d_benchmarks.loading.loading import Targets
from mm3d_benchmarks.runs.configuration import Backbone, Evaluation, Finetuning
from mm3d_benchmarks.runs.instantiate import instantiate
from mm3d_benchmarks.supervision.probe import probed
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError


def build_encoder(backbone: Backbone) -> Encoder:
    """The backbone's encoder, whose input width must be that of the chosen inputs."""
    width = feature_width(backbone.inputs)
    encoder = instantiate(backbone.encoder, "backbone.encoder")
    expected = backbone.encoder.get("in_channels", width)
    if expected != width:
        raise UserError(
            f"backbone.encoder.in_channels={expected}, "
            f"but backbone.input={list(backbone.inputs)} has {width} channels"
        )
    return encoder


def build_method(method: Mapping[str, Any] | None, encoder: Encoder) -> nn.Module:
    """The pre-training method around an encoder."""
    if method is None:
        raise UserError("pretrain.method is null (pretrain=none): there is nothing to pre-train; choose a method")
    return instantiate(method, "pretrain.method", encoder=encoder)


def build_task(
    task: str, backbone: Backbone, encoder: Encoder, facts: DatasetFacts, sizes: Mapping[str, Any] | None = None
) -> nn.Module:
    """The network of a task around an encoder.

    Args:
        sizes: mean size of each class of box, as the prepared data have it; None: as the facts say.
    """
    if task not in backbone.heads:
        raise UserError(f"task={task}: backbone {backbone.name} offers {', '.join(backbone.heads)}")
    extra: dict[str, Any] = {"encoder": encoder}
    if task == "detection":
        extra |= {"num_classes": facts.num_detection_classes, "num_heading_bins": facts.num_heading_bins}
        sizes = sizes or dict(zip(facts.detection_classes, facts.mean_sizes, strict=True))
        extra["mean_sizes"] = [list(sizes[name]) for name in facts.detection_classes]
    else:
        extra["num_classes"] = facts.num_segment_classes
    if not extra["num_classes"]:
        raise UserError(f"task={task}: data set {facts.name} has no classes for it; choose another data set or task")
    return instantiate(backbone.heads[task], f"backbone.task.{task}", **extra)


def build_network(config: Finetuning | Evaluation, data: PreparedDataset) -> nn.Module:
    """What a fine-tuning trains and an evaluation scores: the task's network, or the protocol's probe."""
    encoder, sizes = build_encoder(config.backbone), data.manifest.get("mean_sizes")
    return probed(build_task(config.task, config.backbone, encoder, config.dataset.facts, sizes), config.protocol.train)


def build_metric(config: Evaluation) -> Any:
    """The evaluation's metric over the data set's classes."""
    facts = config.dataset.facts
    classes = facts.detection_classes if config.task == "detection" else facts.segment_classes
    return instantiate(config.metric, "evaluation.metric", class_names=list(classes))


def build_targets(task: str, facts: DatasetFacts, votes: str) -> Targets:
    """The labels of a task."""
    if task == "detection":
        return partial(detection_targets, votes=votes, objects=object_segments(facts))
    return segmentation_targets
