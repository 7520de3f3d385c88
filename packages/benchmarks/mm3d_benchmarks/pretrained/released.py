"""Publicly released checkpoints as networks of this suite: which one a file is, is told by its tensors.

The importers stand with the backbones and are found by import path, as everything of a backbone is. What the released
programs fed their networks with (inputs, voxel, sampling) are the suite's own settings for them, ``profile=paper``.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.pretrained.compose import LICENCES, classes_of
from mm3d_benchmarks.pretrained.description import Description, Sampling
from mm3d_benchmarks.pretrained.inputs import Scaling
from mm3d_benchmarks.runs.configuration import Backbone, facts_of
from mm3d_benchmarks.runs.instantiate import instantiate
from mm3d_core import __version__
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import LoadReport
from mm3d_core.training.released import read_released

RELEASED = (".pth", ".pt", ".tar")
SEGMENTATION, DETECTION = "mm3d_backbones.released_segmentation", "mm3d_backbones.released_detection"
CLASSES = {13: "s3dis", 20: "scannet"}  # rows of a released segmentation head
WIDTHS = {97: "scannet", 143: "scannet", 79: "sunrgbd"}  # rows of a released detection head; VoteNet, H3DNet, both
DEEP, DEEP_STEM = "stratified_transformer_scannet", "stem_layer.1.kpconv.weight"  # of one data set, and its own recipe
VOTENETS = {1: "votenet", 3: "votenet_color", 4: "votenet_color_height"}  # by input channels


@dataclass(frozen=True)
class Release:
    """Which network a released file holds.

    Attributes:
        backbone, dataset: names of the suite's settings.
        task: ``segmentation`` or ``detection``.
        head: whether the file holds the task's network and not the encoder alone.
        whose: where it was published.
    """

    backbone: str
    dataset: str
    task: str
    head: bool
    whose: str


def load_released(path: Path) -> tuple[Description, nn.Module]:
    """The network of a released checkpoint, with its weights. Nothing is unpickled.

    Raises:
        UserError: not readable as plain tensors, no known release, or one that does not fit its network.
    """
    description, network, _ = import_file(path)
    return description, network


def import_file(path: Path) -> tuple[Description, nn.Module, LoadReport]:
    """The same, with the account of names: what was taken over and what was not. Raises as :func:`load_released`."""
    state = read_released(path)
    release = recognized(state, path)
    chosen = {"backbone": release.backbone, "dataset": release.dataset, "evaluation": release.task, "profile": "paper"}
    if release.backbone == DEEP:
        chosen["recipe"] = DEEP
    config = compose(Request(chosen))
    facts, backbone = facts_of(config), Backbone.of(config)
    recipe = config["recipe"]["finetune" if release.head else "pretrain"]
    description = replace(_described(release, backbone, recipe, facts), scaling=scaling_of(state))
    encoder = instantiate(description.encoder, f"{path}: encoder")
    whole: Any = instantiate(_head(release, backbone, facts), f"{path}: head", encoder=encoder)
    if release.task == "segmentation":
        report = _importer(SEGMENTATION).import_released(whole, state, facts.segment_classes, source=path.name)
        _check_encoder(report, whole, path)
    elif release.head:
        name = "import_h3dnet" if release.backbone == "h3dnet" else "import_votenet"
        report = getattr(_importer(DETECTION), name)(whole, state, source=path.name)
    else:
        report = _importer(DETECTION).import_encoder(encoder, state, source=path.name)
    return description, whole if release.head else encoder, report


def recognized(state: Mapping[str, Tensor], path: Path) -> Release:
    """Which release some tensors are of.

    Raises:
        UserError: none that is known, or one that this suite cannot feed.
    """
    if "backbone_net1.sa1.mlp_module.layer0.conv.weight" in state:
        return _detector(state, "h3dnet", "pnet_final.conv3.weight", "zaiweizhang/H3DNet", path)
    first = state.get("backbone_net.sa1.mlp_module.layer0.conv.weight")
    if first is not None:
        backbone = VOTENETS.get(first.shape[1] - 3)
        if backbone is None:
            raise UserError(f"{path}: is a VoteNet of {first.shape[1] - 3} input channels; read are 1, 3 and 4")
        return _detector(state, backbone, "pnet.conv3.weight", "facebookresearch/votenet or MingyeXu/mm-3dscene", path)
    names = ("cls.3.weight", "cls_pt.3.weight", "classifier.3.weight", "PT_model.cls.3.weight")
    last = next((state[name] for name in names if name in state), None)
    classes = None if last is None else len(last)
    if classes is not None and classes not in CLASSES:
        raise UserError(f"{path}: tells {classes} classes apart; known are S3DIS's 13 and ScanNet's 20")
    dataset = CLASSES.get(classes or 13, "s3dis")
    if any(name.removeprefix("PT_model.").startswith("enc1.0.linear") for name in state):
        return Release("point_transformer", dataset, "segmentation", last is not None, "POSTECH-CVLab or mm-3dscene")
    if DEEP_STEM in state:
        return Release(DEEP, "scannet", "segmentation", last is not None, "Stratified-Transformer")
    if "stem_layer.0.kpconv.weight" in state:
        return Release("stratified_transformer", "s3dis", "segmentation", last is not None, "Stratified-Transformer")
    some = ", ".join(sorted(state)[:3])
    raise UserError(
        f"{path}: is none of the released Point Transformer, MM-3DScene, Stratified Transformer, VoteNet or H3DNet "
        f"checkpoints; it holds {some}; mm3d import FILE backbone=NAME brings in the encoder of a network that you name"
    )


def _detector(state: Mapping[str, Tensor], backbone: str, last: str, whose: str, path: Path) -> Release:
    head = state.get(last)
    if head is None:
        return Release(backbone, "scannet", "detection", False, whose)
    dataset = WIDTHS.get(len(head))
    if dataset is None:
        raise UserError(
            f"{path}: its boxes have {len(head)} outputs; known are those of {sorted(set(WIDTHS.values()))}"
        )
    return Release(backbone, dataset, "detection", True, whose)


def scaling_of(state: Mapping[str, Tensor]) -> Scaling:
    """What a released network reads on another scale than this suite's inputs have, by its tensors' names.

    JIA-Lab-research/Stratified-Transformer trains on ScanNet with colors as PointGroup prepares them, 0..255 divided by
    127.5, less 1; on S3DIS it divides by 255, as this suite does.
    """
    return {"color": (2.0, -1.0)} if DEEP_STEM in state else {}


def _described(release: Release, backbone: Backbone, recipe: Mapping[str, Any], facts: DatasetFacts) -> Description:
    inputs = backbone.inputs
    if release.dataset == "sunrgbd":  # the released program centers its colors there
        inputs = tuple("color_centered" if name == "color_votenet" else name for name in inputs)
    holds = release.task if release.head else "encoder"
    names, colors = classes_of(holds, facts)
    return Description(
        holds=holds,
        name=release.backbone,
        encoder=backbone.encoder,
        inputs=inputs,
        sampling=Sampling.of(recipe),
        head=_head(release, backbone, facts) if release.head else None,
        classes=names,
        colors=colors,
        method={"name": "released", "from": release.whose},
        data={"name": release.dataset, "origin": "official", "manifest": "", "licence": LICENCES[release.dataset]},
        suite=__version__,
    )


def _head(release: Release, backbone: Backbone, facts: DatasetFacts) -> dict[str, Any]:
    head = dict(backbone.heads[release.task])
    if release.task == "segmentation":
        return head | {"num_classes": facts.num_segment_classes}
    sizes = [list(size) for size in facts.mean_sizes]
    bins = facts.num_heading_bins
    return head | {"num_classes": facts.num_detection_classes, "num_heading_bins": bins, "mean_sizes": sizes}


def _check_encoder(report: LoadReport, whole: Any, path: Path) -> None:
    """Every tensor of the encoder must have come from the file."""
    ours = {f"encoder.{name}" for name in whole.encoder.state_dict()}
    lacking = sorted((ours & {*report.fresh, *report.mismatched}) - {n for n in ours if n.endswith("tracked")})
    if lacking:
        raise UserError(f"{path}: lacks {len(lacking)} tensors of the encoder, {', '.join(lacking[:3])}; is it whole?")


def _importer(module: str) -> Any:
    return importlib.import_module(module)
