"""4DContrast*: an object moves through a scan; every point keeps its feature over time, in space and in space-time.

Source: Chen et al., ECCV 2022, arXiv:2112.02990 (no public code; frames, matches and temperature are not stated there).
Scan-only adaptation: the object is copied from the scan, or made of boxes and cylinders, instead of taken from
ShapeNet; the space-time network mixes each point's features over the frames by attention instead of 4D convolution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import torch
from torch import Generator, Tensor, nn

from mm3d_core.encoder import Encoder
from mm3d_core.features import FeatureLayout
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.matches import Level, features_at, level_channels, projection
from mm3d_core.methods.monitors import feature_spread, similarities
from mm3d_core.methods.motions import ColorChange, Motion
from mm3d_core.methods.objects import Bank, ObjectFinder, procedural_object
from mm3d_core.points import PointBatch
from pointops import to_device

CELL = 0.1  # metres, of the map of what stands on the floor
PATHS = 40  # drawn before the freest one is taken
CLEAR = 0.1  # metres above the floor: what is lower does not stop an object


@dataclass(frozen=True)
class MovingObjectViews:
    """Makes ``frame0``, ``frame1``, ... of a scan in which one object moves; runs in loader workers.

    Row i is the same point in every frame. Attributes: ``moving`` (N,) bool, ``free`` (N,) float32, the share of the
    path on which the object meets nothing.

    Args:
        inputs: names of the columns of ``feat`` (the backbone's ``input``).
        frames: F, at least 2.
        bank: ``clusters`` copies an object of the scan (a procedural one where it has none), or ``procedural``.
        finder: finds the scan's objects.
        travel: smallest and largest length of the path, metres.
        turn: largest rotation about z from the first frame to the last, degrees.
        object_points: at most, of the object.
        budget: ``points``: all frames together hold no more points than the scan; ``steps``: as made.
        motion, color_change: of each frame on its own.

    Raises:
        ValueError: fewer than 2 frames, or an unknown choice.
    """

    inputs: Sequence[str] = ("coord", "color")
    frames: int = 4
    bank: Bank = "clusters"
    finder: ObjectFinder = field(default_factory=ObjectFinder)
    travel: tuple[float, float] = (1.0, 3.0)
    turn: float = 180.0
    object_points: int = 2000
    budget: str = "points"
    motion: Motion = field(default_factory=Motion)
    color_change: ColorChange | None = field(default_factory=ColorChange)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", FeatureLayout(self.inputs).inputs)
        object.__setattr__(self, "travel", tuple(self.travel))
        if self.frames < 2:
            raise ValueError(f"frames={self.frames}: a movement needs at least 2")
        if self.bank not in ("clusters", "procedural"):
            raise ValueError(f"bank must be 'clusters' or 'procedural', not {self.bank!r}")
        if self.budget not in ("points", "steps"):
            raise ValueError(f"budget must be 'points' or 'steps', not {self.budget!r}")

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The frames of one scan.

        Raises:
            ValueError: the features are not what ``inputs`` says, or the scan is empty.
        """
        layout = FeatureLayout(self.inputs)
        layout.check(points)
        if points.num_points == 0:
            raise ValueError("points has no points: nothing can move through it")
        thing = self._thing(points, generator)
        path, angles, free = self._path(points.coord, thing.coord, generator)
        static, moving = self._rows(points.num_points, thing.num_points, generator)
        frames = {}
        for number in range(self.frames):
            placed = _placed(thing, path[number], float(angles[number]))
            frame = _together(points, placed, static, moving, layout)
            frame = frame.with_attributes(free=torch.full((frame.num_points,), free))
            if self.color_change is not None:
                frame = self.color_change(frame, layout, generator)
            frames[f"frame{number}"] = self.motion(frame, layout, generator)
        return frames

    def _thing(self, points: PointBatch, generator: Generator) -> PointBatch:
        """The object, its middle on the z axis and its lowest point at z = 0."""
        label = self.finder(points, generator) if self.bank == "clusters" else torch.full((1,), -1)
        found = int(label.max()) + 1
        if found:
            chosen = int(torch.randint(found, (), generator=generator))
            rows = (label == chosen).nonzero().flatten()
            rows = rows[torch.randperm(len(rows), generator=generator)[: self.object_points]]
            thing = points.select(rows, points.offset)
            coord, values = thing.coord, thing.attributes
        else:
            coord, color, normal = procedural_object(self.object_points, generator)
            values = {"color": color, "normal": normal}
        middle = (coord.amin(0) + coord.amax(0)) / 2
        coord = coord - torch.cat([middle[:2], coord[:, 2].amin().view(1)])
        kept = {name: values[name] for name in ("color", "normal") if name in points.attributes}
        return PointBatch.single(coord, coord[:, :0], kept)

    def _path(self, scan: Tensor, thing: Tensor, generator: Generator) -> tuple[Tensor, Tensor, float]:
        """Places (F, 3) and angles (F,) of the object, and the share of places where it meets nothing."""
        low, high = scan.amin(0), scan.amax(0)
        reach, top = float(thing[:, :2].norm(dim=1).max()), float(thing[:, 2].max())
        standing = scan[(scan[:, 2] > low[2] + CLEAR) & (scan[:, 2] < low[2] + CLEAR + top), :2]
        occupied = torch.unique(((standing - low[:2]) / CELL).floor(), dim=0) * CELL + CELL / 2 + low[:2]
        best, freest = torch.zeros(self.frames, 3), -1.0
        for _ in range(PATHS):
            draw = torch.rand(4, generator=generator)
            start = low[:2] + (high - low)[:2] * draw[:2]
            length = self.travel[0] + (self.travel[1] - self.travel[0]) * float(draw[2])
            heading = 2 * math.pi * float(draw[3])
            step = length / (self.frames - 1) * torch.tensor([math.cos(heading), math.sin(heading)])
            places = start + step * torch.arange(self.frames).unsqueeze(1)
            inside = ((places >= low[:2]) & (places <= high[:2])).all(1)
            near = torch.cdist(places, occupied).amin(1) if len(occupied) else torch.full((self.frames,), torch.inf)
            free = float((inside & (near > reach)).float().mean())
            if free > freest:
                freest = free
                best = torch.cat([places, low[2].expand(self.frames, 1)], dim=1)
            if free == 1.0:
                break
        turn = math.radians(self.turn) * (2 * float(torch.rand((), generator=generator)) - 1)
        return best, torch.linspace(0.0, turn, self.frames), freest

    def _rows(self, scan: int, thing: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Rows of the scan and of the object that every frame shows; the object never holds more than half of them."""
        limit = max(2, scan // self.frames) if self.budget == "points" else scan + thing
        moving = torch.randperm(thing, generator=generator)[: max(1, limit // 2)]
        return torch.randperm(scan, generator=generator)[: limit - len(moving)], moving


class FourDContrast(nn.Module):
    """Three contrasts of the same points over time: between frames, between space and space-time, within space-time.

    Args:
        encoder: what is pre-trained.
        views: makes the frames.
        width: of the projected features.
        level: the encoder's level that is contrasted, or ``all``, side by side (for several towers).
        contrast: the loss of each pair.
        static_points, moving_points: at most, of the batch.
        space_time: with the two terms of the space-time network, which pre-training alone uses; else the first only.

    Raises:
        ValueError: a level that the encoder does not have.
    """

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: MovingObjectViews | None = None,
        width: int = 32,
        level: Level = 0,
        contrast: InfoNCE | None = None,
        static_points: int = 2048,
        moving_points: int = 2048,
        space_time: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = views or MovingObjectViews()
        self.level: Level = level
        self.limits = static_points, moving_points
        self.contrast = contrast or InfoNCE(temperature=0.4, max_points=None)
        self.head = projection(level_channels(encoder, level), width)
        self.mixer = TemporalMixer(width, self.views.frames) if space_time else None
        self.planned_views = tuple(f"frame{number}" for number in range(self.views.frames))

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``space_space``, ``space_time``, ``time_time``, ``matches``, ``free_path``, monitors."""
        frames = [views[name] for name in self.planned_views]
        rows = self._rows(frames[0], generator)
        space = torch.stack([self._features(frame, rows) for frame in frames], dim=1)
        with torch.autocast(space.device.type, enabled=False):
            pairs = list(combinations(range(len(frames)), 2))
            parts = {"space_space": _mean([self.contrast(space[:, a], space[:, b]) for a, b in pairs])}
            if self.mixer is not None:
                mixed = self.mixer(space)
                parts["space_time"] = _mean([self.contrast(space[:, t], mixed[:, t]) for t in range(len(frames))])
                parts["time_time"] = _mean([self.contrast(mixed[:, a], mixed[:, b]) for a, b in pairs])
        positive, negative = similarities(space[:, 0], space[:, -1])
        terms = {
            **parts,
            "similarity": positive,
            "negative_similarity": negative,
            "spread": feature_spread(space[:, 0]),
        }
        terms |= {"matches": torch.tensor(float(len(rows))), "free_path": frames[0].attributes["free"].mean()}
        terms |= {"points": torch.tensor(float(sum(frame.num_points for frame in frames)))}
        total = torch.stack(list(parts.values())).sum()
        return {"loss": total, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Nothing follows a step."""

    def _rows(self, frame: PointBatch, generator: Generator) -> Tensor:
        """(M,) rows, ordered: at most the asked numbers of static and of moving points of the batch."""
        moving = frame.attributes["moving"]
        drawn = []
        for wanted, limit in zip((~moving, moving), self.limits, strict=True):
            rows = wanted.nonzero().flatten()
            drawn.append(rows[to_device(torch.randperm(len(rows), generator=generator)[:limit], rows.device)])
        return torch.cat(drawn).sort().values

    def _features(self, frame: PointBatch, rows: Tensor) -> Tensor:
        """(M, width) float32 projected features of one frame."""
        feat = features_at(self.encoder(frame), self.level, frame, rows)
        with torch.autocast(feat.device.type, enabled=False):
            return self.head(feat.float())


class TemporalMixer(nn.Module):
    """Features (M, F, C) of M points in F frames, each frame informed by the others; points do not see each other."""

    def __init__(self, width: int, frames: int, heads: int = 4) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.randn(frames, width) * 0.02)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.rest = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))

    def forward(self, feat: Tensor) -> Tensor:
        value = self.norm(feat + self.time)
        mixed = feat + self.attention(value, value, value, need_weights=False)[0]
        return mixed + self.rest(mixed)


def _placed(thing: PointBatch, place: Tensor, angle: float) -> PointBatch:
    """The object turned about z and moved."""
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    attributes = dict(thing.attributes)
    if "normal" in attributes:
        attributes["normal"] = attributes["normal"] @ turn.T
    return replace(thing, coord=thing.coord @ turn.T + place, attributes=attributes)


def _together(
    points: PointBatch, thing: PointBatch, static: Tensor, moving: Tensor, layout: FeatureLayout
) -> PointBatch:
    """One frame: rows of the scan, then rows of the object, with features of both."""
    coord = torch.cat([points.coord[static], thing.coord[moving]])
    attributes = {n: torch.cat([points.attributes[n][static], v[moving]]) for n, v in thing.attributes.items()}
    attributes["moving"] = torch.arange(len(coord)) >= len(static)
    frame = PointBatch.single(coord, coord[:, :0], attributes)
    height = layout.read(points, "height")
    if height is not None:
        floor = points.coord[:, 2].amin()
        height = torch.cat([height[static, 0], thing.coord[moving, 2] - floor])
    return frame.with_feat(layout.build(frame, points, height))


def _mean(losses: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(losses)).mean()
