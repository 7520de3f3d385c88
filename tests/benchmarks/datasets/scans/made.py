"""A small made-up room and writers of the files that tests need: PLY, PCD, and raw releases of a few scenes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

KINDS = {"uchar": "u1", "char": "i1", "ushort": "u2", "int": "i4", "float": "f4", "double": "f8"}
Column = tuple[str, str, np.ndarray]  # name, PLY type, values


def room(count: int = 800, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates (float64 metres, 5 x 4 x 2.5, z up), colors (uint8) and normals of a floor, two walls and a table."""
    random, parts = np.random.default_rng(seed), []
    for low, high, normal, color in (
        ((0, 0, 0), (5, 4, 0), (0, 0, 1), (150, 110, 70)),
        ((0, 0, 0), (5, 0, 2.5), (0, 1, 0), (220, 220, 210)),
        ((0, 0, 0), (0, 4, 2.5), (1, 0, 0), (90, 130, 200)),
        ((2, 1.5, 0.72), (3.5, 2.5, 0.78), (0, 0, 1), (200, 40, 40)),
    ):
        n = count // 4
        shades = np.clip(np.array(color) + random.integers(-20, 21, (n, 3)), 0, 255)
        parts.append((random.uniform(low, high, (n, 3)), shades, np.tile(np.array(normal, float), (n, 1))))
    xyz, rgb, normal = (np.concatenate(part) for part in zip(*parts, strict=True))
    return xyz, rgb.astype(np.uint8), normal


def columns(
    xyz: np.ndarray, rgb: np.ndarray | None = None, names: Sequence[str] = ("red", "green", "blue"),
    kind: str = "uchar", coordinate: str = "float",
) -> list[Column]:  # fmt: skip
    """The usual columns of a PLY."""
    found: list[Column] = [(axis, coordinate, xyz[:, i]) for i, axis in enumerate("xyz")]
    return found + ([(name, kind, rgb[:, i]) for i, name in enumerate(names)] if rgb is not None else [])


def ply(path: Path, table: Sequence[Column], ascii_text: bool = False, faces: str = "", tail: bytes = b"") -> Path:
    """Write a PLY. ``faces``: further lines of the header; ``tail``: what follows the vertices."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = len(table[0][2])
    head = f"ply\nformat {'ascii' if ascii_text else 'binary_little_endian'} 1.0\nelement vertex {count}\n"
    head += "".join(f"property {kind} {name}\n" for name, kind, _ in table) + faces + "end_header\n"
    rows = np.empty(count, [(name, f"<{KINDS[kind]}") for name, kind, _ in table])
    for name, _, values in table:
        rows[name] = values
    text = "".join(" ".join(repr(v) for v in row) + "\n" for row in rows.tolist())
    path.write_bytes(head.encode() + (text.encode() if ascii_text else rows.tobytes()) + tail)
    return path


def pcd(path: Path, fields: Sequence[tuple[str, str, int, np.ndarray | None]], count: int) -> Path:
    """Write a binary PCD: (name, numpy type, COUNT, values (N,) or (N, COUNT)) for each field."""
    letters = {"f": "F", "u": "U", "i": "I"}
    full = [(str(i), kind, (number,)) for i, (_, kind, number, _) in enumerate(fields) if number]
    rows = np.zeros(count, np.dtype(full))
    for i, (_, _, number, values) in enumerate(fields):
        if values is not None and number:
            rows[str(i)] = values.reshape(count, number)
    head = "# .PCD v0.7\nVERSION 0.7\nFIELDS " + " ".join(field[0] for field in fields)
    head += "\nSIZE " + " ".join(field[1][-1] for field in fields)
    head += "\nTYPE " + " ".join(letters[field[1][-2]] for field in fields)
    head += "\nCOUNT " + " ".join(str(field[2]) for field in fields)
    head += f"\nWIDTH {count}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {count}\nDATA binary\n"
    path.write_bytes(head.encode() + rows.tobytes())
    return path


def packed(rgb: np.ndarray) -> np.ndarray:
    """PCL's uint32 of three bytes."""
    wide = rgb.astype(np.uint32)
    return wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2]


def scannet(root: Path, names: Sequence[str] = ("scene0000_00", "scene0001_00"), kind: str = "uchar") -> Path:
    """ScanNet's layout: a floor, two walls as one object, a table; ``kind`` is the type of the colors."""
    for number, name in enumerate(names):
        folder = root / "scans" / name
        xyz, rgb, _ = room(800, number)
        color = rgb / 255 if kind == "float" else rgb
        ply(folder / f"{name}_vh_clean_2.ply", columns(xyz, color, kind=kind))
        quarter = len(xyz) // 4
        segments = (np.arange(len(xyz)) // quarter * quarter).tolist()
        (folder / f"{name}_vh_clean_2.0.010000.segs.json").write_text(json.dumps({"segIndices": segments}))
        groups = [("floor", [0]), ("wall", [quarter, 2 * quarter]), ("table", [3 * quarter])]
        objects = [{"id": i, "objectId": i, "segments": s, "label": label} for i, (label, s) in enumerate(groups)]
        (folder / f"{name}.aggregation.json").write_text(json.dumps({"segGroups": objects}))
        (folder / f"{name}.txt").write_text("axisAlignment = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1 \n")
    (root / "scannetv2-labels.combined.tsv").write_text(
        "id\traw_category\tnyu40id\n1\tfloor\t2\n2\twall\t1\n3\ttable\t7\n4\tchair\t5\n"
    )
    (root / "scannetv2_train.txt").write_text(names[0] + "\n")
    (root / "scannetv2_val.txt").write_text(names[-1] + "\n")
    return root


def s3dis(root: Path, rooms: Sequence[str] = ("Area_1/office_1", "Area_5/office_2")) -> Path:
    """S3DIS's layout: four objects a room."""
    for number, name in enumerate(rooms):
        xyz, rgb, _ = room(400, number)
        notes = root / name / "Annotations"
        notes.mkdir(parents=True)
        rows = ["{:.3f} {:.3f} {:.3f} {:.0f} {:.0f} {:.0f}".format(*p, *c) for p, c in zip(xyz, rgb, strict=True)]
        for k, kind in enumerate(("floor_1", "wall_1", "wall_2", "table_1")):
            (notes / f"{kind}.txt").write_text("\n".join(rows[k * 100 : (k + 1) * 100]) + "\n")
    return root


def mm3d(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """The command line, as a user calls it."""
    command = [sys.executable, "-m", "mm3d_benchmarks.commands.main", *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
