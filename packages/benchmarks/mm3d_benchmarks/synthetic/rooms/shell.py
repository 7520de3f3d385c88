"""A room's shell: floor, ceiling, walls cut around doors and windows, niches and sloped ceilings, beams, columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from mm3d_benchmarks.synthetic.rooms import on_walls
from mm3d_benchmarks.synthetic.rooms.furniture import Thing
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Material, Primitive, moved, solid

THICK = 0.14  # metres of a wall


@dataclass(frozen=True)
class Opening:
    """A hole in a wall: interval along it, interval of height, and what fills it."""

    kind: str
    low: float
    high: float
    bottom: float
    top: float


@dataclass
class Wall:
    """One wall in its own frame: origin at its middle on the floor, x into the room, y along it.

    Attributes:
        yaw: direction of its x in the world.
        middle: (2,) metres.
        length: metres.
        openings: holes, not overlapping.
        taken: intervals (low, high, bottom, top) that things already cover.
    """

    yaw: float
    middle: np.ndarray
    length: float
    openings: list[Opening] = field(default_factory=list)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)

    def place(self, things: list[Thing], y: float, z: float = 0.0, x: float = 0.0) -> list[Thing]:
        """Things of the wall's frame in the world."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        shift = np.array([self.middle[0] + c * x - s * y, self.middle[1] + s * x + c * y, z])
        return [Thing(t.label, [moved(p, self.yaw, shift, -1) for p in t.parts]) for t in things]

    def free(self, low: float, high: float, bottom: float, top: float) -> bool:
        """Whether nothing is there yet."""
        if low < -self.length / 2 + 0.05 or high > self.length / 2 - 0.05:
            return False
        return all(high <= a or low >= b or top <= c or bottom >= d for a, b, c, d in self.taken)

    def take(self, low: float, high: float, bottom: float, top: float) -> None:
        """Mark an interval as covered."""
        self.taken.append((low, high, bottom, top))


@dataclass(frozen=True)
class Style:
    """What a building's rooms have in common.

    Attributes:
        height: (low, high) of the ceilings, metres.
        beams: chance of beams.
        columns: expected columns per room.
        glass: factor on the width of windows.
        clutter: factor on small things.
        boards: expected whiteboards per work room.
        bookcases: expected bookcases per work room beyond what its recipe brings.
        roofed: whether the sensor's data set shows ceilings (they then get lamps and beams).
    """

    height: tuple[float, float] = (2.35, 3.0)
    beams: float = 0.1
    columns: float = 0.12
    glass: float = 1.0
    clutter: float = 1.0
    boards: float = 0.5
    bookcases: float = 0.0
    roofed: bool = False


def make_walls(width: float, depth: float) -> list[Wall]:
    """Four walls of a rectangle centered on the origin."""
    sides = [
        (0.0, -width / 2, 0.0, depth),
        (np.pi / 2, 0.0, -depth / 2, width),
        (np.pi, width / 2, 0.0, depth),
        (-np.pi / 2, 0.0, depth / 2, width),
    ]
    return [Wall(yaw, np.array([x, y]), length) for yaw, x, y, length in sides]


def build_shell(
    walls: list[Wall],
    width: float,
    depth: float,
    height: float,
    style: Style,
    palette: Palette,
    random: np.random.Generator,
    complete: bool = False,
) -> list[Thing]:
    """All structure of a room, with doors, windows, curtains and blinds; openings and covered wall are marked."""
    floor = Thing("floor", [solid("box", (0, 0, -0.06), (width + 0.2, depth + 0.2, 0.12), palette.floor())])
    ceiling = Thing("ceiling", [solid("box", (0, 0, height + 0.06), (width + 0.2, depth + 0.2, 0.12), palette.white())])
    things = [floor, ceiling]
    doors = 1 + (random.random() < 0.2) + (max(width, depth) > 5 and random.random() < 0.3)
    for _ in range(doors):
        things += _door(walls, height, palette, random)
    windows = int(random.choice([0, 1, 2], p=[0.18, 0.52, 0.3])) + (max(width, depth) > 5 and random.random() < 0.7)
    for number in range(max(windows, int(complete))):
        things += _window(walls, height, style, palette, random, complete and number == 0)
    for wall in walls:
        things += wall.place([Thing("wall", _wall_parts(wall, height, palette.wall))], 0.0)
        things += _trim(wall, palette, random)
    if random.random() < 0.2:
        things += _niche(width, depth, height, palette, random)
    if style.roofed:
        things += _roof(width, depth, height, style, palette, random)
    elif random.random() < 0.08:
        slope = solid("box", (width / 2 - 0.5, 0, height - 0.35), (1.6, depth, 0.12), palette.wall, 0, 0.6)
        things.append(Thing("ceiling", [slope]))
    return things


def _spot(
    walls: list[Wall], wide: float, bottom: float, top: float, random: np.random.Generator
) -> tuple[Wall, float] | None:
    """A free stretch of some wall."""
    for _ in range(20):
        wall = walls[random.integers(len(walls))]
        room = wall.length / 2 - wide / 2 - 0.1
        if room <= 0:
            continue
        y = random.uniform(-room, room)
        if wall.free(y - wide / 2 - 0.08, y + wide / 2 + 0.08, bottom, top):
            return wall, y
    return None


def _door(walls: list[Wall], height: float, palette: Palette, random: np.random.Generator) -> list[Thing]:
    wide, top = random.uniform(0.78, 1.0), min(height - 0.15, random.uniform(1.98, 2.15))
    spot = _spot(walls, wide, 0, top, random)
    if spot is None:
        return []
    wall, y = spot
    wall.openings.append(Opening("door", y - wide / 2, y + wide / 2, 0.0, top))
    wall.take(y - wide / 2 - 0.1, y + wide / 2 + 0.1, 0, top + 0.1)
    leaf = Material(palette.wall.albedo) if random.random() < 0.35 else palette.hard()
    trim = palette.trim
    frame = [solid("box", (0.0, s * (wide / 2 + 0.03), top / 2), (0.2, 0.08, top), trim) for s in (-1, 1)]
    frame.append(solid("box", (0.0, 0, top + 0.03), (0.2, wide + 0.14, 0.08), trim))
    handle = palette.metal()
    opened = random.random() < 0.3
    if opened:
        angle = random.uniform(0.7, 1.6)
        middle = np.array([np.sin(angle) * wide / 2, wide / 2 - np.cos(angle) * wide / 2])
        parts = [solid("box", (middle[0] + 0.02, middle[1], top / 2), (0.045, wide, top - 0.02), leaf, angle)]
        corridor = [
            solid("box", (-0.8, 0, height / 2), (0.1, 1.8, height), palette.wall),
            solid("box", (-0.45, 0, -0.03), (0.7, 1.8, 0.06), palette.floor()),
        ]
        return wall.place(
            [
                Thing("door", parts),
                Thing("doorframe", frame),
                Thing("wall", corridor[:1]),
                Thing("floor", corridor[1:]),
            ],
            y,
        )
    parts = [solid("box", (-0.03, 0, top / 2), (0.045, wide, top - 0.01), leaf)]
    parts += [solid("box", (0.03, s, 1.02), (0.07, 0.12, 0.03), handle) for s in (wide / 2 - 0.1,)]
    return wall.place(
        [Thing("door", parts), Thing("doorframe", frame)] if random.random() < 0.2 else [Thing("door", parts + frame)],
        y,
    )


def _window(
    walls: list[Wall], height: float, style: Style, palette: Palette, random: np.random.Generator, curtained: bool
) -> list[Thing]:
    wide = min(3.4, random.uniform(1.1, 2.8) * style.glass)
    bottom = random.choice([0.1, 0.75, 0.9], p=[0.35, 0.35, 0.3])
    top = min(height - 0.15, random.uniform(2.0, 2.4))
    spot = _spot(walls, wide, bottom, top, random)
    if spot is None:
        return []
    wall, y = spot
    wall.openings.append(Opening("window", y - wide / 2, y + wide / 2, bottom, top))
    wall.take(y - wide / 2 - 0.1, y + wide / 2 + 0.1, max(0.9, bottom), height)
    frame, middle, high = palette.trim, (bottom + top) / 2, top - bottom
    parts = [solid("box", (-0.09, 0, middle), (0.02, wide, high), palette.glass())]
    bars = max(2, round(wide / random.uniform(0.5, 1.0)) + 1)
    parts += [
        solid("box", (-0.05, float(b), middle), (0.09, 0.06, high), frame)
        for b in np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, bars)
    ]
    parts += [solid("box", (-0.05, 0, z), (0.09, wide, 0.06), frame) for z in (bottom + 0.03, top - 0.03)]
    parts.append(solid("box", (0.04, 0, bottom), (0.2, wide + 0.1, 0.04), frame))
    things = [Thing("window", parts)]
    dressing = random.random()
    if dressing < 0.4 or curtained:
        things += on_walls.curtain(
            random, palette, wide, min(height, top + 0.35), (-wall.length / 2 - y, wall.length / 2 - y)
        )
    elif dressing < 0.54:
        things += on_walls.blinds(random, palette, wide, bottom, top)
    if bottom > 0.6 and random.random() < 0.6:
        things += on_walls.radiator(random, palette)
    return wall.place(things, y)


def _wall_parts(wall: Wall, height: float, material: Material) -> list[Primitive]:
    """The wall's rectangle less its openings, as boxes in the wall's frame (its face at x = 0)."""
    cuts = sorted(
        {
            -wall.length / 2 - THICK,
            wall.length / 2 + THICK,
            *(o.low for o in wall.openings),
            *(o.high for o in wall.openings),
        }
    )
    parts = []
    for low, high in pairwise(cuts):
        holes = [o for o in wall.openings if o.low < (low + high) / 2 < o.high]
        spans = [(0.0, height)] if not holes else [(0.0, holes[0].bottom), (holes[0].top, height)]
        for bottom, top in spans:
            if high - low > 0.01 and top - bottom > 0.01:
                parts.append(
                    solid(
                        "box",
                        (-THICK / 2, (low + high) / 2, (bottom + top) / 2),
                        (THICK, high - low, top - bottom),
                        material,
                    )
                )
    return parts


def _trim(wall: Wall, palette: Palette, random: np.random.Generator) -> list[Thing]:
    """A baseboard between the doors."""
    del random
    doors = sorted((o.low, o.high) for o in wall.openings if o.kind == "door" or o.bottom < 0.3)
    edges = [-wall.length / 2, *(e for door in doors for e in door), wall.length / 2]
    spans = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a > 0.1]
    parts = [solid("box", (0.008, (a + b) / 2, 0.05), (0.016, b - a, 0.1), palette.trim) for a, b in spans]
    return wall.place([Thing("wall", parts)], 0.0) if parts else []


def _niche(width: float, depth: float, height: float, palette: Palette, random: np.random.Generator) -> list[Thing]:
    """A block of wall in a corner: the room becomes an L or gets a shaft."""
    size = random.uniform(0.3, 0.9, 2)
    x, y = random.choice([-1, 1]) * (width - size[0]) / 2, random.choice([-1, 1]) * (depth - size[1]) / 2
    return [Thing("wall", [solid("box", (x, y, height / 2), (size[0], size[1], height), palette.wall)])]


def _roof(
    width: float, depth: float, height: float, style: Style, palette: Palette, random: np.random.Generator
) -> list[Thing]:
    """Lamps and beams under the ceiling."""
    things = []
    for x in np.arange(-width / 2 + 1, width / 2 - 0.5, 2.0):
        lamp = solid("box", (float(x), random.uniform(-0.3, 0.3), height - 0.04), (0.3, 1.2, 0.08), palette.white())
        things.append(Thing("lamp", [lamp]))
    if random.random() < style.beams:
        across, reach = (width, depth) if width > depth else (depth, width)
        for place in np.arange(-across / 2 + 0.6, across / 2 - 0.3, random.uniform(1.6, 2.6)):
            drop = random.uniform(0.25, 0.5)
            size = (
                (random.uniform(0.25, 0.45), reach, drop)
                if width > depth
                else (reach, random.uniform(0.25, 0.45), drop)
            )
            center = (float(place), 0.0) if width > depth else (0.0, float(place))
            things.append(Thing("beam", [solid("box", (*center, height - drop / 2), size, palette.wall)]))
    return things
