"""Columns of a scan by the names that programs give them: letter case, prefixes and habits do not matter.

The suite's own names are ``x y z``, ``r g b``, ``nx ny nz``, ``label`` and ``instance``; labels may be any column.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

# fmt: off
OWN = ("x", "y", "z", "r", "g", "b", "nx", "ny", "nz")
COORD, COLOR, NORMAL = OWN[:3], OWN[3:6], OWN[6:]
# Other programs' names, in the order in which they are preferred where a file has several.
HABITS: dict[str, tuple[str, ...]] = {
    "x": ("x", "px", "posx", "positionx", "coordx", "pointx", "xcoord", "cartesianx", "xm", "points0", "easting"),
    "y": ("y", "py", "posy", "positiony", "coordy", "pointy", "ycoord", "cartesiany", "ym", "points1", "northing"),
    "z": ("z", "pz", "posz", "positionz", "coordz", "pointz", "zcoord", "cartesianz", "zm", "points2", "elevation",
          "height", "altitude"),
    "r": ("r", "red", "diffusered", "colorred", "colourred", "colorr", "rf", "rgbr", "rgb0", "color0", "colors0"),
    "g": ("g", "green", "diffusegreen", "colorgreen", "colourgreen", "colorg", "gf", "rgbg", "rgb1", "color1",
          "colors1"),
    "b": ("b", "blue", "diffuseblue", "colorblue", "colourblue", "colorb", "bf", "rgbb", "rgb2", "color2", "colors2"),
    "nx": ("nx", "normalx", "normx", "xnormal", "normals0", "normal0"),
    "ny": ("ny", "normaly", "normy", "ynormal", "normals1", "normal1"),
    "nz": ("nz", "normalz", "normz", "znormal", "normals2", "normal2"),
}
LABELS = ("label", "labels", "segment", "segmentid", "semantic", "semanticlabel", "semanticid", "class", "classid",
          "classification", "category", "semlabel", "semanticseg", "semseg", "segment20", "semanticgt", "classlabel",
          "labelid")
INSTANCES = ("instance", "instanceid", "instances", "instancelabel", "object", "objectid", "inslabel", "instancegt")
SPLAT = ("f_dc_0", "f_dc_1", "f_dc_2")  # degree-0 spherical harmonics of 3D Gaussian splatting
SH_C0 = 0.28209479177387814  # sqrt(1 / (4 pi)): color = 0.5 + SH_C0 * f_dc
# fmt: on


@dataclass
class Columns:
    """A file's values by column.

    Attributes:
        values: name -> (N,) numbers, read from disk where they are touched; the suite's own names where they are known.
        given: names that the file itself says or the user said, so no guess.
        color_range: the number of white where the format fixes it.
        remarks: what was assumed or passed over to read them.
    """

    values: dict[str, np.ndarray]
    color_range: float | None = None
    remarks: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values["x"])

    def has(self, names: Sequence[str]) -> bool:
        """Whether all these columns are there."""
        return all(name in self.values for name in names)

    def rows(self, names: Sequence[str], rows: slice | np.ndarray) -> np.ndarray:
        """(n, len(names)) float64 of some rows."""
        return np.stack([self.values[name][rows] for name in names], axis=1).astype(np.float64)

    def find(self, wanted: str, habits: Sequence[str]) -> str | None:
        """The column of this name, or where ``wanted`` is empty the first of the habitual names that is there."""
        plain = {plain_name(name): name for name in reversed(self.values)}
        if wanted:
            return wanted if wanted in self.values else plain.get(plain_name(wanted))
        return next((plain[habit] for habit in habits if habit in plain), None)


def plain_name(name: str) -> str:
    """Letters and digits in lower case, without CloudCompare's ``scalar_``."""
    name = re.sub(r"[\W_]", "", name.casefold())
    return name.removeprefix("scalar") or name


def named(table: Mapping[str, np.ndarray]) -> Columns:
    """Columns under the suite's names; names that are not known stay."""
    plain: dict[str, str] = {}
    for name in table:
        plain.setdefault(plain_name(name), name)
    chosen = {}
    for own, habits in HABITS.items():
        found = next((plain[habit] for habit in habits if habit in plain), None)
        if found is not None:
            chosen[own] = found
    taken = set(chosen.values())
    values = {own: table[name] for own, name in chosen.items()}
    values |= {name: column for name, column in table.items() if name not in taken and name not in values}
    columns = Columns(values)
    if not columns.has(COLOR) and all(name in table for name in SPLAT):
        columns.values |= {own: 0.5 + SH_C0 * table[name] for own, name in zip(COLOR, SPLAT, strict=True)}
        columns.color_range = 1
        columns.remarks.append("colors of a Gaussian splat, from f_dc_0..2")
    return columns
