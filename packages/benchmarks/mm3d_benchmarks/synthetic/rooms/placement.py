"""Rooms and what stands in them: placing things against walls, on the floor and around each other, without overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.synthetic.rooms.furniture import Thing
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Primitive, extent, moved
from mm3d_benchmarks.synthetic.rooms.shell import Wall

TRIES = 40  # places tried per thing before it is left out


Box = tuple[np.ndarray, np.ndarray]  # low, high corner in the thing's own frame


@dataclass(frozen=True)
class PlacedObject:
    """An object of a room.

    Attributes:
        label: raw label.
        low: (3,) low corner in the object's own frame.
        high: (3,) high corner.
        yaw: of that frame, whose +x is the object's front.
        origin: (3,) of that frame in the room.
        free: whether a visitor may have moved it.
    """

    label: str
    low: np.ndarray
    high: np.ndarray
    yaw: float
    origin: np.ndarray
    free: bool = False

    @property
    def center(self) -> np.ndarray:
        """(3,) middle of the box in the room."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        middle = (self.low + self.high) / 2
        return self.origin + np.array([c * middle[0] - s * middle[1], s * middle[0] + c * middle[1], middle[2]])

    @property
    def size(self) -> np.ndarray:
        """(3,) full size along the object's own axes."""
        return self.high - self.low


@dataclass(frozen=True)
class Room:
    """A furnished room, centered on the origin, floor at z = 0.

    Attributes:
        kind: key of :data:`KINDS`.
        size: (3,) width, depth, height.
        objects: structure and furniture.
        parts: all solids; ``owner`` is the row of ``objects``.
    """

    kind: str
    size: np.ndarray
    objects: list[PlacedObject]
    parts: list[Primitive]


@dataclass
class _Footprint:
    """Where something stands: an oriented rectangle and an interval of height."""

    center: np.ndarray
    half: np.ndarray
    yaw: float
    bottom: float
    top: float


class Furnisher:
    """Places things in one room.

    Args:
        width, depth, height: of the room in metres.
        layout: stream of positions and proportions.
        visit: stream of what a later visit finds changed, None for a first visit.
        palette: materials.
        knobs: difficulty.
        clutter: factor on small things.
    """

    def __init__(
        self, width: float, depth: float, height: float, layout: np.random.Generator, visit: np.random.Generator | None,
        palette: Palette, knobs: Knobs, clutter: float, walls: list[Wall],
    ) -> None:  # fmt: skip
        self.width, self.depth, self.height = width, depth, height
        self.random, self.visit = layout, visit
        self.palette, self.knobs, self.clutter = palette, knobs, clutter
        self.walls = walls
        self.footprints: list[_Footprint] = []
        self.objects: list[PlacedObject] = []
        self.parts: list[Primitive] = []

    def structure(self, things: list[Thing]) -> None:
        """Add things that are already in place and that nothing must avoid."""
        for thing in things:
            self._add(thing, 0.0, np.zeros(3))

    def keep_clear(self, wall: Wall, low: float, high: float, reach: float) -> None:
        """Nothing tall may stand before a door."""
        c, s = np.cos(wall.yaw), np.sin(wall.yaw)
        y = (low + high) / 2
        center = wall.middle + np.array([c * reach / 2 - s * y, s * reach / 2 + c * y])
        self.footprints.append(_Footprint(center, np.array([reach / 2, (high - low) / 2]), wall.yaw, 0.0, 2.0))

    def against_wall(
        self, things: list[Thing], gap: float = 0.03, wall: Wall | None = None
    ) -> tuple[float, np.ndarray] | None:
        """Stand a group with its back to a wall (front into the room). Returns its yaw and origin, or None: no room."""
        low, high = hull(things)
        front = extent(things[0].parts)[1][2]  # only the main thing's height minds windows
        for _ in range(TRIES):
            side = wall or self.walls[self.random.integers(len(self.walls))]
            room = side.length / 2
            if high[1] - low[1] > 2 * room - 0.05:
                continue
            y = self.random.uniform(-room - low[1] + 0.02, room - high[1] - 0.02)
            if self.random.random() < 0.35:  # people like corners
                y = -room - low[1] + 0.03 if self.random.random() < 0.5 else room - high[1] - 0.03
            if any(o.low < y + high[1] and o.high > y + low[1] and o.bottom < front - 0.1 for o in side.openings):
                continue
            yaw = side.yaw + self.random.normal(0, 0.03)
            x = gap + self.random.exponential(0.03) - low[0] + 0.04 * abs(yaw - side.yaw) * 10
            c, s = np.cos(side.yaw), np.sin(side.yaw)
            origin = np.array([side.middle[0] + c * x - s * y, side.middle[1] + s * x + c * y, 0.0])
            if self._put(things, yaw, origin):
                side.take(y + low[1], y + high[1], 0.0, high[2])
                return yaw, origin
        return None

    def on_floor(self, things: list[Thing], any_yaw: bool = True) -> tuple[float, np.ndarray] | None:
        """Stand a group anywhere."""
        for _ in range(TRIES):
            x, y = self.random.uniform(-0.5, 0.5, 2) * [self.width, self.depth]
            yaw = (
                self.random.uniform(-np.pi, np.pi)
                if any_yaw and self.random.random() < 0.4
                else self.random.choice(4) * np.pi / 2
            )
            yaw += self.random.normal(0, 0.04)
            origin = np.array([x, y, 0.0])
            if self._put(things, yaw, origin, free=True):
                return yaw, origin
        return None

    def near(
        self, things: list[Thing], yaw: float, origin: np.ndarray, x: float, y: float, turn: float, spread: float = 0.05
    ) -> bool:
        """Stand a group at (x, y) of another group's frame, turned against it; a later visit may find it shifted."""
        for k in range(10):
            c, s = np.cos(yaw), np.sin(yaw)
            dx, dy = np.array([x, y]) * (1 + 0.03 * k) + self.random.normal(0, spread + 0.015 * k, 2)
            angle = yaw + turn + self.random.normal(0, 0.15)
            if self.visit is not None and self.visit.random() < self.knobs.moved:
                dx, dy, angle = (
                    dx + self.visit.normal(0, 0.15),
                    dy + self.visit.normal(0, 0.15),
                    angle + self.visit.normal(0, 0.5),
                )
            place = origin + np.array([c * dx - s * dy, s * dx + c * dy, 0.0])
            if self._put(things, angle, place, free=True):
                return True
        return False

    def hang(self, things: list[Thing], z: float) -> bool:
        """Fix things to a free stretch of wall at height ``z``."""
        low, high = hull(things)
        for _ in range(TRIES // 2):
            wall = self.walls[self.random.integers(len(self.walls))]
            if wall.length < high[1] - low[1] + 0.2:
                continue
            y = self.random.uniform(-wall.length / 2 - low[1] + 0.1, wall.length / 2 - high[1] - 0.1)
            if wall.free(y + low[1], y + high[1], z + low[2], z + high[2]) and z + high[2] < self.height - 0.05:
                wall.take(y + low[1], y + high[1], z + low[2], z + high[2])
                self.structure(wall.place(things, y, z))
                return True
        return False

    def _put(self, things: list[Thing], yaw: float, origin: np.ndarray, free: bool = False) -> bool:
        """Place a group if its footprints are inside the room and clear of all others."""
        half = np.array([self.width / 2, self.depth / 2])
        whole = _footprint(*hull(things), yaw, origin)
        if (np.abs(_corners(whole)) > half - 0.005).any():
            return False
        candidates = [_footprint(low, high, yaw, origin) for thing in things for low, high in _blocks(thing)]
        for footprint in candidates:
            if (np.abs(_corners(footprint)) > half - 0.005).any() or any(
                _clash(footprint, other) for other in self.footprints
            ):
                return False
        self.footprints += candidates
        for thing in things:
            self._add(thing, yaw, origin, free)
        return True

    def _add(self, thing: Thing, yaw: float, origin: np.ndarray, free: bool = False) -> None:
        low, high = extent(thing.parts)
        owner = len(self.objects)
        self.objects.append(PlacedObject(thing.label, low, high, yaw, origin, free))
        self.parts += [moved(part, yaw, origin, owner) for part in thing.parts]


def hull(things: list[Thing]) -> Box:
    return extent([part for thing in things for part in thing.parts])


def _blocks(thing: Thing) -> list[Box]:
    """What a thing blocks: tables and desks only their top and legs, so that chairs tuck in; rugs nothing."""
    if thing.label == "rug":
        return []
    if thing.label in ("table", "desk", "coffee table"):
        return [extent([part]) for part in thing.parts if part.kind == "box" or part.axes[2, 2] > 0.1]
    if thing.label in ("chair", "office chair"):  # the seat goes under a table, the back does not
        backs = [part for part in thing.parts if part.center[2] > 0.72]
        low, high = extent([part for part in thing.parts if part.center[2] <= 0.72])
        return [(low, np.array([high[0], high[1], min(high[2], 0.66)])), *([extent(backs)] if backs else [])]
    return [extent(thing.parts)]


def _footprint(low: np.ndarray, high: np.ndarray, yaw: float, origin: np.ndarray) -> _Footprint:
    c, s = np.cos(yaw), np.sin(yaw)
    x, y = (low[:2] + high[:2]) / 2
    return _Footprint(
        origin[:2] + np.array([c * x - s * y, s * x + c * y]),
        (high - low)[:2] / 2,
        yaw,
        low[2] + origin[2],
        high[2] + origin[2],
    )


def _corners(f: _Footprint) -> np.ndarray:
    c, s = np.cos(f.yaw), np.sin(f.yaw)
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * f.half
    return f.center + signs @ np.array([[c, s], [-s, c]])


def _clash(a: _Footprint, b: _Footprint) -> bool:
    """Whether two footprints overlap (separating axes), where their heights do."""
    if a.top <= b.bottom + 0.02 or b.top <= a.bottom + 0.02:
        return False
    if np.linalg.norm(a.center - b.center) > np.linalg.norm(a.half) + np.linalg.norm(b.half):
        return False
    ca, cb = _corners(a), _corners(b)
    for yaw in (a.yaw, b.yaw):
        for axis in (np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])):
            pa, pb = ca @ axis, cb @ axis
            if pa.max() <= pb.min() + 0.005 or pb.max() <= pa.min() + 0.005:
                return False
    return True
