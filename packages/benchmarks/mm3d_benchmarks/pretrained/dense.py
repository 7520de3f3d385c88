"""Values at every point from a network that gives one for each of its input points (the segmentation networks).

    scan -> voxels, a point of each -> overlapping crops -> network -> mean over the crops -> all points of each voxel

Crops, features and plans are made by the code that evaluates (``evaluation/voting.py``), in its order: what a network
sees here is what it sees there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.covers import voxel_passes
from mm3d_benchmarks.evaluation.planned import planned_for
from mm3d_benchmarks.evaluation.segmentation_metric import DIVERGED
from mm3d_benchmarks.evaluation.voting import Voting
from mm3d_benchmarks.loading.crops import shift_to_minimum, voxel_groups
from mm3d_benchmarks.loading.sample import Sample, sample_of
from mm3d_benchmarks.pretrained.crops import crops
from mm3d_benchmarks.pretrained.description import Sampling
from mm3d_benchmarks.pretrained.inputs import Inputs
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch
from mm3d_core.seeding import numpy_generator

SEED = 123  # of the crops' start values, as in evaluation/voting.py
PACKED = 20_000  # points that one forward pass reads at least, where crops are small
IN_MEMORY = 2**30  # bytes of sums that are held in memory; more go to a temporary file

Read = Callable[[PointBatch], Tensor]


@dataclass(frozen=True)
class Cells:
    """Where votes are added up: a cell for each voxel, or for each point.

    Attributes:
        of_point: (K,) the cell of each point.
        passes: rows to show the network, a pass at a time; every cell occurs.
        of_row: (K,) the cell of a row that is shown (of voxels as of points: ``of_point``).
    """

    count: int
    of_point: np.ndarray
    passes: Iterator[np.ndarray]
    shown: int


def cells_of(coord: np.ndarray, voxel: float | None, every_point: bool) -> Cells:
    """The cells of a scan.

    Args:
        voxel: metres; None: every point is shown, without a grid.
        every_point: the published voting: as many passes as the fullest voxel has points, each point its own cell.
    """
    points = np.arange(len(coord))
    if voxel is None:
        return Cells(len(coord), points, iter([points]), len(coord))
    order, starts, counts = voxel_groups(coord, voxel)
    if every_point:
        return Cells(len(coord), points, voxel_passes(coord, voxel), len(counts) * int(counts.max()))
    of_point = np.empty(len(coord), np.int64)
    of_point[order] = np.repeat(np.arange(len(counts)), counts)
    return Cells(len(counts), of_point, iter([order[starts]]), len(counts))


@torch.no_grad()
def dense(
    encoder: Encoder,
    read: Read,
    scene: Scene,
    inputs: Inputs,
    sampling: Sampling,
    device: torch.device,
    every_point: bool = False,
    progress: bool | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Means over crops of what ``read`` says of each point.

    Args:
        encoder: whose geometry plan is made beforehand.
        read: (points on the device) -> (n, C) values of these points.
        progress: whether to show a bar; None: on a terminal.

    Returns:
        values: (cells, C) float32, and of_point: (K,) the cell of each point; ``values[of_point]`` are those of points.

    Raises:
        UserError: values that are not finite, or crops that do not suit the network.
    """
    sample = sample_of(scene)
    cells = cells_of(sample.coord, sampling.voxel, every_point)
    holder = SimpleNamespace(encoder=encoder)
    sums: np.ndarray | None = None
    seen = np.zeros(cells.count, np.int32)
    bar = tqdm(total=cells.shown, unit="point", unit_scale=True, disable=None if progress is None else not progress)
    with bar:
        for group, new in _groups(sample, cells, sampling.max_points):
            points = PointBatch.join([_shown(sample.take(rows), inputs, sampling.shift) for rows in group])
            try:
                found = read(planned_for(holder, points, device)).float().cpu()
            except ValueError as error:
                raise UserError(f"{points.num_points} points of the scan do not suit the network: {error}") from error
            if not bool(torch.isfinite(found).all()):
                raise UserError(f"the network's output is not finite: {DIVERGED}")
            rows = cells.of_point[np.concatenate(group)]
            sums = scratch(cells.count, found.shape[1]) if sums is None else sums
            _add(sums, seen, rows, found.numpy())
            bar.update(new)
    assert sums is not None
    for start in range(0, len(sums), 2**16):
        sums[start : start + 2**16] /= seen[start : start + 2**16, None]
    return sums, cells.of_point


def _groups(sample: Sample, cells: Cells, max_points: int | None) -> Iterator[tuple[list[np.ndarray], int]]:
    """The inputs of each forward pass, as rows of the scan, and how many rows of the passes are shown first in it."""
    limit = max(max_points or 0, PACKED)
    group: list[np.ndarray] = []
    new = 0
    for turn, shown in enumerate(cells.passes):
        missing = np.ones(len(shown), dtype=bool)
        random = numpy_generator(SEED, Voting.name, sample.name, 0, turn)
        for crop in crops(sample.coord[shown], max_points, random):
            if group and sum(map(len, group)) + len(crop) > limit:
                yield group, new
                group, new = [], 0
            group.append(shown[crop])
            new += int(missing[crop].sum())
            missing[crop] = False
    if group:
        yield group, new


def _shown(sample: Sample, inputs: Inputs, shift: bool) -> PointBatch:
    return inputs.points(shift_to_minimum(sample) if shift else sample)


def _add(sums: np.ndarray, seen: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
    """Add values to cells; a cell may occur several times."""
    np.add.at(seen, rows, 1)
    if len(np.unique(rows)) == len(rows):
        sums[rows] += values
    else:
        np.add.at(sums, rows, values)


def scratch(rows: int, width: int) -> np.ndarray:
    """(rows, width) float32 zeros, in memory or, where they are many, in a temporary file that ends with the array."""
    if rows * width * 4 <= IN_MEMORY:
        return np.zeros((rows, width), np.float32)
    with tempfile.TemporaryFile(prefix="mm3d-") as file:
        file.truncate(rows * width * 4)
        return np.memmap(file, np.float32, "r+", shape=(rows, width))


def level_features(encoder: Encoder, points: PointBatch, level: int) -> Tensor:
    """(N, C) features of one level of the encoder, interpolated at the points where the level is a coarser one."""
    from pointops import interpolation

    found = encoder(points)[level]
    if found.num_points == points.num_points:
        return found.feat
    return interpolation(found.coord, points.coord, found.feat.float(), found.offset, points.offset)
