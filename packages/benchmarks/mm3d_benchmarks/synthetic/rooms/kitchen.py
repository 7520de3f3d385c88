"""Makers of kitchen runs and of machines. Frames as in ``furniture``."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.cases import case
from mm3d_benchmarks.synthetic.rooms.clutter import clutter_on
from mm3d_benchmarks.synthetic.rooms.furniture import Thing, cuboid, legs
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Primitive, solid


def kitchen_run(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Counter on lower cabinets with a sink and a stove, upper cabinets, perhaps a fridge at the end."""
    wide, deep, height = random.uniform(1.8, 3.2), random.uniform(0.58, 0.66), random.uniform(0.86, 0.93)
    y = wide / 2
    top = palette.hard()
    sink_at, stove_at = (-y * 0.45, y * 0.55) if random.random() < 0.5 else (y * 0.45, -y * 0.55)
    lower = case(random, palette, "kitchen cabinets", (deep - 0.04, wide, height - 0.04))[0]
    slabs = [cuboid((-deep / 2, deep / 2), (-y, y), (height - 0.04, height), top)]
    slabs.append(cuboid((-deep / 2, -deep / 2 + 0.02), (-y, y), (height, height + random.uniform(0.08, 0.5)), top))
    counter = Thing("kitchen counter", slabs)
    things = [lower, counter]
    things.append(Thing("sink", basin(sink_at, height, 0.42, 0.6, palette)))
    stove = palette.metal()
    plates = [
        solid("cylinder", (x, stove_at + dy, height + 0.015), (0.2, 0.2, 0.02), palette.dark())
        for x in (-0.12, 0.14)
        for dy in (-0.14, 0.14)
    ]
    front = solid("box", (deep / 2 - 0.005, stove_at, height / 2), (0.03, 0.58, height - 0.1), palette.dark())
    things.append(
        Thing("stove", [solid("box", (0, stove_at, height + 0.005), (deep - 0.08, 0.58, 0.02), stove), front, *plates])
    )
    if random.random() < 0.8:
        upper = case(random, palette, "kitchen cabinet", (0.35, wide * random.uniform(0.5, 1.0), 0.62))[0]
        rise = np.array([-deep / 2 + 0.18, random.uniform(-0.2, 0.2), random.uniform(1.4, 1.55)])
        things.append(
            Thing(upper.label, [Primitive(p.kind, p.center + rise, p.axes, material=p.material) for p in upper.parts])
        )
    if random.random() < 0.8:
        side = random.choice([-1, 1])
        cold = refrigerator(random, palette)[0]
        shift = np.array([0.03, side * (y + 0.38), 0])
        things.append(
            Thing(cold.label, [Primitive(p.kind, p.center + shift, p.axes, material=p.material) for p in cold.parts])
        )
    return things + clutter_on(random, palette, deep, wide, height, random.uniform(1, 4))


def basin(y: float, z: float, deep: float, wide: float, palette: Palette) -> list[Primitive]:
    """A rim, a bowl that looks hollow, a tap."""
    body, tap = palette.white() if palette.random.random() < 0.6 else palette.metal(), palette.metal()
    parts = [
        cuboid((s * deep / 2 - 0.03, s * deep / 2 + 0.03), (y - wide / 2, y + wide / 2), (z - 0.02, z + 0.03), body)
        for s in (-1, 1)
    ]
    parts += [
        cuboid((-deep / 2, deep / 2), (y + s * wide / 2 - 0.03, y + s * wide / 2 + 0.03), (z - 0.02, z + 0.03), body)
        for s in (-1, 1)
    ]
    parts.append(solid("ellipsoid", (0, y, z - 0.01), (deep, wide, 0.04), body))
    parts += [
        solid("cylinder", (-deep / 2 + 0.03, y, z + 0.12), (0.035, 0.035, 0.24), tap),
        solid("box", (-deep / 2 + 0.1, y, z + 0.24), (0.18, 0.035, 0.03), tap),
    ]
    return parts


def refrigerator(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """White or steel, the size of a narrow wardrobe."""
    deep, wide, high = (
        random.uniform(0.6, 0.72),
        random.uniform(0.58, 0.8),
        random.choice([0.9, 1.55, 1.65, 1.75, 1.85], p=[0.1, 0.15, 0.25, 0.25, 0.25]),
    )
    body = palette.white() if random.random() < 0.6 else palette.metal()
    split, handle = high * random.uniform(0.6, 0.72), palette.metal()
    parts = [cuboid((-deep / 2, deep / 2 - 0.06), (-wide / 2, wide / 2), (0.02, high), body)]
    parts += [
        cuboid((deep / 2 - 0.055, deep / 2), (-wide / 2, wide / 2), span, body)
        for span in ((0.05, split - 0.01), (split + 0.01, high))
    ]
    parts += [
        solid("box", (deep / 2 + 0.03, wide / 2 - 0.07, z), (0.03, 0.03, 0.3), handle)
        for z in (split - 0.25, split + 0.2)
    ]
    return [Thing("refrigerator", parts)]


def washing_machine(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A white cube with a round window."""
    body = palette.white()
    parts = [
        cuboid((-0.3, 0.28), (-0.3, 0.3), (0.01, 0.85), body),
        solid("cylinder", (0.29, 0, 0.45), (0.36, 0.36, 0.05), palette.dark(), pitch=np.pi / 2),
    ]
    del random
    return [Thing("washing machine", parts)]


def copier(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A grey block with a tray."""
    high = random.uniform(0.9, 1.15)
    body = palette.white()
    parts = [
        cuboid((-0.32, 0.3), (-0.3, 0.3), (0.03, high - 0.12), body),
        cuboid((-0.3, 0.28), (-0.32, 0.32), (high - 0.1, high), palette.metal()),
    ]
    parts.append(solid("box", (0.05, 0.45, high - 0.3), (0.4, 0.3, 0.03), body, roll=0.3))
    return [Thing("copier", parts)]


def stool_legs(material_of: Palette) -> list[Primitive]:
    """A plain bar stool's legs and seat."""
    wood = material_of.hard()
    return [*legs(0.15, 0.15, 0.7, 0.035, wood, 0.08), solid("cylinder", (0, 0, 0.72), (0.36, 0.36, 0.05), wood)]


def bar_stool(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A high chair at a counter."""
    del random
    return [Thing("chair", stool_legs(palette))]
