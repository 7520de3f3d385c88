"""Makers of the small things of a lived-in room, on surfaces and on the floor. Frames as in ``furniture``."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.furniture import Thing, crumple
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import solid


def clutter_on(
    random: np.random.Generator, palette: Palette, deep: float, wide: float, height: float, amount: float
) -> list[Thing]:
    """Books, papers, cups, bottles, boxes, a telephone on a surface."""
    things = []
    for _ in range(int(random.poisson(amount))):
        x, y = random.uniform(-deep / 2 + 0.12, deep / 2 - 0.12), random.uniform(-wide / 2 + 0.15, wide / 2 - 0.15)
        kind, yaw = random.random(), random.uniform(0, 3.1)
        if kind < 0.3:
            thick = random.uniform(0.03, 0.14)
            things.append(
                Thing("books", [solid("box", (x, y, height + thick / 2), (0.2, 0.27, thick), palette.bright(), yaw)])
            )
        elif kind < 0.5:
            things.append(
                Thing("paper", [solid("box", (x, y, height + 0.008), (0.22, 0.3, 0.016), palette.white(), yaw)])
            )
        elif kind < 0.7:
            tall = random.uniform(0.09, 0.28)
            things.append(
                Thing(
                    "bottle" if tall > 0.15 else "cup",
                    [solid("cylinder", (x, y, height + tall / 2), (0.08, 0.08, tall), palette.any())],
                )
            )
        elif kind < 0.85:
            size = random.uniform(0.1, 0.3, 3)
            things.append(
                Thing("box", [solid("box", (x, y, height + size[2] / 2), tuple(size), palette.bright(), yaw)])
            )
        else:
            things.append(
                Thing(
                    "telephone" if random.random() < 0.4 else "bag",
                    crumple((x, y, height + 0.06), (0.24, 0.2, 0.13), palette.any(), random, 3),
                )
            )
    return things


def table_lamp(random: np.random.Generator, palette: Palette, z: float) -> list[Thing]:
    """Foot, stem, shade."""
    shade = palette.white()
    parts = [
        solid("cylinder", (0, 0, z + 0.015), (0.15, 0.15, 0.03), palette.metal()),
        solid("cylinder", (0, 0, z + 0.15), (0.03, 0.03, 0.28), palette.metal()),
        solid("ellipsoid", (0, 0, z + 0.34), (0.26, 0.26, 0.24), shade),
    ]
    return [Thing("lamp", parts)]


def trash_can(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Round or square, sometimes with a bag over the rim."""
    size, high = random.uniform(0.24, 0.4), random.uniform(0.28, 0.65)
    kind = "cylinder" if random.random() < 0.6 else "box"
    parts = [solid(kind, (0, 0, high / 2), (size, size, high), palette.any())]
    if random.random() < 0.4:
        parts += crumple((0, 0, high), (size * 1.1, size * 1.1, 0.12), palette.bright(), random, 3)
    return [Thing("trash can", parts)]


def plant(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A pot and leaves at all angles."""
    high, pot = random.uniform(0.5, 1.5), random.uniform(0.2, 0.35)
    parts = [solid("cylinder", (0, 0, pot / 2), (pot, pot, pot), palette.any())]
    green = palette.bright()
    leaf = type(green)(
        (0.1 + 0.15 * random.random(), 0.25 + 0.2 * random.random(), 0.08), "stripes", (0.3, 0.45, 0.2), 0.1
    )
    for _ in range(int(random.integers(8, 16))):
        angle, reach, rise = random.uniform(0, 6.3), random.uniform(0.05, 0.3), random.uniform(pot, high)
        place = (reach * np.cos(angle), reach * np.sin(angle), rise)
        parts.append(
            solid("ellipsoid", place, (random.uniform(0.2, 0.45), 0.13, 0.04), leaf, angle, random.uniform(-0.9, 0.7))
        )
    return [Thing("plant", parts)]


def floor_lamp(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A stem with a shade."""
    high = random.uniform(1.3, 1.75)
    parts = [
        solid("cylinder", (0, 0, 0.02), (0.3, 0.3, 0.04), palette.metal()),
        solid("cylinder", (0, 0, high / 2), (0.03, 0.03, high), palette.metal()),
    ]
    return [Thing("lamp", [*parts, solid("cylinder", (0, 0, high), (0.38, 0.38, 0.3), palette.white())])]


def bag(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A backpack or bag on the floor."""
    label = "backpack" if random.random() < 0.5 else "bag"
    cloth = palette.fabric()
    high = random.uniform(0.3, 0.5)
    parts = [
        solid(
            "ellipsoid",
            (0, 0, high / 2),
            (0.28, 0.4, high * 1.1),
            cloth,
            0,
            random.normal(0, 0.3),
            random.normal(0, 0.2),
        )
    ]
    return [Thing(label, parts + crumple((0.05, 0, high / 3), (0.3, 0.36, 0.3), cloth, random, 3))]


def boxes(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A stack of cartons, one open."""
    things, z = [], 0.0
    for _ in range(int(random.integers(1, 4))):
        size = random.uniform([0.25, 0.3, 0.2], [0.5, 0.6, 0.4])
        carton = palette.wood() if random.random() < 0.6 else palette.bright()
        yaw = random.normal(0, 0.2)
        parts = [solid("box", (0, 0, z + size[2] / 2), tuple(size), carton, yaw)]
        if random.random() < 0.4:
            parts.append(
                solid(
                    "box",
                    (size[0] / 2 + 0.05, 0, z + size[2] + 0.03),
                    (0.2, size[1], 0.015),
                    carton,
                    yaw,
                    random.uniform(-0.7, 0.7),
                )
            )
        things.append(Thing("box", parts))
        z += size[2]
    return things


def heap(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Clothes, a bucket or something unnamed on the floor."""
    kind = random.random()
    if kind < 0.4:
        return [Thing("clothes", crumple((0, 0, 0.13), (0.55, 0.5, 0.22), palette.fabric(), random, 6))]
    if kind < 0.6:
        return [Thing("bucket", [solid("cylinder", (0, 0, 0.15), (0.28, 0.28, 0.3), palette.bright())])]
    size = random.uniform(0.2, 0.6, 3)
    return [
        Thing(
            "object",
            [
                solid("box", (0, 0, size[2] / 2), tuple(size), palette.any()),
                *crumple((0, 0, size[2]), (0.3, 0.3, 0.15), palette.any(), random, 3),
            ],
        )
    ]


def rug(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A flat floor mat."""
    size = (random.uniform(0.9, 1.8), random.uniform(1.3, 2.6), 0.015)
    return [Thing("rug", [solid("box", (0, 0, 0.008), size, palette.fabric())])]


def column(random: np.random.Generator, palette: Palette, height: float) -> list[Thing]:
    """From floor to ceiling, round or square."""
    size = random.uniform(0.3, 0.6)
    kind = "cylinder" if random.random() < 0.4 else "box"
    return [Thing("column", [solid(kind, (0, 0, height / 2), (size, size, height), palette.wall)])]
