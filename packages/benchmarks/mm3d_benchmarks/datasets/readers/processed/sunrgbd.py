"""SUN RGB-D as VoteNet (and MM-3DScene) and mmdetection3d store it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.formats.loaded import load_archive, load_array, load_binary
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.processed.base import (
    MMDetReader,
    ProcessedReader,
    boxes_of_info,
)
from mm3d_benchmarks.datasets.readers.sunrgbd import facts
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError


class VoteNetSunRgbd(ProcessedReader):
    """``sunrgbd_pc_bbox_votes_50k_{v1,v2}_{train,val}/NNNNNN_{pc.npz,bbox.npy}``: half sizes.

    Args:
        raw: folder that holds those folders.
        boxes: label version ``v1`` or ``v2``.
    """

    form = "votenet"

    def __init__(self, raw: Path, boxes: str = "v1") -> None:
        super().__init__(raw, facts())
        self.options["boxes"] = boxes
        self.folders = {split: self.raw / f"sunrgbd_pc_bbox_votes_50k_{boxes}_{split}" for split in ("train", "val")}
        missing = [str(folder) for folder in self.folders.values() if not folder.is_dir()]
        if missing:
            raise UserError(f"{missing[0]}: not found; export this version, or choose boxes=v1 or boxes=v2")

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By the folders' names."""
        return bool(glob_visible(raw, "sunrgbd_pc_bbox_votes_50k_*"))

    def splits(self) -> dict[str, list[str]]:
        """The folders."""
        return {s: [p.name[:6] for p in glob_visible(folder, "*_pc.npz")] for s, folder in self.folders.items()}

    def source_files(self, name: str) -> list[Path]:
        """Points and boxes."""
        for folder in self.folders.values():
            if (folder / f"{name}_pc.npz").exists():
                return [folder / f"{name}_pc.npz", folder / f"{name}_bbox.npy"]
        raise BrokenSceneError(f"{self.raw}: no frame {name}")

    def read(self, name: str) -> ReadScene:
        """Points and boxes; stored votes are made again from the boxes when a batch is loaded."""
        points_path, boxes_path = self.source_files(name)
        points = load_archive(points_path).get("pc", np.zeros(0))
        if points.ndim != 2 or points.shape[1] < 6 or len(points) == 0:
            raise BrokenSceneError(f"{points_path}: no array pc of (N, 6); export it again")
        boxes = load_array(boxes_path)
        if boxes.size % 8:
            raise BrokenSceneError(f"{boxes_path}: shape {boxes.shape}, not (K, 8)")
        boxes, remarks = boxes.reshape(-1, 8).astype(np.float64), []
        coord, offset = settle(points[:, :3])
        boxes[:, :3] -= offset
        boxes[:, 3:6] *= 2
        color = bytes_of_color(points[:, 3:6], points_path, remarks)
        return ReadScene(Scene(name, coord, color, boxes=boxes.astype(np.float32), offset=offset), remarks)


class MMDetSunRgbd(MMDetReader):
    """``points/NNNNNN.bin`` and ``sunrgbd_infos_{train,val}.json``: full sizes, yaw is minus VoteNet's heading."""

    prefix = "sunrgbd_infos_"
    folders = ("points",)

    def __init__(self, raw: Path) -> None:
        super().__init__(raw, facts())

    def read(self, name: str) -> ReadScene:
        """Points and boxes of a frame."""
        path = self.source_files(name)[0]
        points = load_binary(path, "<f4", 6)
        remarks: list[str] = []
        coord, offset = settle(points[:, :3])
        color = bytes_of_color(points[:, 3:], path, remarks)
        boxes = boxes_of_info(self.infos[name], self.info_file(name), yaw=True, offset=offset)
        return ReadScene(Scene(name, coord, color, boxes=boxes, offset=offset), remarks)
