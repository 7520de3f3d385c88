"""ScanNetv2: facts and the reader of the raw release.

Source: Dai et al., CVPR 2017, arXiv:1702.04405; file formats as in ScanNet/ScanNet's BenchmarkScripts; class lists and
box means of the 18 detection classes as in facebookresearch/votenet (scannet/meta_data). Nothing copied.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.color import bytes_of_color
from mm3d_benchmarks.datasets.digits import coarse_remark
from mm3d_benchmarks.datasets.facts import IGNORE, DatasetFacts
from mm3d_benchmarks.datasets.formats.ply import read_ply, stack
from mm3d_benchmarks.datasets.formats.texttable import text_of
from mm3d_benchmarks.datasets.placement import settle
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError, ReadScene, reading
from mm3d_benchmarks.datasets.scene import Scene, check_name
from mm3d_benchmarks.datasets.visible import glob_visible
from mm3d_core.errors import UserError
from mm3d_core.files.untrusted import parse_json

# fmt: off
CLASSES = (
    "wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf", "picture", "counter",
    "desk", "curtain", "refrigerator", "shower curtain", "toilet", "sink", "bathtub", "otherfurniture",
)
NYU40 = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 24, 28, 33, 34, 36, 39)  # the classes' ids in the label table
DETECTION_CLASSES = (*CLASSES[2:19], "garbagebin")  # VoteNet's name for nyu40 id 39, which is otherfurniture
MEAN_SIZES = (
    (0.76966727, 0.81160211, 0.92573741), (1.876858, 1.84255952, 1.19315654), (0.61327999, 0.61486087, 0.71827014),
    (1.39550063, 1.51215451, 0.83443565), (0.97949596, 1.06751485, 0.63296875), (0.53166301, 0.59555772, 1.75001483),
    (0.96247056, 0.72462326, 1.14818682), (0.83221924, 1.04909355, 1.68756634), (0.21132214, 0.4206159, 0.53728459),
    (1.44400728, 1.89708334, 0.26985747), (1.02942616, 1.40407966, 0.87554322), (1.37664116, 0.65521793, 1.68131292),
    (0.66508189, 0.71111926, 1.29885307), (0.41999174, 0.37906947, 1.75139715), (0.59359559, 0.59124924, 0.73919014),
    (0.50867595, 0.50656087, 0.30136237), (1.15115265, 1.0546296, 0.49706794), (0.47535286, 0.49249493, 0.58021168),
)
PALETTE = (
    (174, 199, 232), (152, 223, 138), (31, 119, 180), (255, 187, 120), (188, 189, 34), (140, 86, 75), (255, 152, 150),
    (214, 39, 40), (197, 176, 213), (148, 103, 189), (196, 156, 148), (23, 190, 207), (247, 182, 210), (219, 219, 141),
    (255, 127, 14), (158, 218, 229), (44, 160, 44), (112, 128, 144), (227, 119, 194), (82, 84, 163),
)
# Percent of the train vertices, recovered from a public class-weight vector; boxes per scan from the label table.
SHARES = (31.96, 24.40, 4.32, 2.88, 7.65, 2.60, 3.76, 4.81, 4.15, 2.52, .52, .51, 2.04, 2.30, .55, .33, .33, .27,
          .36, 3.73)
BOXES_PER_SCAN = (1.19, .26, 3.77, .33, 1.07, 1.65, .80, .25, .58, .18, .45, .24, .16, .10, .17, .32, .10, 1.67)
# fmt: on
LABEL_TABLE = "scannetv2-labels.combined.tsv"
SPLITS = ("train", "val", "test")
PROVIDER = "the ScanNet authors (www.scan-net.org; their terms of use must be accepted)"


def facts() -> DatasetFacts:
    """ScanNet's classes and published statistics."""
    return DatasetFacts(
        name="scannet",
        segment_classes=CLASSES,
        segment_palette=PALETTE,
        detection_classes=DETECTION_CLASSES,
        mean_sizes=MEAN_SIZES,
        num_heading_bins=1,
        published_shares=dict(zip(CLASSES, SHARES, strict=True)),
        published_boxes=dict(zip(DETECTION_CLASSES, BOXES_PER_SCAN, strict=True)),
    )


def nyu40_to_train() -> np.ndarray:
    """(41,) int16 lookup from nyu40 id to train id, -1 for the ignored ids."""
    lookup = np.full(41, IGNORE, np.int16)
    lookup[list(NYU40)] = np.arange(len(NYU40))
    return lookup


class ScanNetReader:
    """The raw release: ``scans/``, ``scans_test/``, the label table and the split lists.

    Args:
        raw: folder that holds ``scans``; table and lists may lie in it or in a subfolder (``Tasks/Benchmark``).

    Raises:
        UserError: the folder, the table or the split lists are missing.
    """

    def __init__(self, raw: Path) -> None:
        self.raw = Path(raw)
        self.facts = facts()
        self.options: dict[str, Any] = {}
        if not (self.raw / "scans").is_dir():
            raise UserError(
                f"{self.raw / 'scans'}: not found; raw must be the ScanNet folder, downloaded from {PROVIDER}"
            )

    def splits(self) -> dict[str, list[str]]:
        """Scene names by split, from the release's own lists; ``train`` and ``val`` are obligatory, ``test`` is not."""
        lists = {split: self._find(f"scannetv2_{split}.txt", required=split != "test") for split in SPLITS}
        return {split: read_names(path) for split, path in lists.items() if path is not None}

    def source_files(self, name: str) -> list[Path]:
        """Mesh, meta file and, except for test scans, segments and objects."""
        folder = self._folder(name)
        files = [folder / f"{name}_vh_clean_2.ply", folder / f"{name}.txt"]
        if folder.parent.name != "scans_test":
            files += [folder / f"{name}_vh_clean_2.0.010000.segs.json", folder / f"{name}.aggregation.json"]
        return files

    def shared_files(self, name: str) -> list[Path]:
        """The label table, for scans that have labels."""
        table = self._find(LABEL_TABLE, required=False)
        return [table] if table is not None and self._folder(name).parent.name != "scans_test" else []

    def notes(self) -> list[str]:
        """Scans in no split list."""
        listed = {name for names in self.splits().values() for name in names}
        rest = [path.name for path in glob_visible(self.raw, "scans/*", "scans_test/*") if path.is_dir()]
        rest = [name for name in rest if name not in listed]
        return [f"{len(rest)} scans in no split list passed over: {', '.join(rest[:5])}"] if rest else []

    def read(self, name: str) -> ReadScene:
        """Aligned vertices, labels and, for the 18 detection classes, boxes from all vertices of an object."""
        mesh, meta, *annotation = self.source_files(name)
        vertices, faces = read_ply(mesh)
        xyz, color = stack(vertices, ("x", "y", "z"), np.float64), stack(vertices, ("red", "green", "blue"))
        if xyz is None:
            raise BrokenSceneError(f"{mesh}: the vertices have no x, y, z")
        if not np.isfinite(xyz).all():
            raise BrokenSceneError(
                f"{mesh}: {int((~np.isfinite(xyz)).any(axis=1).sum())} vertices have NaN coordinates; download it again"
            )
        alignment = read_alignment(meta)
        remarks = [] if alignment is not None else ["no axisAlignment: the raw frame is kept"]
        remarks += coarse_remark([vertices[axis] for axis in "xyz"])
        alignment = np.eye(4) if alignment is None else alignment
        coord, offset = settle(xyz @ alignment[:3, :3].T + alignment[:3, 3])
        color = None if color is None else bytes_of_color(color, mesh, remarks)
        normal = None if faces is None else vertex_normals(coord, faces, mesh)
        if not annotation:
            return ReadScene(Scene(name, coord, color, normal, offset=offset), remarks)
        nyu40, instance, words = read_annotation(annotation[0], annotation[1], len(coord), self.label_ids)
        remarks += words
        boxes, flat = boxes_of_instances(coord, nyu40, instance)
        remarks += [f"{flat} objects without volume have no box"] if flat else []
        segment = nyu40_to_train()[nyu40]
        return ReadScene(Scene(name, coord, color, normal, segment, instance, boxes, offset), remarks)

    @cached_property
    def label_ids(self) -> dict[str, int]:
        """nyu40 id of each raw category, columns found by name."""
        path = self._find(LABEL_TABLE, required=True)
        assert path is not None
        with reading(path, "cannot be read as text", "download it again", error=UserError):
            lines = text_of(path.read_bytes()).splitlines() or [""]  # any line ends
        header = lines[0].split("\t")
        try:
            category, number = header.index("raw_category"), header.index("nyu40id")
        except ValueError as error:
            raise UserError(f"{path}: no columns raw_category and nyu40id; use the table of the v2 release") from error
        rows = [line.split("\t") for line in lines[1:] if line.strip()]
        with reading(path, "a nyu40id is no number", "download it again", error=UserError):
            return {row[category].strip(): int(row[number]) for row in rows if len(row) > max(category, number)}

    def _folder(self, name: str) -> Path:
        folder = self.raw / "scans" / name
        test = self.raw / "scans_test" / name
        if folder.is_dir() or not test.is_dir():
            if not folder.is_dir():
                raise BrokenSceneError(
                    f"{folder}: not found, but {name} is in a split list; download the scan from {PROVIDER}"
                )
            return folder
        return test

    def _find(self, file: str, required: bool) -> Path | None:
        """A table or list: in the raw folder, or one or two folders below (but not among the scans)."""
        for pattern in (file, f"*/{file}", f"*/*/{file}"):
            found = [p for p in glob_visible(self.raw, pattern) if p.parent.parent.name not in ("scans", "scans_test")]
            if found:
                return found[0]
        if required:
            raise UserError(
                f"{self.raw / file}: not found; the label table comes with the download and the split lists "
                f"(scannetv2_train.txt, scannetv2_val.txt) with the code of {PROVIDER}. Put them into {self.raw}"
            )
        return None


def read_names(path: Path) -> list[str]:
    """The scene names of a split list.

    Raises:
        UserError: unreadable, or with something that cannot be a scene's name.
    """
    with reading(path, "not a list of scenes", "download it again", error=UserError):
        names = text_of(path.read_bytes()).split()
        for name in names:
            check_name(name)
    return names


def read_alignment(path: Path) -> np.ndarray | None:
    """(4, 4) float64 ``axisAlignment`` of a meta file (raw to aligned, column vectors), or None if it has none."""
    with reading(path, remedy="download it again"):
        text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.splitlines():
        key, _, value = line.partition("=")
        if key.strip() == "axisAlignment":
            numbers = value.split()
            try:
                matrix = np.array(numbers, np.float64).reshape(4, 4)
            except ValueError as error:
                raise BrokenSceneError(f"{path}: axisAlignment has {len(numbers)} values, not 16 numbers") from error
            if not np.isfinite(matrix).all():
                raise BrokenSceneError(f"{path}: axisAlignment is not finite")
            if np.abs(matrix[:3, :3] @ matrix[:3, :3].T - np.eye(3)).max() > 0.01:
                raise BrokenSceneError(f"{path}: axisAlignment is no rigid motion; download it again")
            return matrix
    return None


def read_annotation(
    segments: Path, objects: Path, count: int, ids: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Labels per vertex from the over-segmentation and the objects made of its segments.

    Args:
        count: vertices of the mesh.
        ids: nyu40 id of each raw category.

    Returns:
        nyu40: (count,) int64, 0 = not annotated or not in the table.
        instance: (count,) int32 objectId, -1 = none. A segment named by two objects belongs to the later one.
        remarks: labels that the table lacks, and labels that it has in other letters.

    Raises:
        BrokenSceneError: a file is missing, not JSON, or does not fit the mesh.
    """
    try:
        of_vertex = np.asarray(_json(segments, "segIndices"))
    except ValueError as error:
        raise BrokenSceneError(f"{segments}: segIndices is no list of numbers ({error})") from error
    if of_vertex.shape != (count,) or not np.issubdtype(of_vertex.dtype, np.integer):
        raise BrokenSceneError(f"{segments}: segIndices has shape {of_vertex.shape}, but the mesh has {count} vertices")
    groups = _json(objects, "segGroups")
    segment_ids, dense = np.unique(of_vertex, return_inverse=True)
    nyu40_of_segment = np.zeros(len(segment_ids), np.int64)
    instance_of_segment = np.full(len(segment_ids), -1, np.int32)
    unknown, alike = set(), set()
    plain = {_plain(label): label for label in reversed(ids)}
    for group in groups:
        try:
            label, number = str(group["label"]), int(group["objectId"])
            members = np.asarray(group["segments"])
            if members.size and (members.dtype.kind not in "iu" or members.ndim != 1 or abs(number) >= 2**31):
                raise ValueError(f"{members.dtype} {members.shape}")
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise BrokenSceneError(f"{objects}: a group lacks objectId, label or segments ({error})") from error
        known = label if label in ids else plain.get(_plain(label))
        if known is None:
            unknown.add(label)
        elif known != label:
            alike.add(f"{label!r} as {known!r}")
        nyu40 = ids.get(known or "", 0)
        at = np.searchsorted(segment_ids, members).clip(max=len(segment_ids) - 1)
        at = at[segment_ids[at] == members]
        nyu40_of_segment[at] = nyu40 if 0 <= nyu40 <= 40 else 0
        instance_of_segment[at] = number
    remarks = [f"labels outside the table, ignored: {', '.join(sorted(unknown))}"] if unknown else []
    remarks += [f"labels taken {', '.join(sorted(alike))}"] if alike else []
    return nyu40_of_segment[dense], instance_of_segment[dense], remarks


def boxes_of_instances(coord: np.ndarray, nyu40: np.ndarray, instance: np.ndarray) -> tuple[np.ndarray, int]:
    """Axis-aligned hulls of the objects of the 18 classes.

    Returns:
        boxes: (K, 8) float32, heading 0, ordered by object.
        flat: objects of the 18 classes that have no volume and so no box.
    """
    classes = nyu40_to_train()[nyu40] - 2  # wall and floor have no boxes
    rows = np.flatnonzero((instance >= 0) & (classes >= 0))
    rows = rows[np.argsort(instance[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(instance[rows], prepend=-1))
    if len(rows) == 0:
        return np.zeros((0, 8), np.float32), 0
    low = np.minimum.reduceat(coord[rows], starts).astype(np.float64)
    high = np.maximum.reduceat(coord[rows], starts).astype(np.float64)
    heading = np.zeros((len(starts), 1))
    boxes = np.hstack([(low + high) / 2, high - low, heading, classes[rows[starts], None]]).astype(np.float32)
    solid = (boxes[:, 3:6] > 0).all(axis=1)
    return boxes[solid], int((~solid).sum())


def vertex_normals(coord: np.ndarray, faces: np.ndarray, path: Path) -> np.ndarray:
    """(N, 3) float32 unit normals: area-weighted means over the triangles at each vertex, zero where there are none."""
    if len(faces) and (faces.min() < 0 or faces.max() >= len(coord)):
        raise BrokenSceneError(f"{path}: a face names vertex {int(faces.max())}, but there are {len(coord)}")
    corner = coord[faces]
    area = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(area[:, axis], 3), minlength=len(coord)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return np.divide(total, length, out=np.zeros_like(total), where=length > 0).astype(np.float32)


def _plain(label: str) -> str:
    """A label without regard to case and blanks."""
    return " ".join(label.casefold().split())


def _json(path: Path, key: str) -> Any:
    """One key of a JSON file."""
    with reading(path, "damaged JSON", "download it again"):
        value = parse_json(path.read_bytes())
    if not isinstance(value, dict) or not isinstance(value.get(key), list):
        raise BrokenSceneError(f"{path}: no list {key!r}; is it the file of the decimated mesh?")
    return value[key]
