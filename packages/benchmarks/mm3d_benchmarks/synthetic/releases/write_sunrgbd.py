"""Writes labelled frames as SUN RGB-D releases them: frame folders, both versions of the metadata, the split.

Formats: the SUNRGBDtoolbox. The older v1 annotation differs a little from v2 in the release, and so it does here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

from mm3d_benchmarks.datasets.readers.sunrgbd_frame import encode_depth
from mm3d_benchmarks.synthetic.sensors.singleframe import FrameBox, LabelledFrame
from mm3d_core.files.atomic import atomic_write, write_text

PREFIX = "/n/fs/sun3d/data/"  # of the release's authors; readers cut it off
SUBSETS = {"kv1": "SUNRGBD/kv1/NYUdata", "kv2": "SUNRGBD/kv2/kinect2data"}
V1_SHIFT, V1_STRETCH = 0.02, 0.03  # metres and share: how far v1 boxes are from v2
V3_FIELDS = ("basis", "coeffs", "centroid", "classname", "sequenceName", "orientation", "label")
V1_FIELDS = ("basis", "coeffs", "centroid", "classname", "labelname", "sequenceName", "orientation", "gtBb2D", "label")


def write_frame(root: Path, number: int, frame: LabelledFrame) -> dict[str, Any]:
    """Write one frame's folder.

    Returns:
        What :func:`write_metadata` needs to know about it (JSON-able).
    """
    name = f"frame{number:06d}"
    folder = root / SUBSETS[frame.sensor] / name
    _image(folder / "image" / f"{name}.jpg", frame.image, "JPEG")
    raw = encode_depth(frame.depth)
    _image(folder / "depth" / f"{name}.png", raw, "PNG")
    _image(
        folder / "depth_bfx" / f"{name}.png", encode_depth(np.where(frame.depth > 0, frame.depth, frame.clean)), "PNG"
    )
    write_text(folder / "intrinsics.txt", "".join(" ".join(f"{v:.8g}" for v in row) + "\n" for row in frame.k))
    extrinsics = np.column_stack([frame.extrinsics, np.zeros(3)])
    text = "".join(" ".join(f"{v:.6f}" for v in row) + "\n" for row in extrinsics)
    write_text(folder / "extrinsics" / "20140101000000.txt", text)
    write_text(folder / "scene.txt", frame.scene_type)
    write_text(folder / "annotation3Dfinal" / "index.json", json.dumps(_annotation3d(name, frame.boxes)))
    write_text(folder / "annotation2Dfinal" / "index.json", json.dumps(_annotation2d(name, frame.boxes)))
    return {
        "folder": f"{SUBSETS[frame.sensor]}/{name}",
        "name": name,
        "sensor": frame.sensor,
        "k": frame.k.tolist(),
        "rtilt": frame.rtilt.tolist(),
        "extrinsics": frame.extrinsics.tolist(),
        "boxes": [{key: _plain(value) for key, value in vars(box).items()} for box in frame.boxes],
    }


def write_metadata(root: Path, frames: Sequence[dict[str, Any]], train: Sequence[int], seed: int) -> None:
    """Write the three metadata files and ``allsplit.mat``.

    Args:
        frames: results of :func:`write_frame` in the order of the metadata.
        train: positions of the official training half.
        seed: of v1's deviations.
    """
    random = np.random.default_rng([seed, 31])
    _mat(root / "SUNRGBDMeta3DBB_v2.mat", "SUNRGBDMeta", [_meta_v2(f) for f in frames])
    _mat(root / "SUNRGBDMeta2DBB_v2.mat", "SUNRGBDMeta2DBB", [_meta_2d(f) for f in frames])
    _mat(root / "SUNRGBDtoolbox" / "Metadata" / "SUNRGBDMeta.mat", "SUNRGBDMeta", [_meta_v1(f, random) for f in frames])
    chosen = set(train)
    halves = {
        "alltrain": [i for i in range(len(frames)) if i in chosen],
        "alltest": [i for i in range(len(frames)) if i not in chosen],
    }
    cells = {
        key: _cells([PREFIX + frames[i]["folder"] + ("/" if i % 2 else "") for i in rows])
        for key, rows in halves.items()
    }
    names = cells["alltrain"].ravel()
    parts = {"train": names[::2].reshape(-1, 1), "val": names[1::2].reshape(-1, 1)}
    _save(root / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat", {**cells, "trainvalsplit": parts})


def _annotation3d(name: str, boxes: list[FrameBox]) -> dict[str, Any]:
    """Footprints of the boxes: corners from the middle of the front edge's first corner around."""
    objects = []
    for box in boxes:
        across, along = box.basis[0] * box.half[0], box.basis[1] * box.half[1]
        corners = np.array([box.centroid + i * across + j * along for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
        top, bottom = box.centroid[2] + box.half[2], box.centroid[2] - box.half[2]
        polygon = {
            "X": corners[:, 0].tolist(),
            "Z": corners[:, 1].tolist(),
            "Ymin": -top,
            "Ymax": -bottom,
            "rectangle": True,
        }
        objects.append({"name": box.name, "polygon": [polygon]})
    return {"name": name, "fileList": [f"{name}.jpg"], "objects": objects}


def _annotation2d(name: str, boxes: list[FrameBox]) -> dict[str, Any]:
    """Rectangles as polygons."""
    polygons = []
    for number, box in enumerate(boxes):
        x, y, w, h = box.rectangle.tolist()
        polygons.append({"x": [x, x + w, x + w, x], "y": [y, y, y + h, y + h], "object": number})
    return {"name": name, "frames": [{"polygon": polygons}], "objects": [{"name": box.name} for box in boxes]}


def _paths(frame: dict[str, Any]) -> dict[str, Any]:
    folder, name = PREFIX + frame["folder"], frame["name"]
    return {"depthpath": f"{folder}//depth/{name}.png", "rgbpath": f"{folder}//image/{name}.jpg"}


def _names(frame: dict[str, Any]) -> dict[str, Any]:
    return {"depthname": f"{frame['name']}.png", "rgbname": f"{frame['name']}.jpg", "sensorType": frame["sensor"]}


def _calibration(frame: dict[str, Any]) -> dict[str, Any]:
    return {"Rtilt": np.array(frame["rtilt"]), "K": np.array(frame["k"])}


def _meta_v2(frame: dict[str, Any]) -> dict[str, Any]:
    boxes = [_box_v2(frame, box) for box in frame["boxes"]]
    return {
        "sequenceName": frame["folder"], **_calibration(frame), **_paths(frame),
        "anno_extrinsics": np.array(frame["extrinsics"]), **_names(frame), "valid": 1.0,
        "groundtruth3DBB": _structs(boxes),
    }  # fmt: skip


def _meta_2d(frame: dict[str, Any]) -> dict[str, Any]:
    boxes = [
        {"objid": float(i + 1), "gtBb2D": np.array([box["rectangle"]]), "classname": box["name"], "has3dbox": 1.0}
        for i, box in enumerate(frame["boxes"])
    ]
    return {"sequenceName": frame["folder"], "groundtruth2DBB": _structs(boxes), **_paths(frame), **_names(frame)}


def _meta_v1(frame: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
    boxes = []
    for box in frame["boxes"]:
        moved = _box_v2(frame, box)
        moved["centroid"] = moved["centroid"] + random.normal(0, V1_SHIFT, (1, 3))
        moved["coeffs"] = (
            moved["coeffs"] * np.exp(random.normal(0, V1_STRETCH, (1, 3))) * random.choice([-1, 1], p=[0.05, 0.95])
        )
        rest = {"labelname": box["name"], "gtBb2D": np.array([box["rectangle"]])}
        boxes.append({field: {**moved, **rest}[field] for field in V1_FIELDS})
    return {
        "sequenceName": frame["folder"], "groundtruth3DBB": _structs(boxes), **_calibration(frame), **_paths(frame),
        "anno_extrinsics": np.array(frame["extrinsics"]), **_names(frame), "valid": 1.0,
        "gtCorner3D": np.zeros((0, 0)), "groundtruth2DBB": np.zeros((0, 0)),
    }  # fmt: skip


def _box_v2(frame: dict[str, Any], box: dict[str, Any]) -> dict[str, Any]:
    values = {
        "basis": np.array(box["basis"]),
        "coeffs": np.array([box["half"]]),
        "centroid": np.array([box["centroid"]]),
        "classname": box["name"],
        "sequenceName": frame["folder"],
        "orientation": np.array([box["orientation"]]),
        "label": np.zeros((0, 0)),
    }
    return {field: values[field] for field in V3_FIELDS}


def _structs(rows: list[dict[str, Any]]) -> np.ndarray:
    """A 1 x n struct array; no rows become an empty matrix, as in the release."""
    if not rows:
        return np.zeros((0, 0))
    table = np.empty((1, len(rows)), [(field, object) for field in rows[0]])
    for i, row in enumerate(rows):
        for field, value in row.items():
            table[field][0, i] = value
    return table


def _cells(values: list[str]) -> np.ndarray:
    cells = np.empty((1, len(values)), object)
    cells[0, :] = values
    return cells


def _mat(path: Path, variable: str, rows: list[dict[str, Any]]) -> None:
    _save(path, {variable: _structs(rows)})


def _save(path: Path, variables: dict[str, Any]) -> None:
    """A MATLAB v5 file whose header carries no date, so that equal data gives equal bytes."""
    buffer = io.BytesIO()
    savemat(buffer, variables, do_compression=True)
    content = bytearray(buffer.getvalue())
    content[:116] = b"MATLAB 5.0 MAT-file Platform: any, Created on: no date".ljust(116)
    with atomic_write(path) as stream:
        stream.write(content)


def _image(path: Path, pixels: np.ndarray, kind: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({"quality": 95} if kind == "JPEG" else {}))
    with atomic_write(path) as stream:
        stream.write(buffer.getvalue())


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
