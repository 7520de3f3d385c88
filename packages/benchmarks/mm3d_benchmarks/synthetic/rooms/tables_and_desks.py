"""Makers of tables, desks and what makes a table a desk. Frames as in ``furniture``."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.clutter import clutter_on
from mm3d_benchmarks.synthetic.rooms.furniture import Size, Thing, cuboid, legs
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import solid


def _table(random: np.random.Generator, palette: Palette, label: str, size: Size) -> list[Thing]:
    """A top on four legs, slabs or a pedestal; round when it is nearly square."""
    deep, wide, height = size
    top, below = palette.hard(), palette.hard()
    round_top = abs(deep - wide) < 0.15 and random.random() < 0.5
    kind = "cylinder" if round_top else "box"
    parts = [solid(kind, (0, 0, height - 0.02), (deep, wide, 0.04), top)]
    if round_top or random.random() < 0.15:
        parts += [
            solid("cylinder", (0, 0, height / 2), (0.1, 0.1, height - 0.06), below),
            solid("cylinder", (0, 0, 0.02), (0.55, 0.55, 0.04), below),
        ]
    elif random.random() < 0.65:
        parts += legs(
            deep / 2 - 0.06,
            wide / 2 - 0.06,
            height - 0.04,
            random.uniform(0.04, 0.07),
            below,
            random.choice([0.0, 0.05]),
        )
        parts.append(solid("box", (0, 0, height - 0.08), (deep - 0.1, wide - 0.1, 0.08), below))
    else:
        parts += [
            cuboid(
                (-deep / 2 + 0.05, deep / 2 - 0.05),
                (s * (wide / 2 - 0.1) - 0.02, s * (wide / 2 - 0.1) + 0.02),
                (0, height - 0.04),
                below,
            )
            for s in (-1, 1)
        ]
    return [Thing(label, parts), *clutter_on(random, palette, deep, wide, height, random.uniform(0.4, 2.0))]


def dining_table(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """For two to six."""
    square = random.random() < 0.35
    deep = random.uniform(0.75, 1.1)
    return _table(
        random, palette, "table", (deep, deep if square else random.uniform(1.3, 2.1), random.uniform(0.7, 0.78))
    )


def meeting_table(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """For a whole meeting."""
    return _table(
        random, palette, "table", (random.uniform(1.1, 1.5), random.uniform(2.2, 3.4), random.uniform(0.72, 0.77))
    )


def coffee_table(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Low, before a couch."""
    return _table(
        random,
        palette,
        "coffee table",
        (random.uniform(0.5, 0.75), random.uniform(0.7, 1.3), random.uniform(0.35, 0.48)),
    )


def end_table(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Small, beside a couch."""
    side = random.uniform(0.4, 0.55)
    return _table(random, palette, "end table", (side, side, random.uniform(0.45, 0.6)))


def desk(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A table that a screen, a keyboard, papers and a drawer unit make a desk."""
    deep, wide, height = random.uniform(0.6, 0.8), random.uniform(1.1, 1.7), random.uniform(0.7, 0.77)
    things = _table(random, palette, "desk", (deep, wide, height))
    case = palette.hard()
    if random.random() < 0.6:
        side = random.choice([-1, 1]) * (wide / 2 - 0.25)
        things[0].parts.append(
            cuboid((-deep / 2 + 0.05, deep / 2 - 0.08), (side - 0.2, side + 0.2), (0.03, height - 0.06), case)
        )
    for y in (
        random.uniform(-0.25, 0.25, 1 if wide < 1.5 else 2) + (np.array([-0.35, 0.35]) if wide >= 1.5 else 0)
    ).tolist():
        if random.random() < 0.8:
            things += monitor(random, palette, -deep / 2 + 0.22, y, height)
    things.append(
        Thing(
            "keyboard",
            [
                solid(
                    "box",
                    (deep / 2 - 0.2, random.normal(0, 0.1), height + 0.015),
                    (0.15, 0.43, 0.025),
                    palette.dark(),
                    random.normal(0, 0.1),
                )
            ],
        )
    )
    return things


def monitor(random: np.random.Generator, palette: Palette, x: float, y: float, z: float) -> list[Thing]:
    """A screen on a foot."""
    wide, high, yaw = random.uniform(0.4, 0.62), random.uniform(0.28, 0.38), random.normal(0, 0.2)
    screen, frame = palette.dark(), palette.metal()
    parts = [
        solid("box", (x, y, z + 0.12 + high / 2), (0.04, wide, high), screen, yaw, -0.08),
        solid("box", (x - 0.03, y, z + 0.08), (0.04, 0.06, 0.16), frame, yaw),
        solid("cylinder", (x - 0.02, y, z + 0.01), (0.2, 0.24, 0.02), frame),
    ]
    return [Thing("monitor", parts)]


def bench(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A low table to sit on."""
    length, height = random.uniform(0.9, 1.5), random.uniform(0.42, 0.48)
    wood = palette.hard()
    return [
        Thing(
            "bench",
            [
                cuboid((-0.18, 0.18), (-length / 2, length / 2), (height - 0.05, height), wood),
                *legs(0.13, length / 2 - 0.1, height - 0.05, 0.06, wood),
            ],
        )
    ]
