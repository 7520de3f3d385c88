"""RandomRooms*: the same objects in two random layouts; each object is to be recognized across the two rooms.

Source: Rao et al., ICCV 2021, arXiv:2108.07794 (no public code; objects per room, temperature and schedule are not
stated there). Scan-only adaptation: objects come from the scan at hand, or from boxes and cylinders, not from
ShapeNet; all stand on the floor (none on another); ranges of size follow wyf-ACCEPT/BackToReality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor, nn

from mm3d_core.encoder import Encoder
from mm3d_core.features import FeatureLayout
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.matches import Level, features_at, level_channels
from mm3d_core.methods.monitors import feature_spread, similarities
from mm3d_core.methods.objects import Bank, ObjectFinder, procedural_object
from mm3d_core.points import PointBatch
from pointops import make_offset, segment_max, segment_mean, to_device

PLACES = 60  # tries to find room for an object before the room is made larger


@dataclass(frozen=True)
class RoomViews:
    """Makes two rooms, ``first`` and ``second``, from the objects of a scan; runs in loader workers.

    Both carry the attribute ``object`` (N,) int64, the same number for the same object in both rooms, -1 on the floor.

    Args:
        inputs: names of the columns of ``feat`` (the backbone's ``input``).
        bank: ``clusters`` takes objects from the scan and fills up with procedural ones; ``procedural`` makes all.
        finder: cuts the scan into objects.
        objects: smallest and largest number in a room.
        scale: uniform range of one factor for each object, another in each room.
        object_points: of a procedural object, and at most of any other.
        floor_share: share of floor points in a room.
        budget: ``points``: both rooms together hold no more points than the scan; ``steps``: as made.

    Raises:
        ValueError: an unknown choice or an empty range.
    """

    inputs: Sequence[str] = ("coord", "color")
    bank: Bank = "clusters"
    finder: ObjectFinder = field(default_factory=ObjectFinder)
    objects: tuple[int, int] = (8, 20)
    scale: tuple[float, float] = (0.8, 1.3)
    object_points: int = 2000
    floor_share: float = 0.2
    budget: str = "points"

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", FeatureLayout(self.inputs).inputs)
        for name in ("objects", "scale"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.bank not in ("clusters", "procedural"):
            raise ValueError(f"bank must be 'clusters' or 'procedural', not {self.bank!r}")
        if self.budget not in ("points", "steps"):
            raise ValueError(f"budget must be 'points' or 'steps', not {self.budget!r}")
        if not 2 <= self.objects[0] <= self.objects[1]:
            raise ValueError(f"objects={self.objects}: a contrast needs at least 2 objects in a room")
        if not 0 <= self.floor_share < 1:
            raise ValueError(f"floor_share must be in [0, 1), not {self.floor_share}")

    def __call__(self, points: PointBatch, generator: Generator) -> dict[str, PointBatch]:
        """The two rooms of one scan.

        Raises:
            ValueError: the features are not what ``inputs`` says, or the scan is empty.
        """
        layout = FeatureLayout(self.inputs)
        layout.check(points)
        if points.num_points == 0:
            raise ValueError("points has no points: there is nothing to build rooms from")
        bank = self._bank(points, generator)
        limit = points.num_points // 2 if self.budget == "points" else len(bank) * self.object_points * 2
        each = max(8, int(limit * (1 - self.floor_share)) // len(bank))
        return {name: self._room(bank, each, limit, points, layout, generator) for name in ("first", "second")}

    def _bank(self, points: PointBatch, generator: Generator) -> list[PointBatch]:
        """Objects in the origin, standing on z = 0, with color and normal as far as the scan has them."""
        low, high = self.objects
        count = low + int(torch.randint(high - low + 1, (), generator=generator))
        bank = []
        if self.bank == "clusters":
            label = self.finder(points, generator)
            found = torch.randperm(int(label.max()) + 1, generator=generator)[:count].tolist()
            bank = [_standing(points.select((label == n).nonzero().flatten(), points.offset)) for n in found]
        while len(bank) < count:
            coord, color, normal = procedural_object(self.object_points, generator)
            values = {"color": color, "normal": normal}
            bank.append(
                PointBatch.single(coord, coord[:, :0], {n: values[n] for n in values if n in points.attributes})
            )
        return bank

    def _room(
        self,
        bank: Sequence[PointBatch],
        each: int,
        limit: int,
        reference: PointBatch,
        layout: FeatureLayout,
        generator: Generator,
    ) -> PointBatch:
        parts = [self._turned(thing, each, generator) for thing in bank]
        places = arrange([_reach(part.coord) for part in parts], generator)
        parts = [_moved(part, place) for part, place in zip(parts, places, strict=True)]
        objects = [torch.full((part.num_points,), number) for number, part in enumerate(parts)]
        floor = min(limit - sum(part.num_points for part in parts), int(self.floor_share * limit))
        if floor > 0:
            parts.append(_floor(floor, places, parts, reference, generator))
            objects.append(torch.full((floor,), -1))
        coord = torch.cat([part.coord for part in parts])
        coord = coord - coord.amin(0)
        attributes = {name: torch.cat([p.attributes[name] for p in parts]) for name in parts[0].attributes}
        order = torch.randperm(len(coord), generator=generator)
        room = PointBatch.single(coord, coord[:, :0], {**attributes, "object": torch.cat(objects)})
        room = room.select(order, room.offset)
        return room.with_feat(layout.build(room, reference, room.coord[:, 2]))

    def _turned(self, thing: PointBatch, each: int, generator: Generator) -> PointBatch:
        """An object resampled, scaled and turned about z."""
        rows = torch.randperm(thing.num_points, generator=generator)[: min(each, self.object_points)]
        draw = torch.rand(2, generator=generator).tolist()
        cosine, sine = math.cos(2 * math.pi * draw[0]), math.sin(2 * math.pi * draw[0])
        turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * draw[1]
        attributes = {name: value[rows] for name, value in thing.attributes.items()}
        if "normal" in attributes:
            attributes["normal"] = attributes["normal"] @ turn.T
        coord = scale * thing.coord[rows] @ turn.T
        return PointBatch.single(coord, coord[:, :0], attributes)


def arrange(radii: Sequence[float], generator: Generator) -> list[Tensor]:
    """Places (2,) in metres for circles of these radii, none of which overlap; the room grows until all fit."""
    side = 1.5 * math.sqrt(sum(math.pi * radius**2 for radius in radii))
    places: list[Tensor] = []
    while len(places) < len(radii):
        radius = radii[len(places)]
        for _ in range(PLACES):
            place = side * torch.rand(2, generator=generator)
            apart = [float((place - other).norm()) >= radius + radii[n] for n, other in enumerate(places)]
            if all(apart):
                places.append(place)
                break
        else:
            side *= 1.2
    return places


class RandomRooms(nn.Module):
    """Contrast of pooled object features across two rooms; negatives are all other objects of the batch.

    Args:
        encoder: what is pre-trained.
        views: makes the two rooms.
        level: the encoder's level whose features are pooled, or ``all``, side by side (for several towers).
        pool: ``max`` or ``mean`` over the points of an object.
        width: of the two-layer projection.
        contrast: the loss.

    Raises:
        ValueError: a level that the encoder does not have, or an unknown pooling.
    """

    planned_views = ("first", "second")

    def __init__(
        self,
        encoder: Encoder,
        *,
        views: RoomViews | None = None,
        level: Level = 0,
        pool: str = "max",
        width: int = 128,
        contrast: InfoNCE | None = None,
    ) -> None:
        super().__init__()
        if pool not in ("max", "mean"):
            raise ValueError(f"pool must be 'max' or 'mean', not {pool!r}")
        self.encoder = encoder
        self.views = views or RoomViews()
        self.level: Level = level
        self.pool = pool
        channels = level_channels(encoder, level)
        self.head: nn.Module = nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, width))
        self.contrast = contrast or InfoNCE(temperature=0.1, max_points=None)

    def loss(self, views: Mapping[str, PointBatch], generator: Generator) -> dict[str, Tensor]:
        """``loss``; detached: ``objects``, ``points``, ``similarity``, ``negative_similarity`` and ``spread``."""
        pooled = {name: self._objects(view) for name, view in views.items()}
        shared = sorted(set(pooled["first"][1]) & set(pooled["second"][1]))
        first, second = (
            feat[to_device(torch.tensor([keys.index(key) for key in shared]), feat.device)]
            for feat, keys in (pooled["first"], pooled["second"])
        )
        with torch.autocast(first.device.type, enabled=False):
            first, second = self.head(first.float()), self.head(second.float())
            loss = self.contrast(first, second)
        positive, negative = similarities(first, second)
        terms = {"similarity": positive, "negative_similarity": negative, "spread": feature_spread(first)}
        terms |= {"objects": torch.tensor(float(len(shared)))}
        terms |= {"points": torch.tensor(float(sum(view.num_points for view in views.values())))}
        return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}

    def after_step(self) -> None:
        """Nothing follows a step."""

    def _objects(self, view: PointBatch) -> tuple[Tensor, list[tuple[int, int]]]:
        """(K, C) pooled features, and the (scene, object) that each belongs to."""
        label = view.attributes["object"].cpu()  # a GPU is waited for once
        scene = torch.arange(view.num_scenes).repeat_interleave(torch.tensor(view.sizes()))
        rows = (label >= 0).nonzero().flatten()
        pairs = torch.stack([scene[rows], label[rows]], 1)
        keys, owner, counts = torch.unique(pairs, dim=0, return_inverse=True, return_counts=True)
        sorted_rows = to_device(rows[owner.argsort(stable=True)], view.coord.device)
        feat = features_at(self.encoder(view), self.level, view, sorted_rows)
        reduce = segment_max if self.pool == "max" else segment_mean
        ends = make_offset(counts.tolist(), view.coord.device)
        return reduce(feat, ends), [(int(a), int(b)) for a, b in keys.tolist()]


def _standing(thing: PointBatch) -> PointBatch:
    """An object moved to the origin, its lowest point on z = 0."""
    center = (thing.coord.amin(0) + thing.coord.amax(0)) / 2
    coord = thing.coord - torch.cat([center[:2], thing.coord[:, 2].amin().view(1)])
    kept = {name: thing.attributes[name] for name in ("color", "normal") if name in thing.attributes}
    return PointBatch.single(coord, coord[:, :0], kept)


def _moved(thing: PointBatch, place: Tensor) -> PointBatch:
    coord = thing.coord + torch.cat([place, torch.zeros(1)])
    return PointBatch.single(coord, coord[:, :0], thing.attributes)


def _reach(coord: Tensor) -> float:
    """Radius of an object's circle on the floor, metres."""
    return float(coord[:, :2].norm(dim=1).max()) + 0.05


def _floor(
    count: int, places: Sequence[Tensor], parts: Sequence[PointBatch], reference: PointBatch, generator: Generator
) -> PointBatch:
    """Points of a flat floor of one color under the objects."""
    everything = torch.cat([part.coord[:, :2] for part in parts])
    low, high = everything.amin(0), everything.amax(0)
    flat = low + (high - low) * torch.rand(count, 2, generator=generator)
    coord = torch.cat([flat, torch.zeros(count, 1)], dim=1)
    shade = 0.3 + 0.5 * torch.rand(3, generator=generator)
    values = {"color": shade.expand(count, 3), "normal": torch.tensor([0.0, 0.0, 1.0]).expand(count, 3)}
    return PointBatch.single(coord, coord[:, :0], {n: v for n, v in values.items() if n in reference.attributes})
