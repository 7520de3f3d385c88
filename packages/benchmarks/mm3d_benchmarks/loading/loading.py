"""From prepared scenes to batches: the same batch for the same (seed, epoch, index), whatever the number of workers.

    scene -> points -> augmentation -> voxel grid -> sphere crop -> shuffle -> minimum to 0 -> box crop -> features
          -> labels, or a pre-training method's views -> geometry plans -> batch

Everything up to the batch happens in loader workers, each of which holds one scene at a time (memory-mapped).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mm3d_benchmarks.datasets.scene import PreparedDataset, Scene
from mm3d_benchmarks.loading.crops import shift_to_minimum, sphere_crop, voxel_sample
from mm3d_benchmarks.loading.features import floor_height, points_of
from mm3d_benchmarks.loading.labels import POINT_LABELS
from mm3d_benchmarks.loading.sample import Augmentation, Sample, sample_of
from mm3d_core.errors import UserError
from mm3d_core.methods.monitors import mark_classes
from mm3d_core.points import PointBatch
from mm3d_core.seeding import generator, numpy_generator
from mm3d_core.training.interruption import ignore_stop_signals
from pointops import make_offset
from pointops.plan import make_plan

Views = Callable[[PointBatch, torch.Generator], dict[str, PointBatch]]
Targets = Callable[[Sample], dict[str, Tensor]]


@dataclass(frozen=True)
class Batch:
    """Some scenes, ready for a network.

    Attributes:
        names: the scenes' names.
        views: what networks read, by name; fine-tuning has one, ``points``.
        labels: ``targets.POINT_LABELS`` joined point by point, all others stacked scene by scene.
    """

    names: list[str]
    views: dict[str, PointBatch]
    labels: dict[str, Tensor] = field(default_factory=dict)

    @classmethod
    def join(cls, batches: Sequence[Batch]) -> Batch:
        """Lay scenes end to end."""
        first = batches[0]
        labels = {}
        for name in first.labels:
            values = [batch.labels[name] for batch in batches]
            labels[name] = torch.cat(values) if name in POINT_LABELS else torch.stack(values)
        views = {name: PointBatch.join([batch.views[name] for batch in batches]) for name in first.views}
        return cls([name for batch in batches for name in batch.names], views, labels)

    @property
    def points(self) -> PointBatch:
        """The only view of a fine-tuning batch."""
        return self.views["points"]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """A copy on a device."""
        views = {name: view.to(device, non_blocking=non_blocking) for name, view in self.views.items()}
        return Batch(
            self.names,
            views,
            {name: value.to(device, non_blocking=non_blocking) for name, value in self.labels.items()},
        )

    def pin_memory(self) -> Batch:
        """A copy in page-locked memory (called by torch's DataLoader)."""
        views = {name: view.pin_memory() for name, view in self.views.items()}
        return Batch(self.names, views, {name: value.pin_memory() for name, value in self.labels.items()})


@dataclass(frozen=True)
class Sampling:
    """How a scene becomes a training sample.

    Attributes:
        inputs: features by name (``mm3d_core.features.FEATURES``), in order.
        augmentation: applied in order, before sampling.
        voxel: metres; one random point of every voxel is kept. None: no grid.
        max_points: above it, the nearest points of a random one are kept. None: no limit.
        num_points: exactly so many random points of the scene are read, with repeats only when it has fewer (detectors
            need scenes of equal size). None: all.
        shift: put the scene's minimum at 0, before the voxel grid and again before the box crop.
        crop: a box crop, last.
        labels: takes labels away from a sample just read, given the scene's number of points (few-label protocols).
        shuffle: random order of the points (the first starts farthest-point sampling).
    """

    inputs: tuple[str, ...] = ("coord",)
    augmentation: tuple[Augmentation, ...] = ()
    voxel: float | None = None
    max_points: int | None = None
    num_points: int | None = None
    shift: bool = True
    crop: Augmentation | None = None
    shuffle: bool = True
    labels: tuple[Callable[[Sample, int], Sample], ...] = ()

    def __call__(self, scene: Scene, random: np.random.Generator) -> Sample:
        """Draw one sample.

        Raises:
            UserError: no point is left.
        """
        sample = self.read(scene, random)
        for augment in self.augmentation:
            sample = augment(sample, random)
        if self.voxel is not None:
            sample = voxel_sample(sample, self.voxel, random, prefer_labeled=bool(self.labels))
        if self.max_points is not None:
            sample = sphere_crop(sample, self.max_points, random)
        if self.shuffle:
            sample = sample.take(random.permutation(sample.num_points))
        if self.shift:
            sample = shift_to_minimum(sample)
        if self.crop is not None:
            sample = self.crop(sample, random)
        if sample.num_points == 0:
            raise UserError(f"scene {scene.name}: no point is left after sampling; relax voxel, max_points or crop")
        return sample

    def read(self, scene: Scene, random: np.random.Generator) -> Sample:
        """The points of a scene that a sample is made of, unchanged, with what is measured on the whole scene."""
        rows = None
        if self.num_points is not None:
            repeats = scene.num_points < self.num_points
            rows = random.choice(scene.num_points, self.num_points, replace=repeats)
        sample = sample_of(scene, rows)
        for limit in self.labels:
            sample = limit(sample, scene.num_points)
        if "height" in self.inputs:
            height = floor_height(scene.coord)
            sample = Sample(**{**sample.__dict__, "height": height if rows is None else height[rows]})
        return sample


@dataclass(frozen=True)
class ScenesToItems:
    """What a loader worker does with one scene: sample it, then labels or views, then geometry plans.

    Attributes:
        targets: labels of a sample, or None.
        views: a pre-training method's views, or None for the one view ``points``.
        plan: what the encoder wants prepared (``encoder.plan_spec()``), or None.
        planned_views: names of the views to prepare it for; None: all.
        plan_views: makes the plans of all views together instead, see ``MM3DScene.plan_views``.
        marked: segment ids whose points are marked where a scene has labels
            (``mm3d_core.methods.monitors.mark_classes``).
    """

    sampling: Sampling
    targets: Targets | None = None
    views: Views | None = None
    plan: Any = None
    planned_views: tuple[str, ...] | None = None
    plan_views: Callable[[Mapping[str, PointBatch], Any], dict[str, PointBatch]] | None = None
    marked: tuple[int, ...] = ()

    def __call__(self, scene: Scene, *keys: int | str) -> Batch:
        """One scene's item; the keys decide everything random.

        Raises:
            UserError: the scene does not fit (too few points for a level, no labels, ...), named.
        """
        return self.planned(self.unplanned(scene, *keys))

    def unplanned(self, scene: Scene, *keys: int | str) -> Batch:
        """The item before its geometry plans."""
        sample = self.sampling(scene, numpy_generator(*keys, "sample"))
        labels = {} if self.targets is None else self.targets(sample)
        points = points_of(sample, self.sampling.inputs)
        if self.marked and sample.segment is not None:
            points = mark_classes(points, torch.from_numpy(sample.segment), self.marked)
        try:
            views = {"points": points} if self.views is None else self.views(points, generator(*keys, "views"))
        except ValueError as error:
            raise self._unfit(scene.name, points, error) from error
        return Batch([scene.name], views, labels)

    def planned(self, item: Batch) -> Batch:
        """The item with geometry plans for its views."""
        try:
            if self.plan is not None and self.plan_views is not None:
                return replace(item, views=self.plan_views(item.views, self.plan))
            return replace(item, views={name: self._planned(name, view) for name, view in item.views.items()})
        except ValueError as error:
            raise self._unfit("+".join(item.names), next(iter(item.views.values())), error) from error

    def _planned(self, name: str, view: PointBatch) -> PointBatch:
        if self.plan is None or (self.planned_views is not None and name not in self.planned_views):
            return view
        return view.with_plan(make_plan(view.coord, view.offset, self.plan))

    def _unfit(self, name: str, points: PointBatch, error: ValueError) -> UserError:
        return UserError(
            f"scene {name} ({points.num_points} points sampled) does not suit the network or the method: "
            f"{error}; use a finer voxel, more points, or leave the scene out"
        )


class SceneLoader:
    """Batches by step, for :func:`mm3d_core.training.fit.fit`.

    Args:
        dataset: prepared scenes.
        scenes: names to train on.
        items: what to make of each.
        batch: scenes per optimizer step, over all processes and micro-batches.
        seed: of order and samples.
        loop: repeats of the scene list per epoch.
        drop_last: leave out an epoch's incomplete last batch (kept when it is the only one).
        accumulation: micro-batches per step.
        max_batch_points: scenes of a micro-batch are appended while it stays within so many points; the rest is left
            out (JIA-Lab-research/Stratified-Transformer: 140,000). None: no limit.
        mix: probability that the scenes of a micro-batch are laid over each other in pairs (Mix3D, arXiv:2110.02210;
            Pointcept: 0.8); fine-tuning of point labels only.
        rank, world_size: this process's share.
        workers: loader processes; 0 loads in this one.
        pin_memory: page-locked batches, for a GPU.

    Raises:
        UserError: no scenes, or a batch that cannot be shared out.
    """

    def __init__(
        self,
        dataset: PreparedDataset,
        scenes: Sequence[str],
        items: ScenesToItems,
        batch: int,
        seed: int,
        loop: int = 1,
        drop_last: bool = True,
        accumulation: int = 1,
        max_batch_points: int | None = None,
        mix: float = 0.0,
        rank: int = 0,
        world_size: int = 1,
        workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        if not scenes or batch < 1 or loop < 1:
            raise UserError(
                f"loading needs scenes, batch >= 1 and loop >= 1, not {len(scenes)} scenes, {batch=}, {loop=}"
            )
        if batch % (accumulation * world_size):
            raise UserError(
                f"batch={batch} cannot be shared out over {world_size} processes x {accumulation} micro-batches"
            )
        self._source = _Items(dataset, list(scenes), items, seed, mix > 0)
        self._join = _Joiner(items, max_batch_points, mix, seed)
        self._batch, self._seed = batch, seed
        self._length = len(scenes) * loop
        self._accumulation, self._rank, self._world = accumulation, rank, world_size
        self._workers, self._pin = workers, pin_memory
        self._newest_order: tuple[int, list[int]] = (-1, [])
        self.steps_per_epoch = steps_per_epoch(self._length, batch, drop_last)

    def stream(self, first_step: int, steps: int) -> Iterator[Batch]:
        """Micro-batches of steps ``first_step`` to ``steps - 1`` for this process.

        Raises:
            UserError: from the items, in the order of the steps.
        """
        loader = DataLoader(
            self._source,
            batch_sampler=_Keys(self, range(first_step, steps)),
            collate_fn=self._join,
            num_workers=self._workers,
            worker_init_fn=_start_worker,
            pin_memory=self._pin,
            generator=torch.Generator().manual_seed(0),  # else every iterator would draw from the global one
        )
        for batch in loader:
            if isinstance(batch, _Failure):
                raise UserError(batch.message)
            yield batch

    def keys(self, step: int) -> list[list[tuple[int, int]]]:
        """(epoch, index) of the items of a step, one list for each of this process's micro-batches.

        Item ``index`` shows scene ``index % len(scenes)``. Where the list is shorter than a batch, or than its shares,
        it starts again with new numbers, so that repeats are other samples of the same scenes.
        """
        epoch, number = divmod(step, self.steps_per_epoch)
        order = self._order(epoch)
        shares = self._accumulation * self._world
        first = number * self._batch
        rest = self._length - first
        count = self._batch if rest >= self._batch or number == 0 else max(rest, shares)
        items = [order[p % self._length] + self._length * (p // self._length) for p in range(first, first + count)]
        parts = [part.tolist() for part in np.array_split(np.array(items), shares)]
        return [[(epoch, index) for index in part] for part in parts[self._rank :: self._world]]

    def _order(self, epoch: int) -> list[int]:
        if self._newest_order[0] != epoch:
            self._newest_order = (epoch, numpy_generator(self._seed, "order", epoch).permutation(self._length).tolist())
        return self._newest_order[1]


def steps_per_epoch(items: int, batch: int, drop_last: bool) -> int:
    """Batches of an epoch of so many items; at least one."""
    whole, rest = divmod(items, batch)
    return max(1, whole + (1 if rest and not drop_last else 0))


class _Items(Dataset[Any]):
    """Items by (epoch, index). A failure travels to the main process as a value, so that its message stays plain."""

    def __init__(
        self, dataset: PreparedDataset, scenes: list[str], items: ScenesToItems, seed: int, unplanned: bool
    ) -> None:
        self._dataset, self._scenes, self._seed = dataset, scenes, seed
        self._make = items.unplanned if unplanned else items

    def __getitem__(self, key: tuple[int, int]) -> Any:
        epoch, index = key
        try:
            scene = self._dataset.load(self._scenes[index % len(self._scenes)])
            return key, self._make(scene, self._seed, "item", epoch, index)
        except UserError as error:
            return key, _Failure(str(error))


@dataclass(frozen=True)
class _Failure:
    message: str


@dataclass(frozen=True)
class _Joiner:
    """Items to a batch: mixed in pairs if the dice say so, within the limit of points."""

    items: ScenesToItems
    max_points: int | None
    mix: float
    seed: int

    def __call__(self, keyed: Sequence[tuple[tuple[int, int], Any]]) -> Any:
        found = [item for _, item in keyed]
        failure = next((item for item in found if isinstance(item, _Failure)), None)
        if failure is not None:
            return failure
        if self.mix > 0:
            try:
                found = self._mixed(found, keyed[0][0])
            except UserError as error:
                return _Failure(str(error))
        if self.max_points is not None:
            sizes = np.cumsum([max(view.num_points for view in item.views.values()) for item in found])
            found = found[: max(1, int((sizes <= self.max_points).sum()))]
        return Batch.join(found)

    def _mixed(self, found: list[Batch], key: tuple[int, int]) -> list[Batch]:
        if numpy_generator(self.seed, "mix", *key).random() < self.mix:
            found = [_overlaid(found[i : i + 2]) for i in range(0, len(found), 2)]
        return [self.items.planned(item) for item in found]


def _overlaid(pair: Sequence[Batch]) -> Batch:
    """Two scenes as one; each keeps its coordinates."""
    both = Batch.join(pair)
    views = {name: replace(view, offset=make_offset([view.num_points])) for name, view in both.views.items()}
    return Batch(["+".join(both.names)], views, both.labels)


class _Keys:
    """A loader's batch sampler over some steps."""

    def __init__(self, loader: SceneLoader, steps: range) -> None:
        self._loader, self._steps = loader, steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in self._steps:
            yield from self._loader.keys(step)


def _start_worker(number: int) -> None:
    ignore_stop_signals()
    torch.set_num_threads(1)
