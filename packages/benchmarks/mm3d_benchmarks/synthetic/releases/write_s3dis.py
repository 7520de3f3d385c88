"""Writes labelled scans as Stanford3dDataset_v1.2_Aligned_Version: one text file per object, and the room's union."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from mm3d_benchmarks.synthetic.rooms.labels import s3dis_name
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from mm3d_core.files.atomic import write_text


def write_room(root: Path, area: str, room: str, scan: LabelledScan) -> None:
    """Write ``root/<area>/<room>/``; the room file comes last, so a folder that has it is complete.

    Args:
        area: ``Area_1`` ... ``Area_6``.
        room: ``<type>_<number>``.
    """
    folder = root / area / room
    seen: Counter[str] = Counter()
    whole = []
    for owner, label in [*enumerate(scan.labels), (-1, "clutter")]:
        rows = np.flatnonzero(scan.owner == owner)
        if len(rows) == 0:
            continue
        name = s3dis_name(label)
        seen[name] += 1
        text = _rows(scan.coord[rows], scan.color[rows])
        write_text(folder / "Annotations" / f"{name}_{seen[name]}.txt", text)
        whole.append(text)
    write_text(folder / f"{room}.txt", "".join(whole))


def write_alignment(root: Path, area: str, rooms: list[str]) -> None:
    """The area's alignment file; the aligned version's rooms are already turned, so it informs only."""
    lines = [
        "## Global alignment angle per disjoint space in " + area + " ##",
        "## Disjoint Space Name Global Alignment Angle ##",
    ]
    write_text(root / area / f"{area}_alignmentAngle.txt", "\n".join([*lines, *(f"{room} 0" for room in rooms)]) + "\n")


def _rows(coord: np.ndarray, color: np.ndarray) -> str:
    """``x y z r g b`` lines: metres with three decimals, colors as integers."""
    table = [
        f"{x:.3f} {y:.3f} {z:.3f} {r} {g} {b}"
        for (x, y, z), (r, g, b) in zip(coord.tolist(), color.tolist(), strict=True)
    ]
    return "\n".join(table) + "\n"
