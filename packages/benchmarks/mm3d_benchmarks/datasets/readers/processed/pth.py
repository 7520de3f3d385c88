"""ScanNet and S3DIS as ``.pth`` files: PointGroup and its heirs, Pointcept before 1.5, ContrastiveSceneContexts.

Forms as written by dvlab-research/PointGroup (dataset/scannetv2/prepare_data_inst.py), Pointcept 1.4 and
facebookresearch/ContrastiveSceneContexts; how such files are opened: ``datasets/pthfile.py``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.formats.pthfile import CONVERT, load_pth
from mm3d_benchmarks.datasets.placement import at_minimum, settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.processed.base import (
    ProcessedReader,
    instance_ids,
    same_length,
    train_ids,
)
from mm3d_benchmarks.datasets.readers.processed.s3dis import with_boxes
from mm3d_benchmarks.datasets.readers.processed.scannet import UNALIGNED, release_splits, train_ids_of_nyu40
from mm3d_benchmarks.datasets.readers.s3dis import AREAS, area_notes, area_splits
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES as S3DIS_CLASSES
from mm3d_benchmarks.datasets.readers.s3dis import facts as s3dis_facts
from mm3d_benchmarks.datasets.readers.scannet import facts as scannet_facts
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.visible import glob_visible

SUFFIXES = ("_inst_nostuff", "_vh_clean_2")  # of names, dropped
IGNORED = (-100, -1, 255)


class PthScanNet(ProcessedReader):
    """``<split>/<scan>.pth``, or all scans in one folder with the release's split lists beside them.

    A file is Pointcept's dictionary, or a tuple (coordinates, colors, labels, instances) whose labels may be missing.
    Labels of a tuple are train ids where colors reach below 0 or an ignored id occurs (PointGroup), else nyu40 ids.
    """

    form = "pth"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, scannet_facts())
        self.files = {_scene_name(path): path for path in _scannet_files(self.raw)}

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By a first file."""
        return bool(_scannet_files(raw))

    def splits(self) -> dict[str, list[str]]:
        """The folders; for files in one folder the release's lists."""
        folders = {path.parent.name for path in self.files.values()}
        if not folders & {"train", "val"}:
            return release_splits(self.raw, set(self.files))[0]
        return {
            s: sorted(name for name, path in self.files.items() if path.parent.name == s)
            for s in ("train", "val", "test")
        }

    def notes(self) -> list[str]:
        """Scans in no split, and listed scans that are not there."""
        folders = {path.parent.name for path in self.files.values()}
        if not folders & {"train", "val"}:
            return release_splits(self.raw, set(self.files))[1]
        rest = sum(path.parent.name not in ("train", "val", "test") for path in self.files.values())
        return [f"{rest} scans outside of train/, val/ and test/: passed over"] if rest else []

    def source_files(self, name: str) -> list[Path]:
        """One file."""
        return [self.files[name]]

    def read(self, name: str) -> ReadScene:
        """Coordinates as they are: the form does not know the alignment, and PointGroup's are shifted to their mean."""
        path = self.files[name]
        coord, color, normal, label, instance = _parts(load_pth(path), path)
        nyu40 = label is not None and color.min() >= 0 and not np.isin(label, IGNORED).any()
        segment = None if label is None else train_ids_of_nyu40(label, path) if nyu40 else train_ids(label, 20, path)
        objects = None if instance is None else instance_ids(instance, 0 if nyu40 else -1, path)
        remarks, (near, offset) = [UNALIGNED], settle(coord)
        shown = bytes_of_color(color, path, remarks)
        return ReadScene(Scene(name, near, shown, normal, segment, objects, offset=offset), remarks)


class PthS3DIS(ProcessedReader):
    """``Area_k/<room>.pth``: Pointcept's dictionary, not shifted."""

    form = "pth"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, s3dis_facts())

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By a first room."""
        return bool(glob_visible(raw, "Area_*/*.pth"))

    def splits(self) -> dict[str, list[str]]:
        """The areas."""
        return area_splits({a: [f"{a}_{p.stem}" for p in glob_visible(self.raw, f"{a}/*.pth")] for a in AREAS})

    def notes(self) -> list[str]:
        """Folders that are no areas."""
        return area_notes(self.raw)

    def source_files(self, name: str) -> list[Path]:
        """One file."""
        return [self.raw / name[:6] / f"{name[7:]}.pth"]

    def read(self, name: str) -> ReadScene:
        """A room, shifted to its minimum corner."""
        path = self.source_files(name)[0]
        coord, color, normal, label, instance = _parts(load_pth(path), path)
        if label is None:
            raise BrokenSceneError(f"{path}: has no labels (semantic_gt); {CONVERT}")
        segment = train_ids(label, len(S3DIS_CLASSES), path)
        objects = None if instance is None else instance_ids(instance, -1, path)
        remarks, (near, offset) = [], at_minimum(coord)
        shown = bytes_of_color(color, path, remarks)
        return ReadScene(with_boxes(Scene(name, near, shown, normal, segment, objects, offset=offset)), remarks)


def _parts(value: Any, path: Path) -> tuple[np.ndarray, np.ndarray, Any, Any, Any]:
    """Coordinates (N, 3), colors (N, 3), normals, labels and instances, the last three or None."""
    if isinstance(value, dict):
        keys = ("coord", "color", "normal", ("semantic_gt20", "semantic_gt"), "instance_gt")
        found = [
            next((value[k] for k in (key if isinstance(key, tuple) else (key,)) if k in value), None) for key in keys
        ]
    elif isinstance(value, tuple | list) and 2 <= len(value) <= 4:
        coord, color, *rest = value
        found = [coord, color, None, *rest, *[None] * (2 - len(rest))]
    else:
        raise BrokenSceneError(f"{path}: holds a {type(value).__name__}, not a scene's dictionary or tuple; {CONVERT}")
    coord, color, normal, label, instance = (None if v is None else np.asarray(v) for v in found)
    for name, table in (("coord", coord), ("color", color), ("normal", normal)):
        if table is None and name != "normal":
            raise BrokenSceneError(f"{path}: has no {name}; {CONVERT}")
        if table is not None and (
            table.ndim != 2 or table.shape[1] != 3 or table.dtype.kind not in "fiu" or not len(table)
        ):
            raise BrokenSceneError(f"{path}: {name} is {table.dtype} {table.shape}, not (N, 3) numbers; {CONVERT}")
        if table is not None and not np.isfinite(table).all():
            raise BrokenSceneError(f"{path}: {name} holds NaN or infinite numbers; {CONVERT}")
    for name, ids in (("labels", label), ("instances", instance)):
        if ids is not None and ids.dtype.kind not in "fiub":
            raise BrokenSceneError(f"{path}: {name} are {ids.dtype}, not numbers; {CONVERT}")
    assert coord is not None
    assert color is not None
    label, instance = (None if v is None else v.reshape(-1) for v in (label, instance))
    same_length(path, coord=coord, color=color, normal=normal, labels=label, instances=instance)
    return coord, color, None if normal is None else normal.astype(np.float32), label, instance


def _scannet_files(raw: Path) -> list[Path]:
    """Scans in the folder or one below, named as ScanNet names them."""
    return glob_visible(raw, "scene*.pth", "*/scene*.pth")


def _scene_name(path: Path) -> str:
    name = path.stem
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name
