"""Detectors on scans of any size: tiles of a room's size, a random sample of each, seeds and boxes put together again.

A detector reads a fixed number of random points of a scene and has a fixed number of seeds, whatever the scene's size.
So a scan that is larger than the rooms it was trained on is cut into overlapping tiles; each point and each box belongs
to the tile whose middle is nearest. A scan of one tile is sampled as an evaluation samples it (``detection_pass.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.detection_metric import DetectionMetric
from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_benchmarks.evaluation.planned import planned_for
from mm3d_benchmarks.evaluation.segmentation_metric import DIVERGED
from mm3d_benchmarks.loading.loading import Sampling as Loading
from mm3d_benchmarks.pretrained.dense import scratch
from mm3d_benchmarks.pretrained.description import Sampling
from mm3d_benchmarks.pretrained.inputs import Inputs
from mm3d_core.boxes import non_maximum_suppression
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch
from mm3d_core.seeding import numpy_generator

TILE = 8.0  # metres, side of a tile; half of ScanNet's scans are shorter than this
NEAREST = 3  # seeds that a point is interpolated from, as in the networks themselves
EPSILON = 1e-8  # metres, added to distances; as in pointops.interpolation
PIECE = 2**18  # points interpolated at a time
NMS = 0.25  # overlap above which the weaker box is dropped; conf/evaluation/detection.yaml
MIN_POINTS = 5  # of the network's input in a box; likewise


@dataclass(frozen=True)
class Boxes:
    """Objects found in a scan, best first.

    Attributes:
        centers: (K, 3) float64 metres, in the frame of the scan (turned and scaled as ``up=`` and ``scale=`` say).
        sizes: (K, 3) float32 full sizes in metres.
        headings: (K,) float32 radians, from +x towards -y, the first size along it.
        scores: (K,) float32 in [0, 1], that there is an object.
        classes: (K,) int64, numbers of ``names``.
        names: of all classes that the model tells apart.
    """

    centers: np.ndarray
    sizes: np.ndarray
    headings: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def to_json(self) -> list[dict[str, Any]]:
        """One object for each box: ``class``, ``score``, ``center``, ``size``, ``heading``."""
        return [
            {
                "class": self.names[int(self.classes[k])],
                "score": round(float(self.scores[k]), 4),
                "center": [round(float(v), 4) for v in self.centers[k]],
                "size": [round(float(v), 4) for v in self.sizes[k]],
                "heading": round(float(self.headings[k]), 4),
            }
            for k in range(len(self))
        ]


@dataclass(frozen=True)
class Tile:
    """A part of a scan.

    Attributes:
        scene: its points.
        own: (n,) rows of the scan that no other tile has.
        low, high: (2,) the rectangle in x and y in which points and boxes are its own.
    """

    scene: Scene
    own: np.ndarray
    low: np.ndarray
    high: np.ndarray


def tiles(scene: Scene, side: float = TILE) -> Iterator[Tile]:
    """Squares of ``side`` metres in x and y that overlap by half or more; one tile for a scan that is no larger."""
    low, high = scene.coord[:, :2].min(axis=0), scene.coord[:, :2].max(axis=0)
    everywhere = np.full(2, np.inf)
    if float((high - low).max()) <= side:
        yield Tile(scene, np.arange(scene.num_points), -everywhere, everywhere)
        return
    starts = [_starts(float(low[axis]), float(high[axis]), side) for axis in (0, 1)]
    cuts = [np.concatenate([[-np.inf], (s[1:] + s[:-1] + side) / 2, [np.inf]]) for s in starts]
    owner = [np.searchsorted(cuts[axis][1:-1], scene.coord[:, axis], side="right") for axis in (0, 1)]
    for i, x in enumerate(starts[0]):
        column = np.flatnonzero((scene.coord[:, 0] >= x) & (scene.coord[:, 0] <= x + side))
        for j, y in enumerate(starts[1]):
            rows = column[(scene.coord[column, 1] >= y) & (scene.coord[column, 1] <= y + side)]
            own = rows[(owner[0][rows] == i) & (owner[1][rows] == j)]
            if len(own):
                coord, color, normal = (
                    None if v is None else v[rows] for v in (scene.coord, scene.color, scene.normal)
                )
                assert coord is not None
                corners = [np.array([cuts[0][i + n], cuts[1][j + n]]) for n in (0, 1)]
                yield Tile(Scene(scene.name, coord, color, normal), own, corners[0], corners[1])


def _starts(low: float, high: float, side: float) -> np.ndarray:
    """Where tiles begin along one axis: evenly, by half a side at most."""
    count = 1 + int(np.ceil(max(0.0, high - low - side) / (side / 2) - 1e-9))
    return np.linspace(low, max(low, high - side), count)


def sampled(scene: Scene, inputs: Inputs, sampling: Sampling, seed: int) -> PointBatch:
    """The random points of a scene that a detector reads, those that an evaluation draws for a scene of this name."""
    draw = Loading(inputs=inputs.names, num_points=sampling.num_points, voxel=sampling.voxel, shift=sampling.shift)
    return inputs.points(draw(scene, numpy_generator(seed, DetectionPass.name, scene.name)))


@torch.no_grad()
def seed_features(
    encoder: Encoder,
    levels: Sequence[int],
    scene: Scene,
    inputs: Inputs,
    sampling: Sampling,
    device: torch.device,
    seed: int = 0,
    tile: float = TILE,
    progress: bool | None = None,
) -> np.ndarray:
    """(K, C) float32 features of every point, from the nearest seeds of its tile; levels side by side.

    Raises:
        UserError: features that are not finite.
    """
    holder: Any = SimpleNamespace(encoder=encoder)
    out: np.ndarray | None = None
    bar = tqdm(
        total=scene.num_points, unit="point", unit_scale=True, disable=None if progress is None else not progress
    )
    with bar:
        for part in tiles(scene, tile):
            found = _asked(encoder, planned_for(holder, sampled(part.scene, inputs, sampling, seed), device))
            feat = torch.cat([found[level].feat.float() for level in levels], dim=1).cpu().numpy()
            if not np.isfinite(feat).all():
                raise UserError(f"the network's output is not finite: {DIVERGED}")
            out = scratch(scene.num_points, feat.shape[1]) if out is None else out
            from scipy.spatial import KDTree  # half a second to import, and seldom needed

            tree = KDTree(found[levels[0]].coord.cpu().numpy())
            for start in range(0, len(part.own), PIECE):
                rows = part.own[start : start + PIECE]
                out[rows] = _interpolated(tree, feat, scene.coord[rows])
            bar.update(len(part.own))
    assert out is not None
    return out


def _asked(network: Callable[[PointBatch], Any], points: PointBatch) -> Any:
    """What the network says of some points; what it cannot compute with is one error."""
    try:
        return network(points)
    except ValueError as error:
        raise UserError(f"{points.num_points} points of the scan do not suit the network: {error}") from error


def _interpolated(tree: Any, feat: np.ndarray, coord: np.ndarray) -> np.ndarray:
    """Means of the nearest seeds, weighted by 1 / distance."""
    near = min(NEAREST, len(feat))
    away, index = tree.query(coord, k=[n + 1 for n in range(near)])
    weight = 1 / (away + EPSILON)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.einsum("nk,nkc->nc", weight.astype(np.float32), feat[index], dtype=np.float32)


@torch.no_grad()
def boxes_of(
    model: Any,
    scene: Scene,
    inputs: Inputs,
    sampling: Sampling,
    names: tuple[str, ...],
    device: torch.device,
    min_score: float,
    seed: int = 0,
    tile: float = TILE,
    progress: bool | None = None,
) -> Boxes:
    """Boxes of all tiles, each of the tile that its center belongs to, then suppressed together."""
    keep = DetectionMetric(names, min_objectness=min_score, per_class_proposals=False, min_points=MIN_POINTS)
    rows: list[Tensor] = []
    parts = list(tiles(scene, tile))
    for part in tqdm(parts, unit="tile", disable=None if progress is None else not progress):
        shown = planned_for(model, sampled(part.scene, inputs, sampling, seed), device)
        prediction = _asked(model.predict, shown)
        found = keep.detections({name: value[0].cpu() for name, value in prediction.items()}, NMS)
        one = torch.cat(
            [found.boxes.double(), torch.from_numpy(np.stack([found.score, found.box_class], axis=1)).double()], dim=1
        )
        middle = one[:, :2].numpy()
        rows.append(one[torch.from_numpy(((middle >= part.low) & (middle < part.high)).all(axis=1))])
    table = torch.cat(rows)
    if len(parts) > 1:
        table = table[non_maximum_suppression(table[:, :7], table[:, 7], NMS, table[:, 8].long())]
    values = table.numpy()
    return Boxes(
        centers=values[:, :3] + np.array(scene.offset),
        sizes=values[:, 3:6].astype(np.float32),
        headings=values[:, 6].astype(np.float32),
        scores=values[:, 7].astype(np.float32),
        classes=values[:, 8].astype(np.int64),
        names=names,
    )


def placed(boxes: Boxes, offset: Sequence[float]) -> Boxes:
    """The same boxes with their centers less an offset: where a scene of that offset has them."""
    return replace(boxes, centers=boxes.centers - np.array(offset))
