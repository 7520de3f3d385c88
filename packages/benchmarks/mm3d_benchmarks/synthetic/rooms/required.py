"""What a room of a kind may have to hold, so that every class occurs: single things, placed with insistence."""

from __future__ import annotations

from mm3d_benchmarks.synthetic.rooms import bathroom, cases, kitchen, on_walls
from mm3d_benchmarks.synthetic.rooms import furniture as fu
from mm3d_benchmarks.synthetic.rooms import tables_and_desks as tables
from mm3d_benchmarks.synthetic.rooms.placement import Furnisher
from mm3d_benchmarks.synthetic.rooms.recipes import make


def require(room: Furnisher, label: str) -> None:
    """Try hard to give a room one thing of a label."""
    maker = REQUIRED[label]
    for _ in range(8):
        if any(thing.label == label for thing in room.objects):
            return
        things = make(room, maker)
        if all(thing.label != label for thing in things):
            continue
        if label in ("picture", "whiteboard"):
            room.hang(things, 1.5)
        elif room.against_wall(things) is None:
            room.on_floor(things, any_yaw=False)


REQUIRED: dict[str, fu.Maker] = {
    "bed": fu.bed,
    "nightstand": cases.nightstand,
    "dresser": cases.dresser,
    "couch": fu.couch,
    "desk": tables.desk,
    "table": tables.dining_table,
    "bookshelf": cases.bookshelf,
    "picture": on_walls.picture,
    "whiteboard": on_walls.whiteboard,
    "kitchen counter": kitchen.kitchen_run,
    "refrigerator": kitchen.refrigerator,
    "bathtub": bathroom.bathtub,
    "shower curtain": bathroom.bathtub,
    "toilet": bathroom.toilet,
    "sink": bathroom.vanity,
}


TYPICAL: dict[str, tuple[str, ...]] = {
    "bedroom": ("bed", "dresser", "nightstand", "picture"),
    "living": ("picture", "whiteboard", "couch", "bookshelf", "table"),
    "office": ("picture", "whiteboard", "desk", "bookshelf"),
    "bathroom": ("shower curtain", "bathtub", "toilet", "sink"),
    "kitchen": ("kitchen counter", "refrigerator"),
    "conference": ("whiteboard", "bookshelf"),
    "apartment": ("picture", "kitchen counter", "refrigerator", "bed", "couch", "bookshelf", "desk", "table"),
}
