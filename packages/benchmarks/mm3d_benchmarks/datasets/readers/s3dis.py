"""S3DIS (Stanford3dDataset v1.2): facts and the reader of the raw release.

Source: Armeni et al., CVPR 2016 and arXiv:1702.01105. Class order as in charlesq34/pointnet; several later repositories
name classes 7 to 10 in another order over the same arrays. Only ``Annotations/`` is read; the room file is their union.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.color import choose_paint
from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.placement import at_minimum
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, Reader, ReadScene, reading
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError

# fmt: off
CLASSES = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "table", "chair", "sofa", "bookcase", "board",
    "clutter",
)
PALETTE = (
    (233, 229, 107), (95, 156, 196), (179, 116, 81), (241, 149, 131), (81, 163, 148), (77, 174, 84), (108, 135, 75),
    (41, 49, 101), (79, 79, 76), (223, 52, 52), (89, 47, 95), (81, 109, 114), (200, 200, 200),
)
SHARES = (18.1, 15.4, 26.4, 1.7, 2.0, 2.6, 5.2, 3.5, 4.3, .48, 6.9, 1.2, 12.2)  # percent of the 4 cm points, areas 1-6
DETECTION_CLASSES = ("table", "chair", "sofa", "bookcase", "board")
# No mean box sizes are published for S3DIS: typical sizes, used only for a class without a single training box.
MEAN_SIZES = ((1.2, 1.2, .75), (.6, .6, .9), (1.4, 1.4, .8), (1.0, 1.0, 2.0), (1.5, 1.5, 1.2))
# fmt: on
CLUTTER = CLASSES.index("clutter")
AREAS = tuple(f"Area_{k}" for k in range(1, 7))
TEST_AREA = "Area_5"
MOST_REPAIRS = 1000  # rows of one file; the release has a handful
LEFT_OUT_OF_271 = "Area_5_hallway_6"  # the room that the prepared copy of several repositories lost to a damaged byte


def facts() -> DatasetFacts:
    """S3DIS's classes and published statistics."""
    return DatasetFacts(
        name="s3dis",
        segment_classes=CLASSES,
        segment_palette=PALETTE,
        detection_classes=DETECTION_CLASSES,
        mean_sizes=MEAN_SIZES,
        num_heading_bins=1,
        published_shares=dict(zip(CLASSES, SHARES, strict=True)),
    )


class S3DISReader(Reader):
    """The raw release: ``Area_k/<room>/Annotations/<class>_<n>.txt``.

    Args:
        raw: folder that holds ``Area_1`` ... ``Area_6``.
        rooms: 272 (every room) or 271 (without Area_5 hallway_6, as in the papers that state 271 rooms).

    Raises:
        UserError: the folder has no areas, or ``rooms`` is neither.
    """

    def __init__(self, raw: Path, rooms: int = 272) -> None:
        self.raw = Path(raw)
        self.facts = facts()
        if rooms not in (271, 272):
            raise UserError(f"rooms={rooms}: choose 272 (all rooms) or 271 (without {LEFT_OUT_OF_271})")
        self.options: dict[str, Any] = {"rooms": rooms}
        if not any((self.raw / area).is_dir() for area in AREAS):
            raise UserError(
                f"{self.raw}: no folders Area_1 ... Area_6; raw must be Stanford3dDataset_v1.2_Aligned_Version, "
                "which Stanford provides after a form has been filled in (cvg-data, building-parser)"
            )

    def splits(self) -> dict[str, list[str]]:
        """See :func:`area_splits`."""
        return area_splits({area: self._rooms(area) for area in AREAS if (self.raw / area).is_dir()})

    def source_files(self, name: str) -> list[Path]:
        """The object files, sorted; names with a blank are duplicates of other objects in the release."""
        folder = self.raw / name[:6] / name[7:] / "Annotations"
        files = [path for path in _texts(folder) if " " not in path.name]
        if not files:
            raise BrokenSceneError(f"{folder}: no object files; unpack the release again")
        return files

    def notes(self) -> list[str]:
        """Folders that are no areas, rooms without annotations, and rooms that the protocol leaves out."""
        notes = area_notes(self.raw)
        bare = [
            f"{area}/{path.name}"
            for area in AREAS
            for path in glob_visible(self.raw, f"{area}/*")
            if path.is_dir() and not (path / "Annotations").is_dir()
        ]
        if bare:
            notes.append(f"{len(bare)} rooms without the folder Annotations passed over: {', '.join(bare[:10])}")
        if self.options["rooms"] == 271:
            notes.append(f"rooms=271: {LEFT_OUT_OF_271} is left out")
        return notes

    def read(self, name: str) -> ReadScene:
        """All objects of a room, shifted so that the room's minimum corner is the origin."""
        tables, segment, instance, remarks, others = [], [], [], [], []
        for number, path in enumerate(self.source_files(name)):
            rows, repairs = read_object(path)
            remarks += [f"{path.parent.parent.name}/{path.name}: {repair}" for repair in repairs]
            kind = re.sub(r"_\d+$", "", path.stem)
            train_id = CLASSES.index(kind.lower()) if kind.lower() in CLASSES else CLUTTER
            others += [] if kind.lower() in CLASSES else [kind]
            tables.append(rows)
            segment.append(np.full(len(rows), train_id, np.int16))
            instance.append(np.full(len(rows), number, np.int32))
        points = np.concatenate(tables)
        if len(points) == 0:
            raise BrokenSceneError(f"{self.raw / name[:6] / name[7:]}: all object files are empty")
        if others:
            remarks.append(f"{len(others)} objects of other classes are clutter: {', '.join(sorted(set(others)))}")
        double = [path for path in _texts(self.raw / name[:6] / name[7:] / "Annotations") if " " in path.name]
        if double:
            remarks.append(f"{len(double)} object files with a blank in the name (duplicates) passed over")
        coord, offset = at_minimum(points[:, :3])
        color = self._colors(points[:, 3:], name, remarks)
        labels, objects = np.concatenate(segment), np.concatenate(instance)
        boxes = boxes_of_objects(coord, labels, objects)
        return ReadScene(Scene(name, coord, color, None, labels, objects, boxes, offset), remarks)

    def _colors(self, values: np.ndarray, name: str, remarks: list[str]) -> np.ndarray:
        """(N, 3) uint8 of numbers that are 0..255 in the release; rooms of one's own may have others."""
        plain = float(values.max()) > 1 and float((values <= 255).mean()) > 0.95
        paint = choose_paint([values], 255 if plain else None, self.raw / name)
        remarks += [paint.remark] if paint.remark else []
        return paint(values)

    def _rooms(self, area: str) -> list[str]:
        rooms = [
            f"{area}_{path.parent.name}" for path in glob_visible(self.raw, f"{area}/*/Annotations") if path.is_dir()
        ]
        return [room for room in rooms if self.options["rooms"] == 272 or room != LEFT_OUT_OF_271]


def area_notes(raw: Path) -> list[str]:
    """Areas that are not there, and folders beside them that are none."""
    folders = [path.name for path in glob_visible(raw, "*") if path.is_dir()]
    strange = [name for name in folders if re.fullmatch(r"area.*", name, re.IGNORECASE) and name not in AREAS]
    missing = [area for area in AREAS if area not in folders]
    notes = [f"folders that are no areas of the release passed over: {', '.join(strange[:10])}"] if strange else []
    return notes + ([f"areas that are not there: {', '.join(missing)}"] if missing else [])


def _texts(folder: Path) -> list[Path]:
    """Text files of a folder, whatever the case of their suffix."""
    return [path for path in glob_visible(folder, "*") if path.suffix.lower() == ".txt"]


def area_splits(rooms: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each area; ``train`` is every area but 5, ``val`` is Area_5; ``train_without_Area_k`` for six folds.

    Args:
        rooms: scene names by area.
    """
    folds = {
        f"train_without_{held_out}": [room for area, names in rooms.items() if area != held_out for room in names]
        for held_out in rooms
    }
    train = folds.get(f"train_without_{TEST_AREA}") or [room for names in rooms.values() for room in names]
    return {**rooms, **folds, "train": train, "val": rooms.get(TEST_AREA, [])}


def read_object(path: Path) -> tuple[np.ndarray, list[str]]:
    """The ``x y z r g b`` rows of one object file, with the release's known damage repaired.

    Every damaged byte of the release is a character with bit 5 cleared (0x00 for a blank, 0x10 for ``0``, 0x16 for
    ``6``), so a control byte other than tab and line ends gets that bit back; a row that still has no six numbers is
    tried with a blank instead, and dropped when that fails.

    Returns:
        rows: (N, 6) float64.
        repairs: one sentence per repaired or dropped row.

    Raises:
        BrokenSceneError: the file cannot be read, holds no row, or coordinates that are not finite.
    """
    with reading(path, remedy="unpack the release again"):
        data = path.read_bytes()
    repairs: list[str] = []
    try:
        if re.search(rb"[^\t\r\n -~]", data):
            raise ValueError
        rows = _parse(data)
    except ValueError:
        data, repairs = _repair(data, path)
        with reading(path, remedy="unpack the release again"):
            rows = _parse(data)
    if len(rows) == 0:
        raise BrokenSceneError(f"{path}: no point in it; unpack the release again")
    if not np.isfinite(rows).all():
        raise BrokenSceneError(f"{path}: {int((~np.isfinite(rows)).any(axis=1).sum())} rows are NaN or infinite")
    return rows, repairs


def boxes_of_objects(coord: np.ndarray, segment: np.ndarray, instance: np.ndarray) -> np.ndarray:
    """(K, 8) float32 axis-aligned hulls of the objects of the five detection classes; flat objects have none."""
    boxes = []
    for number in np.unique(instance):
        rows = np.flatnonzero(instance == number)
        name = CLASSES[segment[rows[0]]]
        low, high = coord[rows].min(axis=0).astype(np.float64), coord[rows].max(axis=0).astype(np.float64)
        if name in DETECTION_CLASSES and (high > low).all():
            boxes.append([*(low + high) / 2, *(high - low), 0, DETECTION_CLASSES.index(name)])
    return np.array(boxes, np.float32).reshape(-1, 8)


def _parse(data: bytes) -> np.ndarray:
    """(N, 6) numbers of clean text; ValueError when a row has another number of values."""
    if not data.strip():
        return np.zeros((0, 6))
    values = np.loadtxt(io.BytesIO(data), comments=None, ndmin=2)
    if values.shape[1] != 6:
        raise ValueError(f"rows have {values.shape[1]} values, not six")
    return values


def _repair(data: bytes, path: Path) -> tuple[bytes, list[str]]:
    """Text in which every row has six numbers, and what was done to get there."""
    rows: list[bytes] = []
    repairs: list[str] = []
    for number, line in enumerate(io.BytesIO(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")), start=1):
        line = line.rstrip(b"\n")
        if not line.strip(b" \t"):
            continue
        if len(repairs) > MOST_REPAIRS:
            raise BrokenSceneError(f"{path}: more than {MOST_REPAIRS} damaged rows; unpack the release again")
        if _six_numbers(line) and not re.search(rb"[^\t -~]", line):
            rows.append(line)
            continue
        attempts = (
            bytes(b | 0x20 if b < 0x20 and b != 9 else b for b in line),
            bytes(0x20 if (b < 0x20 and b != 9) or b > 0x7E else b for b in line),
        )
        repaired = next((attempt for attempt in attempts if _six_numbers(attempt)), None)
        if repaired is None:
            repairs.append(f"row {number} dropped, not six numbers")
        else:
            rows.append(repaired)
            repairs.append(f"row {number} repaired")
    return b"\n".join(rows), repairs


def _six_numbers(line: bytes) -> bool:
    """Whether a row is six numbers."""
    try:
        return b"_" not in line and len([float(value) for value in line.split()]) == 6
    except ValueError:
        return False
