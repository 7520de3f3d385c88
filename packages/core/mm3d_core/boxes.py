"""3D boxes: corners, rigid motions, points inside, intersection over union, non-maximum suppression.

A box is a row ``cx cy cz l w h heading``: center and FULL size in metres, heading in radians, z up. At heading 0, l
lies along x, w along y and h along z; a positive heading turns +x towards -y (clockwise from above), so the long edge
points along (cos heading, -sin heading). This is the convention of VoteNet (arXiv:1904.09664) and of SUN RGB-D:

        y                        heading 0: l along x
        |   ______               heading +90 degrees: l along -y
        |  |__l___| w
        |________________ x

Changed against facebookresearch/votenet (utils/box_util.py): everything is vectorized; intersections come from one
float64 routine that is also right for identical and nearly identical boxes, where the release is often wrong.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOUCH = 1e-9  # metres: how far outside of a footprint a corner may lie and still count as lying on its border
LOCAL_SIGNS = ((1, 1), (1, -1), (-1, -1), (-1, 1))  # (l, w) signs of the four corners of a face, VoteNet's order


def box_corners(boxes: Tensor) -> Tensor:
    """The corners of each box.

    Args:
        boxes: (..., 7).

    Returns:
        (..., 8, 3): rows 0-3 are the lower face, rows 4-7 the upper; within a face the (l, w) signs are
        (+,+), (+,-), (-,-), (-,+).
    """
    _check_boxes(boxes, "boxes")
    footprint = _footprint_corners(boxes)
    half = boxes[..., None, 5] / 2
    z = torch.cat(
        [
            (boxes[..., None, 2] - half).expand(*half.shape[:-1], 4),
            (boxes[..., None, 2] + half).expand(*half.shape[:-1], 4),
        ],
        -1,
    )
    return torch.cat([torch.cat([footprint, footprint], -2), z[..., None]], -1)


def axis_aligned_hull(boxes: Tensor) -> Tensor:
    """The smallest axis-aligned box around each box: (..., 7) -> (..., 6) as min x y z, max x y z."""
    corners = box_corners(boxes)
    return torch.cat([corners.amin(-2), corners.amax(-2)], -1)


def wrap_heading(heading: Tensor) -> Tensor:
    """The same directions in (-pi, pi]."""
    wrapped = torch.remainder(heading, 2 * math.pi)
    return torch.where(wrapped > math.pi, wrapped - 2 * math.pi, wrapped)


def points_in_boxes(coord: Tensor, boxes: Tensor) -> Tensor:
    """Which points lie in which box, borders included.

    Args:
        coord: (N, 3).
        boxes: (M, 7); a negative size is the mirrored box: it holds what the hull of its corners holds.

    Returns:
        (M, N) bool.
    """
    _check_boxes(boxes, "boxes")
    relative = coord[None] - boxes[:, None, :3]
    cosine, sine = boxes[:, 6:].cos(), boxes[:, 6:].sin()
    along = cosine * relative[..., 0] - sine * relative[..., 1]
    across = sine * relative[..., 0] + cosine * relative[..., 1]
    half = boxes[:, 3:6].abs() / 2
    inside = (along.abs() <= half[:, :1]) & (across.abs() <= half[:, 1:2])
    return inside & (relative[..., 2].abs() <= half[:, 2:])


def count_points_in_boxes(coord: Tensor, boxes: Tensor, chunk: int = 32) -> Tensor:
    """How many points each box holds, (M,) int64: the sums of :func:`points_in_boxes`.

    On the CPU each box meets only the points in its range of x; elsewhere ``chunk`` boxes at a time meet all points.
    """
    if boxes.shape[0] == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    if coord.device.type != "cpu":
        return torch.cat([points_in_boxes(coord, part).sum(1) for part in boxes.split(chunk)])
    coord = coord[coord[:, 0].argsort()]
    hulls = axis_aligned_hull(boxes)[:, [0, 3]]
    low, high = hulls.amin(1), hulls.amax(1)
    margin = 1e-4 + 1e-5 * torch.maximum(low.abs(), high.abs())  # rounding of the hull, generously
    low, high = (low - margin).nan_to_num(-torch.inf), (high + margin).nan_to_num(torch.inf)
    first = torch.searchsorted(coord[:, 0].contiguous(), low).tolist()
    last = torch.searchsorted(coord[:, 0].contiguous(), high, right=True).tolist()
    return torch.stack(
        [points_in_boxes(coord[a:b], box[None]).sum() for a, b, box in zip(first, last, boxes, strict=True)]
    )


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of every pair of oriented boxes.

    Args:
        first: (M, 7).
        second: (G, 7).

    Returns:
        (M, G) float64 in [0, 1]. A negative length or width is the mirrored box and counts as its absolute value, a
        height that is not positive gives 0, both as in the release. With all headings 0 this is the axis-aligned IoU.
    """
    _check_boxes(first, "first")
    _check_boxes(second, "second")
    first, second = _unmirrored(first.double()), _unmirrored(second.double())
    hulls = axis_aligned_hull(first)[:, None], axis_aligned_hull(second)[None]
    spans = _spans(*hulls)
    proper = (first[:, None, 3:6] > 0).all(-1) & (second[None, :, 3:6] > 0).all(-1)
    height = spans[..., 2]
    if not (first[:, 6].any() or second[:, 6].any()):
        area = spans[..., 0] * spans[..., 1]
    else:
        area = torch.zeros_like(height)
        rows, columns = torch.nonzero((spans > 0).all(-1) & proper, as_tuple=True)
        area[rows, columns] = _footprint_overlap(first[rows], second[columns])
    shared = torch.where(proper, area * height, 0.0)
    volume = first[:, 3:6].prod(-1)[:, None] + second[:, 3:6].prod(-1)[None]
    return torch.where(shared > 0, shared / (volume - shared).clamp(min=1e-300), 0.0).clamp(0.0, 1.0)


def hull_overlap(hulls: Tensor, measure: str = "volume", over: str = "union") -> Tensor:
    """Overlap of every pair of axis-aligned boxes, as non-maximum suppression compares them.

    Args:
        hulls: (M, 6) min x y z, max x y z.
        measure: ``volume``, or ``footprint`` to ignore z.
        over: ``union``, or ``second``: the share of the second box (column) that the first (row) covers.

    Returns:
        (M, M) in [0, 1], 0 where nothing is shared.

    Raises:
        ValueError: an unknown ``measure`` or ``over``.
    """
    if measure not in ("volume", "footprint"):
        raise ValueError(f"measure={measure!r}, but it is 'volume' or 'footprint'")
    if over not in ("union", "second"):
        raise ValueError(f"over={over!r}, but it is 'union' or 'second'")
    axes = 3 if measure == "volume" else 2
    shared = _spans(hulls[:, None], hulls[None])[..., :axes].prod(-1)
    size = (hulls[:, 3:] - hulls[:, :3])[:, :axes].prod(-1)
    whole = size[:, None] + size[None] - shared if over == "union" else size[None].expand_as(shared)
    return torch.where(shared > 0, shared / whole.clamp(min=1e-300 if hulls.dtype == torch.float64 else 1e-30), 0.0)


def non_maximum_suppression(
    boxes: Tensor,
    scores: Tensor,
    threshold: float,
    classes: Tensor | None = None,
    measure: str = "volume",
    over: str = "union",
) -> Tensor:
    """Greedy suppression on the axis-aligned hulls of the boxes, as VoteNet's release does it (utils/nms.py).

    The best remaining box is kept and every other one that overlaps it by MORE than ``threshold`` is dropped.

    Args:
        boxes: (M, 7).
        scores: (M,); among equal scores the earlier row comes first.
        threshold: in [0, 1].
        classes: (M,) int64; then only boxes of the same class suppress each other.
        measure: see :func:`hull_overlap`; ``footprint`` is the release's 2D suppression.
        over: see :func:`hull_overlap`; ``second`` is the release's "old type", the share of the lower-scored box.

    Returns:
        The kept rows, (K,) int64, best first.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold={threshold}, but an overlap lies in [0, 1]")
    if scores.shape != boxes.shape[:1]:
        raise ValueError(f"scores has shape {tuple(scores.shape)}, but there are {boxes.shape[0]} boxes")
    order = torch.argsort(scores, descending=True, stable=True)
    rivals = hull_overlap(axis_aligned_hull(boxes[order].double()), measure, over) > threshold
    if classes is not None:
        rivals &= classes[order][:, None] == classes[order][None]
    drops = rivals.cpu().numpy()
    alive = torch.ones(len(order), dtype=torch.bool).numpy()
    for row in range(len(order)):
        if alive[row]:
            alive[row + 1 :] &= ~drops[row, row + 1 :]
    return order[torch.from_numpy(alive).to(order.device)]


def _check_boxes(boxes: Tensor, name: str) -> None:
    if boxes.ndim < 1 or boxes.shape[-1] != 7:
        raise ValueError(f"{name} must be (..., 7) as cx cy cz l w h heading, not {tuple(boxes.shape)}")


def _unmirrored(boxes: Tensor) -> Tensor:
    """The boxes with lengths and widths that are not negative: the same footprints."""
    return torch.cat([boxes[..., :3], boxes[..., 3:5].abs(), boxes[..., 5:]], -1)


def _footprint_corners(boxes: Tensor) -> Tensor:
    """(..., 7) -> (..., 4, 2), clockwise from above, in the order of LOCAL_SIGNS."""
    signs = boxes.new_tensor(LOCAL_SIGNS) / 2
    along = boxes[..., None, 3] * signs[:, 0]
    across = boxes[..., None, 4] * signs[:, 1]
    cosine, sine = boxes[..., None, 6].cos(), boxes[..., None, 6].sin()
    x = boxes[..., None, 0] + cosine * along + sine * across
    y = boxes[..., None, 1] - sine * along + cosine * across
    return torch.stack([x, y], -1)


def _spans(first: Tensor, second: Tensor) -> Tensor:
    """Shared length along x, y, z of axis-aligned boxes (..., 6); 0 where they are apart."""
    shared = torch.minimum(first[..., 3:], second[..., 3:]) - torch.maximum(first[..., :3], second[..., :3])
    return shared.clamp(min=0)


def _footprint_overlap(first: Tensor, second: Tensor) -> Tensor:
    """Area shared by the footprints of P pairs of boxes with positive sizes, (P, 7) twice -> (P,).

    The shared polygon's corners are the corners of one footprint inside the other and the crossings of their edges. All
    candidates lie within TOUCH of the polygon, so duplicates among them cost nothing but a sliver of that width.
    """
    origin = first[:, :2]
    first = torch.cat([first[:, :2] - origin, first[:, 2:]], -1)
    second = torch.cat([second[:, :2] - origin, second[:, 2:]], -1)
    corners = _footprint_corners(first), _footprint_corners(second)
    crossings, crosses = _edge_crossings(*corners)
    points = torch.cat([*corners, crossings], 1)
    valid = torch.cat([_inside_footprint(corners[0], second), _inside_footprint(corners[1], first), crosses], 1)
    middle = (points * valid[..., None]).sum(1, keepdim=True) / valid.sum(1).clamp(min=1)[:, None, None]
    points = points - middle
    angle = torch.where(valid, torch.atan2(points[..., 1], points[..., 0]), math.inf)
    order = angle.argsort(1)
    points = points.gather(1, order[..., None].expand_as(points))
    points = torch.where(valid.gather(1, order)[..., None], points, points[:, :1])
    following = points.roll(-1, 1)
    area = (points[..., 0] * following[..., 1] - points[..., 1] * following[..., 0]).sum(1).abs() / 2
    return torch.where(valid.any(1), area, 0.0)


def _inside_footprint(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether (P, K, 2) points lie in the footprints of (P, 7) boxes, up to TOUCH."""
    relative = points - boxes[:, None, :2]
    cosine, sine = boxes[:, 6:].cos(), boxes[:, 6:].sin()
    along = (cosine * relative[..., 0] - sine * relative[..., 1]).abs()
    across = (sine * relative[..., 0] + cosine * relative[..., 1]).abs()
    return (along <= boxes[:, 3:4] / 2 + TOUCH) & (across <= boxes[:, 4:5] / 2 + TOUCH)


def _edge_crossings(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Crossings of the edges of quadrilaterals (P, 4, 2): points (P, 16, 2) and whether they exist (P, 16).

    Parallel edges have none: where they lie on each other, corners mark the ends of what they share.
    """
    start, other = first[:, :, None], second[:, None]
    step, other_step = first.roll(-1, 1)[:, :, None] - start, second.roll(-1, 1)[:, None] - other
    turn = step[..., 0] * other_step[..., 1] - step[..., 1] * other_step[..., 0]
    lengths = step.norm(dim=-1) * other_step.norm(dim=-1)
    crossing = turn.abs() > TOUCH * lengths
    turn = torch.where(crossing, turn, 1.0)
    gap = other - start
    share = (gap[..., 0] * other_step[..., 1] - gap[..., 1] * other_step[..., 0]) / turn
    other_share = (gap[..., 0] * step[..., 1] - gap[..., 1] * step[..., 0]) / turn
    crossing = crossing & (share >= 0) & (share <= 1) & (other_share >= 0) & (other_share <= 1)
    points = start + share[..., None] * step
    return points.flatten(1, 2), crossing.flatten(1, 2)
