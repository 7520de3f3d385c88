"""The prepared-scene contract: what every data set looks like on disk once it has been prepared.

    <root>/manifest.json                 version, units, classes, splits, hashes, counts, class shares, mean sizes
    <root>/<scene>/coord.npy             (N, 3) float32, metres, z up, axis-aligned where the data set has an alignment
                   color.npy             (N, 3) uint8, 0..255
                   normal.npy            (N, 3) float32, unit length (zero where unknown)
                   segment.npy           (N,) int16 train ids, -1 = ignored
                   instance.npy          (N,) int32, -1 = none
                   boxes.npy             (K, 8) float32: cx cy cz l w h (full sizes) heading class
                   scene.json            hashes and counts of this scene, written last: a scene with it is complete

Only ``coord`` is obligatory. A box's heading follows VoteNet: radians, from +x towards -y, the length l along it.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.arrays import read_array
from mm3d_benchmarks.datasets.placement import NO_OFFSET, Offset
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import atomic_write
from mm3d_core.files.sealed import read_sealed, write_sealed
from mm3d_core.files.untrusted import parse_json

MANIFEST = "manifest.json"
RECORD = "scene.json"
VERSION = 1  # of this layout; raise it when old folders can no longer be read
ATTRIBUTES: dict[str, tuple[type, tuple[int, ...]]] = {
    "coord": (np.float32, (3,)),
    "color": (np.uint8, (3,)),
    "normal": (np.float32, (3,)),
    "segment": (np.int16, ()),
    "instance": (np.int32, ()),
    "boxes": (np.float32, (8,)),
}


def check_name(name: Any) -> None:
    """A scene's name becomes a folder's and a file's: it must stay within the data set.

    Raises:
        ValueError: empty, hidden, a path, the name of a file beside the scenes, unprintable or too long for a file.
    """
    good = isinstance(name, str) and re.fullmatch(r"[^/\\]{1,150}", name) and name.isprintable()
    if (
        not good
        or name.startswith(".")
        or name in (MANIFEST, "sources.json")
        or len(name.encode(errors="replace")) > 200
    ):
        raise ValueError(f"{str(name)[:200]!r} cannot be the name of a scene")


@dataclass(frozen=True)
class Scene:
    """One prepared scene.

    Attributes:
        name: unique within its data set, also the folder's name.
        coord: (N, 3) float32 metres, z up.
        color: (N, 3) uint8 or None.
        normal: (N, 3) float32 or None.
        segment: (N,) int16 train ids, -1 = ignored, or None when the scene has no labels.
        instance: (N,) int32, -1 = none, or None.
        boxes: (K, 8) float32 cx cy cz l w h heading class, or None when the data set has no boxes.
        offset: metres that were subtracted, in double precision, from coordinates far from the origin.

    Raises:
        ValueError: shapes or types that contradict the contract, coordinates that are not finite, or no point at all.
    """

    name: str
    coord: np.ndarray
    color: np.ndarray | None = None
    normal: np.ndarray | None = None
    segment: np.ndarray | None = None
    instance: np.ndarray | None = None
    boxes: np.ndarray | None = None
    offset: Offset = NO_OFFSET

    def __post_init__(self) -> None:
        for attribute, value in self.arrays().items():
            dtype, tail = ATTRIBUTES[attribute]
            if value.dtype != dtype or value.shape[1:] != tail:
                raise ValueError(
                    f"{attribute} must be {np.dtype(dtype)} (N{''.join(f', {n}' for n in tail)}), "
                    f"not {value.dtype} {value.shape}"
                )
            if attribute != "boxes" and len(value) != len(self.coord):
                raise ValueError(f"{attribute} has {len(value)} rows, coord has {len(self.coord)}")
        if len(self.coord) == 0:
            raise ValueError("the scene has no points")

    def check(self) -> None:
        """Read every value once.

        Raises:
            ValueError: NaN or infinite coordinates, normals or boxes, or a box without volume.
        """
        for attribute in ("coord", "normal", "boxes"):
            value = getattr(self, attribute)
            if value is not None and not np.isfinite(value).all():
                rows = int((~np.isfinite(value)).any(axis=1).sum())
                raise ValueError(f"{rows} rows of {attribute} are NaN or infinite")
        if self.boxes is not None and (self.boxes[:, 3:6] <= 0).any():
            raise ValueError(f"{int((self.boxes[:, 3:6] <= 0).any(axis=1).sum())} boxes have no volume")

    def arrays(self) -> dict[str, np.ndarray]:
        """The attributes that this scene has, in the order of the contract."""
        present = {name: getattr(self, name) for name in ATTRIBUTES}
        return {name: value for name, value in present.items() if value is not None}

    @property
    def num_points(self) -> int:
        """N."""
        return len(self.coord)

    def original_coord(self) -> np.ndarray:
        """(N, 3) float64 metres: the coordinates with the offset given back."""
        return self.coord.astype(np.float64) + self.offset


def write_scene(
    root: Path, scene: Scene, source: Mapping[str, Any] | None = None, remarks: Sequence[str] = ()
) -> dict[str, Any]:
    """Write one scene's arrays, then its record.

    Args:
        root: folder of the data set; the scene becomes ``root/<scene.name>``.
        source: what the scene was made from; it is kept in the record, and preparation resumes by it.
        remarks: what had to be repaired in the raw files.

    Returns:
        The record: file hashes, point count, extent and offset (metres), counts per segment and box class, sums of
        box sizes, ``source``.

    Raises:
        UserError: the folder cannot be written.
        ValueError: the scene breaks the contract.
    """
    scene.check()
    check_name(scene.name)
    folder = root / scene.name
    for stale in (RECORD, *(f"{name}.npy" for name in ATTRIBUTES)):
        _remove(folder / stale)
    files = {}
    for name, value in scene.arrays().items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.ascontiguousarray(value), version=(1, 0), allow_pickle=False)
        with atomic_write(folder / f"{name}.npy") as stream:
            stream.write(buffer.getbuffer())
        files[f"{name}.npy"] = hashlib.sha256(buffer.getbuffer()).hexdigest()
    extent = [round(float(side), 4) for side in np.ptp(scene.coord, axis=0)]
    record: dict[str, Any] = {"points": scene.num_points, "files": files, "extent": extent}
    record |= {"source": dict(source or {}), **_counts(scene)}
    if any(scene.offset):
        record["offset"] = list(scene.offset)
    if remarks:
        record["remarks"] = list(remarks)
    write_sealed(folder / RECORD, record)
    return record


def read_record(root: Path, name: str) -> dict[str, Any] | None:
    """The record of a complete scene, or None when the scene is missing, half-written or its record is damaged."""
    return read_sealed(root / name / RECORD)


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class PreparedDataset:
    """A prepared folder: its manifest, and its scenes on request.

    Attributes:
        root: the folder.
        manifest: the parsed ``manifest.json``.
    """

    root: Path
    manifest: dict[str, Any]

    @property
    def dataset(self) -> str:
        """Name of the data set (``scannet``, ``s3dis``, ...)."""
        return self.manifest["dataset"]

    def scenes(self, split: str) -> list[str]:
        """Names of a split's scenes, in the manifest's order.

        Raises:
            UserError: the data set has no such split, or the split is empty.
        """
        splits = self.manifest["splits"]
        if split not in splits:
            raise UserError(f"{self.root / MANIFEST}: no split {split!r}; choose one of {', '.join(sorted(splits))}")
        if not splits[split]:
            raise UserError(f"{self.root / MANIFEST}: split {split!r} is empty; prepare the data set with its scenes")
        return list(splits[split])

    def load(self, name: str, memory_map: bool = True, checksums: bool = True) -> Scene:
        """One scene; with ``memory_map`` only the rows that are touched are read from disk.

        Args:
            checksums: compare each file's with the manifest's when this process first loads it.

        Raises:
            UserError: a file is missing, damaged, or another one than the manifest describes.
        """
        if name not in self.manifest["scenes"]:
            raise UserError(f"{self.root / MANIFEST}: no scene {name!r}")
        arrays: dict[str, Any] = {}
        entry = self.manifest["scenes"][name]
        for file, checksum in entry["files"].items():
            path = self.root / name / file
            if checksums:
                _compare_checksum(path, checksum)
            arrays[file.removesuffix(".npy")] = _load_array(path, memory_map and file != "boxes.npy")
        try:
            return Scene(name, **arrays, offset=tuple(entry.get("offset", NO_OFFSET)))
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.root / name}: {error}; prepare the data set again") from error

    def verify(self, name: str) -> list[str]:
        """Files of a scene whose bytes are missing or differ from the manifest's hashes (an empty list is good)."""
        wrong = []
        for file, expected in self.manifest["scenes"][name]["files"].items():
            path = self.root / name / file
            if not path.is_file() or hash_file(path) != expected:
                wrong.append(str(path))
        return wrong


def open_dataset(root: Path | str) -> PreparedDataset:
    """Open a folder that ``mm3d prepare`` wrote.

    Raises:
        UserError: there is no manifest, it is damaged, or it is of another version.
    """
    path = Path(root) / MANIFEST
    remedy = "prepare the data set first: mm3d prepare dataset=<name> raw=<folder>"
    try:
        manifest = parse_json(path.read_bytes())
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found; {remedy}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error}); {remedy}") from error
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        raise UserError(f"{path}: not a manifest of version {VERSION}; {remedy}")
    try:
        _check_manifest(manifest)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error!r}); delete it and prepare the data set again") from error
    return PreparedDataset(Path(root), manifest)


def _check_manifest(manifest: dict[str, Any]) -> None:
    """What every user of a manifest relies on: scenes, their files, and splits of them."""
    if not isinstance(manifest["dataset"], str) or not isinstance(manifest["splits"], dict):
        raise ValueError("no data set or splits")
    for name, entry in manifest["scenes"].items():
        check_name(name)
        for file, checksum in entry["files"].items():
            if file.removesuffix(".npy") not in ATTRIBUTES or not re.fullmatch(r"[0-9a-f]{64}", checksum):
                raise ValueError(f"scene {name} names a file {file!r}")
        if "coord.npy" not in entry["files"] or type(entry["points"]) is not int or entry["points"] < 1:
            raise ValueError(f"scene {name} has no points")
        offset = entry.get("offset", NO_OFFSET)
        if len(offset) != 3 or not all(type(v) is float and np.isfinite(v) for v in offset):
            raise ValueError(f"scene {name} has the offset {str(offset)[:80]}")
    for split, names in manifest["splits"].items():
        strange = next((name for name in names if name not in manifest["scenes"]), None)
        if not isinstance(names, list) or strange is not None:
            raise ValueError(f"split {split} names {strange!r}, which is no scene")


_compared: set[tuple[str, int, int, str]] = set()  # path, time stamp, size and checksum of files that agreed


def _compare_checksum(path: Path, checksum: str) -> None:
    """Hold a file against the manifest, once per process and version of the file."""
    try:
        found = path.stat()
        key = (str(path), found.st_mtime_ns, found.st_size, checksum)
        if key in _compared:
            return
        agrees = hash_file(path) == checksum
    except FileNotFoundError as error:
        raise UserError(f"{path}: not found; prepare the data set again") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); prepare the data set again") from error
    if not agrees:
        raise UserError(f"{path}: damaged, or changed since it was prepared; prepare the data set again")
    _compared.add(key)


def _load_array(path: Path, memory_map: bool) -> np.ndarray:
    """An ``.npy`` file, never a pickle; memory maps are read-only."""
    try:
        return read_array(path, memory_map)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); prepare the data set again") from error


def _remove(path: Path) -> None:
    """Delete a file if it is there."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path}: cannot be replaced ({error.strerror}); choose another folder") from error


def _counts(scene: Scene) -> dict[str, Any]:
    """What the manifest's statistics are summed from."""
    counts: dict[str, Any] = {}
    if scene.segment is not None:
        ids, number = np.unique(scene.segment, return_counts=True)
        counts["segment_counts"] = {str(i): int(n) for i, n in zip(ids, number, strict=True)}
    if scene.boxes is not None:
        classes = scene.boxes[:, 7].astype(int)
        counts["boxes"] = len(scene.boxes)
        counts["box_counts"] = {str(c): int((classes == c).sum()) for c in np.unique(classes)}
        counts["box_size_sums"] = {
            str(c): [round(float(s), 6) for s in scene.boxes[classes == c, 3:6].sum(axis=0, dtype=np.float64)]
            for c in np.unique(classes)
        }
    return counts
