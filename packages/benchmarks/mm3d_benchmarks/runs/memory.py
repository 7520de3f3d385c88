"""How much memory a training step holds: measured on small steps on the CPU, stretched to the recipe's size.

Tensors alive at once are counted, by storage, at every operation of forward, backward and update. What kernels allocate
within one operation is not seen, nor what an allocator keeps spare: a GPU shows some ten percent more.
"""

from __future__ import annotations

import copy
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.manifest import build_manifest
from mm3d_benchmarks.datasets.scene import MANIFEST, Scene, write_scene
from mm3d_benchmarks.runs import finetune, pretrain
from mm3d_benchmarks.runs.configuration import facts_of
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_benchmarks.runs.training import Training
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.points import PointBatch
from mm3d_core.seeding import generator, seed_everything
from mm3d_core.training.fit import DTYPES

TRIED = ((1, 3000), (1, 6000), (2, 3000))  # scans and points of a scan
SPACING = 0.04  # metres between points where a recipe takes points by number
SPARE = 1.15  # what is asked for to be sure: the allocator's rest, kernels' own scratch
GIGABYTE = 1e9
SAMPLES = 8  # scans whose views are counted: masks keep shares that differ


@dataclass(frozen=True)
class StepMemory:
    """What a step of one recipe holds at its peak.

    Attributes:
        scenes: of a step, on all devices and in all micro-batches.
        points: of a scan, as the recipe samples it.
        fixed: bytes whatever the batch: weights, gradients, optimizer state.
        bytes_a_scene: whatever its points; a detector samples the same number of centers in every scan.
        bytes_a_point: of a sampled point, all views of it together.
    """

    scenes: int
    points: int
    fixed: float
    bytes_a_scene: float
    bytes_a_point: float

    def of(self, scenes: int) -> float:
        """Bytes of a micro-batch of so many scenes."""
        return self.fixed + scenes * (self.bytes_a_scene + self.bytes_a_point * self.points)

    def accumulation_for(self, gigabytes: float) -> int | None:
        """The smallest ``accumulation`` whose micro-batches fit into so much memory; None: not even single scenes do."""
        shares = (n for n in range(1, self.scenes + 1) if self.scenes % n == 0)
        return next((n for n in shares if self.of(self.scenes // n) * SPARE <= gigabytes * GIGABYTE), None)

    def describe(self, section: str, gigabytes: float | None = None) -> list[str]:
        """The estimate in words; with a device's memory, also what fits into it."""
        size = f"{self.scenes} x {self.points:,} points"
        each = (self.bytes_a_scene + self.bytes_a_point * self.points) / GIGABYTE
        lines = [
            f"memory: about {self.of(self.scenes) / GIGABYTE:.3g} GB for a step of {size} ({each:.2g} GB a scene, "
            f"{self.fixed / GIGABYTE:.2g} GB whatever the batch); an estimate from small steps on the CPU"
        ]
        if gigabytes is None:
            return lines
        fits = self.accumulation_for(gigabytes)
        if fits is None:
            one = self.of(1) * SPARE / GIGABYTE
            return [*lines, f"{gigabytes:g} GB: one scene wants {one:.3g} GB and does not fit; lower {section}.max_points"]
        scenes = self.scenes // fits
        told = f"{section}.accumulation={fits} fits, {scenes} scenes and {self.of(scenes) / GIGABYTE:.3g} GB at a time"
        return [*lines, f"{gigabytes:g} GB: {told}"]


def estimate(config: Mapping[str, Any]) -> StepMemory:
    """The memory of a training step that a composed configuration of kind ``pretrain`` or ``finetune`` describes.

    Raises:
        UserError: another kind of run, or whatever is wrong with the configuration.
    """
    kind = str(config["kind"])
    if kind not in ("pretrain", "finetune"):
        raise UserError(f"kind={kind}: only trainings have steps; choose kind=pretrain or kind=finetune")
    recipe = Recipe.of(config, kind)
    points = recipe.num_points or recipe.max_points
    if points is None:
        raise UserError(f"recipe.{kind}: has neither max_points nor num_points, so a scan may have any size; set one")
    with tempfile.TemporaryDirectory() as temporary, repeatable():
        tried = [_try(config, kind, scenes, count, Path(temporary)) for scenes, count in TRIED]
    (few, small), (many, large), (two, both) = ((seen, peak) for seen, peak, _ in tried)
    slope = max(0.0, (large - small) / (many - few))
    a_scene = max(0.0, both - small - slope * (two - few))
    shown = sum(share for _, _, share in tried) / len(tried)
    return StepMemory(recipe.batch, points, max(0.0, small - a_scene - slope * few), a_scene, slope * shown)


def _try(config: Mapping[str, Any], kind: str, scenes: int, points: int, folder: Path) -> tuple[int, int, float]:
    """Points that the network saw in one step, the peak in bytes, and the mean number of points seen a sampled point."""
    small = small_config(config, kind, scenes, points, folder / f"{scenes}_{points}")
    training: Training = (pretrain if kind == "pretrain" else finetune).training_of(small)
    batch = next(training.loader().stream(0, 1))
    seen = _points_in(batch.views)
    items = (training.items.unplanned(training.data.load(training.scenes[0]), number) for number in range(SAMPLES))
    share = sum(_points_in(item.views) for item in items) / (SAMPLES * points)
    return seen, _peak_bytes(training, batch), share


def _points_in(views: Mapping[str, PointBatch]) -> int:
    return sum(view.num_points for view in views.values())


def _peak_bytes(training: Training, batch: Any) -> int:
    """The most that is alive at once in the second of two steps, when the optimizer's state is there."""
    module: Any = training.module
    module.train()
    for part in training.frozen:
        part.eval()
    optimizer, dtype = training.recipe.build_optimizer(module), DTYPES[training.recipe.precision]
    live = LiveBytes()
    live.see([*module.parameters(), *module.buffers()])
    live.see(list(_tensors_of(batch)))
    for _ in range(2):
        with live, torch.autocast("cpu", dtype=dtype, enabled=dtype is not None):
            loss = training.objective(module, batch, generator("memory"))["loss"]
        with live:
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            del loss
    return live.peak


def _tensors_of(batch: Any) -> Iterator[Tensor]:
    for view in batch.views.values():
        yield from (value for value in vars(view).values() if isinstance(value, Tensor))
    yield from batch.labels.values()


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and the most there were, while used as a context."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def see(self, tensors: list[Any]) -> None:
        """Count the storages of these tensors from now on, each once, until they are freed."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            number, size = storage._cdata, storage.nbytes()
            if number not in self._known:
                self._known.add(number)
                self.now += size
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._forget, number, size)

    def _forget(self, number: int, size: int) -> None:
        self._known.discard(number)
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.see(tree_leaves(made))
        return made


# ----------------------------------------------------------------------------- what is tried


def small_config(config: Mapping[str, Any], kind: str, scenes: int, points: int, root: Path) -> dict[str, Any]:
    """The configuration with so many small scans a step, from a prepared data set that is made in ``root``."""
    small = copy.deepcopy(dict(config))
    recipe = small["recipe"][kind]
    spacing = recipe.get("voxel") or SPACING
    _write_rooms(root, facts_of(small), points, spacing)
    for name in ("num_points", "max_points"):
        if recipe.get(name) is not None:
            recipe[name] = points
    recipe |= {"batch": scenes, "accumulation": 1, "steps": 1, "epochs": None, "mix": 0.0, "max_batch_points": None}
    small["dataset"] |= {"root": str(root), "splits": {"pretrain": "train", "train": "train", "evaluate": "train"}}
    small["protocol"] = {"train": (small.get("protocol") or {}).get("train", "all")}
    small["machine"] = {"device": "cpu", "workers": 0, "progress": False}
    return small


def _write_rooms(root: Path, facts: DatasetFacts, points: int, spacing: float) -> None:
    """One prepared scan with at least twice ``points`` occupied voxels."""
    scene = _room(facts, points, spacing)
    manifest = build_manifest(
        facts=facts, splits={"train": [scene.name]}, records={scene.name: write_scene(root, scene)},
        remarks={}, left_out={}, options={}, origin={"kind": "synthetic"},
    )  # fmt: skip
    write_json(root / MANIFEST, manifest)


def _room(facts: DatasetFacts, points: int, spacing: float) -> Scene:
    """Floor, two walls and two boxes, some points in every voxel of their faces."""
    random = np.random.default_rng(0)
    side = (2 * points * spacing**2 / 3) ** 0.5
    places = random.random((8 * points, 3))
    face = random.integers(0, 3, len(places))
    places[np.arange(len(places)), face] = 0.0
    coord = places * [side * 1.5, side * 1.5, side * 1.5]
    instance = np.full(len(coord), -1, np.int32)
    segment = (face % max(1, facts.num_segment_classes)).astype(np.int16)
    boxes = []
    for number, corner in enumerate(((0.2, 0.2), (0.9, 0.9))):
        rows = np.arange(number, len(coord), 12)
        coord[rows] = (places[rows] * 0.4 + [*corner, 0.0]) * side
        instance[rows] = number
        low, high = coord[rows].min(0), coord[rows].max(0)
        boxes.append([*(low + high) / 2, *(high - low), 0.0, number % max(1, facts.num_detection_classes)])
    normal = np.eye(3, dtype=np.float32)[face]
    color = random.integers(0, 256, (len(coord), 3)).astype(np.uint8)
    return Scene(
        "room", coord.astype(np.float32), color, normal,
        segment if facts.num_segment_classes else None, instance if facts.num_segment_classes else None,
        np.array(boxes, np.float32) if facts.num_detection_classes else None,
    )  # fmt: skip


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Leave torch's global generator as it was: estimates belong to no training."""
    state = torch.get_rng_state()
    seed_everything(seed, "memory")
    try:
        yield
    finally:
        torch.set_rng_state(state)
