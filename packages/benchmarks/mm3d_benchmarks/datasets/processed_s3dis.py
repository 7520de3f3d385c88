"""S3DIS as Pointcept, POSTECH's Point Transformer (and its heirs) and mmdetection3d store it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.processed import (
    ProcessedReader,
    boxes_of_info,
    bytes_of_color,
    instance_ids,
    load_array,
    load_binary,
    load_infos,
    load_table,
    same_length,
    train_ids,
)
from mm3d_benchmarks.datasets.reader import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.s3dis import AREAS, CLASSES, area_splits, boxes_of_objects, facts
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError

# Ids of arrays made with the name list chair 7, table 8, bookcase 9, sofa 10, in the order of this suite.
SWAPPED = np.array([0, 1, 2, 3, 4, 5, 6, 8, 7, 10, 9, 11, 12], np.int16)


class PointceptS3DIS(ProcessedReader):
    """``Area_k/<room>/{coord,color,normal,segment,instance}.npy``: not shifted."""

    form = "pointcept"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the coordinates of a first room."""
        return any(raw.glob("Area_*/*/coord.npy"))

    def splits(self) -> dict[str, list[str]]:
        """The areas."""
        return area_splits(
            {a: sorted(f"{a}_{p.parent.name}" for p in self.raw.glob(f"{a}/*/coord.npy")) for a in AREAS}
        )

    def source_files(self, name: str) -> list[Path]:
        """All arrays of the room."""
        return sorted((self.raw / name[:6] / name[7:]).glob("*.npy"))

    def read(self, name: str) -> ReadScene:
        """A room, shifted to its minimum corner."""
        files = {path.stem: path for path in self.source_files(name)}
        if not {"coord", "color", "segment"} <= set(files):
            raise BrokenSceneError(f"{self.raw / name[:6] / name[7:]}: lacks coord.npy, color.npy or segment.npy")
        arrays = {
            key: load_table(path, 3) if key in ("coord", "color", "normal") else load_array(path)
            for key, path in files.items()
        }
        instance = arrays.get("instance")
        same_length(
            files["coord"], coord=arrays["coord"], color=arrays["color"], segment=arrays["segment"], instance=instance
        )
        segment = train_ids(arrays["segment"], len(CLASSES), files["segment"])
        coord = _shifted(arrays["coord"])
        objects = None if instance is None else instance_ids(instance, -1, files["instance"])
        scene = Scene(
            name,
            coord,
            bytes_of_color(arrays["color"], files["color"]),
            arrays["normal"].astype(np.float32) if "normal" in arrays else None,
            segment,
            objects,
            None if objects is None else boxes_of_objects(coord, segment, objects),
        )
        return ReadScene(scene)


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
        return ReadScene(Scene(name, _shifted(table[:, :3]), bytes_of_color(table[:, 3:6], path), None, segment))


class MMDetS3DIS(ProcessedReader):
    """``points/Area_k_<room>.bin``, masks, and ``s3dis_infos_Area_k.json`` with the boxes."""

    form = "mmdetection3d"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())
        self.infos: dict[str, dict[str, dict[str, Any]]] = {}
        for area in AREAS:
            if any(self.raw.glob(f"s3dis_infos_{area}.*")):
                self.infos[area] = load_infos(self.raw, "s3dis_infos_", f"s3dis_infos_{area}")
        if not self.infos:
            raise UserError(f"{self.raw}: no s3dis_infos_Area_k.json")

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By points and info files."""
        return (raw / "points").is_dir() and any(raw.glob("s3dis_infos_*"))

    def splits(self) -> dict[str, list[str]]:
        """The info files."""
        return area_splits({area: sorted(entries) for area, entries in self.infos.items()})

    def source_files(self, name: str) -> list[Path]:
        """Points and masks."""
        return [self.raw / folder / f"{name}.bin" for folder in ("points", "semantic_mask", "instance_mask")]

    def read(self, name: str) -> ReadScene:
        """A room with the boxes of the info file."""
        paths = self.source_files(name)
        points = load_binary(paths[0], "<f4", 6)
        semantic, instance = load_binary(paths[1], "<i8"), load_binary(paths[2], "<i8")
        same_length(paths[0], points=points, semantic_mask=semantic, instance_mask=instance)
        boxes = boxes_of_info(self.infos[name[:6]][name], self.raw / f"s3dis_infos_{name[:6]}.json")
        scene = Scene(
            name,
            points[:, :3].copy(),
            bytes_of_color(points[:, 3:], paths[0]),
            None,
            train_ids(semantic, len(CLASSES), paths[1]),
            instance_ids(instance, 0, paths[2]),
            boxes,
        )
        return ReadScene(scene)


def _postech_files(raw: Path) -> list[Path]:
    """Tables in the folder or one below."""
    return sorted([*raw.glob("Area_*.npy"), *raw.glob("*/Area_*.npy")])


def _shifted(coord: np.ndarray) -> np.ndarray:
    """(N, 3) float32 with the minimum corner at the origin."""
    return (coord.astype(np.float64) - coord.min(axis=0)).astype(np.float32)
