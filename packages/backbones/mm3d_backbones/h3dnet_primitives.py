"""Faces and edges of boxes, and the ones that scanned points show: H3DNet's ground truth (arXiv:2006.05682).

Values and order of assignment: zaiweizhang/H3DNet, {scannet,sunrgbd}/*_detection_dataset_hd.py (MIT). The release
reads a per-point record whose generator is not published; here everything follows from points, votes and boxes.
Changed: one rule in the frame of the box serves both data sets; SUN RGB-D's check of each point's 37-class label is an
option (``segment_gate``), since prepared SUN RGB-D frames carry no such label.

    blocks of faces   +z -z +y -y +x -x
    blocks of edges   +z+x +z-x +z+y +z-y   -z+x -z-x -z+y -z-y   +x+y +x-y -x+y -x-y
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mm3d_backbones.detection_targets import BoxTargets
from mm3d_core.boxes import points_in_boxes
from mm3d_core.points import PointBatch
from pointops import constant, scatter_rows

FACES = ((0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0))
EDGES = (
    *((x, y, z) for z in (1, -1) for x, y in ((1, 0), (-1, 0), (0, 1), (0, -1))),
    *((x, y, 0) for x, y in ((1, 1), (1, -1), (-1, 1), (-1, -1))),
)
LABEL_ORDER = (
    (2, -1),
    (2, 1),
    (0, -1),
    (0, 1),
    (1, -1),
    (1, 1),
)  # lower, upper, left, right, front, back: (axis, sign)

# The labels, counted from 0 as in the list of SUN RGB-D's 37 classes, of points that show a box of each of the ten
# classes bed, table, sofa, chair, toilet, desk, dresser, night_stand, bookshelf, bathtub.
SUNRGBD_SEGMENTS = ((3,), (6, 13), (4, 5), (4, 5), (32,), (6, 13), (16,), (31,), (9,), (35,))


@dataclass(frozen=True)
class PrimitiveRule:
    """When a face or an edge of a box counts as seen.

    Attributes:
        face_band: metres beyond the point nearest to the face within which points belong to it.
        max_variance: square metres; the distances of these points to the face vary by less.
        min_face_points: a face has more points than this.
        edge_band: metres from the edge within which points belong to it.
        min_edge_points: an edge has more points than this.
        edge_at_box: the edge's center is the middle of the box's edge (SUN RGB-D), otherwise that of its points.
        edge_to_line: distances to an edge are measured to the line, otherwise along the one axis inside the face.
    """

    face_band: float = 0.2
    max_variance: float = 0.01
    min_face_points: int = 100
    edge_band: float = 0.2
    min_edge_points: int = 10
    edge_at_box: bool = False
    edge_to_line: bool = False

    @classmethod
    def sunrgbd(cls) -> PrimitiveRule:
        """The values for SUN RGB-D; the defaults are ScanNet's."""
        return cls(0.1, 0.005, 50, 0.1, 10, edge_at_box=True, edge_to_line=True)


@dataclass(frozen=True)
class PrimitiveTargets:
    """For each of N points the primitive of one kind that it lies on.

    Attributes:
        mask: (N,) bool.
        center: (N, 3) metres.
        extent: (N, d) metres: l and w of a horizontal face, the height of a vertical one, nothing for an edge.
        box_class: (N,) int64 of the object.
    """

    mask: Tensor
    center: Tensor
    extent: Tensor
    box_class: Tensor

    def rows(self, index: Tensor) -> PrimitiveTargets:
        """The given points."""
        return PrimitiveTargets(self.mask[index], self.center[index], self.extent[index], self.box_class[index])


def box_faces(boxes: Tensor) -> Tensor:
    """Face centers of (B, K, 7): (B, 6, K, 3), block by block."""
    return _from_signs(boxes, FACES)


def box_edges(boxes: Tensor) -> Tensor:
    """Edge centers of (B, K, 7): (B, 12, K, 3), block by block."""
    return _from_signs(boxes, EDGES)


def objects_of_points(
    points: PointBatch,
    labels: Mapping[str, Tensor],
    targets: BoxTargets,
    axis_aligned: bool,
    segment_gate: Sequence[Sequence[int]] | None = None,
) -> Tensor:
    """The row of ``targets`` (scene * G + box) whose object each point belongs to, (N,) int64, -1 for none.

    Axis-aligned: a voting point belongs to the box whose center is nearest to its vote. Oriented: a point belongs to
    the last box that it lies in; with ``segment_gate``, the last of those whose class may carry the point's label.

    Raises:
        ValueError: a gate, and points without any label "segment".
    """
    if segment_gate is not None and not bool((labels["segment"] >= 0).any()):
        raise ValueError(
            "segment_gate needs a label for each point, but labels['segment'] holds none; prepare the data set with "
            "point labels, or set segment_gate to None"
        )
    owner = torch.full((points.num_points,), -1, dtype=torch.int64, device=points.coord.device)
    boxes_per_scene = targets.mask.shape[1]
    numbers = torch.arange(boxes_per_scene, device=owner.device)
    for scene, rows in enumerate(points.scenes()):
        real, coord = targets.mask[scene], points.coord[rows]
        if axis_aligned:
            aim = coord + labels["votes"][rows, 0]
            away = torch.cdist(aim, targets.center[scene], compute_mode="donot_use_mm_for_euclid_dist")
            near = away.masked_fill(~real, torch.inf).argmin(1)
            found = torch.where(labels["vote_mask"][rows] & real.any(), near, -1)
        else:
            inside = points_in_boxes(coord, targets.boxes[scene]) & real[:, None]
            if segment_gate is not None:
                inside &= _fits(labels["segment"][rows], targets.box_class[scene], segment_gate)
            found = torch.where(inside, numbers[:, None], -1).amax(0)
        owner[rows] = torch.where(found >= 0, found + scene * boxes_per_scene, -1)
    return owner


def primitive_targets(
    coord: Tensor, owner: Tensor, targets: BoxTargets, rule: PrimitiveRule
) -> tuple[PrimitiveTargets, PrimitiveTargets, PrimitiveTargets]:
    """Horizontal faces, vertical faces and edges that the points of each object show.

    Args:
        coord: (N, 3).
        owner: (N,) from :func:`objects_of_points`.
        targets: the boxes.
        rule: what counts as seen.
    """
    on_object = torch.nonzero(owner >= 0)[:, 0]
    scan = _Scan(coord[on_object], owner[on_object], targets)
    horizontal, vertical, edges = _Labels(scan, 2), _Labels(scan, 1), _Labels(scan, 0)
    for axis, sign in LABEL_ORDER:
        selected, distance = scan.near_face(axis, sign, rule.face_band)
        seen = scan.count(selected) > rule.min_face_points
        seen &= scan.variance(distance, selected) < rule.max_variance
        center = scan.face_center(axis, sign, selected)
        if axis == 2:
            horizontal.assign(selected & seen[scan.owner], center, scan.size[:, :2])
        else:
            vertical.assign(selected & seen[scan.owner], center, scan.size[:, 2:])
        for other, other_sign in _edges_of(axis):
            belongs = selected & (scan.edge_distance((axis, sign), (other, other_sign), rule) < rule.edge_band)
            seen_edge = scan.count(belongs) > rule.min_edge_points
            middle = scan.edge_center((axis, sign), (other, other_sign), belongs, rule.edge_at_box)
            edges.assign(belongs & seen_edge[scan.owner], middle, scan.size[:, :0])
    count = coord.shape[0]
    return horizontal.spread(on_object, count), vertical.spread(on_object, count), edges.spread(on_object, count)


def _fits(segment: Tensor, box_class: Tensor, gate: Sequence[Sequence[int]]) -> Tensor:
    """(M, N) whether a box of each class (M,) may hold points with each label (N,)."""
    top = max(number for numbers in gate for number in numbers) + 1  # a column for labels that fit nowhere
    table = tuple(tuple(column in numbers for column in range(top + 1)) for numbers in gate)
    column = torch.where((segment >= 0) & (segment < top), segment, top)
    return constant(table, torch.bool, segment.device)[:, column][box_class]


def _from_signs(boxes: Tensor, signs: tuple[tuple[int, int, int], ...]) -> Tensor:
    """Points at ``signs`` times the half size of each box: (B, K, 7) -> (B, len(signs), K, 3)."""
    local = constant(signs, boxes.dtype, boxes.device)[:, None] * (boxes[:, None, :, 3:6] / 2)
    return boxes[:, None, :, :3] + _to_world(local, boxes[:, None, :, 6])


def _to_world(local: Tensor, heading: Tensor) -> Tensor:
    """Vectors along l, w, h to x, y, z."""
    cosine, sine = heading.cos(), heading.sin()
    x = cosine * local[..., 0] + sine * local[..., 1]
    y = -sine * local[..., 0] + cosine * local[..., 1]
    return torch.stack([x, y, local[..., 2]], -1)


def _edges_of(axis: int) -> tuple[tuple[int, int], ...]:
    """The edges that a face labels, as (axis, sign): four for lower and upper, two for left and right, else none."""
    if axis == 2:
        return ((0, -1), (0, 1), (1, -1), (1, 1))
    return ((1, -1), (1, 1)) if axis == 0 else ()


class _Scan:
    """The P points of objects in the frames of their boxes, with sums over each object."""

    def __init__(self, coord: Tensor, owner: Tensor, targets: BoxTargets) -> None:
        self.owner = owner
        boxes = targets.boxes.flatten(0, 1)
        self.box_class = targets.box_class.flatten()
        self.center, self.size, self.heading = boxes[:, :3], boxes[:, 3:6], boxes[:, 6]
        self.local = _to_world(coord - self.center[owner], -self.heading[owner])

    def near_face(self, axis: int, sign: int, band: float) -> tuple[Tensor, Tensor]:
        """Which points lie within ``band`` of the object's point nearest to the face, and all distances to it."""
        distance = (self.local[:, axis] - sign * self.size[self.owner, axis] / 2).abs()
        nearest = torch.full_like(self.heading, torch.inf).scatter_reduce(0, self.owner, distance, "amin")
        return distance < nearest[self.owner] + band, distance

    def count(self, selected: Tensor) -> Tensor:
        """(objects,) selected points."""
        return scatter_rows(selected.to(self.heading.dtype).unsqueeze(1), self.owner, len(self.heading)).flatten()

    def mean(self, value: Tensor, selected: Tensor) -> Tensor:
        """(objects, ...) mean of the selected points' values; 0 where there are none."""
        columns = value.unsqueeze(1) if value.ndim == 1 else value.flatten(1)
        weighted = columns * selected.to(value.dtype).unsqueeze(1)
        total = scatter_rows(weighted, self.owner, len(self.heading))
        return total.view(-1, *value.shape[1:]) / self.count(selected).clamp(min=1).view(-1, *[1] * (value.ndim - 1))

    def variance(self, value: Tensor, selected: Tensor) -> Tensor:
        """(objects,) mean squared deviation of the selected points' values."""
        return self.mean((value - self.mean(value, selected)[self.owner]).square(), selected)

    def face_center(self, axis: int, sign: int, selected: Tensor) -> Tensor:
        """(objects, 3): a horizontal face has the height of its points, a vertical one their place at middle height."""
        mean = self.mean(self.local, selected)
        zero = torch.zeros_like(self.heading)
        parts = [zero, zero, mean[:, 2]] if axis == 2 else [mean[:, 0], mean[:, 1], zero]
        return self.center + _to_world(torch.stack(parts, 1), self.heading)

    def edge_distance(self, face: tuple[int, int], side: tuple[int, int], rule: PrimitiveRule) -> Tensor:
        """Distance of each point to the edge between two faces."""
        gaps = [(self.local[:, axis] - sign * self.size[self.owner, axis] / 2).abs() for axis, sign in (face, side)]
        return torch.hypot(*gaps) if rule.edge_to_line else gaps[1]

    def edge_center(self, face: tuple[int, int], side: tuple[int, int], selected: Tensor, at_box: bool) -> Tensor:
        """(objects, 3): the middle of the box along the edge, at the place of its points or of the box's edge."""
        mean = self.mean(self.local, selected)
        parts = [torch.zeros_like(self.heading)] * 3
        for axis, sign in (face, side):
            parts[axis] = sign * self.size[:, axis] / 2 if at_box else mean[:, axis]
        return self.center + _to_world(torch.stack(parts, 1), self.heading)


class _Labels:
    """The labels of one kind of primitive under construction; later assignments overwrite earlier ones."""

    def __init__(self, scan: _Scan, extents: int) -> None:
        self._scan = scan
        self._mask = torch.zeros_like(scan.owner, dtype=torch.bool)
        self._center = torch.zeros_like(scan.local)
        self._extent = scan.local.new_zeros(len(scan.owner), extents)

    def assign(self, selected: Tensor, center: Tensor, extent: Tensor) -> None:
        """Give the selected points the primitive of their object; center (objects, 3), extent (objects, d)."""
        owner = self._scan.owner
        self._mask |= selected
        self._center = torch.where(selected[:, None], center[owner], self._center)
        self._extent = torch.where(selected[:, None], extent[owner], self._extent)

    def spread(self, rows: Tensor, count: int) -> PrimitiveTargets:
        """The labels of all ``count`` points; ``rows`` are those of objects."""
        mask = torch.zeros(count, dtype=torch.bool, device=rows.device)
        center = self._center.new_zeros(count, 3)
        extent = self._extent.new_zeros(count, self._extent.shape[1])
        box_class = torch.zeros(count, dtype=torch.int64, device=rows.device)
        mask[rows], center[rows], extent[rows] = self._mask, self._center, self._extent
        box_class[rows] = self._scan.box_class[self._scan.owner]
        return PrimitiveTargets(mask, center, extent, box_class)
