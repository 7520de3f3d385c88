"""What furniture is made of, and seats and beds.

Every maker returns things in a local frame: front along +x, left along +y, standing on z = 0, centered in x and y on
its main thing. The first thing is the main one; the others (pillows, a jacket, a blanket) are labelled alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.primitives import Material, Primitive, solid


@dataclass(frozen=True)
class Thing:
    """One object of a scene: its raw label and its solids."""

    label: str
    parts: list[Primitive]


Maker = Callable[[np.random.Generator, Palette], list[Thing]]


Size = tuple[float, float, float]


def cuboid(x: tuple[float, float], y: tuple[float, float], z: tuple[float, float], material: Material) -> Primitive:
    """An upright box from intervals."""
    center = ((x[0] + x[1]) / 2, (y[0] + y[1]) / 2, (z[0] + z[1]) / 2)
    return solid("box", center, (x[1] - x[0], y[1] - y[0], z[1] - z[0]), material)


def legs(x: float, y: float, height: float, thick: float, material: Material, splay: float = 0.0) -> list[Primitive]:
    """Four legs at (+-x, +-y)."""
    kind = "box" if splay == 0 else "cylinder"
    return [
        solid(kind, (i * x, j * y, height / 2), (thick, thick, height), material, pitch=-i * splay, roll=j * splay)
        for i in (-1, 1)
        for j in (-1, 1)
    ]


def cushion(center: Size, size: Size, material: Material, random: np.random.Generator) -> list[Primitive]:
    """A soft block: a box with rounded ends, slightly askew."""
    yaw, pitch = random.normal(0, 0.05, 2)
    core = solid("box", center, (size[0] * 0.82, size[1] * 0.82, size[2] * 0.8), material, yaw, pitch)
    return [core, solid("ellipsoid", center, (size[0] * 1.1, size[1] * 1.1, size[2] * 1.25), material, yaw, pitch)]


def crumple(
    center: Size, size: Size, material: Material, random: np.random.Generator, lumps: int = 4
) -> list[Primitive]:
    """Cloth that lies in a heap: overlapping flat ellipsoids at odd angles."""
    parts = []
    for _ in range(lumps):
        shift = random.uniform(-0.3, 0.3, 3) * size
        yaw, pitch, roll = random.normal(0, [1.5, 0.25, 0.25])
        spread = np.array(size) * random.uniform(0.5, 0.9, 3)
        parts.append(
            solid("ellipsoid", tuple(np.array(center) + shift * [1, 1, 0.3]), tuple(spread), material, yaw, pitch, roll)
        )
    return parts


def bed(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Frame, mattress, headboard, pillows, a blanket that hangs over the edge."""
    length, width, height = (
        random.uniform(1.9, 2.1),
        random.choice([1.2, 1.4, 1.6, 1.8, 1.95]),
        random.uniform(0.34, 0.48),
    )
    x, y = length / 2, width / 2
    frame, sheet = palette.hard(), palette.fabric()
    parts = [
        cuboid((-x, x), (-y, y), (0.08, height - 0.2), frame),
        cuboid((-x + 0.03, x - 0.02), (-y + 0.02, y - 0.02), (height - 0.2, height), sheet),
    ]
    parts += legs(x - 0.08, y - 0.08, 0.1, 0.08, frame)
    if random.random() < 0.8:
        high = random.uniform(0.8, 1.1)
        parts.append(solid("box", (-x - 0.03, 0, high / 2 + 0.02), (0.07, width + 0.06, high), frame, pitch=-0.06))
    cover = palette.fabric()
    side, drop = y + 0.03, min(0.46, height - 0.06)  # of the blanket over the edge
    parts.append(cuboid((-x * 0.35, x + 0.02), (-side, side), (height - 0.02, height + 0.05), cover))
    for sign in (-1, 1):
        parts.append(
            solid(
                "box",
                (x * 0.3, sign * (y + 0.06), height + 0.05 - drop / 2),
                (length * 0.62, 0.05, drop),
                cover,
                roll=sign * 0.2,
            )
        )
    parts += crumple(
        (random.uniform(-0.2, 0.6), random.uniform(-0.3, 0.3), height + 0.04), (0.9, 0.8, 0.16), cover, random, 5
    )
    things = [Thing("bed", parts)]
    for place in np.linspace(-y + 0.35, y - 0.35, 1 if width < 1.2 else 2):
        middle = (-x + 0.3, float(place), height + 0.09)
        things.append(Thing("pillow", cushion(middle, (0.42, min(0.62, width * 0.45), 0.17), palette.fabric(), random)))
    if random.random() < 0.4:
        lump = crumple(
            (x * 0.5, random.uniform(-0.4, 0.4), height + 0.07), (0.5, 0.5, 0.22), palette.fabric(), random, 4
        )
        things.append(Thing("clothes" if random.random() < 0.5 else "blanket", lump))
    return things


def couch(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Seat cushions, a leaning back, arms, throw pillows."""
    return _sofa(random, palette, "couch", random.uniform(1.7, 2.5))


def armchair(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """A couch for one, which is a chair in ScanNet and a sofa in S3DIS."""
    return _sofa(random, palette, "armchair", random.uniform(0.75, 0.95))


def _sofa(random: np.random.Generator, palette: Palette, label: str, width: float) -> list[Thing]:
    depth, seat, back = random.uniform(0.82, 1.0), random.uniform(0.38, 0.46), random.uniform(0.74, 0.94)
    cloth = palette.fabric()
    x, y, arm = depth / 2, width / 2, random.uniform(0.1, 0.2)
    parts = [cuboid((-x + 0.05, x), (-y + 0.02, y - 0.02), (0.08, seat - 0.12), cloth)]
    parts += legs(x - 0.1, y - 0.1, 0.09, 0.06, palette.hard())
    parts.append(
        solid(
            "box", (-x + 0.14, 0, (seat + back) / 2 - 0.08), (0.2, width - 0.05, back - seat + 0.2), cloth, pitch=-0.2
        )
    )
    for sign in (-1, 1):
        parts.append(
            cuboid(
                (-x + 0.05, x), (sign * y - arm * (sign > 0), sign * y + arm * (sign < 0)), (0.08, seat + 0.16), cloth
            )
        )
        roll = solid(
            "cylinder",
            (0.02, sign * (y - arm / 2), seat + 0.16),
            (arm * 1.1, 0.14, depth - 0.1),
            cloth,
            pitch=np.pi / 2,
        )
        parts.append(roll)
    seats = max(1, round((width - 2 * arm) / 0.65))
    for place in (np.arange(seats) + 0.5) / seats * (width - 2 * arm) - y + arm:
        wide = (width - 2 * arm) / seats
        parts += cushion((0.06, float(place), seat - 0.04), (depth - 0.25, wide, 0.17), cloth, random)
        parts += cushion((-x + 0.27, float(place), seat + 0.22), (0.2, wide * 0.95, 0.44), cloth, random)
    things = [Thing(label, parts)]
    for _ in range(int(random.integers(0, 3 if label == "couch" else 2))):
        side = random.uniform(-y + 0.3, y - 0.3) if width > 1.2 else 0.0
        body = solid(
            "ellipsoid",
            (-x + 0.42, side, seat + 0.22),
            (0.17, 0.45, 0.42),
            palette.fabric(),
            random.normal(0, 0.2),
            -0.4,
        )
        things.append(Thing("pillow", [body]))
    return things


def chair(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Four legs, seat, leaning back (slats or a shell), sometimes arms or a jacket on it."""
    wide, deep, seat, top = (
        random.uniform(0.42, 0.54),
        random.uniform(0.42, 0.52),
        random.uniform(0.43, 0.48),
        random.uniform(0.82, 1.06),
    )
    frame, cover = palette.hard(), palette.any()
    splay = random.choice([0.0, 0.08])
    parts = legs(deep / 2 - 0.03, wide / 2 - 0.03, seat, 0.035, frame, splay)
    parts.append(cuboid((-deep / 2, deep / 2), (-wide / 2, wide / 2), (seat - 0.03, seat + 0.02), cover))
    if random.random() < 0.5:
        parts += cushion((0.0, 0.0, seat + 0.04), (deep * 0.95, wide * 0.95, 0.07), cover, random)
    lean, middle = random.uniform(0.1, 0.25), (seat + top) / 2
    if random.random() < 0.5:
        parts.append(
            solid(
                "box", (-deep / 2 - 0.01, 0, middle + 0.05), (0.03, wide * 0.95, top - seat - 0.05), cover, pitch=-lean
            )
        )
    else:
        for y in np.linspace(-wide / 2 + 0.03, wide / 2 - 0.03, 4):
            parts.append(
                solid("box", (-deep / 2 - 0.01, float(y), middle), (0.025, 0.03, top - seat + 0.05), frame, pitch=-lean)
            )
        parts.append(solid("box", (-deep / 2 - 0.06, 0, top - 0.05), (0.03, wide, 0.1), cover, pitch=-lean))
    if random.random() < 0.35:
        for sign in (-1, 1):
            parts.append(
                cuboid(
                    (-deep / 2, deep / 3),
                    (sign * wide / 2 - 0.02, sign * wide / 2 + 0.02),
                    (seat + 0.18, seat + 0.22),
                    frame,
                )
            )
            parts.append(
                cuboid(
                    (deep / 3 - 0.03, deep / 3),
                    (sign * wide / 2 - 0.015, sign * wide / 2 + 0.015),
                    (seat, seat + 0.2),
                    frame,
                )
            )
    return [Thing("chair", parts), *_jacket(random, palette, deep, wide, top, 0.12)]


def office_chair(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """Five-star base, column, padded seat and back, mostly with arms."""
    seat, top = random.uniform(0.44, 0.54), random.uniform(0.88, 1.15)
    frame, cover = palette.metal(), palette.fabric()
    turn = random.uniform(0, 1)
    parts = []
    for k in range(5):
        angle = (k + turn) * 2 * np.pi / 5
        reach = (0.15 * np.cos(angle), 0.15 * np.sin(angle), 0.08)
        parts.append(solid("box", reach, (0.3, 0.045, 0.05), frame, angle, 0.1))
        parts.append(solid("ellipsoid", (0.29 * np.cos(angle), 0.29 * np.sin(angle), 0.03), (0.06, 0.06, 0.06), frame))
    parts.append(solid("cylinder", (0, 0, seat / 2), (0.06, 0.06, seat - 0.06), frame))
    parts += cushion((0.02, 0, seat), (0.48, 0.48, 0.11), cover, random)
    lean = random.uniform(0.08, 0.25)
    parts.append(solid("box", (-0.24, 0, (seat + top) / 2 + 0.04), (0.07, 0.42, top - seat - 0.12), cover, pitch=-lean))
    parts.append(solid("ellipsoid", (-0.22, 0, (seat + top) / 2), (0.13, 0.46, top - seat - 0.02), cover, pitch=-lean))
    if random.random() < 0.65:
        for sign in (-1, 1):
            parts.append(solid("box", (0.0, sign * 0.28, seat + 0.2), (0.26, 0.06, 0.04), frame))
            parts.append(solid("box", (-0.02, sign * 0.27, seat + 0.08), (0.05, 0.03, 0.24), frame, roll=sign * 0.1))
    return [Thing("office chair", parts), *_jacket(random, palette, 0.5, 0.42, top, 0.1)]


def _jacket(
    random: np.random.Generator, palette: Palette, deep: float, wide: float, top: float, chance: float
) -> list[Thing]:
    """Sometimes a jacket over a chair's back."""
    if random.random() > chance:
        return []
    cloth = palette.fabric()
    parts = [
        solid(
            "ellipsoid", (-deep / 2 - 0.05, 0, top - 0.12), (0.16, wide * 1.05, 0.4), cloth, roll=random.normal(0, 0.15)
        )
    ]
    parts += crumple((-deep / 2 - 0.06, 0, top - 0.25), (0.14, wide, 0.4), cloth, random, 3)
    return [Thing("jacket", parts)]


def stool(random: np.random.Generator, palette: Palette) -> list[Thing]:
    """An ottoman: a seat without back, otherfurniture in ScanNet."""
    size, height = random.uniform(0.4, 0.6), random.uniform(0.35, 0.46)
    cloth = palette.fabric()
    return [
        Thing(
            "ottoman",
            [
                solid("box", (0, 0, height / 2 - 0.02), (size, size, height - 0.08), cloth),
                *cushion((0, 0, height - 0.04), (size, size, 0.12), cloth, random),
            ],
        )
    ]
