"""Furnished rooms of a kind: shell, furniture, decoration."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mm3d_benchmarks.synthetic.rooms import cases, clutter, on_walls
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.palette import Palette
from mm3d_benchmarks.synthetic.rooms.placement import Furnisher, Room
from mm3d_benchmarks.synthetic.rooms.recipes import RECIPES, decorate
from mm3d_benchmarks.synthetic.rooms.required import TYPICAL, require
from mm3d_benchmarks.synthetic.rooms.shell import Style, build_shell, make_walls

# kind -> (share of ScanNet's scans, mean width, mean depth in metres, ScanNet's sceneType)
KINDS: dict[str, tuple[float, float, float, str]] = {
    "bedroom": (0.2, 3.7, 4.3, "Bedroom / Hotel"),
    "living": (0.16, 4.2, 5.0, "Living room / Lounge"),
    "office": (0.18, 3.7, 4.6, "Office"),
    "bathroom": (0.17, 2.5, 3.0, "Bathroom"),
    "conference": (0.12, 4.5, 6.0, "Conference Room"),
    "kitchen": (0.08, 3.1, 3.9, "Kitchen"),
    "apartment": (0.05, 6.0, 5.6, "Apartment"),
    "classroom": (0.06, 5.6, 6.6, "Classroom"),
    "storage": (0.03, 2.6, 3.4, "Storage/Basement/Garage"),
    "hallway": (0.02, 1.8, 6.0, "Hallway"),
    "library": (0.03, 4.4, 5.4, "Bookstore / Library"),
}


def furnish(
    kind: str,
    style: Style,
    knobs: Knobs,
    layout: np.random.Generator,
    appearance: np.random.Generator,
    visit: np.random.Generator,
    calm: bool = True,
    complete: bool = False,
) -> Room:
    """A room of a kind.

    Args:
        layout: stream of sizes and positions: the same for every visit of a place.
        appearance: stream of materials: the same for every visit.
        visit: stream of what has been moved.
        calm: a first visit, which moves nothing.
        complete: see to it that the room has what is typical of its kind (small profiles must hold every class).
    """
    _, mean_width, mean_depth, _ = KINDS[kind]
    width, depth = np.array([mean_width, mean_depth]) * np.exp(layout.normal(0, 0.16 * (1 + 0.5 * knobs.variety), 2))
    if layout.random() < 0.5:
        width, depth = depth, width
    height = float(layout.uniform(*style.height))
    palette = Palette(appearance, knobs.palette_overlap * (1 - 0.6 * knobs.variety))
    walls = make_walls(width, depth)
    shell = build_shell(walls, width, depth, height, style, palette, layout, complete)
    room = Furnisher(width, depth, height, layout, None if calm else visit, palette, knobs, style.clutter, walls)
    room.structure(shell)
    for wall in walls:
        for opening in wall.openings:
            if opening.kind == "door":
                room.keep_clear(wall, opening.low, opening.high, 0.45 if kind == "bathroom" else 0.7)
    for _ in range(max(int(layout.poisson(style.columns)), int(complete and style.roofed))):
        room.on_floor(clutter.column(layout, palette, height), any_yaw=False)
    work = kind in ("office", "conference", "classroom", "library")
    for _ in range(int(layout.poisson(style.boards if work else 0.03))):
        room.hang(on_walls.whiteboard(layout, palette), 1.5)
    for _ in range(int(layout.poisson(style.bookcases if work else 0))):
        room.against_wall(cases.bookshelf(layout, palette))
    for label in TYPICAL.get(kind, ()) if complete else ():
        require(room, label)
    RECIPES[kind](room)
    decorate(room, kind, style)
    return _stretched(Room(kind, np.array([width, depth, height]), room.objects, room.parts), knobs.variety, layout)


def _stretched(room: Room, variety: float, layout: np.random.Generator) -> Room:
    """The room with everything in it larger or smaller by one factor along the floor, and by another one upwards."""
    if variety <= 0:
        return room
    along, up = np.exp(np.clip(variety * layout.normal(0, (0.1, 0.14)), -0.35, 0.35))
    scale = np.array([along, along, up])
    parts = [replace(part, center=scale * part.center, axes=scale[:, None] * part.axes) for part in room.parts]
    objects = [
        replace(thing, low=scale * thing.low, high=scale * thing.high, origin=scale * thing.origin)
        for thing in room.objects
    ]
    return Room(room.kind, scale * room.size, objects, parts)
