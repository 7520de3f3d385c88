"""Already processed forms of the data sets that users may have: what their readers share.

A form is recognized by its files; ``mm3d prepare`` then reads it in place of the raw release. Pickles are not read:
they can run any program. ``.pkl`` info files of mmdetection3d must be turned into JSON first.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.digits import coarse_remark
from mm3d_benchmarks.datasets.facts import IGNORE, DatasetFacts
from mm3d_benchmarks.datasets.formats.loaded import load_array, load_binary, load_table
from mm3d_benchmarks.datasets.placement import NO_OFFSET, Offset, settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, Reader, reading
from mm3d_benchmarks.datasets.scene import Scene, check_name
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json

Place = Callable[[np.ndarray], tuple[np.ndarray, Offset]]  # (N, 3) to float32 and what was subtracted


class ProcessedReader(Reader):
    """A reader of arrays; subclasses say which files make a scene.

    Attributes:
        form: name of the form, kept in the manifest's options.
        facts: of the data set.
        options: see :class:`Reader`.
    """

    form = ""

    def __init__(self, raw: Path, facts: DatasetFacts) -> None:
        self.raw = Path(raw)
        self.facts = facts
        self.options: dict[str, Any] = {"form": self.form}

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """Whether a folder is of this form."""
        raise NotImplementedError("every form says how it is recognized")


class PointceptReader(ProcessedReader):
    """One folder a scene: ``{coord,color,normal,<segment_file>,instance}.npy``, train ids, not moved.

    Attributes:
        segment_file: stem of the labels' file.
        needed: stems without which a scene is broken.
    """

    form = "pointcept"
    segment_file = "segment"
    needed = ("coord", "color")

    def stored(self, name: str, place: Place = settle) -> tuple[Scene, list[str]]:
        """The scene as it is stored, moved by ``place``, and what was assumed to read it."""
        files = {path.stem: path for path in self.source_files(name)}
        if missing := [stem for stem in self.needed if stem not in files]:
            raise BrokenSceneError(f"{self.raw}: {name} lacks {', '.join(f'{stem}.npy' for stem in missing)}")
        arrays = {
            key: load_table(path, 3) if key in ("coord", "color", "normal") else load_array(path)
            for key, path in files.items()
        }
        segment, instance = arrays.get(self.segment_file), arrays.get("instance")
        same_length(files["coord"], coord=arrays["coord"], color=arrays["color"], segment=segment, instance=instance)
        classes, remarks = len(self.facts.segment_classes), coarse_remark(list(arrays["coord"][:, :3].T))
        coord, offset = place(arrays["coord"][:, :3])
        scene = Scene(
            name,
            coord,
            bytes_of_color(arrays["color"], files["color"], remarks),
            arrays["normal"].astype(np.float32) if "normal" in arrays else None,
            None if segment is None else train_ids(segment, classes, files[self.segment_file]),
            None if instance is None else instance_ids(instance, -1, files["instance"]),
            offset=offset,
        )
        return scene, remarks


class MMDetReader(ProcessedReader):
    """``points/<scene>.bin``, masks beside them, and info files in JSON.

    Attributes:
        prefix: how the info files' names begin.
        parts: how they end, a split or an area each.
        complete: whether every part must be there.
        folders: of the files that make a scene, points first.
        infos: entry of each scene.
        names: scenes of each part.
    """

    form = "mmdetection3d"
    prefix = ""
    parts: tuple[str, ...] = ("train", "val")
    complete = True
    folders: tuple[str, ...] = ("points", "semantic_mask", "instance_mask")

    def __init__(self, raw: Path, facts: DatasetFacts) -> None:
        super().__init__(raw, facts)
        self.infos: dict[str, dict[str, Any]] = {}
        self.names: dict[str, list[str]] = {}
        for part in self.parts:
            if self.complete or glob_visible(self.raw, f"{self.prefix}{part}.*"):
                entries = load_infos(self.raw, self.prefix, f"{self.prefix}{part}")
                self.infos |= entries
                self.names[part] = sorted(entries)
        if not self.names:
            raise UserError(f"{self.raw}: no {self.prefix}*.json")

    @classmethod
    def accepts(cls, raw: Path) -> bool:
        """By points and info files."""
        return (raw / "points").is_dir() and bool(glob_visible(raw, f"{cls.prefix}*"))

    def splits(self) -> dict[str, list[str]]:
        """The info files."""
        return self.names

    def source_files(self, name: str) -> list[Path]:
        """Points and masks."""
        return [self.raw / folder / f"{name}.bin" for folder in self.folders]

    def shared_files(self, name: str) -> list[Path]:
        """The info file that lists the scene."""
        return [self.info_file(name)]

    def notes(self) -> list[str]:
        """Point files that no info file lists."""
        listed = {name for names in self.names.values() for name in names}
        rest = [path for path in glob_visible(self.raw, "points/*.bin") if path.stem not in listed]
        absent = [part for part in self.parts if part not in self.names]
        notes = [f"{len(rest)} files in points/ that no {self.prefix}*.json lists: passed over"] if rest else []
        return notes + ([f"no {self.prefix}*.json for {', '.join(absent)}"] if absent else [])

    def info_file(self, name: str) -> Path:
        """The info file that lists a scene."""
        return self.raw / f"{self.prefix}{next(part for part, names in self.names.items() if name in names)}.json"

    def labelled_points(self, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (N, 6), semantic mask (N,) and instance mask (N,)."""
        paths = self.source_files(name)
        points = load_binary(paths[0], "<f4", 6)
        semantic, instance = load_binary(paths[1], "<i8"), load_binary(paths[2], "<i8")
        same_length(paths[0], points=points, semantic_mask=semantic, instance_mask=instance)
        return points, semantic, instance


def load_infos(raw: Path, prefix: str, file: str) -> dict[str, dict[str, Any]]:
    """Entries of an mmdetection3d info file (as JSON) by the stem of their point file.

    Raises:
        UserError: only a pickle is there, or the JSON is damaged.
    """
    path = raw / f"{file}.json"
    if not path.exists():
        raise UserError(
            f"{path}: not found. A pickle runs whatever its maker wrote, so {prefix}*.pkl are not read here. Make the "
            "info files yourself with mmdetection3d's tools/create_data.py, and there save each as JSON: "
            f"mmengine.dump(infos, '{file}.json')"
        )
    kinds = (ValueError, KeyError, TypeError, OverflowError, AttributeError)
    with reading(path, "not an info file of mmdetection3d 1.x", "write it again", kinds, UserError):
        entries = parse_json(path.read_bytes())["data_list"]
        infos = {Path(entry["lidar_points"]["lidar_path"]).stem: entry for entry in entries}
        for name in infos:
            check_name(name)
    return infos


def boxes_of_info(entry: dict[str, Any], path: Path, yaw: bool = False, offset: Offset = NO_OFFSET) -> np.ndarray:
    """(K, 8) float32 boxes of one entry of an info file.

    Args:
        path: the info file.
        yaw: boxes have a seventh number, which is minus our heading; otherwise the heading is 0.
        offset: subtracted from the centers, as from the points.

    Raises:
        BrokenSceneError: an entry that is no box.
    """
    rows = []
    kinds = (KeyError, TypeError, ValueError, IndexError, OverflowError, AttributeError)
    with reading(path, "damaged boxes", "write it again", kinds):
        for box in entry.get("instances", []):
            numbers, label = [float(number) for number in box["bbox_3d"]], int(box["bbox_label_3d"])
            center = [at - by for at, by in zip(numbers[:3], offset, strict=True)]
            rows.append([*center, *numbers[3:6], -numbers[6] if yaw else 0.0, label])
            if len(numbers) not in ((7,) if yaw else (6, 7)) or not np.isfinite(numbers).all() or not 0 <= label < 100:
                raise ValueError(f"{str(box)[:200]} is no box")
    return np.array(rows, np.float32).reshape(-1, 8)


def is_rigid(matrix: np.ndarray) -> bool:
    """Whether (4, 4) ``matrix`` turns and shifts, to within the digits that files are written with."""
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    turn = matrix[:3, :3]
    return bool(np.abs(turn @ turn.T - np.eye(3)).max() < 0.01 and np.abs(matrix[3] - (0, 0, 0, 1)).max() < 1e-6)


def train_ids(labels: np.ndarray, classes: int, path: Path) -> np.ndarray:
    """(N,) int16 from train ids in which -1, 255 and -100 mean ignored.

    Raises:
        BrokenSceneError: any other id is outside the classes.
    """
    ids = whole_numbers(labels, path).copy()
    ids[np.isin(ids, (-1, 255, -100))] = IGNORE
    if ids.size and (ids.min() < IGNORE or ids.max() >= classes):
        raise BrokenSceneError(f"{path}: labels from {ids.min()} to {ids.max()} are outside of the {classes} classes")
    return ids.astype(np.int16)


def whole_numbers(values: np.ndarray, path: Path) -> np.ndarray:
    """(N,) int64 of ids, also when they were stored as floats.

    Raises:
        BrokenSceneError: they are no ids.
    """
    values = values.reshape(-1)
    if not (np.abs(values.astype(np.float64)) < 2**31).all() or (values != np.floor(values)).any():
        raise BrokenSceneError(f"{path}: holds numbers that are no ids; export it again")
    return values.astype(np.int64)


def instance_ids(instance: np.ndarray, none: int, path: Path) -> np.ndarray:
    """(N,) int32 in which ``none`` (and anything negative) becomes -1. Raises as :func:`whole_numbers`."""
    ids = whole_numbers(instance, path)
    return np.where((ids == none) | (ids < 0), -1, ids - (none == 0)).astype(np.int32)


def same_length(path: Path, **arrays: np.ndarray | None) -> None:
    """Refuse files of one scene that do not belong together."""
    lengths = {name: len(np.atleast_1d(value)) for name, value in arrays.items() if value is not None}
    if len(set(lengths.values())) > 1:
        raise BrokenSceneError(f"{path}: files of different lengths: {lengths}")
