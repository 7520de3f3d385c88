"""What each kind of room holds, in groups that make context: a bed with nightstands, a table ringed by chairs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mm3d_benchmarks.synthetic.rooms import bathroom, cases, clutter, kitchen, on_walls
from mm3d_benchmarks.synthetic.rooms import furniture as fu
from mm3d_benchmarks.synthetic.rooms import tables_and_desks as tables
from mm3d_benchmarks.synthetic.rooms.furniture import Thing
from mm3d_benchmarks.synthetic.rooms.placement import Furnisher
from mm3d_benchmarks.synthetic.rooms.primitives import extent
from mm3d_benchmarks.synthetic.rooms.shell import Style


def make(room: Furnisher, maker: fu.Maker) -> list[Thing]:
    return maker(room.random, room.palette)


def _insist(room: Furnisher, maker: fu.Maker, gap: float = 0.03, tries: int = 6) -> bool:
    """Place what its kind of room cannot do without: other proportions are tried until something fits."""
    return any(room.against_wall(make(room, maker), gap) is not None for _ in range(tries))


def _ring(
    room: Furnisher, table: tuple[float, np.ndarray], deep: float, wide: float, chairs: int, maker: fu.Maker
) -> None:
    """Chairs around a table, facing it, tucked in a little."""
    yaw, origin = table
    per_side = max(1, int(wide // 0.62))
    seats = [
        (s * (deep / 2 + 0.12), (k + 0.5) / per_side * wide - wide / 2, np.pi if s > 0 else 0.0)
        for s in (-1, 1)
        for k in range(per_side)
    ]
    seats += [(0.0, s * (wide / 2 + 0.15), -s * np.pi / 2) for s in (-1, 1)]
    for x, y, turn in [seats[i] for i in room.random.permutation(len(seats))][:chairs]:
        room.near(make(room, maker), yaw, origin, x, y, turn)


def _workplace(room: Furnisher, wall: bool = True) -> bool:
    """A desk with its chair."""
    things = make(room, tables.desk)
    spot = room.against_wall(things) if wall else room.on_floor(things, any_yaw=False)
    if spot is None:
        return False
    deep = float(np.ptp(extent(things[0].parts), axis=0)[0])
    room.near(
        make(room, fu.office_chair if room.random.random() < 0.8 else fu.chair),
        *spot,
        deep / 2 + 0.15,
        0.0,
        np.pi,
        0.1,
    )
    return True


def _sleep(room: Furnisher) -> None:
    for _ in range(5):
        things = make(room, fu.bed)
        low, high = extent(things[0].parts)
        spot = room.against_wall(things) or room.on_floor(things, any_yaw=False)
        if spot is not None:
            break
    else:
        return
    for side in (-1, 1):
        if room.random.random() < 0.75:
            room.near(make(room, cases.nightstand), *spot, low[0] + 0.28, side * (high[1] + 0.32), 0.0, 0.02)


def _lounge(room: Furnisher) -> None:
    """Couch, low table, armchairs, television."""
    for _ in range(5):
        spot = room.against_wall(make(room, fu.couch))
        if spot is not None:
            break
    else:
        spot = room.on_floor(make(room, fu.couch), any_yaw=False)
    if spot is not None:
        if room.random.random() < 0.5:
            room.near(make(room, clutter.rug), *spot, 1.1, 0.0, 0.0)
        if room.random.random() < 0.95:
            room.near(make(room, tables.coffee_table), *spot, 1.05, 0.0, 0.0)
        for side in (-1, 1):
            if room.random.random() < 0.5:
                room.near(make(room, fu.armchair), *spot, 1.2, side * 1.5, -side * np.pi / 2, 0.15)
            if room.random.random() < 0.5:
                room.near(make(room, tables.end_table), *spot, -0.1, side * 1.4, 0.0)
    if room.random.random() < 0.7:
        room.against_wall(make(room, cases.tv_stand))


def _dine(room: Furnisher, chairs: int) -> None:
    things = make(room, tables.dining_table)
    deep, wide, _ = np.ptp(extent(things[0].parts), axis=0)
    spot = room.on_floor(things, any_yaw=False)
    if spot is not None:
        _ring(room, spot, deep, wide, chairs, fu.chair)


def _bedroom(room: Furnisher) -> None:
    _sleep(room)
    if room.random.random() < 0.25:
        _sleep(room)
    _some(
        room,
        [
            (cases.wardrobe, 0.7),
            (kitchen.refrigerator, 0.1),
            (cases.dresser, 0.3),
            (cases.bookshelf, 0.2),
            (cases.cabinet, 0.8),
            (fu.couch, 0.12),
            (fu.armchair, 0.4),
            (fu.stool, 0.3),
            (cases.tv_stand, 0.3),
        ],
    )
    if room.random.random() < 0.6:
        _workplace(room)


def _living(room: Furnisher) -> None:
    _lounge(room)
    if room.random.random() < 0.45:
        _dine(room, int(room.random.integers(2, 7)))
    if room.random.random() < 0.25:
        _workplace(room)
    _some(
        room,
        [
            (cases.bookshelf, 0.4),
            (cases.cabinet, 0.8),
            (fu.couch, 0.4),
            (clutter.floor_lamp, 0.6),
            (fu.stool, 0.4),
            (kitchen.refrigerator, 0.1),
            (cases.open_shelf, 0.2),
        ],
    )


def _office(room: Furnisher) -> None:
    for _ in range(int(room.random.integers(1, 4))):
        _workplace(room, wall=room.random.random() < 0.8)
    if room.random.random() < 0.75:
        _dine(room, int(room.random.integers(3, 7)))
    _some(
        room,
        [
            (cases.bookshelf, 0.4),
            (cases.file_cabinet, 0.7),
            (fu.stool, 0.2),
            (cases.cabinet, 0.4),
            (cases.open_shelf, 0.2),
            (kitchen.refrigerator, 0.2),
            (fu.chair, 0.7),
            (fu.chair, 0.4),
            (kitchen.copier, 0.25),
            (fu.couch, 0.35),
        ],
    )


def _bathroom(room: Furnisher) -> None:
    if room.random.random() < 0.95:
        _insist(room, bathroom.bathtub, 0.0)
    elif room.random.random() < 0.7:
        room.against_wall(make(room, bathroom.shower), gap=0.0)
    for maker in (bathroom.toilet, bathroom.vanity if room.random.random() < 0.6 else bathroom.pedestal_sink):
        if not _insist(room, maker, 0.01):
            room.on_floor(make(room, maker), any_yaw=False)
    if room.random.random() < 0.4:
        room.against_wall(make(room, bathroom.toilet), gap=0.01)
    if room.random.random() < 0.35:
        room.against_wall(make(room, bathroom.pedestal_sink), gap=0.01)
    _some(room, [(cases.cabinet, 0.2), (kitchen.washing_machine, 0.25), (fu.stool, 0.1)])
    for _ in range(int(room.random.integers(1, 4))):
        room.hang(make(room, on_walls.towel), room.random.uniform(1.0, 1.5))
    room.hang(make(room, on_walls.mirror), 1.5)


def _conference(room: Furnisher) -> None:
    things = make(room, tables.meeting_table)
    deep, wide, _ = np.ptp(extent(things[0].parts), axis=0)
    spot = room.on_floor(things, any_yaw=False)
    if spot is not None:
        _ring(
            room,
            spot,
            deep,
            wide,
            int(room.random.integers(6, 13)),
            fu.office_chair if room.random.random() < 0.6 else fu.chair,
        )
    _some(
        room,
        [
            (cases.cabinet, 0.7),
            (cases.bookshelf, 0.3),
            (kitchen.refrigerator, 0.25),
            (fu.chair, 0.6),
            (fu.chair, 0.4),
            (cases.tv_stand, 0.4),
            (tables.dining_table, 0.2),
        ],
    )


def _kitchen(room: Furnisher) -> None:
    if not _insist(room, kitchen.kitchen_run, 0.0):
        _some(room, [(cases.cabinet, 1.0), (cases.cabinet, 0.6)])
    if all(thing.label != "refrigerator" for thing in room.objects):
        _insist(room, kitchen.refrigerator)
    if room.random.random() < 0.75:
        _dine(room, int(room.random.integers(2, 6)))
    _some(
        room,
        [
            (cases.cabinet, 0.6),
            (kitchen.bar_stool, 0.4),
            (kitchen.bar_stool, 0.3),
            (cases.open_shelf, 0.3),
            (kitchen.washing_machine, 0.2),
        ],
    )


def _apartment(room: Furnisher) -> None:
    _insist(room, kitchen.kitchen_run, 0.0)
    if all(thing.label != "refrigerator" for thing in room.objects):
        _insist(room, kitchen.refrigerator)
    _sleep(room)
    _lounge(room)
    _dine(room, int(room.random.integers(2, 5)))
    _workplace(room)
    _some(room, [(cases.wardrobe, 0.7), (cases.bookshelf, 0.5), (cases.dresser, 0.4)])


def _classroom(room: Furnisher) -> None:
    maker = fu.chair if room.random.random() < 0.7 else fu.office_chair
    for x in np.arange(-room.width / 2 + 1.2, room.width / 2 - 0.8, 1.65):
        for y in np.arange(-room.depth / 2 + 1.0, room.depth / 2 - 0.7, 1.9):
            table = [
                Thing("table" if room.random.random() < 0.7 else "desk", t.parts) if i == 0 else t
                for i, t in enumerate(make(room, tables.dining_table))
            ][:2]
            if room.near(table, 0.0, np.zeros(3), float(x), float(y), 0.0, 0.03):
                for side in (-0.35, 0.35):
                    room.near(make(room, maker), 0.0, np.array([x, y, 0.0]), -0.55, side, 0.0)
    _some(room, [(cases.cabinet, 0.8), (cases.bookshelf, 0.6), (cases.wardrobe, 0.3), (tables.desk, 0.6)])


def _storage(room: Furnisher) -> None:
    _some(
        room,
        [
            (cases.open_shelf, 0.7),
            (cases.open_shelf, 0.3),
            (kitchen.refrigerator, 0.15),
            (cases.bookshelf, 0.3),
            (cases.cabinet, 0.8),
            (cases.file_cabinet, 0.5),
            (kitchen.washing_machine, 0.4),
            (cases.wardrobe, 0.4),
            (tables.dining_table, 0.4),
        ],
    )
    for _ in range(int(room.random.integers(1, 4))):
        room.on_floor(make(room, clutter.boxes))


def _hallway(room: Furnisher) -> None:
    _some(
        room,
        [
            (tables.bench, 0.5),
            (cases.cabinet, 0.5),
            (clutter.trash_can, 0.6),
            (fu.chair, 0.6),
            (kitchen.copier, 0.3),
            (cases.bookshelf, 0.3),
        ],
    )


def _library(room: Furnisher) -> None:
    for _ in range(int(room.random.integers(2, 6))):
        room.against_wall(make(room, cases.bookshelf))
    for _ in range(int(room.random.integers(1, 4))):
        room.on_floor(make(room, cases.bookshelf), any_yaw=False)
    _dine(room, int(room.random.integers(3, 7)))
    _some(room, [(fu.couch, 0.4), (fu.armchair, 0.6), (tables.desk, 0.5), (fu.chair, 0.8)])


def _some(room: Furnisher, makers: list[tuple[fu.Maker, float]]) -> None:
    """Each of the things with its chance, against a wall or, when there is no room, anywhere."""
    for maker, chance in makers:
        if room.random.random() < chance:
            things = make(room, maker)
            if room.against_wall(things) is None and room.random.random() < 0.5:
                room.on_floor(things)


def decorate(room: Furnisher, kind: str, style: Style) -> None:
    """What any room collects: trash cans, bags, plants, pictures, boards, coats, shelves on walls."""
    random = room.random
    if kind != "bathroom":
        for _ in range(int(random.poisson(0.7))):
            room.hang(make(room, on_walls.picture), random.uniform(1.35, 1.75))
    for maker, rate in (
        (clutter.trash_can, 0.75),
        (clutter.plant, 0.2),
        (clutter.bag, 0.35),
        (clutter.boxes, 0.22),
        (clutter.heap, 0.25),
        (clutter.rug, 0.1),
    ):
        for _ in range(int(random.poisson(rate * style.clutter * room.knobs.distractors))):
            room.on_floor(make(room, maker))
    if random.random() < 0.3 * style.clutter:
        room.hang(make(room, on_walls.coats), 1.7)
    if random.random() < 0.3 * style.clutter:
        room.hang(make(room, on_walls.wall_shelf), random.uniform(1.2, 1.7))
    filler: list[fu.Maker] = [
        cases.cabinet,
        cases.cabinet,
        fu.chair,
        fu.chair,
        fu.chair,
        fu.stool,
        tables.end_table,
        fu.armchair,
        tables.coffee_table,
    ]
    if random.random() > room.knobs.spare_room and kind not in ("bathroom", "hallway"):
        for _ in range(int(random.integers(1, 5))):
            room.against_wall(make(room, filler[random.integers(len(filler))]))


RECIPES: dict[str, Callable[[Furnisher], None]] = {
    "bedroom": _bedroom,
    "living": _living,
    "office": _office,
    "bathroom": _bathroom,
    "conference": _conference,
    "kitchen": _kitchen,
    "apartment": _apartment,
    "classroom": _classroom,
    "storage": _storage,
    "hallway": _hallway,
    "library": _library,
}
