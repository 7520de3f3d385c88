"""Writes labelled scans as ScanNetv2 releases them: mesh, label mesh, over-segmentation, objects, meta file.

Formats: ScanNet/ScanNet (BenchmarkScripts). Only what preparation and viewers read is written, no RGB-D stream.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.synthetic.rooms.labels import RAW_TO_NYU40, label_table
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from mm3d_core.files.atomic import write_text

# fmt: off
SEGMENT_PARAMETERS = {
    "kThresh": "0.0001", "segMinVerts": "20", "minPoints": "750", "maxPoints": "30000",
    "thinThresh": "0.05", "flatThresh": "0.001", "minLength": "0.02", "maxLength": "1",
}
META = {  # a real scan's camera; there is no stream it would belong to
    "colorHeight": "968", "colorToDepthExtrinsics": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 ", "colorWidth": "1296",
    "depthHeight": "480", "depthWidth": "640", "fx_color": "1170.187988", "fx_depth": "571.623718",
    "fy_color": "1170.187988", "fy_depth": "571.623718", "mx_color": "647.750000", "mx_depth": "319.500000",
    "my_color": "483.750000", "my_depth": "239.500000", "numColorFrames": "1", "numDepthFrames": "1",
    "numIMUmeasurements": "0",
}
# fmt: on


def write_scan(root: Path, name: str, scan: LabelledScan) -> None:
    """Write ``root/scans/<name>/``; the meta file comes last, so a folder that has it is complete.

    Args:
        name: ``sceneSSSS_VV``, place and visit.
    """
    folder = root / "scans" / name
    vertices = np.empty(
        len(scan.coord), [(c, "<f4") for c in "xyz"] + [(c, "u1") for c in ("red", "green", "blue", "alpha")]
    )
    for axis, column in enumerate("xyz"):
        vertices[column] = scan.coord[:, axis]
    for channel, column in enumerate(("red", "green", "blue")):
        vertices[column] = scan.color[:, channel]
    vertices["alpha"] = 255
    write_ply(folder / f"{name}_vh_clean_2.ply", vertices, scan.faces, "VCGLIB generated")

    segment = segment_ids(scan)
    groups = object_groups(segment, scan)
    nyu40 = np.zeros(len(scan.coord), np.uint16)
    for group in groups:
        nyu40[np.isin(segment, group["segments"])] = RAW_TO_NYU40.get(str(group["label"]), 0)
    _write_label_mesh(folder / f"{name}_vh_clean_2.labels.ply", vertices, nyu40, scan.faces)
    segments_file = f"{name}_vh_clean_2.0.010000.segs.json"
    segments = {"params": SEGMENT_PARAMETERS, "sceneId": name, "segIndices": segment.tolist()}
    objects = {
        "sceneId": f"scannet.{name}",
        "appId": "Aggregator.v2",
        "segGroups": groups,
        "segmentsFile": f"scannet.{segments_file}",
    }
    write_text(folder / segments_file, json.dumps(segments))
    write_text(folder / f"{name}.aggregation.json", json.dumps(objects))
    write_text(folder / f"{name}.txt", meta_text(scan))


def write_tables(root: Path, splits: Mapping[str, list[str]]) -> None:
    """Write the label table and the split lists."""
    write_text(root / "scannetv2-labels.combined.tsv", label_table())
    for split, names in splits.items():
        write_text(root / f"scannetv2_{split}.txt", "".join(f"{name}\n" for name in names))


def segment_ids(scan: LabelledScan) -> np.ndarray:
    """(N,) over-segmentation; as in the release, a segment's id is the number of one of its vertices."""
    pairs = scan.patch * (len(scan.labels) + 1) + scan.owner + 1  # a patch never straddles two objects
    _, first, inverse = np.unique(pairs, return_index=True, return_inverse=True)
    return first[inverse]


def object_groups(segment: np.ndarray, scan: LabelledScan) -> list[dict[str, Any]]:
    """The ``segGroups`` of the aggregation file, objects that no vertex shows left out."""
    groups: list[dict[str, Any]] = []
    for owner, label in enumerate(scan.labels):
        members = np.unique(segment[scan.owner == owner])
        if len(members):
            groups.append({"id": len(groups), "objectId": len(groups), "segments": members.tolist(), "label": label})
    return groups


def meta_text(scan: LabelledScan) -> str:
    """The scan's ``.txt``: ``key = value`` lines in the release's order."""
    alignment = " ".join(f"{v:.6f}" for v in scan.alignment.ravel()) + " "
    values = {"axisAlignment": alignment, **META, "sceneType": scan.scene_type}
    return "".join(f"{key} = {value}\n" for key, value in values.items())


def _write_label_mesh(path: Path, vertices: np.ndarray, nyu40: np.ndarray, faces: np.ndarray) -> None:
    """The same mesh with one more property, colored by label (any fixed palette will do: nobody reads these colors)."""
    labelled = np.empty(len(vertices), [*vertices.dtype.descr, ("label", "<u2")])
    for name in vertices.dtype.names or ():
        labelled[name] = vertices[name]
    for prime, name in ((37, "red"), (73, "green"), (151, "blue")):
        labelled[name] = nyu40 * prime % 256
    labelled["label"] = nyu40
    write_ply(path, labelled, faces, "VCGLIB generated")
