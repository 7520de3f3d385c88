"""A user's own scans: a folder of scan files of any format, one scene each; labels of their own where they have them.

Which files are scans: ``scans/discover.py``. How one is read: ``scans/scan.py``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.scans.companions import companions
from mm3d_benchmarks.datasets.scans.discover import find_scans
from mm3d_benchmarks.datasets.scans.labels import (
    boxes_of,
    class_names,
    instance_numbers,
    parse_classes,
    train_ids,
)
from mm3d_benchmarks.datasets.scans.options import ScanOptions
from mm3d_benchmarks.datasets.scans.scan import Scan, read_scan
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


class FolderReader:
    """Reads a folder of scans (searched to any depth), or one file.

    Args:
        raw: the folder or file.
        columns, up, scale, color_range, segment, instance, points: see
            :class:`~mm3d_benchmarks.datasets.scans.options.ScanOptions`.
        classes: the user's own classes, see :func:`~mm3d_benchmarks.datasets.scans.labels.parse_classes`.
        formats: see :func:`~mm3d_benchmarks.datasets.scans.discover.find_scans`.
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
        formats: str = "auto",
        validation: int = 0,
    ) -> None:
        self.raw = Path(raw)
        self.facts = facts(classes)
        self.classes = parse_classes(classes)
        self.scans = ScanOptions.of(columns, up, scale, color_range, segment, instance, points)
        self.options: dict[str, Any] = dict(self.scans.given) | ({"classes": self.classes} if self.classes else {})
        if not isinstance(validation, int) or isinstance(validation, bool) or validation < 0:
            raise UserError(f"validation={validation}: is a whole number, 0 for no validation scene")
        self.validation = validation
        found = find_scans(self.raw, str(formats))
        self.files, self._notes = found.files, found.notes

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
        return [path, *companions(path)]

    def shared_files(self, name: str) -> list[Path]:
        """None."""
        del name
        return []

    def notes(self) -> list[str]:
        """Files that are no scans."""
        return self._notes

    def read(self, name: str) -> ReadScene:
        """One scan, moved to an origin of its own where it lies far out."""
        scan = read_scan(self.files[name], self.scans)
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
