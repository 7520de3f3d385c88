"""Makers of cabinets, dressers, wardrobes and shelves. Frames as in ``furniture``."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mm3d_benchmarks.synthetic.rooms.clutter import clutter_on, table_lamp
from mm3d_benchmarks.synthetic.rooms.furniture import Size, Thing, cuboid
from mm3d_benchmarks.synthetic.rooms.palette import Palette, shade
from mm3d_benchmarks.synthetic.rooms.primitives import Material, solid


def case(random: np.random.Generator, palette: Palette, label: str, size: Size) -> list[Thing]:
    """Cabinet, dresser, nightstand, wardrobe: a box with fronts, seams and knobs, one door perhaps ajar."""
    deep, wide, high = size
    body = palette.hard()
    front = Material(
        body.albedo, "panels", shade(body.albedo, 0.35), max(0.2, min(wide, high) * random.uniform(0.35, 0.6))
    )
    x, y = deep / 2, wide / 2
    parts = [
        cuboid((-x, x - 0.02), (-y, y), (0.05, high), body),
        cuboid((-x + 0.04, x - 0.06), (-y + 0.03, y - 0.03), (0, 0.06), palette.dark()),
    ]
    parts.append(cuboid((x - 0.02, x), (-y + 0.01, y - 0.01), (0.08, high - 0.03), front))
    knob = palette.metal()
    for row in np.linspace(0.25, 0.8, int(random.integers(1, 4))):
        parts.append(
            solid("ellipsoid", (x + 0.015, random.choice([-1, 1]) * wide * 0.2, row * high), (0.03, 0.09, 0.03), knob)
        )
    if label in ("wardrobe", "cabinet") and random.random() < 0.2:
        parts.append(
            solid(
                "box",
                (x + 0.12, y - 0.02, high / 2),
                (0.03, min(0.4, wide / 2), high * 0.9),
                front,
                random.uniform(0.9, 1.3),
            )
        )
    things = [Thing(label, parts)]
    return things + (clutter_on(random, palette, deep, wide, high, random.uniform(0.3, 1.8)) if high < 1.4 else [])


def cabinet(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A sideboard or a tall cupboard."""
    high = random.uniform(0.45, 0.8) if random.random() < 0.5 else random.uniform(1.6, 2.1)
    return case(random, palette, "cabinet", (random.uniform(0.38, 0.6), random.uniform(0.6, 1.5), high))


def file_cabinet(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Metal drawers, low or high."""
    return case(
        random,
        palette,
        "file cabinet",
        (random.uniform(0.45, 0.62), random.uniform(0.4, 0.9), random.choice([0.55, 0.7, 1.05, 1.35])),
    )


def nightstand(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Beside a bed, mostly with a lamp."""
    high = random.uniform(0.45, 0.65)
    things = case(random, palette, "nightstand", (random.uniform(0.35, 0.5), random.uniform(0.4, 0.6), high))[:1]
    return things + (table_lamp(random, palette, high) if random.random() < 0.7 else [])


def dresser(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Drawers at hip height."""
    return case(
        random, palette, "dresser", (random.uniform(0.42, 0.55), random.uniform(0.8, 1.5), random.uniform(0.75, 1.15))
    )


def wardrobe(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """As high as a door."""
    return case(
        random, palette, "wardrobe", (random.uniform(0.5, 0.65), random.uniform(0.9, 2.0), random.uniform(1.8, 2.2))
    )


def tv_stand(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A low case and a screen."""
    high = random.uniform(0.4, 0.6)
    things = case(random, palette, "tv stand", (random.uniform(0.38, 0.5), random.uniform(1.1, 1.7), high))[:1]
    wide = random.uniform(0.8, 1.25)
    parts = [
        solid("box", (0, 0, high + 0.08 + wide * 0.29), (0.06, wide, wide * 0.57), palette.dark()),
        solid("box", (0, 0, high + 0.05), (0.2, 0.5, 0.1), palette.metal()),
    ]
    return [*things, Thing("tv", parts)]


def bookshelf(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Boards and sides, rows of books of uneven length."""
    return _shelf(random, palette, "bookshelf", True)


def open_shelf(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """The same boards with boxes: ``shelf`` is outside ScanNet's classes."""
    return _shelf(random, palette, "shelf", False)


def _shelf(random: np.random.Generator, palette: Palette, label: str, books: bool) -> list[Thing]:
    deep, wide, high = random.uniform(0.26, 0.42), random.uniform(0.7, 1.6), random.choice([0.8, 1.1, 1.8, 2.0, 2.2])
    board = palette.hard()
    x, y = deep / 2, wide / 2
    parts = [cuboid((-x, x), (s * (y - 0.012) - 0.012, s * (y - 0.012) + 0.012), (0, high), board) for s in (-1, 1)]
    if random.random() < 0.7:
        parts.append(cuboid((-x, -x + 0.015), (-y, y), (0, high), board))
    levels = np.linspace(0.08, high - 0.02, max(3, round(high / 0.36)))
    things = []
    for low, above in pairwise(levels):
        parts.append(cuboid((-x, x), (-y, y), (low - 0.02, low), board))
        gap = above - low - 0.03
        if books and random.random() < 0.9:
            left = -y + 0.03
            while left < y - 0.15 and random.random() < 0.92:
                run = min(random.uniform(0.15, 0.6), y - 0.03 - left)
                tall = gap * random.uniform(0.6, 0.92)
                lean = random.normal(0, 0.08) if random.random() < 0.3 else 0.0
                parts.append(
                    solid(
                        "box",
                        (random.uniform(-0.03, 0.04), left + run / 2, low + tall / 2),
                        (deep * 0.7, run, tall),
                        palette.books(),
                        0,
                        0,
                        lean,
                    )
                )
                left += run + random.choice([0.0, 0.02, 0.12])
        elif not books and random.random() < 0.8:
            size = (deep * 0.8, random.uniform(0.2, min(0.5, wide * 0.6)), gap * random.uniform(0.5, 0.95))
            place = (0.0, random.uniform(-y + 0.3, y - 0.3), low + size[2] / 2)
            things.append(Thing("box", [solid("box", place, size, palette.bright(), random.normal(0, 0.1))]))
    parts.append(cuboid((-x, x), (-y, y), (high - 0.02, high), board))
    return [Thing(label, parts), *things]
