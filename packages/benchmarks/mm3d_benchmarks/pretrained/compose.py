"""The description of a run's weights, from what the run's folder and its prepared data say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.manifest import origin_kind
from mm3d_benchmarks.pretrained.description import Description, Sampling
from mm3d_benchmarks.runs.configuration import Backbone, Dataset
from mm3d_benchmarks.runs.instantiate import value_at
from mm3d_benchmarks.store.layout import PROVENANCE, SPEC, read_json
from mm3d_benchmarks.store.spec import RunSpec
from mm3d_benchmarks.store.store import Run
from mm3d_benchmarks.viewing.page import box_palette
from mm3d_core.errors import UserError

LICENCES = {
    "scannet": "learned from ScanNet: its terms of use hold (non-commercial research and education)",
    "s3dis": "learned from S3DIS: the terms of its download form hold",
    "sunrgbd": "learned from SUN RGB-D: the terms of that data set and of those it collects hold",
}
GENERATED = "learned from scenes that this suite generates (Apache-2.0)"
OWN = "learned from a user's own scans: ask their owner"


def description_of(run: Run) -> Description | None:
    """What the weights of a run should say; None for a run that leaves none.

    Everything stands in the run's ``spec.json`` and ``provenance.json`` and in the prepared data, so it is the same
    whenever it is composed.

    Raises:
        UserError: a damaged spec, facts that cannot be found, or, of a detector, prepared data that are not there.
    """
    spec = run.spec()
    config = spec.effective_config()
    if spec.kind not in ("pretrain", "finetune") or not value_at(config, "backbone.encoder._target_", None):
        return None
    dataset, backbone = Dataset.of(config), Backbone.of(config)
    facts, manifest = dataset.facts, _manifest(dataset)
    task = "encoder" if spec.kind == "pretrain" else str(value_at(config, "task"))
    recipe = value_at(config, f"recipe.{spec.kind}", {})
    origin = run.read(PROVENANCE) or {}
    names, colors = classes_of(task, facts)
    return Description(
        holds=task,
        name=backbone.name,
        encoder=backbone.encoder,
        inputs=backbone.inputs,
        sampling=Sampling.of(recipe),
        head=None if task == "encoder" else _head(backbone, task, dataset, manifest),
        probe=str(value_at(config, "protocol.train", "all")) if task != "encoder" else "all",
        classes=names,
        colors=colors,
        method=_method(run.folder.parent, spec),
        data=_data(spec, dataset.name, manifest),
        run=spec.key,
        commit=str((origin.get("commit") or {}).get("id") or ""),
        suite=str((origin.get("versions") or {}).get("mm3dscene") or ""),
    )


def _manifest(dataset: Dataset) -> Mapping[str, Any]:
    """The manifest of the prepared data; empty where they are not on this machine any more."""
    try:
        return dataset.open().manifest
    except UserError:
        return {}


def _head(backbone: Backbone, task: str, dataset: Dataset, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The task's network: its configuration, and what ``runs.build.build_task`` takes from the data set."""
    head, facts = dict(backbone.heads[task]), dataset.facts
    if task != "detection":
        return head | {"num_classes": facts.num_segment_classes}
    sizes = manifest.get("mean_sizes")
    if not sizes:
        raise UserError(
            f"{dataset.root}: the prepared data are not there, and boxes need their mean sizes; "
            "prepare them there again, or describe the run on the machine that has them"
        )
    return head | {
        "num_classes": facts.num_detection_classes,
        "num_heading_bins": facts.num_heading_bins,
        "mean_sizes": [list(sizes[name]) for name in facts.detection_classes],
    }


def classes_of(task: str, facts: DatasetFacts) -> tuple[tuple[str, ...], tuple[tuple[int, int, int], ...]]:
    if task == "segmentation":
        colors = facts.segment_palette or _hues(facts.segment_classes)
        return facts.segment_classes, tuple((int(r), int(g), int(b)) for r, g, b in colors)
    if task == "detection":
        colors = box_palette(facts)[: facts.num_detection_classes].tolist()
        return facts.detection_classes, tuple((r, g, b) for r, g, b in colors)
    return (), ()


def _hues(names: tuple[str, ...]) -> list[tuple[int, int, int]]:
    """Colors for classes that a data set has none for."""
    plain = DatasetFacts("", detection_classes=names, mean_sizes=((1.0, 1.0, 1.0),) * len(names))
    return [(r, g, b) for r, g, b in box_palette(plain).tolist()]


def _method(store: Path, spec: RunSpec) -> dict[str, Any]:
    """How the encoder was pre-trained; of a fine-tuning, by the run it started from."""
    if spec.kind == "pretrain":
        return {"name": str(value_at(spec.config, "pretrain.name", "unnamed")), "pretrain": spec.key}
    before = spec.upstream.get("pretrain")
    if before is None:
        return {"name": "none", "pretrain": None}
    known = (read_json(store / before / SPEC) or {}).get("config")
    name = value_at(known, "pretrain.name", "unknown") if isinstance(known, dict) else "unknown"
    return {"name": str(name), "pretrain": before}


def _data(spec: RunSpec, name: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    origin = origin_kind(str((manifest.get("origin") or {}).get("kind", "unknown")))
    licence = {"synthetic": GENERATED, "user": OWN}.get(origin) or LICENCES.get(name, OWN)
    return {"name": name, "origin": origin, "manifest": spec.data.get(name, ""), "licence": licence}
