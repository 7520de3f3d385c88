"""Makers of bathroom fixtures. Frames as in ``furniture``."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.cases import case
from mm3d_benchmarks.synthetic.rooms.clutter import clutter_on
from mm3d_benchmarks.synthetic.rooms.furniture import Thing, cuboid
from mm3d_benchmarks.synthetic.rooms.kitchen import basin
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Primitive, solid


def toilet(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Bowl, seat, lid up or down, tank."""
    body = palette.white()
    parts = [
        solid("ellipsoid", (0.08, 0, 0.26), (0.54, 0.42, 0.46), body),
        solid("cylinder", (0.04, 0, 0.14), (0.42, 0.32, 0.28), body),
        solid("cylinder", (0.08, 0, 0.43), (0.54, 0.42, 0.05), body),
        cuboid((-0.38, -0.17), (-0.24, 0.24), (0.36, random.uniform(0.74, 0.86)), body),
    ]
    if random.random() < 0.7:
        parts.append(solid("cylinder", (-0.12, 0, 0.66), (0.46, 0.42, 0.03), body, pitch=1.4))
    things = [Thing("toilet", parts)]
    if random.random() < 0.6:
        things.append(Thing("trash can", [solid("cylinder", (0.0, 0.42, 0.15), (0.22, 0.22, 0.3), palette.any())]))
    return things


def pedestal_sink(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A basin on a column or on the wall."""
    high = random.uniform(0.78, 0.86)
    body = palette.white()
    parts = basin(0, high, 0.42, random.uniform(0.45, 0.6), palette)
    parts += [solid("ellipsoid", (0, 0, high - 0.08), (0.44, 0.52, 0.22), body)]
    if random.random() < 0.6:
        parts.append(solid("cylinder", (-0.05, 0, high / 2 - 0.05), (0.16, 0.16, high - 0.12), body))
    return [Thing("sink", parts)]


def vanity(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A cabinet with a basin in its top."""
    deep, wide, high = random.uniform(0.48, 0.56), random.uniform(0.7, 1.5), random.uniform(0.78, 0.86)
    base = case(random, palette, "bathroom vanity", (deep, wide, high))[0]
    top = Thing(
        "counter",
        [cuboid((-deep / 2 - 0.01, deep / 2 + 0.02), (-wide / 2, wide / 2), (high, high + 0.04), palette.hard())],
    )
    return [
        base,
        top,
        Thing("sink", basin(0, high + 0.04, 0.36, 0.46, palette)),
        *clutter_on(random, palette, deep, wide, high + 0.04, 1.2),
    ]


def bathtub(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Four walls and a floor, so that it is hollow; mostly a curtain along its open side."""
    deep, wide, high = random.uniform(0.7, 0.82), random.uniform(1.45, 1.75), random.uniform(0.42, 0.56)
    body = palette.white()
    x, y = deep / 2, wide / 2
    parts = [cuboid((s * x - 0.06 * (s > 0), s * x + 0.06 * (s < 0)), (-y, y), (0, high), body) for s in (-1, 1)]
    parts += [cuboid((-x, x), (s * y - 0.09 * (s > 0), s * y + 0.09 * (s < 0)), (0, high), body) for s in (-1, 1)]
    parts += [
        cuboid((-x, x), (-y, y), (0.02, 0.12), body),
        solid("box", (0, -y + 0.25, high / 2), (deep - 0.1, 0.1, high), body, roll=0.5),
    ]
    parts.append(solid("cylinder", (0, y - 0.1, high + 0.1), (0.05, 0.05, 0.2), palette.metal()))
    things = [Thing("bathtub", parts)]
    if random.random() < 0.9:  # drawn aside, before the tub or hanging into it
        share = random.uniform(0.4, 0.8)
        start = -y if random.random() < 0.5 else y - share * wide
        low = high - random.uniform(0.05, 0.25)
        things.append(
            Thing(
                "shower curtain",
                folds(
                    x + (0.03 if random.random() < 0.4 else -0.1),
                    start,
                    start + share * wide,
                    low,
                    2.0,
                    palette,
                    random,
                ),
            )
        )
    return things


def shower(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A tray in a corner behind a curtain."""
    side = random.uniform(0.8, 1.0)
    tray = Thing("object", [cuboid((-side / 2, side / 2), (-side / 2, side / 2), (0, 0.1), palette.white())])
    return [
        tray,
        Thing(
            "shower curtain", folds(side / 2, -side / 2, side / 2 * random.uniform(0.2, 1), 0.2, 2.0, palette, random)
        ),
    ]


def folds(
    x: float, y0: float, y1: float, z0: float, z1: float, palette: Palette, random: np.random.Generator
) -> list[Primitive]:
    """Hanging cloth: upright elliptic cylinders side by side at alternating angles, and a rod."""
    cloth = palette.fabric() if random.random() < 0.6 else palette.white()
    pitch = random.uniform(0.07, 0.14)
    count = max(2, round((y1 - y0) / pitch))
    parts = []
    for k, y in enumerate(np.linspace(y0, y1, count)):
        turn = (-1) ** k * random.uniform(0.3, 0.8)
        spread = random.uniform(0.9, 1.15)
        parts.append(
            solid(
                "cylinder",
                (x + random.normal(0, 0.012), float(y), (z0 + z1) / 2),
                (0.05 * spread, pitch * 1.5, z1 - z0),
                cloth,
                turn,
                0,
                random.normal(0, 0.012),
            )
        )
    parts.append(
        solid("cylinder", (x, (y0 + y1) / 2, z1 + 0.02), (0.03, 0.03, y1 - y0 + 0.2), palette.metal(), roll=np.pi / 2)
    )
    return parts
