"""Makers of things on walls: their back is at x = 0, and they hang where ``z`` puts them."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.bathroom import folds
from mm3d_benchmarks.synthetic.rooms.clutter import clutter_on
from mm3d_benchmarks.synthetic.rooms.furniture import Thing, crumple, cuboid
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Primitive, extent, solid


def picture(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Thin, often without a frame and close to the wall in color."""
    wide, high = random.uniform(0.3, 1.1), random.uniform(0.35, 0.9)
    parts = [solid("box", (0.009, 0, 0), (0.018, wide, high), palette.poster())]
    if random.random() < 0.4:
        frame = palette.hard()
        parts += [solid("box", (0.014, s * wide / 2, 0), (0.028, 0.03, high + 0.03), frame) for s in (-1, 1)]
        parts += [solid("box", (0.014, 0, s * high / 2), (0.028, wide, 0.03), frame) for s in (-1, 1)]
    return [Thing("picture" if random.random() < 0.7 else "poster", parts)]


def mirror(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Sensors see little of it."""
    wide, high = random.uniform(0.4, 1.1), random.uniform(0.5, 1.1)
    pane = palette.glass()
    return [Thing("mirror", [solid("box", (0.012, 0, 0), (0.024, wide, high), pane)])]


def whiteboard(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A white board with a frame and a tray."""
    wide, high = random.uniform(1.2, 3.0), random.uniform(0.95, 1.25)
    rim = palette.metal()
    parts = [
        solid("box", (0.012, 0, 0), (0.024, wide, high), palette.white()),
        solid("box", (0.05, 0, -high / 2), (0.09, wide * 0.8, 0.02), rim),
    ]
    return [Thing("whiteboard", [*parts, solid("box", (0.015, 0, high / 2), (0.03, wide, 0.03), rim)])]


def radiator(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Ribs under a window."""
    wide, high = random.uniform(0.7, 1.5), random.uniform(0.45, 0.62)
    body = palette.white()
    ribs = [
        solid("cylinder", (0.06, float(y), 0.12 + high / 2), (0.1, 0.05, high), body)
        for y in np.arange(-wide / 2, wide / 2, 0.08)
    ]
    return [Thing("radiator", [*ribs, cuboid((0.02, 0.1), (-wide / 2, wide / 2), (0.11, 0.15), body)])]


def towel(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """On a rail."""
    wide = random.uniform(0.35, 0.6)
    cloth = palette.fabric()
    parts = [
        solid("box", (0.07, 0, -0.3), (0.04, wide, 0.6), cloth, 0, random.normal(0, 0.05)),
        solid("ellipsoid", (0.08, 0, -0.35), (0.09, wide, 0.6), cloth),
    ]
    return [
        Thing(
            "towel",
            [*parts, solid("cylinder", (0.07, 0, 0), (0.03, 0.03, wide + 0.15), palette.metal(), roll=np.pi / 2)],
        )
    ]


def coats(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Clothes on hooks."""
    things = []
    for k in range(int(random.integers(1, 4))):
        y = (k - 1) * 0.35
        cloth = palette.fabric()
        parts = [
            solid(
                "ellipsoid", (0.19, y, -0.45), (0.22, 0.42, 0.95), cloth, random.normal(0, 0.3), random.normal(0, 0.08)
            )
        ]
        parts += crumple((0.22, y, -0.4), (0.14, 0.34, 0.8), cloth, random, 3)
        things.append(Thing("jacket" if random.random() < 0.5 else "clothes", parts))
    return things


def wall_shelf(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A board with things on it."""
    wide = random.uniform(0.6, 1.3)
    things = clutter_on(random, palette, 0.25, wide, 0.015, random.uniform(1, 4))
    shift = np.array([0.16, 0, 0])
    board = Thing("shelf", [solid("box", (0.14, 0, 0), (0.28, wide, 0.03), palette.hard())])
    return [
        board,
        *(
            Thing(t.label, [Primitive(p.kind, p.center + shift, p.axes, material=p.material) for p in t.parts])
            for t in things
        ),
    ]


def curtain(
    random: np.random.Generator, palette: Palette, width: float, height: float, reach: tuple[float, float]
) -> list[Thing]:
    """Two sides of a window from ceiling to floor, drawn to a random degree.

    Args:
        reach: where the wall begins and ends, metres from the window's middle.
    """
    low = 0.05 if random.random() < 0.75 else 0.75
    sides = []
    for sign in (-1, 1):
        if random.random() < 0.15:
            continue
        outer = width / 2 + 0.2
        inner = outer - random.uniform(0.2, 0.45) * width - 0.12
        span = sorted((sign * inner, sign * outer))
        cloth = folds(0.1, span[0], span[1], low, height - 0.15, palette, random)
        sides.append([p for p in cloth if extent([p])[0][1] > reach[0] and extent([p])[1][1] < reach[1]])
    if random.random() < 0.7:  # annotators mostly take both sides for one curtain
        sides = [[part for side in sides for part in side]]
    return [Thing("curtain", parts) for parts in sides if parts]


def blinds(random: np.random.Generator, palette: Palette, width: float, z0: float, z1: float) -> list[Thing]:
    """Slats over the upper part of a window."""
    drop = random.uniform(0.2, 0.9) * (z1 - z0)
    slat = palette.white()
    parts = [solid("box", (0.05, 0, z), (0.05, width, 0.008), slat, pitch=0.5) for z in np.arange(z1 - drop, z1, 0.05)]
    return [Thing("blinds", [*parts, solid("box", (0.05, 0, z1 + 0.02), (0.07, width, 0.05), slat)])]
