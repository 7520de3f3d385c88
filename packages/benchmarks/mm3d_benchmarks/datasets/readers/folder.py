"""A user's own scans: a folder of scan files of any format, one scene each; labels of their own where they have them.

Which files are scans: ``scans/discover.py``. How one is read: ``scans/scan.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.formats.companions import companions
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, Reader, ReadScene
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scans.labels import (
    boxes_of,
    class_names,
    instance_numbers,
    parse_classes,
    train_ids,
)
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import Reading, Scan, open_scan, read_scan
from mm3d_benchmarks.datasets.scans.tiles import FEWEST, Tiles, cut
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError

TYPICAL = (1.0, 1.0, 1.0)  # metres: the size of a class without a single training box


def facts(classes: Any = ()) -> DatasetFacts:
    """A user's own classes, or none: names, colors spread around the circle, boxes of the same classes.

    Args:
        classes: see :func:`~mm3d_benchmarks.datasets.scans.labels.parse_classes`.
    """
    names = class_names(parse_classes(classes))
    return DatasetFacts(
        name="folder",
        segment_classes=names,
        segment_palette=tuple(_hue(i) for i in range(len(names))),
        detection_classes=names,
        mean_sizes=(TYPICAL,) * len(names),
    )


def _hue(number: int) -> tuple[int, int, int]:
    """Colors that differ, from the golden ratio's turns around the circle."""
    r, g, b = (0.5 + 0.45 * math.cos(2 * math.pi * (number * 0.61803 + third / 3)) for third in range(3))
    return round(255 * r), round(255 * g), round(255 * b)


class FolderReader(Reader):
    """Reads a folder of scans (searched to any depth), or one file.

    Args:
        raw: the folder or file.
        columns, up, scale, color_range, segment, instance, points, faces: see
            :class:`~mm3d_benchmarks.datasets.scans.options.ScanOptions`.
        classes: the user's own classes, see :func:`~mm3d_benchmarks.datasets.scans.labels.parse_classes`.
        formats: see :func:`~mm3d_benchmarks.datasets.scans.discover.find_scans`.
        tile: side in metres of the squares that each scan is cut into, a scene each (0: a scan is a scene).
        validation: every n-th scan is ``val`` and, where there are classes, not ``train`` (0: none).

    Raises:
        UserError: no scan in the folder, or an option is not one of the above.
    """

    def __init__(
        self,
        raw: Path,
        columns: str = "",
        up: Any = "z",
        scale: float = 1.0,
        color_range: float | None = None,
        segment: str = "",
        instance: str = "",
        classes: Any = (),
        points: int = 100_000,
        faces: bool = False,
        tile: float = 0,
        formats: str = "auto",
        validation: int = 0,
    ) -> None:
        self.raw = Path(raw)
        self.facts = facts(classes)
        self.classes = parse_classes(classes)
        self.scans = ScanOptions.of(columns, up, scale, color_range, segment, instance, points, faces)
        self.options: dict[str, Any] = dict(self.scans.given) | ({"classes": self.classes} if self.classes else {})
        if not isinstance(validation, int) or isinstance(validation, bool) or validation < 0:
            raise UserError(f"validation={validation}: is a whole number, 0 for no validation scene")
        self.validation = validation
        if not isinstance(tile, int | float) or isinstance(tile, bool) or tile < 0:
            raise UserError(f"tile={tile}: is the side of a square in metres, 0 for whole scans")
        self.tile = float(tile)
        if self.tile:
            self.options["tile"] = self.tile
        found = find_scans(self.raw, str(formats))
        self.whole = found.files  # scan -> file; with tiles several scenes are of one
        self.files, self._notes = found.files, list(found.notes)
        self._open: dict[str, tuple[Reading, Tiles]] = {}  # the scan that is being cut
        self.tiles: dict[str, tuple[str, str]] = {}  # scene -> scan and tile
        if self.tile:
            self._cut_all()

    def splits(self) -> dict[str, list[str]]:
        """``train`` and ``val``: by folders of these names, else every n-th scan is for validation if asked for.

        Without classes there is nothing to be fair about: pre-training takes all scans then.
        """
        names = list(self.files)
        base = self.raw if self.raw.is_dir() else self.raw.parent
        top = {name: path.relative_to(base).parts[0].lower() for name, path in self.files.items()}
        if self.raw.is_dir() and {"train", "val"} <= set(top.values()):
            return {split: [name for name in names if top[name] == split] for split in ("train", "val", "test")}
        val = names[:: self.validation] if self.validation else []
        held = set(val) if self.classes and len(val) < len(names) else set()
        return {"train": [name for name in names if name not in held], "val": val}

    def source_files(self, name: str) -> list[Path]:
        """The scan's file, or the arrays of its folder."""
        path = self.files[name]
        if path.is_dir():
            return [file for file in sorted(path.glob("*.npy")) if not file.name.startswith(".")]
        vertices_alone = path.suffix.lower() == ".ply" and not self.scans.faces
        return [path, *([] if vertices_alone else companions(path))]

    def notes(self) -> list[str]:
        """Files that are no scans."""
        return self._notes

    def _cut_all(self) -> None:
        """Each scan's tiles become scenes."""
        files = {}
        for scan, path in self.whole.items():
            _, tiles = self._cut(scan)
            for tile in tiles.names:
                self.tiles[f"{scan}_{tile}"] = (scan, tile)
                files[f"{scan}_{tile}"] = path
            if tiles.left_out:
                self._notes.append(f"{scan}: {tiles.left_out:,} points in tiles of fewer than {FEWEST} left out")
        self.files = files

    def _cut(self, scan: str) -> tuple[Reading, Tiles]:
        """The tiles of a scan; one scan is kept open at a time."""
        if scan not in self._open:
            self._open.clear()
            path = self.whole[scan]
            try:
                reading = open_scan(path, self.scans)
                self._open[scan] = (reading, cut(reading, self.tile))
            except ValueError as error:
                raise BrokenSceneError(f"{path}: {error}") from error
        return self._open[scan]

    def __getstate__(self) -> dict[str, Any]:
        """Workers open scans themselves."""
        return self.__dict__ | {"_open": {}}

    def _scan(self, name: str) -> Scan:
        if not self.tile:
            return read_scan(self.files[name], self.scans)
        scan, tile = self.tiles[name]
        reading, tiles = self._cut(scan)
        return reading.scan(tiles.rows(tile))

    def read(self, name: str) -> ReadScene:
        """One scan or tile, moved to an origin of its own where it lies far out."""
        scan = self._scan(name)
        coord, offset = settle(scan.coord)
        remarks = list(scan.remarks)
        if any(offset):
            remarks.append(
                f"far from the origin: {' '.join(f'{v:.0f}' for v in offset)} m subtracted, kept as its offset"
            )
        scene = Scene(name, coord, scan.color, scan.normal, offset=offset)
        return ReadScene(self._labelled(scene, scan, remarks), remarks)

    def _labelled(self, scene: Scene, scan: Scan, remarks: list[str]) -> Scene:
        """The scene with train ids, objects and their boxes, where the user named classes."""
        if not self.classes:
            if self.scans.segment:
                remarks.append("labels are passed over: classes= names the classes")
            return scene
        if scan.segment is None:
            raise BrokenSceneError(
                f"{self.files[scene.name]}: no column of labels; name it with segment=, or leave classes= out"
            )
        segment, unknown = train_ids(scan.segment, self.classes)
        remarks += unknown
        if scan.instance is None:
            return replace(scene, segment=segment)
        instance = instance_numbers(scan.instance, segment)
        return replace(scene, segment=segment, instance=instance, boxes=boxes_of(scene.coord, segment, instance))
