"""Makers of fixtures: kitchen, bathroom, things on walls, and the clutter of a lived-in room.

Frames as in ``furniture``: front along +x. Things on walls have their back at x = 0 and stand where ``z`` puts them.
"""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.datasets.embedded.furniture import Thing, case, clutter_on, crumple, cuboid, legs
from mm3d_benchmarks.datasets.embedded.palette import Palette
from mm3d_benchmarks.datasets.embedded.primitives import Primitive, solid


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
    things.append(Thing("sink", _basin(sink_at, height, 0.42, 0.6, palette)))
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


def _basin(y: float, z: float, deep: float, wide: float, palette: Palette) -> list[Primitive]:
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
    deep, wide, high = random.uniform(0.6, 0.72), random.uniform(0.58, 0.8), random.choice([0.9, 1.6, 1.75, 1.85])
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
    parts = _basin(0, high, 0.42, random.uniform(0.45, 0.6), palette)
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
        Thing("sink", _basin(0, high + 0.04, 0.36, 0.46, palette)),
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
    if random.random() < 0.8:
        share = random.uniform(0.35, 0.9)
        start = -y if random.random() < 0.5 else y - share * wide
        things.append(
            Thing(
                "shower curtain",
                folds(x + 0.03, start, start + share * wide, random.uniform(0.15, 0.35), 2.0, palette, random),
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
        return [Thing("clothes", crumple((0, 0, 0.1), (0.55, 0.5, 0.22), palette.fabric(), random, 6))]
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


def picture(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Thin, often without a frame and close to the wall in color."""
    wide, high = random.uniform(0.25, 0.95), random.uniform(0.3, 0.8)
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
                "ellipsoid", (0.12, y, -0.45), (0.22, 0.42, 0.95), cloth, random.normal(0, 0.3), random.normal(0, 0.08)
            )
        ]
        parts += crumple((0.13, y, -0.4), (0.16, 0.34, 0.8), cloth, random, 3)
        things.append(Thing("jacket" if random.random() < 0.5 else "clothes", parts))
    return things


def wall_shelf(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A board with things on it."""
    wide = random.uniform(0.6, 1.3)
    things = clutter_on(random, palette, 0.25, wide, 0.015, random.uniform(1, 4))
    shift = np.array([0.14, 0, 0])
    board = Thing("shelf", [solid("box", (0.14, 0, 0), (0.28, wide, 0.03), palette.hard())])
    return [
        board,
        *(
            Thing(t.label, [Primitive(p.kind, p.center + shift, p.axes, material=p.material) for p in t.parts])
            for t in things
        ),
    ]


def curtain(random: np.random.Generator, palette: Palette, width: float, height: float) -> list[Thing]:
    """Two sides of a window from ceiling to floor, drawn to a random degree."""
    low = 0.05 if random.random() < 0.75 else 0.75
    things = []
    for sign in (-1, 1):
        if random.random() < 0.15:
            continue
        outer = width / 2 + 0.2
        inner = outer - random.uniform(0.25, 0.5) * width - 0.15
        span = sorted((sign * inner, sign * outer))
        things.append(Thing("curtain", folds(0.1, span[0], span[1], low, height - 0.15, palette, random)))
    return things


def blinds(random: np.random.Generator, palette: Palette, width: float, z0: float, z1: float) -> list[Thing]:
    """Slats over the upper part of a window."""
    drop = random.uniform(0.2, 0.9) * (z1 - z0)
    slat = palette.white()
    parts = [solid("box", (0.05, 0, z), (0.05, width, 0.008), slat, pitch=0.5) for z in np.arange(z1 - drop, z1, 0.05)]
    return [Thing("blinds", [*parts, solid("box", (0.05, 0, z1 + 0.02), (0.07, width, 0.05), slat)])]


def column(random: np.random.Generator, palette: Palette, height: float) -> list[Thing]:
    """From floor to ceiling, round or square."""
    size = random.uniform(0.3, 0.6)
    kind = "cylinder" if random.random() < 0.4 else "box"
    return [Thing("column", [solid(kind, (0, 0, height / 2), (size, size, height), palette.wall)])]


def stool_legs(material_of: Palette) -> list[Primitive]:
    """A plain bar stool's legs and seat."""
    wood = material_of.hard()
    return [*legs(0.15, 0.15, 0.7, 0.035, wood, 0.08), solid("cylinder", (0, 0, 0.72), (0.36, 0.36, 0.05), wood)]


def bar_stool(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A high chair at a counter."""
    del random
    return [Thing("chair", stool_legs(palette))]
