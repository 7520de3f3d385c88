"""Furnished rooms: what kind of room holds what, in groups that make context, without overlaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.datasets.embedded import fixtures as fx
from mm3d_benchmarks.datasets.embedded import furniture as fu
from mm3d_benchmarks.datasets.embedded.furniture import Thing
from mm3d_benchmarks.datasets.embedded.knobs import Knobs
from mm3d_benchmarks.datasets.embedded.palette import Palette
from mm3d_benchmarks.datasets.embedded.primitives import Primitive, extent, moved
from mm3d_benchmarks.datasets.embedded.shell import Style, Wall, build_shell, make_walls

# kind -> (share of ScanNet's scans, mean width, mean depth in metres, ScanNet's sceneType)
KINDS: dict[str, tuple[float, float, float, str]] = {
    "bedroom": (0.2, 3.5, 4.1, "Bedroom / Hotel"),
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
TRIES = 40  # places tried per thing before it is left out
Box = tuple[np.ndarray, np.ndarray]  # low, high corner in the thing's own frame


@dataclass(frozen=True)
class PlacedObject:
    """An object of a room.

    Attributes:
        label: raw label.
        low: (3,) low corner in the object's own frame.
        high: (3,) high corner.
        yaw: of that frame, whose +x is the object's front.
        origin: (3,) of that frame in the room.
        free: whether a visitor may have moved it.
    """

    label: str
    low: np.ndarray
    high: np.ndarray
    yaw: float
    origin: np.ndarray
    free: bool = False

    @property
    def center(self) -> np.ndarray:
        """(3,) middle of the box in the room."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        middle = (self.low + self.high) / 2
        return self.origin + np.array([c * middle[0] - s * middle[1], s * middle[0] + c * middle[1], middle[2]])

    @property
    def size(self) -> np.ndarray:
        """(3,) full size along the object's own axes."""
        return self.high - self.low


@dataclass(frozen=True)
class Room:
    """A furnished room, centered on the origin, floor at z = 0.

    Attributes:
        kind: key of :data:`KINDS`.
        size: (3,) width, depth, height.
        objects: structure and furniture.
        parts: all solids; ``owner`` is the row of ``objects``.
    """

    kind: str
    size: np.ndarray
    objects: list[PlacedObject]
    parts: list[Primitive]


@dataclass
class _Footprint:
    """Where something stands: an oriented rectangle and an interval of height."""

    center: np.ndarray
    half: np.ndarray
    yaw: float
    bottom: float
    top: float


class Furnisher:
    """Places things in one room.

    Args:
        width, depth, height: of the room in metres.
        layout: stream of positions and proportions.
        visit: stream of what a later visit finds changed, None for a first visit.
        palette: materials.
        knobs: difficulty.
        clutter: factor on small things.
    """

    def __init__(
        self, width: float, depth: float, height: float, layout: np.random.Generator, visit: np.random.Generator | None,
        palette: Palette, knobs: Knobs, clutter: float, walls: list[Wall],
    ) -> None:  # fmt: skip
        self.width, self.depth, self.height = width, depth, height
        self.random, self.visit = layout, visit
        self.palette, self.knobs, self.clutter = palette, knobs, clutter
        self.walls = walls
        self.footprints: list[_Footprint] = []
        self.objects: list[PlacedObject] = []
        self.parts: list[Primitive] = []

    def structure(self, things: list[Thing]) -> None:
        """Add things that are already in place and that nothing must avoid."""
        for thing in things:
            self._add(thing, 0.0, np.zeros(3))

    def keep_clear(self, wall: Wall, low: float, high: float, reach: float) -> None:
        """Nothing tall may stand before a door."""
        c, s = np.cos(wall.yaw), np.sin(wall.yaw)
        y = (low + high) / 2
        center = wall.middle + np.array([c * reach / 2 - s * y, s * reach / 2 + c * y])
        self.footprints.append(_Footprint(center, np.array([reach / 2, (high - low) / 2]), wall.yaw, 0.0, 2.0))

    def against_wall(
        self, things: list[Thing], gap: float = 0.03, wall: Wall | None = None
    ) -> tuple[float, np.ndarray] | None:
        """Stand a group with its back to a wall (front into the room). Returns its yaw and origin, or None: no room."""
        low, high = _hull(things)
        front = extent(things[0].parts)[1][2]  # only the main thing's height minds windows
        for _ in range(TRIES):
            side = wall or self.walls[self.random.integers(len(self.walls))]
            room = side.length / 2
            if high[1] - low[1] > 2 * room - 0.05:
                continue
            y = self.random.uniform(-room - low[1] + 0.02, room - high[1] - 0.02)
            if self.random.random() < 0.35:  # people like corners
                y = -room - low[1] + 0.03 if self.random.random() < 0.5 else room - high[1] - 0.03
            if any(o.low < y + high[1] and o.high > y + low[1] and o.bottom < front - 0.1 for o in side.openings):
                continue
            yaw = side.yaw + self.random.normal(0, 0.03)
            x = gap + self.random.exponential(0.03) - low[0] + 0.04 * abs(yaw - side.yaw) * 10
            c, s = np.cos(side.yaw), np.sin(side.yaw)
            origin = np.array([side.middle[0] + c * x - s * y, side.middle[1] + s * x + c * y, 0.0])
            if self._put(things, yaw, origin):
                side.take(y + low[1], y + high[1], 0.0, high[2])
                return yaw, origin
        return None

    def on_floor(self, things: list[Thing], any_yaw: bool = True) -> tuple[float, np.ndarray] | None:
        """Stand a group anywhere."""
        for _ in range(TRIES):
            x, y = self.random.uniform(-0.5, 0.5, 2) * [self.width, self.depth]
            yaw = (
                self.random.uniform(-np.pi, np.pi)
                if any_yaw and self.random.random() < 0.4
                else self.random.choice(4) * np.pi / 2
            )
            yaw += self.random.normal(0, 0.04)
            origin = np.array([x, y, 0.0])
            if self._put(things, yaw, origin, free=True):
                return yaw, origin
        return None

    def near(
        self, things: list[Thing], yaw: float, origin: np.ndarray, x: float, y: float, turn: float, spread: float = 0.05
    ) -> bool:
        """Stand a group at (x, y) of another group's frame, turned against it; a later visit may find it shifted."""
        for k in range(10):
            c, s = np.cos(yaw), np.sin(yaw)
            dx, dy = np.array([x, y]) * (1 + 0.03 * k) + self.random.normal(0, spread + 0.015 * k, 2)
            angle = yaw + turn + self.random.normal(0, 0.15)
            if self.visit is not None and self.visit.random() < self.knobs.moved:
                dx, dy, angle = (
                    dx + self.visit.normal(0, 0.15),
                    dy + self.visit.normal(0, 0.15),
                    angle + self.visit.normal(0, 0.5),
                )
            place = origin + np.array([c * dx - s * dy, s * dx + c * dy, 0.0])
            if self._put(things, angle, place, free=True):
                return True
        return False

    def hang(self, things: list[Thing], z: float) -> bool:
        """Fix things to a free stretch of wall at height ``z``."""
        low, high = _hull(things)
        for _ in range(TRIES // 2):
            wall = self.walls[self.random.integers(len(self.walls))]
            if wall.length < high[1] - low[1] + 0.2:
                continue
            y = self.random.uniform(-wall.length / 2 - low[1] + 0.1, wall.length / 2 - high[1] - 0.1)
            if wall.free(y + low[1], y + high[1], z + low[2], z + high[2]) and z + high[2] < self.height - 0.05:
                wall.take(y + low[1], y + high[1], z + low[2], z + high[2])
                self.structure(wall.place(things, y, z))
                return True
        return False

    def _put(self, things: list[Thing], yaw: float, origin: np.ndarray, free: bool = False) -> bool:
        """Place a group if its footprints are inside the room and clear of all others."""
        half = np.array([self.width / 2, self.depth / 2])
        whole = _footprint(*_hull(things[:1]), yaw, origin)
        if (np.abs(_corners(whole)) > half - 0.005).any():
            return False
        candidates = [_footprint(low, high, yaw, origin) for thing in things for low, high in _blocks(thing)]
        for footprint in candidates:
            if (np.abs(_corners(footprint)) > half - 0.005).any() or any(
                _clash(footprint, other) for other in self.footprints
            ):
                return False
        self.footprints += candidates
        for thing in things:
            self._add(thing, yaw, origin, free)
        return True

    def _add(self, thing: Thing, yaw: float, origin: np.ndarray, free: bool = False) -> None:
        low, high = extent(thing.parts)
        owner = len(self.objects)
        self.objects.append(PlacedObject(thing.label, low, high, yaw, origin, free))
        self.parts += [moved(part, yaw, origin, owner) for part in thing.parts]


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
    width, depth = np.array([mean_width, mean_depth]) * np.exp(layout.normal(0, 0.16, 2))
    if layout.random() < 0.5:
        width, depth = depth, width
    height = float(layout.uniform(*style.height))
    palette = Palette(appearance, knobs.palette_overlap)
    walls = make_walls(width, depth)
    shell = build_shell(walls, width, depth, height, style, palette, layout, complete)
    room = Furnisher(width, depth, height, layout, None if calm else visit, palette, knobs, style.clutter, walls)
    room.structure(shell)
    for wall in walls:
        for opening in wall.openings:
            if opening.kind == "door":
                room.keep_clear(wall, opening.low, opening.high, 0.45 if kind == "bathroom" else 0.7)
    for _ in range(max(int(layout.poisson(style.columns)), int(complete and style.roofed))):
        room.on_floor(fx.column(layout, palette, height), any_yaw=False)
    work = kind in ("office", "conference", "classroom", "library")
    for _ in range(int(layout.poisson(style.boards if work else 0.03))):
        room.hang(fx.whiteboard(layout, palette), 1.5)
    for label in TYPICAL.get(kind, ()) if complete else ():
        _require(room, label)
    RECIPES[kind](room)
    _decorate(room, kind, style)
    return Room(kind, np.array([width, depth, height]), room.objects, room.parts)


def _hull(things: list[Thing]) -> Box:
    return extent([part for thing in things for part in thing.parts])


def _blocks(thing: Thing) -> list[Box]:
    """What a thing blocks: tables and desks only their top and legs, so that chairs tuck in; rugs nothing."""
    if thing.label == "rug":
        return []
    if thing.label in ("table", "desk", "coffee table"):
        return [extent([part]) for part in thing.parts if part.kind == "box" or part.axes[2, 2] > 0.1]
    if thing.label in ("chair", "office chair"):  # the seat goes under a table, the back does not
        backs = [part for part in thing.parts if part.center[2] > 0.72]
        low, high = extent([part for part in thing.parts if part.center[2] <= 0.72])
        return [(low, np.array([high[0], high[1], min(high[2], 0.66)])), *([extent(backs)] if backs else [])]
    return [extent(thing.parts)]


def _footprint(low: np.ndarray, high: np.ndarray, yaw: float, origin: np.ndarray) -> _Footprint:
    c, s = np.cos(yaw), np.sin(yaw)
    x, y = (low[:2] + high[:2]) / 2
    return _Footprint(
        origin[:2] + np.array([c * x - s * y, s * x + c * y]),
        (high - low)[:2] / 2,
        yaw,
        low[2] + origin[2],
        high[2] + origin[2],
    )


def _corners(f: _Footprint) -> np.ndarray:
    c, s = np.cos(f.yaw), np.sin(f.yaw)
    signs = np.array([[1, 1], [1, -1], [-1, -1], [-1, 1]]) * f.half
    return f.center + signs @ np.array([[c, s], [-s, c]])


def _clash(a: _Footprint, b: _Footprint) -> bool:
    """Whether two footprints overlap (separating axes), where their heights do."""
    if a.top <= b.bottom + 0.02 or b.top <= a.bottom + 0.02:
        return False
    if np.linalg.norm(a.center - b.center) > np.linalg.norm(a.half) + np.linalg.norm(b.half):
        return False
    ca, cb = _corners(a), _corners(b)
    for yaw in (a.yaw, b.yaw):
        for axis in (np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])):
            pa, pb = ca @ axis, cb @ axis
            if pa.max() <= pb.min() + 0.005 or pb.max() <= pa.min() + 0.005:
                return False
    return True


def _make(room: Furnisher, maker: fu.Maker) -> list[Thing]:
    return maker(room.random, room.palette)


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
        room.near(_make(room, maker), yaw, origin, x, y, turn)


def _workplace(room: Furnisher, wall: bool = True) -> bool:
    """A desk with its chair."""
    things = _make(room, fu.desk)
    spot = room.against_wall(things) if wall else room.on_floor(things, any_yaw=False)
    if spot is None:
        return False
    deep = float(np.ptp(extent(things[0].parts), axis=0)[0])
    room.near(
        _make(room, fu.office_chair if room.random.random() < 0.8 else fu.chair),
        *spot,
        deep / 2 + 0.15,
        0.0,
        np.pi,
        0.1,
    )
    return True


def _sleep(room: Furnisher) -> None:
    for _ in range(3):
        things = _make(room, fu.bed)
        low, high = extent(things[0].parts)
        spot = room.against_wall(things) or room.on_floor(things, any_yaw=False)
        if spot is not None:
            break
    else:
        return
    for side in (-1, 1):
        if room.random.random() < 0.75:
            room.near(_make(room, fu.nightstand), *spot, low[0] + 0.28, side * (high[1] + 0.32), 0.0, 0.02)


def _lounge(room: Furnisher) -> None:
    """Couch, low table, armchairs, television."""
    spot = room.against_wall(_make(room, fu.couch)) or room.on_floor(_make(room, fu.couch), any_yaw=False)
    if spot is not None:
        room.near(_make(room, fx.rug), *spot, 1.1, 0.0, 0.0)
        if room.random.random() < 0.85:
            room.near(_make(room, fu.coffee_table), *spot, 1.05, 0.0, 0.0)
        for side in (-1, 1):
            if room.random.random() < 0.5:
                room.near(_make(room, fu.armchair), *spot, 1.2, side * 1.5, -side * np.pi / 2, 0.15)
            if room.random.random() < 0.5:
                room.near(_make(room, fu.end_table), *spot, -0.1, side * 1.4, 0.0)
    if room.random.random() < 0.7:
        room.against_wall(_make(room, fu.tv_stand))


def _dine(room: Furnisher, chairs: int) -> None:
    things = _make(room, fu.dining_table)
    deep, wide, _ = np.ptp(extent(things[0].parts), axis=0)
    spot = room.on_floor(things, any_yaw=False)
    if spot is not None:
        _ring(room, spot, deep, wide, chairs, fu.chair)


def _bedroom(room: Furnisher) -> None:
    _sleep(room)
    if room.random.random() < 0.2:
        _sleep(room)
    _some(
        room,
        [
            (fu.wardrobe, 0.6),
            (fu.dresser, 0.6),
            (fu.bookshelf, 0.3),
            (fu.cabinet, 0.3),
            (fu.armchair, 0.3),
            (fu.tv_stand, 0.2),
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
            (fu.bookshelf, 0.6),
            (fu.cabinet, 0.6),
            (fu.couch, 0.35),
            (fx.floor_lamp, 0.6),
            (fu.stool, 0.4),
            (fu.open_shelf, 0.3),
        ],
    )


def _office(room: Furnisher) -> None:
    for _ in range(int(room.random.integers(1, 4))):
        _workplace(room, wall=room.random.random() < 0.8)
    if room.random.random() < 0.55:
        _dine(room, int(room.random.integers(3, 6)))
    _some(
        room,
        [
            (fu.bookshelf, 0.65),
            (fu.file_cabinet, 0.7),
            (fu.file_cabinet, 0.3),
            (fu.cabinet, 0.4),
            (fu.open_shelf, 0.3),
            (fu.chair, 0.7),
            (fu.chair, 0.4),
            (fx.copier, 0.15),
            (fu.couch, 0.15),
        ],
    )


def _bathroom(room: Furnisher) -> None:
    if room.random.random() < 0.8:
        room.against_wall(_make(room, fx.bathtub), gap=0.0)
    elif room.random.random() < 0.7:
        room.against_wall(_make(room, fx.shower), gap=0.0)
    for maker in (fx.toilet, fx.vanity if room.random.random() < 0.6 else fx.pedestal_sink):
        if room.against_wall(_make(room, maker), gap=0.01) is None:
            room.on_floor(_make(room, maker), any_yaw=False)
    if room.random.random() < 0.5:
        room.against_wall(_make(room, fx.toilet), gap=0.01)
    _some(room, [(fu.cabinet, 0.2), (fx.washing_machine, 0.25), (fu.stool, 0.1)])
    for _ in range(int(room.random.integers(1, 4))):
        room.hang(_make(room, fx.towel), room.random.uniform(1.0, 1.5))
    room.hang(_make(room, fx.mirror), 1.5)


def _conference(room: Furnisher) -> None:
    things = _make(room, fu.meeting_table)
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
    _some(room, [(fu.cabinet, 0.5), (fu.chair, 0.6), (fu.chair, 0.4), (fu.tv_stand, 0.3), (fu.dining_table, 0.2)])


def _kitchen(room: Furnisher) -> None:
    if room.against_wall(_make(room, fx.kitchen_run), gap=0.0) is None:
        _some(room, [(fx.refrigerator, 0.9), (fu.cabinet, 1.0), (fu.cabinet, 0.6)])
    if room.random.random() < 0.75:
        _dine(room, int(room.random.integers(2, 6)))
    _some(
        room,
        [
            (fx.refrigerator, 0.35),
            (fu.cabinet, 0.6),
            (fx.bar_stool, 0.4),
            (fx.bar_stool, 0.3),
            (fu.open_shelf, 0.3),
            (fx.washing_machine, 0.2),
        ],
    )


def _apartment(room: Furnisher) -> None:
    _sleep(room)
    room.against_wall(_make(room, fx.kitchen_run), gap=0.0)
    _lounge(room)
    _dine(room, int(room.random.integers(2, 5)))
    _workplace(room)
    _some(room, [(fu.wardrobe, 0.7), (fu.bookshelf, 0.5), (fu.dresser, 0.4), (fx.refrigerator, 0.3)])


def _classroom(room: Furnisher) -> None:
    maker = fu.chair if room.random.random() < 0.7 else fu.office_chair
    for x in np.arange(-room.width / 2 + 1.2, room.width / 2 - 0.8, 1.5):
        for y in np.arange(-room.depth / 2 + 1.0, room.depth / 2 - 0.7, 1.7):
            table = [
                Thing("table" if room.random.random() < 0.5 else "desk", t.parts) if i == 0 else t
                for i, t in enumerate(_make(room, fu.dining_table))
            ][:2]
            if room.near(table, 0.0, np.zeros(3), float(x), float(y), 0.0, 0.03):
                for side in (-0.35, 0.35):
                    room.near(_make(room, maker), 0.0, np.array([x, y, 0.0]), -0.55, side, 0.0)
    _some(room, [(fu.cabinet, 0.6), (fu.bookshelf, 0.4), (fu.desk, 0.6)])


def _storage(room: Furnisher) -> None:
    _some(
        room,
        [
            (fu.open_shelf, 0.9),
            (fu.open_shelf, 0.6),
            (fu.cabinet, 0.8),
            (fu.file_cabinet, 0.5),
            (fx.washing_machine, 0.4),
            (fu.dining_table, 0.3),
        ],
    )
    for _ in range(int(room.random.integers(2, 6))):
        room.on_floor(_make(room, fx.boxes))


def _hallway(room: Furnisher) -> None:
    _some(
        room,
        [
            (fu.bench, 0.5),
            (fu.cabinet, 0.5),
            (fx.trash_can, 0.6),
            (fu.chair, 0.6),
            (fx.copier, 0.3),
            (fu.bookshelf, 0.3),
        ],
    )


def _library(room: Furnisher) -> None:
    for _ in range(int(room.random.integers(4, 9))):
        room.against_wall(_make(room, fu.bookshelf))
    for _ in range(int(room.random.integers(1, 4))):
        room.on_floor(_make(room, fu.bookshelf), any_yaw=False)
    _dine(room, int(room.random.integers(3, 7)))
    _some(room, [(fu.couch, 0.4), (fu.armchair, 0.6), (fu.desk, 0.5), (fu.chair, 0.8)])


def _some(room: Furnisher, makers: list[tuple[fu.Maker, float]]) -> None:
    """Each of the things with its chance, against a wall or, when there is no room, anywhere."""
    for maker, chance in makers:
        if room.random.random() < chance:
            things = _make(room, maker)
            if room.against_wall(things) is None and room.random.random() < 0.5:
                room.on_floor(things)


def _decorate(room: Furnisher, kind: str, style: Style) -> None:
    """What any room collects: trash cans, bags, plants, pictures, boards, coats, shelves on walls."""
    random = room.random
    if kind != "bathroom":
        for _ in range(int(random.poisson(0.9))):
            room.hang(_make(room, fx.picture), random.uniform(1.35, 1.75))
    for maker, rate in (
        (fx.trash_can, 0.7),
        (fx.plant, 0.2),
        (fx.bag, 0.5),
        (fx.boxes, 0.35),
        (fx.heap, 0.5),
        (fx.rug, 0.15),
    ):
        for _ in range(int(random.poisson(rate * style.clutter * room.knobs.distractors))):
            room.on_floor(_make(room, maker))
    if random.random() < 0.3 * style.clutter:
        room.hang(_make(room, fx.coats), 1.7)
    if random.random() < 0.3 * style.clutter:
        room.hang(_make(room, fx.wall_shelf), random.uniform(1.2, 1.7))
    filler: list[fu.Maker] = [
        fu.cabinet,
        fu.bookshelf,
        fu.chair,
        fu.file_cabinet,
        fu.open_shelf,
        fu.chair,
        fu.dining_table,
    ]
    if random.random() > room.knobs.spare_room and kind not in ("bathroom", "hallway"):
        for _ in range(int(random.integers(1, 4))):
            room.against_wall(_make(room, filler[random.integers(len(filler))]))


def _require(room: Furnisher, label: str) -> None:
    """Try hard to give a room one thing of a label."""
    maker = REQUIRED[label]
    for _ in range(8):
        if any(thing.label == label for thing in room.objects):
            return
        things = _make(room, maker)
        if all(thing.label != label for thing in things):
            continue
        if label in ("picture", "whiteboard"):
            room.hang(things, 1.5)
        elif room.against_wall(things) is None:
            room.on_floor(things, any_yaw=False)


REQUIRED: dict[str, fu.Maker] = {
    "bed": fu.bed,
    "nightstand": fu.nightstand,
    "dresser": fu.dresser,
    "couch": fu.couch,
    "desk": fu.desk,
    "table": fu.dining_table,
    "bookshelf": fu.bookshelf,
    "picture": fx.picture,
    "whiteboard": fx.whiteboard,
    "kitchen counter": fx.kitchen_run,
    "refrigerator": fx.refrigerator,
    "bathtub": fx.bathtub,
    "shower curtain": fx.bathtub,
    "toilet": fx.toilet,
    "sink": fx.vanity,
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
