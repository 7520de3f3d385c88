"""ScanNet as Pointcept, VoteNet (and MM-3DScene's detection code) and mmdetection3d store it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.formats.loaded import load_array, load_table
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.processed.base import (
    MMDetReader,
    PointceptReader,
    ProcessedReader,
    boxes_of_info,
    instance_ids,
    is_rigid,
    same_length,
    whole_numbers,
)
from mm3d_benchmarks.datasets.readers.scannet import NYU40, facts, nyu40_to_train, read_names
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError

UNALIGNED = "the form has no axis alignment: the raw frame is kept, and there are no boxes"


class PointceptScanNet(PointceptReader):
    """``<split>/<scan>/{coord,color,normal,segment20,instance}.npy``: unaligned, train ids."""

    segment_file = "segment20"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the coordinates of a first scan."""
        return bool(glob_visible(raw, "train/*/coord.npy", "val/*/coord.npy"))

    def splits(self) -> dict[str, list[str]]:
        """The folders."""
        return {
            s: [p.parent.name for p in glob_visible(self.raw, f"{s}/*/coord.npy")] for s in ("train", "val", "test")
        }

    def notes(self) -> list[str]:
        """Folders of scans that are in no split."""
        rest = [p for p in glob_visible(self.raw, "*/*/coord.npy") if p.parts[-3] not in ("train", "val", "test")]
        return [f"{len(rest)} scans outside of train/, val/ and test/: passed over"] if rest else []

    def source_files(self, name: str) -> list[Path]:
        """All arrays of the scan."""
        for split in ("train", "val", "test"):
            if (folder := self.raw / split / name).is_dir():
                return glob_visible(folder, "*.npy")
        raise BrokenSceneError(f"{self.raw}: no scan {name}")

    def read(self, name: str) -> ReadScene:
        """Coordinates as they are: this form does not know the alignment."""
        scene, remarks = self.stored(name)
        return ReadScene(scene, [UNALIGNED, *remarks])


class VoteNetScanNet(ProcessedReader):
    """``<scan>_{vert,sem_label,ins_label,bbox}.npy``: aligned, nyu40 ids, at most 50,000 vertices."""

    form = "votenet"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())
        self.folder = next(iter(sorted({path.parent for path in _votenet_files(self.raw)})), self.raw)

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the vertices of a first scan."""
        return bool(_votenet_files(raw))

    def splits(self) -> dict[str, list[str]]:
        """The release's split lists, less the scans that were not exported."""
        return release_splits(self.raw, self._have())[0]

    def notes(self) -> list[str]:
        """Scans of the lists that were not exported, scans in no list, and other folders with scans."""
        others = sorted({path.parent.name for path in _votenet_files(self.raw)} - {self.folder.name})
        notes = [f"scans are read from {self.folder.name}/; passed over: {', '.join(others)}"] if others else []
        return release_splits(self.raw, self._have())[1] + notes

    def _have(self) -> set[str]:
        return {path.name.removesuffix("_vert.npy") for path in glob_visible(self.folder, "*_vert.npy")}

    def source_files(self, name: str) -> list[Path]:
        """Four arrays."""
        return [self.folder / f"{name}_{part}.npy" for part in ("vert", "sem_label", "ins_label", "bbox")]

    def read(self, name: str) -> ReadScene:
        """Vertices, labels and the stored boxes, which come from all vertices of the scan."""
        paths = self.source_files(name)
        vertices = load_table(paths[0], 6)
        semantic, instance, boxes = (load_array(path) for path in paths[1:])
        if boxes.size % 7 or not np.isfinite(boxes).all():
            raise BrokenSceneError(f"{paths[3]}: shape {boxes.shape}, not (K, 7) finite numbers")
        same_length(paths[0], vert=vertices, sem_label=semantic, ins_label=instance)
        rows, remarks = [], []
        coord, offset = settle(vertices[:, :3])
        for box in boxes.reshape(-1, 7):
            if int(box[6]) in NYU40[2:] and (box[3:6] > 0).all():
                rows.append([*(box[:3] - offset), *box[3:6], 0.0, NYU40.index(int(box[6])) - 2])
        scene = Scene(
            name,
            coord,
            bytes_of_color(vertices[:, 3:6], paths[0], remarks),
            None,
            train_ids_of_nyu40(semantic, paths[1]),
            instance_ids(instance, 0, paths[2]),
            np.array(rows, np.float32).reshape(-1, 8),
            offset,
        )
        return ReadScene(scene, remarks)


class MMDetScanNet(MMDetReader):
    """``points/*.bin`` (unaligned), masks, and info files as JSON with the alignment and the boxes."""

    prefix = "scannet_infos_"

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    def read(self, name: str) -> ReadScene:
        """Points turned into the aligned frame, in which the boxes of the info file are."""
        paths, info, file = self.source_files(name), self.infos[name], self.info_file(name)
        points, semantic, instance = self.labelled_points(name)
        try:
            matrix = np.array(info.get("axis_align_matrix", np.eye(4)), np.float64)
        except (TypeError, ValueError, OverflowError) as error:
            raise BrokenSceneError(f"{file}: axis_align_matrix of {name} is no matrix") from error
        if not is_rigid(matrix):
            raise BrokenSceneError(f"{file}: axis_align_matrix of {name} is no rigid motion")
        coord, offset = settle(points[:, :3].astype(np.float64) @ matrix[:3, :3].T + matrix[:3, 3])
        remarks: list[str] = []
        scene = Scene(
            name,
            coord,
            bytes_of_color(points[:, 3:], paths[0], remarks),
            None,
            train_ids_of_nyu40(semantic, paths[1]),
            instance_ids(instance, 0, paths[2]),
            boxes_of_info(info, file, offset=offset),
            offset,
        )
        return ReadScene(scene, remarks)


def _votenet_files(raw: Path) -> list[Path]:
    """Vertex arrays in the folder or one below."""
    return glob_visible(raw, "*_vert.npy", "*/*_vert.npy")


def release_splits(raw: Path, have: set[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The release's split lists, beside the data or in ``meta_data``, here or one folder up; only scans that we have.

    Returns:
        splits: scans by split.
        notes: how many scans of the lists are not there, and how many scans are in no list.

    Raises:
        UserError: a list is missing.
    """
    splits, notes, listed = {}, [], set()
    for split in ("train", "val"):
        found = [
            path
            for base in (raw, raw.parent)
            for path in (base / f"scannetv2_{split}.txt", base / "meta_data" / f"scannetv2_{split}.txt")
            if path.is_file()
        ]
        if not found:
            raise UserError(f"{raw / f'scannetv2_{split}.txt'}: not found; put ScanNet's split lists beside the data")
        names = read_names(sorted(found)[0])
        splits[split] = [name for name in names if name in have]
        listed |= set(names)
        if len(splits[split]) < len(names):
            notes.append(f"{split}: {len(names) - len(splits[split])} of {len(names)} listed scans are not there")
    if have - listed:
        notes.append(f"{len(have - listed)} scans in no split list: passed over")
    return splits, notes


def train_ids_of_nyu40(semantic: np.ndarray, path: Path) -> np.ndarray:
    """(N,) int16 train ids of nyu40 ids. Raises BrokenSceneError where they are none."""
    ids = whole_numbers(semantic, path)
    if ids.size and (ids.min() < 0 or ids.max() > 40):
        raise BrokenSceneError(f"{path}: ids from {ids.min()} to {ids.max()} are not nyu40")
    return nyu40_to_train()[ids]
