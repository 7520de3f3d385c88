"""PLY files of scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.formats.ply import write_ply


def write_scan(path: Path, coord: np.ndarray, color: np.ndarray | None) -> Path:
    """A PLY with double coordinates (N, 3) and, if given, uint8 colors (N, 3)."""
    columns = {axis: coord[:, number] for number, axis in enumerate("xyz")}
    if color is not None:
        columns |= {shade: color[:, number] for number, shade in enumerate(("red", "green", "blue"))}
    table = np.empty(len(coord), [(name, "f8" if name in "xyz" else "u1") for name in columns])
    for name, values in columns.items():
        table[name] = values
    path.parent.mkdir(parents=True, exist_ok=True)
    write_ply(path, table)
    return path
