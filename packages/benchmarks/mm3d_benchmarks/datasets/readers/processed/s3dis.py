"""S3DIS as Pointcept, POSTECH's Point Transformer (and its heirs) and mmdetection3d store it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.formats.loaded import load_table
from mm3d_benchmarks.datasets.placement import at_minimum, settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.processed.base import (
    MMDetReader,
    PointceptReader,
    ProcessedReader,
    boxes_of_info,
    instance_ids,
    train_ids,
)
from mm3d_benchmarks.datasets.readers.s3dis import AREAS, CLASSES, area_notes, area_splits, boxes_of_objects, facts
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.visible import glob_visible

# Ids of arrays made with the name list chair 7, table 8, bookcase 9, sofa 10, in the order of this suite.
SWAPPED = np.array([0, 1, 2, 3, 4, 5, 6, 8, 7, 10, 9, 11, 12], np.int16)


class PointceptS3DIS(PointceptReader):
    """``Area_k/<room>/{coord,color,normal,segment,instance}.npy``: not shifted."""

    needed = ("coord", "color", "segment")

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the coordinates of a first room."""
        return bool(glob_visible(raw, "Area_*/*/coord.npy"))

    def splits(self) -> dict[str, list[str]]:
        """The areas."""
        return area_splits(
            {a: [f"{a}_{p.parent.name}" for p in glob_visible(self.raw, f"{a}/*/coord.npy")] for a in AREAS}
        )

    def source_files(self, name: str) -> list[Path]:
        """All arrays of the room."""
        return glob_visible(self.raw / name[:6] / name[7:], "*.npy")

    def notes(self) -> list[str]:
        """Folders that are no areas."""
        return area_notes(self.raw)

    def read(self, name: str) -> ReadScene:
        """A room, shifted to its minimum corner."""
        scene, remarks = self.stored(name, at_minimum)
        return ReadScene(with_boxes(scene), remarks)


class PostechS3DIS(ProcessedReader):
    """``Area_k_<room>.npy`` (N, 7): x y z r g b label, perhaps in ``trainval_fullarea/`` or ``raw/``.

    Args:
        raw: the folder.
        swapped: the labels follow the name list chair 7, table 8, bookcase 9, sofa 10 (arrays rarely do, names often).
    """

    form = "postech"

    def __init__(self, raw: Path, swapped: bool = False) -> None:
        super().__init__(raw, facts())
        self.options["swapped"] = swapped
        self.files = {path.stem: path for path in _postech_files(self.raw)}

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the name of a first room."""
        return bool(_postech_files(raw))

    def splits(self) -> dict[str, list[str]]:
        """The areas."""
        return area_splits({a: sorted(n for n in self.files if n.startswith(f"{a}_")) for a in AREAS})

    def source_files(self, name: str) -> list[Path]:
        """The room's table."""
        return [self.files[name]]

    def read(self, name: str) -> ReadScene:
        """A room, shifted to its minimum corner; this form has no instances, so there are no boxes."""
        path = self.files[name]
        table = load_table(path, 7)
        if table.shape[1] != 7:
            raise BrokenSceneError(f"{path}: shape {table.shape}, not (N, 7)")
        segment = train_ids(table[:, 6], len(CLASSES), path)
        if self.options["swapped"]:
            segment = np.where(segment < 0, segment, SWAPPED[segment]).astype(np.int16)
        remarks: list[str] = []
        coord, offset = at_minimum(table[:, :3])
        color = bytes_of_color(table[:, 3:6], path, remarks)
        return ReadScene(Scene(name, coord, color, None, segment, offset=offset), remarks)


class MMDetS3DIS(MMDetReader):
    """``points/Area_k_<room>.bin``, masks, and ``s3dis_infos_Area_k.json`` with the boxes."""

    prefix = "s3dis_infos_"
    parts = AREAS
    complete = False

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    def splits(self) -> dict[str, list[str]]:
        """The info files."""
        return area_splits(self.names)

    def read(self, name: str) -> ReadScene:
        """A room with the boxes of the info file."""
        paths, remarks = self.source_files(name), []
        points, semantic, instance = self.labelled_points(name)
        coord, offset = settle(points[:, :3])
        scene = Scene(
            name,
            coord,
            bytes_of_color(points[:, 3:], paths[0], remarks),
            None,
            train_ids(semantic, len(CLASSES), paths[1]),
            instance_ids(instance, 0, paths[2]),
            boxes_of_info(self.infos[name], self.info_file(name), offset=offset),
            offset=offset,
        )
        return ReadScene(scene, remarks)


def with_boxes(scene: Scene) -> Scene:
    """The room with boxes where it has instances."""
    if scene.instance is None or scene.segment is None:
        return scene
    return replace(scene, boxes=boxes_of_objects(scene.coord, scene.segment, scene.instance))


def _postech_files(raw: Path) -> list[Path]:
    """Tables in the folder or one below."""
    return glob_visible(raw, "Area_*.npy", "*/Area_*.npy")
