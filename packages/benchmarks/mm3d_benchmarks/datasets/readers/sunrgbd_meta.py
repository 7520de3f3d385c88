"""SUN RGB-D's metadata files (MATLAB v5): calibration, paths, both versions of the boxes, and the official split.

Struct fields are looked up by name: their order differs between the versions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.matfile import read_mat
from mm3d_benchmarks.datasets.readers.base import reading
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError

V2_BOXES, V2_IMAGE_BOXES = "SUNRGBDMeta3DBB_v2.mat", "SUNRGBDMeta2DBB_v2.mat"
V1_BOXES, SPLIT = "SUNRGBDMeta.mat", "allsplit.mat"
DAMAGE = (KeyError, ValueError, TypeError, IndexError, AttributeError)  # of fields that are not what they should be
# classname, centroid (3,), coeffs (3,) half sizes, orientation (3,)
RawBox = tuple[str, np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Frame:
    """One frame of the metadata.

    Attributes:
        depth: path of the depth image below the raw folder, beginning with ``SUNRGBD/``.
        color: path of the color image.
        k: (3, 3) intrinsics.
        rtilt: (3, 3) gravity rotation.
        boxes: all classes, upright frame.
    """

    depth: str
    color: str
    k: np.ndarray
    rtilt: np.ndarray
    boxes: list[RawBox]


def read_frames(raw: Path, version: str, truncate: bool) -> list[Frame]:
    """All frames in the order of the v2 metadata, with the boxes of ``version``.

    Raises:
        UserError: a metadata file is missing, damaged, or the versions do not describe the same frames.
    """
    path = find(raw, V2_BOXES)
    meta = _structs(path, "SUNRGBDMeta")
    source = find(raw, V1_BOXES) if version == "v1" else path
    with reading(source, remedy="download it again", kinds=DAMAGE, error=UserError):
        boxes = _boxes_v1(raw, truncate) if version == "v1" else _boxes_v2(raw, meta, truncate)
    frames = []
    for number, item in enumerate(meta):
        with reading(path, f"frame {number + 1} is damaged", "download it again", DAMAGE, UserError):
            depth, color = release_path(_text(item["depthpath"])), release_path(_text(item["rgbpath"]))
            k, rtilt = _real(item["K"]).reshape(3, 3), _real(item["Rtilt"]).reshape(3, 3)
        found = boxes.get(folder_of(depth))
        if found is None:
            raise UserError(f"{find(raw, V1_BOXES)}: lacks frame {number + 1} ({folder_of(depth)}) of {path.name}")
        frames.append(Frame(depth, color, k, rtilt, found))
    return frames


def metadata_files(raw: Path, version: str, truncate: bool) -> list[Path]:
    """The files that :func:`read_frames` reads. Raises as it does."""
    names = {V2_BOXES, V1_BOXES if version == "v1" else V2_BOXES}
    if truncate and version == "v2":
        names.add(V2_IMAGE_BOXES)
    return [find(raw, name) for name in sorted(names)]


def read_split(raw: Path) -> tuple[list[str], list[str]]:
    """Frame folders of the official train and test halves, beginning with ``SUNRGBD/``."""
    path = find(raw, SPLIT)
    table = _load(path)
    halves = []
    for key in ("alltrain", "alltest"):
        if key not in table:
            raise UserError(f"{path}: no variable {key}; it must be the toolbox's traintestSUNRGBD/allsplit.mat")
        with reading(path, f"{key} is damaged", "download it again", DAMAGE, UserError):
            halves.append([release_path(_text(cell)) for cell in np.asarray(table[key], object).ravel()])
    return halves[0], halves[1]


def find(raw: Path, name: str) -> Path:
    """A metadata file in the raw folder, beside it in the toolbox, or one or two folders below.

    Raises:
        UserError: it is nowhere.
    """
    for pattern in (name, f"SUNRGBDtoolbox/*/{name}", f"*/{name}", f"*/*/{name}"):
        found = [path for path in glob_visible(raw, pattern) if path.parts[len(raw.parts)] != "SUNRGBD"]
        if found:
            return found[0]
    raise UserError(f"{raw / name}: not found; it comes with SUN RGB-D (rgbd.cs.princeton.edu), put it into {raw}")


def release_path(path: str) -> str:
    """A path of the metadata from ``SUNRGBD/`` on, without repeated or final slashes.

    Raises:
        ValueError: it leads elsewhere.
    """
    path = path.replace("\\", "/")  # metadata that was rewritten on Windows
    start = path.find("SUNRGBD/")
    if start < 0:
        raise ValueError(f"path {path[:200]!r} does not contain SUNRGBD/")
    if ".." in path.split("/") or not path.isprintable():
        raise ValueError(f"path {path[:200]!r} leads out of SUNRGBD/")
    return re.sub(r"/+", "/", path[start:]).rstrip("/")


def folder_of(depth: str) -> str:
    """The frame's folder of a depth path: file and ``depth`` folder cut off."""
    return depth.rsplit("/", 2)[0]


def _boxes_v2(raw: Path, meta: list[Any], truncate: bool) -> dict[str, list[RawBox]]:
    """Boxes by frame folder; the published extraction stops at the first whose 2D box has another class."""
    boxes = [[_raw_box(b) for b in _items(item, "groundtruth3DBB")] for item in meta]
    folders = [folder_of(release_path(_text(item["depthpath"]))) for item in meta]
    if not truncate:
        return dict(zip(folders, boxes, strict=True))
    path = find(raw, V2_IMAGE_BOXES)
    images = _structs(path, "SUNRGBDMeta2DBB")
    if len(images) != len(boxes):
        raise UserError(f"{path}: {len(images)} frames, but {V2_BOXES} has {len(boxes)}")
    kept = []
    with reading(path, remedy="download it again", kinds=DAMAGE, error=UserError):
        for solid, image in zip(boxes, images, strict=True):
            flat = _items(image, "groundtruth2DBB")
            same = [j < len(flat) and _text(flat[j]["classname"]) == box[0] for j, box in enumerate(solid)]
            kept.append(solid[: same.index(False) if False in same else None])
    return dict(zip(folders, kept, strict=True))


def _boxes_v1(raw: Path, truncate: bool) -> dict[str, list[RawBox]]:
    """Boxes by frame folder; the published extraction stops at the first without a 2D box of four numbers."""
    boxes = {}
    for item in _structs(find(raw, V1_BOXES), "SUNRGBDMeta"):
        kept = []
        for box in _items(item, "groundtruth3DBB"):
            if truncate and "gtBb2D" in (box.dtype.names or ()) and np.size(box["gtBb2D"]) != 4:
                break
            kept.append(_raw_box(box))
        boxes[folder_of(release_path(_text(item["depthpath"])))] = kept
    return boxes


def _raw_box(item: Any) -> RawBox:
    numbers = [_real(item[key]).ravel() for key in ("centroid", "coeffs", "orientation")]
    if [len(part) for part in numbers] != [3, 3, 3]:
        raise ValueError(f"a box of {[len(part) for part in numbers]} numbers, not three times three")
    return _text(item["classname"]), numbers[0], numbers[1], numbers[2]


def _structs(path: Path, variable: str) -> list[Any]:
    """The elements of a struct array."""
    table = _load(path)
    if variable not in table or not isinstance(table[variable], np.ndarray) or table[variable].dtype.names is None:
        raise UserError(f"{path}: no struct {variable}; it must be the file of the release")
    return list(table[variable].ravel())


def _items(item: Any, field: str) -> list[Any]:
    """The elements of a nested struct array; empty ones come as 0x0 arrays of any type."""
    value = np.asarray(item[field])
    return [] if value.size == 0 or value.dtype.names is None else list(value.ravel())


def _real(value: Any) -> np.ndarray:
    """Real numbers, which may be wrapped in cells."""
    value = np.asarray(value)
    if np.iscomplexobj(value):
        raise ValueError("complex numbers")
    return value.astype(float)


def _text(value: Any) -> str:
    """A MATLAB string, which may be wrapped in cells."""
    while isinstance(value, np.ndarray):
        if value.size != 1:
            raise ValueError(f"a string of {value.size} parts")
        value = value.ravel()[0]
    return str(value)


def _load(path: Path) -> dict[str, Any]:
    with reading(path, "damaged MAT file", "download it again", error=UserError):
        return read_mat(path)
