"""Two overlapping views of one scan with exact matches: the ground of every contrastive rival.

Scan-only adaptation: the originals of PointContrast and Contrastive Scene Contexts take pairs of depth frames; here
both views are parts of one reconstructed scan, so a match is the very same point, and nothing is generated beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from mm3d_core.features import FeatureLayout
from mm3d_core.methods.crops import box_crop, camera_crop, sphere_crop
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.points import PointBatch
from pointops import knn_query, make_offset


@dataclass(frozen=True)
class PairViews:
    """Makes the views ``first`` and ``second`` of a scan; runs in loader workers, one scene at a time.

    Both carry the attributes ``origin`` (N, 3), coordinates before any motion; ``match`` (N,) int64, the row of the
    same point within the other view's scene, or -1; ``tries`` (N,) float32, the pairs of crops drawn, 0 where none
    sufficed and the views are balls around one point.

    Args:
        inputs: names of the columns of ``feat`` (the backbone's ``input``).
        crop: ``sphere``, ``box`` or ``camera``, see :mod:`mm3d_core.methods.crops`.
        share: of the points in a ball.
        sides: smallest and largest share of the scan's floor sides in a box.
        overlap: a pair is kept if the shared points are this share of the smaller view.
        min_share: and if both views show this share of the scan's points at least.
        attempts: pairs drawn before balls around a common point are taken.
        budget: ``points`` thins each view so that both together hold no more points than the scan, for equal cost with
            methods of one view; the same points stay in both. ``steps`` leaves the views as they are.
        match_radius: None matches the same point; metres match the nearest point in ``origin`` within them.
        shuffled: a control: the matched points are matched with one another at random, so that nothing true can be
            learned from them.
        motion, color_change: of each view on its own; without ``color_change`` they keep the scan's colors.

    Raises:
        ValueError: an unknown choice, or a share outside (0, 1].
    """

    inputs: Sequence[str] = ("coord", "color")
    crop: Literal["sphere", "box", "camera"] = "sphere"
    share: float = 0.6
    sides: tuple[float, float] = (0.5, 1.0)
    overlap: float = 0.3
    min_share: float = 0.02
    attempts: int = 20
    budget: Literal["points", "steps"] = "points"
    match_radius: float | None = None
    shuffled: bool = False
    motion: Motion = field(default_factory=Motion)
    color_change: ColorChange | None = field(default_factory=ColorChange)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", FeatureLayout(self.inputs).inputs)
        object.__setattr__(self, "sides", tuple(self.sides))
        if self.crop not in ("sphere", "box", "camera"):
            raise ValueError(f"crop must be 'sphere', 'box' or 'camera', not {self.crop!r}")
        if self.budget not in ("points", "steps"):
            raise ValueError(f"budget must be 'points' or 'steps', not {self.budget!r}")
        for name, value in (
            ("share", self.share),
            ("overlap", self.overlap),
            ("sides", self.sides[0]),
            ("min_share", self.min_share),
        ):
            if not 0 < value <= 1:
                raise ValueError(f"{name} must be in (0, 1], not {value}")

    @property
    def layout(self) -> FeatureLayout:
        """What stands in which column of ``feat``."""
        return FeatureLayout(self.inputs)

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The two views of one scene.

        Raises:
            ValueError: the scene is empty, or its features are not what ``inputs`` says.
        """
        if points.num_points == 0:
            raise ValueError("points has no points: there is nothing to view")
        self.layout.check(points)
        rows, tries = self._rows(points.coord, generator)
        if self.budget == "points":
            rows = thin(rows, points.num_points, max(1, points.num_points // 2), generator)
        views = [self._view(points, part, tries, generator) for part in rows]
        first, second = views
        if self.match_radius is None:
            matches = same_point(rows[0], rows[1], points.num_points), same_point(rows[1], rows[0], points.num_points)
        else:
            matches = near_point(first, second, self.match_radius), near_point(second, first, self.match_radius)
        if self.shuffled:
            matches = shuffled_matches(*matches, generator)
        return {
            name: view.with_attributes(match=match)
            for name, view, match in zip(("first", "second"), views, matches, strict=True)
        }

    def _rows(self, coord: Tensor, generator: Generator) -> tuple[list[Tensor], int]:
        """The rows of both views, and the number of pairs drawn (0: fallback)."""
        least = max(1, round(self.min_share * len(coord)))
        for attempt in range(1, self.attempts + 1):
            pair = [self._crop(coord, generator) for _ in range(2)]
            sizes = [len(rows) for rows in pair]
            if min(sizes) >= least and overlap(pair[0], pair[1], len(coord)) >= self.overlap:
                return pair, attempt
        center = coord[int(torch.randint(len(coord), (), generator=generator))]
        return [sphere_crop(coord, max(self.share, self.min_share), generator, center) for _ in range(2)], 0

    def _crop(self, coord: Tensor, generator: Generator) -> Tensor:
        if self.crop == "sphere":
            return sphere_crop(coord, self.share, generator)
        if self.crop == "box":
            return box_crop(coord, self.sides, generator)
        return camera_crop(coord, generator)

    def _view(self, points: PointBatch, rows: Tensor, tries: int, generator: Generator) -> PointBatch:
        view = points.select(rows, make_offset([len(rows)]))
        view = view.with_attributes(origin=view.coord, tries=torch.full((len(rows),), float(tries)))
        if self.color_change is not None:
            view = self.color_change(view, self.layout, generator)
        return self.motion(view, self.layout, generator)


def overlap(first: Tensor, second: Tensor, points: int) -> float:
    """Shared rows of two sets of rows of ``points`` points, as a share of the smaller set."""
    inside = torch.zeros(points, dtype=torch.bool)
    inside[first] = True
    return int(inside[second].sum()) / max(1, min(len(first), len(second)))


def thin(rows: Sequence[Tensor], points: int, at_most: int, generator: Generator) -> list[Tensor]:
    """At most so many of each set of rows; as far as possible a point stays in all of its sets or in none."""
    priority = torch.rand(points, generator=generator)
    return [part[priority[part].topk(min(at_most, len(part))).indices.sort().values] for part in rows]


def same_point(rows: Tensor, others: Tensor, points: int) -> Tensor:
    """(N,) where each of ``rows`` stands in ``others`` (both rows of one scan of ``points`` points), or -1."""
    place = torch.full((points,), -1)
    place[others] = torch.arange(len(others))
    return place[rows]


def shuffled_matches(first: Tensor, second: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Matches (N,) and (M,) of two views in which the matched points of ``first`` have exchanged their partners.

    Returns:
        Both ways, as far as the partners of ``first`` point back; the rest of ``second`` is unmatched.
    """
    rows = (first >= 0).nonzero().flatten()
    others = first[rows][torch.randperm(len(rows), generator=generator)]
    one, two = torch.full_like(first, -1), torch.full_like(second, -1)
    one[rows] = others
    two[others] = rows
    return one, two


def near_point(view: PointBatch, other: PointBatch, radius: float) -> Tensor:
    """(N,) row of the point of ``other`` nearest in ``origin``, or -1 where none is within ``radius`` metres."""
    origins = [each.attributes["origin"] for each in (other, view)]
    index, distance = knn_query(1, origins[0], other.offset, origins[1], view.offset)
    return torch.where(distance[:, 0] <= radius, index[:, 0].long(), -1)
