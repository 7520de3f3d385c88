"""Readers of scans that come through libraries (LAS, E57, meshes) or as tables of text; none without the libraries."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from hostile.cases import Case
from hostile.cases_data import COLOR, COORD, FACES, N, folder
from PIL import Image


def table(separator: str, heading: str = "", encoding: str = "utf-8") -> Callable[[Path], None]:
    def write(path: Path) -> None:
        rows = [separator.join((*map(str, p), *map(str, c))) for p, c in zip(COORD.tolist(), COLOR, strict=True)]
        path.write_bytes("\n".join([*([heading] if heading else []), *rows]).encode(encoding))

    return write


def las(path: Path) -> None:
    laspy = import_module("laspy")
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = np.full(3, 1e-4)
    found = laspy.LasData(header)
    found.xyz = COORD
    found.red, found.green, found.blue = (COLOR.astype(np.uint16) * 257).T
    found.write(path)


def e57(path: Path) -> None:
    pye57 = import_module("pye57")
    file = pye57.E57(str(path), mode="w")
    values = {f"cartesian{a.upper()}": COORD[:, i].astype(np.float64) for i, a in enumerate("xyz")}
    values |= {f"color{c}": COLOR[:, i].copy() for i, c in enumerate(("Red", "Green", "Blue"))}
    file.write_scan_raw(values)
    file.close()


def mesh(path: Path) -> None:
    trimesh = import_module("trimesh")
    trimesh.Trimesh(COORD, FACES, vertex_colors=COLOR, process=False).export(path)


def textured(work: Path) -> None:
    (work / "scans").mkdir()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(work / "scans/t.png")
    (work / "scans/m.mtl").write_text("newmtl a\nKd 1 1 1\nmap_Kd t.png\n")
    rows = [f"v {x} {y} {z}" for x, y, z in COORD.tolist()] + [f"vt {x / 3} {y / 3}" for x, y, _ in COORD.tolist()]
    rows += ["usemtl a", *(f"f {a + 1}/{a + 1} {b + 1}/{b + 1} {c + 1}/{c + 1}" for a, b, c in FACES)]
    (work / "scans/a.obj").write_text("\n".join(["mtllib m.mtl", *rows]) + "\n")


def gltf(work: Path) -> None:
    trimesh = import_module("trimesh")
    (work / "scans").mkdir()
    for name, content in trimesh.Trimesh(COORD, FACES, process=False).export(file_type="gltf").items():
        (work / "scans" / name.replace("model", "a")).write_bytes(content)


def scan(suffix: str, write: Callable[[Path], None]) -> dict:
    """Reading a folder with one scan, few points of which are sampled."""
    return folder(suffix, write, {"points": 200} if suffix in (".obj", ".glb", ".stl", ".off") else {})


def files(make: Callable[[Path], None], names: tuple[str, ...]) -> dict:
    """Reading a mesh of several files, any of which may be damaged."""
    given = {"points": 200, "formats": Path(names[0]).suffix}
    return {**folder("", Path.touch, given), "make": make, "files": names}


TEXTS = (
    Case("XYZ", "text", **scan(".xyz", table(" "))),
    Case("CSV with a heading", "text", **scan(".csv", table(",", "x,y,z,red,green,blue"))),
    Case("TXT in UTF-16", "text", **scan(".txt", table("\t", "X\tY\tZ\tR\tG\tB", "utf-16"))),
    Case("PTS", "text", **scan(".pts", table(" ", str(N)))),
)
LAS = (Case("LAS", "las", **scan(".las", las)), Case("LAZ", "las", **scan(".laz", las)))
E57 = (Case("E57", "e57", **scan(".e57", e57)),)
MESHES = (
    Case("OBJ", "text", **scan(".obj", mesh)),
    Case("GLB", "glb", **scan(".glb", mesh)),
    Case("STL", "stl", **scan(".stl", mesh)),
    Case("OFF", "text", **scan(".off", mesh)),
    Case("OBJ with a texture", "text", **files(textured, ("scans/a.obj", "scans/m.mtl", "scans/t.png"))),
    Case("glTF and its buffers", "json", **files(gltf, ("scans/a.gltf",)), named=("scans",)),
)
CASES = (
    *TEXTS,
    *(LAS if find_spec("laspy") and find_spec("lazrs") else ()),
    *(E57 if find_spec("pye57") else ()),
    *(MESHES if find_spec("trimesh") else ()),
)
