"""One synthetic room as a PLY file, as somebody's own scan might be: to try things on, with labels to probe with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.ply import write_ply
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES
from mm3d_benchmarks.synthetic.generate import make_room
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.labels import s3dis_name
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.shell import Style
from mm3d_benchmarks.synthetic.sensors import tripod
from mm3d_core.errors import UserError


def write_room_scan(path: Path | str, seed: int = 0, kind: str = "office", spacing: float = 0.06) -> np.ndarray:
    """Scan a furnished room from a tripod and write it as a PLY file.

    Args:
        path: the file, ``.ply``; its folder is made.
        seed: another seed gives another room.
        kind: ``office``, ``living``, ``conference``, ``kitchen``, ``bathroom``, ... (``rooms.layout.KINDS``).
        spacing: metres between neighboring points.

    Returns:
        (N,) int64 class of each point, a row of S3DIS's thirteen names; the file holds it as ``label``.

    Raises:
        UserError: another suffix, an unknown kind, or a folder that cannot be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".ply":
        raise UserError(f"{path}: is written as PLY; end the name with .ply")
    if kind not in KINDS:
        raise UserError(f"kind={kind}: there is no such room; choose one of {', '.join(KINDS)}")
    if not 0.01 <= spacing <= 1:
        raise UserError(f"spacing={spacing}: metres between points, from 0.01 to 1")
    room, (tour, sensor) = make_room("s3dis", seed, 0, 0, kind, Style(), Knobs(variety=1.0), complete=True)
    scan = tripod.scan_room(room, spacing, Knobs(variety=1.0), tour, sensor)
    number = {name: place for place, name in enumerate(CLASSES)}
    of_object = np.array(
        [*(number.get(s3dis_name(label), number["clutter"]) for label in scan.labels), number["clutter"]]
    )
    segment = of_object[scan.owner]  # owner -1, nobody's point, is the last row
    colors = [(name, "u1") for name in ("red", "green", "blue")]
    vertices = np.empty(len(scan.coord), np.dtype([*((axis, "f4") for axis in "xyz"), *colors, ("label", "u1")]))
    for place, axis in enumerate("xyz"):
        vertices[axis] = scan.coord[:, place]
    for place, (name, _) in enumerate(colors):
        vertices[name] = scan.color[:, place]
    vertices["label"] = segment
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ply(path, vertices, comment="a synthetic room")
    return segment.astype(np.int64)
