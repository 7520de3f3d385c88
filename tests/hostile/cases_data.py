"""Readers of raw and prepared data."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile.cases import Case
from PIL import Image
from scipy.io import savemat

from mm3d_benchmarks.datasets.check import check_prepared
from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.folder import FolderReader
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import (
    encode_depth,
)
from mm3d_benchmarks.datasets.scene import Scene, open_dataset
from mm3d_benchmarks.datasets.sources import HINTS
from mm3d_benchmarks.viewing.page import view_scene

N = 60
RANDOM = np.random.default_rng(0)
COORD = (RANDOM.random((N, 3)) * 3).astype(np.float32)
COLOR = RANDOM.integers(0, 256, (N, 3)).astype(np.uint8)
SEGMENT = RANDOM.integers(0, 13, N)
INSTANCE = RANDOM.integers(0, 4, N)
TABLE = np.hstack([COORD, COLOR]).astype(np.float32)
FACES = RANDOM.integers(0, N, (30, 3))
SCAN = "scene0000_00"


def vertices() -> np.ndarray:
    rows = np.empty(N, [(axis, "<f4") for axis in "xyz"] + [(c, "u1") for c in ("red", "green", "blue")])
    for axis, name in enumerate("xyz"):
        rows[name] = COORD[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        rows[name] = COLOR[:, channel]
    return rows


# --------------------------------------------------------------------------- a user's own scans


def folder(
    suffix: str, write: Callable[[Path], None], options: dict[str, Any] | None = None, name: str = "a"
) -> dict[str, Any]:
    """Reading a folder with one scan."""
    given = {"columns": "x y z r g b", **(options or {})}

    def make(work: Path) -> None:
        (work / "scans").mkdir()
        write(work / f"scans/a{suffix}")

    def read(work: Path) -> Scene:
        prepare_dataset("folder", work / "scans", work / "out", quiet=True, options=given)
        return FolderReader(work / "scans", **given).read(name).scene

    return {"files": (f"scans/a{suffix}",), "make": make, "read": read}


def ascii_ply(path: Path) -> None:
    head = f"ply\nformat ascii 1.0\nelement vertex {N}\n" + "".join(f"property float {a}\n" for a in "xyz")
    head += "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    head += f"element face {len(FACES)}\nproperty list uchar int vertex_indices\nend_header\n"
    rows = ["{:.4f} {:.4f} {:.4f} {:.0f} {:.0f} {:.0f}".format(*row) for row in TABLE]
    path.write_text(head + "\n".join([*rows, *(f"3 {a} {b} {c}" for a, b, c in FACES)]) + "\n")


def pcd(layout: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        head = "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\n"
        head += f"WIDTH {N}\nHEIGHT 1\nPOINTS {N}\nDATA {layout}\n"
        body = COORD.tobytes()
        if layout == "ascii":
            body = "\n".join(" ".join(map(str, row)) for row in COORD.tolist()).encode()
        elif layout == "binary_compressed":
            plain = COORD.T.tobytes()
            packed = b"".join(bytes([len(c) - 1]) + c for c in (plain[i : i + 32] for i in range(0, len(plain), 32)))
            body = struct.pack("<II", len(packed), len(plain)) + packed
        path.write_bytes(head.encode() + body)

    return write


# --------------------------------------------------------------------------- prepared scenes


def prepared(work: Path) -> None:
    ascii_ply_folder = work / "scans"
    ascii_ply_folder.mkdir()
    np.savez(ascii_ply_folder / "a.npz", coord=COORD, color=COLOR)
    prepare_dataset("folder", ascii_ply_folder, work / "prepared", quiet=True)


def load_prepared(work: Path) -> None:
    from mm3d_benchmarks.datasets import scene

    scene._compared.clear()  # as a new process
    data = open_dataset(work / "prepared")
    for name in data.scenes("train"):
        data.load(name).check()


def use_manifest(work: Path) -> None:
    load_prepared(work)
    check_prepared(work / "prepared")
    view_scene(work / "prepared", None, work / "out")


def resume(work: Path) -> None:
    prepare_dataset("folder", work / "scans", work / "prepared", quiet=True)
    (work / "prepared" / HINTS).unlink(missing_ok=True)
    load_prepared(work)


# --------------------------------------------------------------------------- ScanNet


def scannet(work: Path) -> None:
    raw = work / "raw/scans" / SCAN
    raw.mkdir(parents=True)
    write_ply(raw / f"{SCAN}_vh_clean_2.ply", vertices(), FACES)
    turn = "0.8 -0.6 0 1 0.6 0.8 0 2 0 0 1 -1 0 0 0 1"
    (raw / f"{SCAN}.txt").write_text(f"axisAlignment = {turn} \ncolorHeight = 968\nsceneType = Office \n")
    segments = (np.arange(N) // 4).tolist()
    (raw / f"{SCAN}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"sceneId": SCAN, "segIndices": segments}))
    groups = [{"id": i, "objectId": i, "label": "chair", "segments": [i, i + 3]} for i in range(3)]
    (raw / f"{SCAN}.aggregation.json").write_text(json.dumps({"sceneId": SCAN, "segGroups": groups}))
    (work / "raw/scannetv2-labels.combined.tsv").write_text("id\traw_category\tnyu40id\n1\tchair\t5\n2\twall\t1\n")
    for split in ("train", "val"):
        (work / f"raw/scannetv2_{split}.txt").write_text(f"{SCAN}\n")


def prepare(dataset: str) -> Callable[[Path], None]:
    def read(work: Path) -> None:
        prepare_dataset(dataset, work / "raw", work / "out", quiet=True)

    return read


# --------------------------------------------------------------------------- S3DIS


def s3dis(work: Path) -> None:
    for area in (1, 5):
        notes = work / f"raw/Area_{area}/office_1/Annotations"
        notes.mkdir(parents=True)
        for number, part in enumerate(np.array_split(TABLE, 3)):
            rows = ["{:.3f} {:.3f} {:.3f} {:.0f} {:.0f} {:.0f}".format(*row) for row in part]
            (notes / f"chair_{number}.txt").write_text("\n".join(rows) + "\n")


# --------------------------------------------------------------------------- SUN RGB-D

FRAME = "SUNRGBD/kv2/kinect2data/frame000001"


def structs(rows: list[dict[str, Any]]) -> np.ndarray:
    table = np.empty((1, len(rows)), [(field, object) for field in rows[0]])
    for i, row in enumerate(rows):
        for field, value in row.items():
            table[field][0, i] = value
    return table


def sunrgbd(work: Path) -> None:
    raw, toolbox = work / "raw", work / "raw/SUNRGBDtoolbox/traintestSUNRGBD"
    for number in (1, 2):
        for part in ("depth", "image", "extrinsics", "annotation3Dfinal"):
            (raw / f"{FRAME[:-1]}{number}" / part).mkdir(parents=True)
    toolbox.mkdir(parents=True)
    depth = encode_depth(RANDOM.random((24, 32)) * 4 + 1)
    frames, flat = [], []
    for number in (1, 2):
        place = f"{FRAME[:-1]}{number}"
        Image.fromarray(depth).save(raw / place / "depth/a.png")
        Image.fromarray(RANDOM.integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(raw / place / "image/a.jpg")
        paths = {
            "depthpath": f"/n/fs/data/{place}//depth/a.png",
            "rgbpath": f"/n/fs/data/{place}//image/a.jpg",
        }
        box = {
            "coeffs": np.array([[0.3, 0.4, 0.5]]), "centroid": np.ones((1, 3)), "classname": "chair",
            "orientation": np.array([[1.0, 0, 0]]), "gtBb2D": np.ones((1, 4)),
        }  # fmt: skip
        frames.append(
            {"sequenceName": place, "Rtilt": np.eye(3), "K": np.array([[500.0, 0, 16], [0, 500, 12], [0, 0, 1]]),
             **paths, "groundtruth3DBB": structs([box, box])}
        )  # fmt: skip
        flat.append({**paths, "groundtruth2DBB": structs([{"gtBb2D": np.ones((1, 4)), "classname": "chair"}] * 2)})
    savemat(raw / "SUNRGBDMeta3DBB_v2.mat", {"SUNRGBDMeta": structs(frames)}, do_compression=True)
    savemat(raw / "SUNRGBDMeta.mat", {"SUNRGBDMeta": structs(frames)}, do_compression=True)
    savemat(raw / "SUNRGBDMeta2DBB_v2.mat", {"SUNRGBDMeta2DBB": structs(flat)}, do_compression=True)
    cells = [np.empty((1, 1), object) for _ in range(2)]
    for number, cell in enumerate(cells, start=1):
        cell[0, 0] = f"/n/fs/data/{FRAME[:-1]}{number}"
    savemat(toolbox / "allsplit.mat", {"alltrain": cells[0], "alltest": cells[1]}, do_compression=True)


def prepare_both(work: Path) -> None:
    for boxes in ("v1", "v2"):
        prepare_dataset("sunrgbd", work / "raw", work / "out" / boxes, quiet=True, options={"boxes": boxes})


# --------------------------------------------------------------------------- processed forms


def pointcept(work: Path) -> None:
    for area in (1, 5):
        room = work / f"raw/Area_{area}/office_1"
        room.mkdir(parents=True)
        arrays = {"coord": COORD, "color": COLOR, "segment": SEGMENT[:, None], "instance": INSTANCE, "normal": COORD}
        for name, value in arrays.items():
            np.save(room / f"{name}.npy", value)


def postech(work: Path) -> None:
    (work / "raw").mkdir()
    for area in (1, 5):
        np.save(work / f"raw/Area_{area}_office_1.npy", np.hstack([TABLE, SEGMENT[:, None]]))


def votenet_scannet(work: Path) -> None:
    (work / "raw").mkdir()
    for split in ("train", "val"):
        (work / f"raw/scannetv2_{split}.txt").write_text(f"{SCAN}\n")
    boxes = np.array([[1, 1, 1, 1, 1, 1, 5], [0, 0, 0, 0, 0, 0, 0]], float)
    arrays = {"vert": TABLE, "sem_label": SEGMENT.astype(np.uint32), "ins_label": INSTANCE, "bbox": boxes}
    for name, value in arrays.items():
        np.save(work / f"raw/{SCAN}_{name}.npy", value)


def votenet_sunrgbd(work: Path) -> None:
    for split in ("train", "val"):
        place = work / f"raw/sunrgbd_pc_bbox_votes_50k_v1_{split}"
        place.mkdir(parents=True)
        number = 1 + (split == "val")
        np.savez(place / f"{number:06d}_pc.npz", pc=np.hstack([COORD, COLOR / 255]).astype(np.float32))
        np.save(place / f"{number:06d}_bbox.npy", np.array([[1, 1, 1, 0.5, 0.5, 0.5, 0.1, 2]]))


def mmdet(dataset: str, yaw: bool) -> Callable[[Path], None]:
    def make(work: Path) -> None:
        names = {"train": "a", "val": "b"} if dataset != "s3dis" else {"Area_1": "Area_1_x", "Area_5": "Area_5_x"}
        for part in ("points", "semantic_mask", "instance_mask"):
            (work / "raw" / part).mkdir(parents=True)
        for split, name in names.items():
            TABLE.tofile(work / f"raw/points/{name}.bin")
            SEGMENT.astype("<i8").tofile(work / f"raw/semantic_mask/{name}.bin")
            INSTANCE.astype("<i8").tofile(work / f"raw/instance_mask/{name}.bin")
            box = {"bbox_3d": [1.0, 1, 1, 1, 1, 1, *([0.3] if yaw else [])], "bbox_label_3d": 1}
            entry = {"lidar_points": {"lidar_path": f"{name}.bin"}, "instances": [box, box]}
            if dataset == "scannet":
                entry["axis_align_matrix"] = np.eye(4).tolist()
            (work / f"raw/{dataset}_infos_{split}.json").write_text(json.dumps({"metainfo": {}, "data_list": [entry]}))

    return make


META = ("raw/SUNRGBDMeta3DBB_v2.mat", "raw/SUNRGBDMeta.mat", "raw/SUNRGBDMeta2DBB_v2.mat",
        "raw/SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat")  # fmt: skip
ROOM = "raw/Area_1/office_1/"
BINS = tuple(f"raw/{part}/a.bin" for part in ("points", "semantic_mask", "instance_mask"))

CASES = (
    Case("PLY binary", "ply", **folder(".ply", lambda path: write_ply(path, vertices(), FACES))),
    Case("PLY ascii", "ascii ply", **folder(".ply", ascii_ply)),
    Case("PCD binary", "pcd", **folder(".pcd", pcd("binary"))),
    Case("PCD ascii", "pcd", **folder(".pcd", pcd("ascii"))),
    Case("PCD compressed", "pcd", **folder(".pcd", pcd("binary_compressed"))),
    Case("NPY of a user", "npy", **folder(".npy", lambda path: np.save(path, TABLE))),
    Case("NPZ of a user", "npz", **folder(".npz", lambda path: np.savez(path, coord=COORD, color=COLOR))),
    Case("BIN of a user", "bin", **folder(".bin", TABLE.tofile)),
    Case("prepared NPY", "npy", ("prepared/a/coord.npy", "prepared/a/color.npy"), prepared, load_prepared),
    Case("manifest", "json", ("prepared/manifest.json",), prepared, use_manifest, ("prepared/",)),
    Case("scene record", "json", ("prepared/a/scene.json",), prepared, resume, forgiving=True),
    Case("ScanNet mesh", "ply", (f"raw/scans/{SCAN}/{SCAN}_vh_clean_2.ply",), scannet, prepare("scannet")),
    Case("ScanNet segments", "json", (f"raw/scans/{SCAN}/{SCAN}_vh_clean_2.0.010000.segs.json",), scannet,
         prepare("scannet")),
    Case("ScanNet objects", "json", (f"raw/scans/{SCAN}/{SCAN}.aggregation.json",), scannet, prepare("scannet"),
         (f"{SCAN}_vh_clean_2.ply",)),
    Case("ScanNet meta file", "text", (f"raw/scans/{SCAN}/{SCAN}.txt",), scannet, prepare("scannet"),
         (f"{SCAN}_vh_clean_2.ply",)),
    Case("ScanNet label table", "text", ("raw/scannetv2-labels.combined.tsv",), scannet, prepare("scannet")),
    Case("ScanNet split lists", "text", ("raw/scannetv2_train.txt", "raw/scannetv2_val.txt"), scannet,
         prepare("scannet"), ("split list", "name no scene")),
    Case("S3DIS annotations", "text", (f"{ROOM}Annotations/chair_0.txt",), s3dis, prepare("s3dis")),
    Case("SUN RGB-D metadata", "mat", META, sunrgbd, prepare_both, (".mat", "SUNRGBD/")),
    Case("SUN RGB-D depth", "png", (f"raw/{FRAME}/depth/a.png",), sunrgbd, prepare("sunrgbd"), ("a.jpg",)),
    Case("SUN RGB-D color", "jpg", (f"raw/{FRAME}/image/a.jpg",), sunrgbd, prepare("sunrgbd")),
    Case("Pointcept NPY", "npy", tuple(f"{ROOM}{n}.npy" for n in ("coord", "color", "segment", "instance", "normal")),
         pointcept, prepare("s3dis"), ("coord.npy",)),
    Case("POSTECH NPY", "npy", ("raw/Area_1_office_1.npy",), postech, prepare("s3dis")),
    Case("VoteNet NPY", "npy", tuple(f"raw/{SCAN}_{n}.npy" for n in ("vert", "sem_label", "ins_label", "bbox")),
         votenet_scannet, prepare("scannet"), ("vert.npy",)),
    Case("VoteNet NPZ", "npz", ("raw/sunrgbd_pc_bbox_votes_50k_v1_train/000001_pc.npz",), votenet_sunrgbd,
         prepare("sunrgbd")),
    Case("mmdetection3d BIN", "bin", BINS, mmdet("scannet", False), prepare("scannet"), ("a.bin",)),
    Case("mmdetection3d infos of ScanNet", "json", ("raw/scannet_infos_train.json",), mmdet("scannet", False),
         prepare("scannet"), ("points/", "correct the split list")),
    Case("mmdetection3d infos of S3DIS", "json", ("raw/s3dis_infos_Area_1.json",), mmdet("s3dis", False),
         prepare("s3dis"), ("points/",)),
    Case("mmdetection3d infos of SUN RGB-D", "json", ("raw/sunrgbd_infos_train.json",), mmdet("sunrgbd", True),
         prepare("sunrgbd"), ("points/",)),
)  # fmt: skip
