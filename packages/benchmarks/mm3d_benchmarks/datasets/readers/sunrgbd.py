"""SUN RGB-D: facts and the reader of the raw release, in Python alone.

Source: Song, Lichtenberg and Xiao, CVPR 2015; class list, size medians and box convention as in
facebookresearch/votenet (sunrgbd/), whose MATLAB extraction this replaces. Nothing copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import points_of_frame, read_color, read_depth
from mm3d_benchmarks.datasets.readers.sunrgbd_meta import Frame, folder_of, metadata_files, read_frames, read_split
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_core.errors import UserError

CLASSES = ("bed", "table", "sofa", "chair", "toilet", "desk", "dresser", "night_stand", "bookshelf", "bathtub")
# Medians of the train boxes (l, w, h), facebookresearch/votenet sunrgbd/model_util_sunrgbd.py
MEAN_SIZES = (
    (2.114256, 1.620300, 0.927272),
    (0.791118, 1.279516, 0.718182),
    (0.923508, 1.867419, 0.845495),
    (0.591958, 0.552978, 0.827272),
    (0.699104, 0.454178, 0.756250),
    (0.695190, 1.346299, 0.736364),
    (0.528526, 1.002642, 1.172878),
    (0.500618, 0.632163, 0.683424),
    (0.404671, 1.071108, 1.688889),
    (0.765840, 1.398258, 0.472728),
)
HEADING_BINS = 12
POINTS = 50_000  # kept per frame, as in VoteNet's extraction


def facts() -> DatasetFacts:
    """SUN RGB-D's ten detection classes; there are no point labels."""
    return DatasetFacts(name="sunrgbd", detection_classes=CLASSES, mean_sizes=MEAN_SIZES, num_heading_bins=HEADING_BINS)


class SunRgbdReader:
    """The raw release: ``SUNRGBD/``, the metadata files and the toolbox's split.

    Scenes are named by the frame's position in the metadata, counted from 1, as in all papers: ``000001`` ...

    Args:
        raw: folder that holds ``SUNRGBD`` and the ``.mat`` files (they may lie in ``SUNRGBDtoolbox`` as downloaded).
        boxes: label version ``v1`` (all published VoteNet numbers) or ``v2``.
        truncate: end a frame's boxes at the first one without a matching 2D box, as the published extraction does.
        points: random points kept per frame (fixed by the frame's number), 0 keeps every pixel with a return.

    Raises:
        UserError: metadata or split are missing or damaged.
    """

    def __init__(self, raw: Path, boxes: str = "v1", truncate: bool = True, points: int = POINTS) -> None:
        self.raw = Path(raw)
        self.facts = facts()
        if boxes not in ("v1", "v2") or points < 0:
            raise UserError(f"boxes={boxes}, points={points}: boxes is v1 or v2, points at least 0")
        self.options: dict[str, Any] = {"boxes": boxes, "truncate": truncate, "points": points}
        if not (self.raw / "SUNRGBD").is_dir():
            raise UserError(
                f"{self.raw / 'SUNRGBD'}: not found; raw must hold SUNRGBD.zip unpacked, the Meta .mat files and "
                "SUNRGBDtoolbox, all provided by rgbd.cs.princeton.edu"
            )
        self._metadata = metadata_files(self.raw, boxes, truncate)
        self.frames = {f"{number:06d}": frame for number, frame in enumerate(read_frames(self.raw, boxes, truncate), 1)}

    def splits(self) -> dict[str, list[str]]:
        """``train`` and ``val`` (the papers' name for the official test half), in rising frame order."""
        train, test = read_split(self.raw)
        of_folder = {folder_of(frame.depth): name for name, frame in self.frames.items()}
        unknown = [folder for folder in (*train, *test) if folder not in of_folder]
        if unknown:
            raise UserError(
                f"{self.raw}: allsplit.mat names {len(unknown)} frames that the metadata lacks, first {unknown[0]}; "
                "metadata and split must be of one release"
            )
        return {split: sorted(of_folder[f] for f in folders) for split, folders in (("train", train), ("val", test))}

    def source_files(self, name: str) -> list[Path]:
        """Depth and color image."""
        frame = self.frames[name]
        return [self.raw / frame.depth, self.raw / frame.color]

    def shared_files(self, name: str) -> list[Path]:
        """The metadata: calibration and boxes."""
        del name
        return self._metadata

    def notes(self) -> list[str]:
        """Frames in neither half of the split."""
        listed = {name for names in self.splits().values() for name in names}
        rest = len(self.frames) - len(listed)
        return [f"{rest} frames of the metadata in neither half of allsplit.mat passed over"] if rest else []

    def read(self, name: str) -> ReadScene:
        """Points in the upright frame and the boxes of the ten classes (possibly none)."""
        frame = self.frames[name]
        depth_path, color_path = self.source_files(name)
        depth, image = read_depth(depth_path), read_color(color_path)
        if depth.shape != image.shape[:2]:
            raise BrokenSceneError(f"{color_path}: size {image.shape[:2]} is not the depth's {depth.shape}")
        if not (np.isfinite(frame.k).all() and np.isfinite(frame.rtilt).all()):
            raise BrokenSceneError(f"{depth_path}: the metadata's calibration of this frame is not finite")
        coord, color = points_of_frame(depth, image, frame.k, frame.rtilt)
        if len(coord) == 0:
            raise BrokenSceneError(f"{depth_path}: no pixel has a return")
        wanted = self.options["points"]
        if wanted:
            random = np.random.default_rng(int(name))
            rows = random.choice(len(coord), wanted, replace=len(coord) < wanted)
            coord, color = coord[rows], color[rows]
        boxes, remarks = boxes_of_frame(frame)
        return ReadScene(Scene(name, coord, color, boxes=boxes), remarks)


def boxes_of_frame(frame: Frame) -> tuple[np.ndarray, list[str]]:
    """(K, 8) float32 boxes of the ten classes in VoteNet's convention, full sizes; flat boxes are reported."""
    rows, remarks = [], []
    for name, centroid, coeffs, orientation in frame.boxes:
        if name not in CLASSES:
            continue
        width, length, height = 2 * np.abs(coeffs)
        if not (np.isfinite([*centroid, *coeffs, *orientation]).all() and min(width, length, height) > 0):
            remarks.append(f"a {name} box without volume is left out")
            continue
        heading = -np.arctan2(orientation[1], orientation[0])
        rows.append([*centroid, length, width, height, heading, CLASSES.index(name)])
    return np.array(rows, np.float32).reshape(-1, 8), remarks
