"""Fewer points of a scene: voxel sampling, sphere crops, and the box crops of the MM-3DScene recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from mm3d_benchmarks.loading.sample import Sample
from pointops.voxel import voxel_cells


def voxel_sample(sample: Sample, size: float, random: np.random.Generator, prefer_labeled: bool = False) -> Sample:
    """One uniformly random point of every occupied voxel, in the order of the voxels.

    Args:
        size: metres. Cells count from the scene's minimum (POSTECH-CVLab/point-transformer util/voxelize.py).
        prefer_labeled: a voxel with a labeled point keeps one of these (few labels would seldom be drawn otherwise).
    """
    order, starts, counts = voxel_groups(sample.coord, size)
    # As published: a number below the largest count, modulo the voxel's own count.
    chosen = order[starts + random.integers(0, counts.max(), len(counts)) % counts]
    if prefer_labeled and sample.segment is not None:
        labeled = sample.segment[order] >= 0
        voxel = np.repeat(np.arange(len(counts)), counts)[labeled]
        chosen[voxel] = order[labeled]
    return sample.take(chosen)


def voxel_groups(coord: np.ndarray, size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points sorted by voxel.

    Returns:
        order: (N,) rows sorted by voxel, equal voxels in row order.
        starts: (V,) where each voxel begins in ``order``.
        counts: (V,) points of each voxel.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(coord, dtype=np.float32))
    cells = voxel_cells(tensor, torch.tensor([len(coord)]), size).numpy()
    order, new = _sorted_cells(cells)
    starts = np.flatnonzero(new)
    return order, starts, np.diff(starts, append=len(order))


def _sorted_cells(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) rows in the order of their (non-negative) cells, equal cells in row order, and where a new cell begins."""
    span = cells.max(axis=0) + 1
    if float(span.astype(float).prod()) < 2**62:
        code = (cells[:, 0] * span[1] + cells[:, 1]) * span[2] + cells[:, 2]
        order = np.argsort(code, kind="stable")
        return order, np.diff(code[order], prepend=-1) != 0
    order = np.lexsort(cells.T[::-1])  # a stray point far away: slower, but no number overflows
    return order, (np.diff(cells[order], axis=0, prepend=-1) != 0).any(axis=1)


def sphere_crop(sample: Sample, max_points: int, random: np.random.Generator) -> Sample:
    """The ``max_points`` nearest points of a random point; a smaller scene is returned whole."""
    if sample.num_points <= max_points:
        return sample
    center = sample.coord[random.integers(sample.num_points)]
    distance = ((sample.coord - center) ** 2).sum(axis=1)
    return sample.take(np.argpartition(distance, max_points - 1)[:max_points])


def shift_to_minimum(sample: Sample) -> Sample:
    """Coordinates from the scene's minimum; boxes move along."""
    low = sample.coord.min(axis=0)
    boxes = sample.boxes
    if boxes is not None:
        boxes = boxes.copy()
        boxes[:, :3] -= low
    return replace(sample, coord=sample.coord - low, boxes=boxes)


@dataclass(frozen=True)
class RemoveBox:
    """Cut one random upright box out of the room: MM-3DScene's pre-training, and its fine-tuning on S3DIS.

    Half-widths are L * (low + (1 - low) * u) / 2 per axis with independent u ~ U(0, 1), the center is uniform over the
    bounding rectangle, every height is removed (MingyeXu/mm-3dscene segmentation/pretrain.py).

    Attributes:
        fallback: a room left with fewer points stays uncut (1024 in pre-training; published S3DIS fine-tuning has
            none).
    """

    low: float = 1 / 3
    fallback: int = 1024

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        kept = sample.take(~_inside_random_box(sample.coord, self.low, random))
        return kept if kept.num_points >= max(1, self.fallback) else sample


@dataclass(frozen=True)
class KeepBox:
    """Keep only one random upright box, drawn as :class:`RemoveBox`: MM-3DScene's fine-tuning on ScanNet.

    Attributes:
        fallback: a room left with fewer points stays whole (512, published).
    """

    low: float = 1 / 3
    fallback: int = 512

    def __call__(self, sample: Sample, random: np.random.Generator) -> Sample:
        kept = sample.take(_inside_random_box(sample.coord, self.low, random))
        return kept if kept.num_points >= max(1, self.fallback) else sample


def _inside_random_box(coord: np.ndarray, low: float, random: np.random.Generator) -> np.ndarray:
    """(N,) mask of the points strictly inside."""
    start, end = coord[:, :2].min(axis=0), coord[:, :2].max(axis=0)
    half = (end - start) * (low + (1 - low) * random.random(2)) / 2
    center = random.uniform(start, end)
    return (np.abs(coord[:, :2] - center) < half).all(axis=1)
