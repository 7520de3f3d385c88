"""What a user may say about scan files that they do not say themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mm3d_benchmarks.datasets.scans.columns import OWN
from mm3d_benchmarks.datasets.scans.upright import parse_up
from mm3d_core.errors import UserError

SKIPPED = "_"


@dataclass(frozen=True)
class ScanOptions:
    """How scan files are read.

    Attributes:
        columns: names of the columns of bare tables, from left to right, separated by blanks or commas; ``_`` skips
            one, other names than ``x y z r g b nx ny nz`` are kept (labels, say). Empty: guessed where it is safe.
        up: the axis of the file that points up (``z -z y -y x -x``), ``auto`` (the floor is sought), or a 4 x 4 matrix.
        scale: metres per unit of the file.
        color_range: the number of white; None tells it from the values.
        segment: the column of labels; empty: the first with a usual name (``label``, ``segment``, ``class``, ...).
        instance: the column of objects; empty: likewise.
        points: points sampled from a mesh that has faces; 0 takes its vertices.
        faces: sample them from a PLY's faces too, whose vertices are the points otherwise: most PLYs are scans.

    Raises:
        UserError: a value that is none of these.
    """

    columns: tuple[str, ...] = ()
    up: Any = "z"
    scale: float = 1.0
    color_range: float | None = None
    segment: str = ""
    instance: str = ""
    points: int = 100_000
    faces: bool = False
    given: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @classmethod
    def of(
        cls,
        columns: str | Sequence[str] = "",
        up: Any = "z",
        scale: float = 1.0,
        color_range: float | None = None,
        segment: str = "",
        instance: str = "",
        points: int = 100_000,
        faces: bool = False,
    ) -> ScanOptions:
        """From the words of a command line or a configuration."""
        names = tuple((columns if isinstance(columns, str) else " ".join(columns)).replace(",", " ").split())
        if names and (
            not {"x", "y", "z"} <= set(names) or len(set(names) - {SKIPPED}) < len([n for n in names if n != SKIPPED])
        ):
            raise UserError(f"columns={' '.join(names)!r}: need x, y and z, each name once, and _ for a column to skip")
        known = {*OWN, SKIPPED, segment, instance}
        strange = [name for name in names if name not in known and len(name) == 1]
        if strange:
            raise UserError(f"columns={' '.join(names)!r}: {strange[0]} is none of {' '.join(OWN)} _")
        if not _positive(scale):
            raise UserError(f"scale={scale}: is a positive number, metres per unit of the file")
        if color_range is not None and not _positive(color_range):
            raise UserError(f"color_range={color_range}: is the number of white, 1, 255 or 65535 for example")
        if not isinstance(points, int) or isinstance(points, bool) or points < 0:
            raise UserError(f"points={points}: is a whole number, 0 for the vertices of a mesh")
        if not isinstance(faces, bool):
            raise UserError(f"faces={faces}: is true or false")
        parse_up(up)
        values = {
            "columns": " ".join(names), "up": str(up), "scale": float(scale),
            "color_range": None if color_range is None else float(color_range),
            "segment": str(segment or ""), "instance": str(instance or ""), "points": points,
            **({"faces": True} if faces else {}),  # said only where it is so: what was prepared before stays valid
        }  # fmt: skip
        return cls(
            names, up, float(scale), values["color_range"], values["segment"], values["instance"], points, faces, values
        )


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
