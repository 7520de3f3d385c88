"""What a preparation says at its end: sizes, what was passed over, and every remark, alike ones together."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mm3d_benchmarks.datasets.manifest import WHOLE
from mm3d_benchmarks.datasets.scene import PreparedDataset

ROOM = (0.5, 200.0)  # metres: the longest side of a scan of rooms
UNITS = (0.001, 0.01, 0.0254, 0.3048, 1000.0, 100.0)  # metres per millimetre, centimetre, inch, foot; and the reverse
NAMED = 3  # scenes named in a line


def told(data: PreparedDataset) -> list[str]:
    """Lines on a prepared data set: extents, with a warning where they cannot be metres, then all remarks."""
    manifest = data.manifest
    lines = [line for line in (extent_line(manifest), units_warning(manifest)) if line]
    return lines + remark_lines(manifest["remarks"])


def metres(length: float) -> str:
    """Three digits, or all those before the point."""
    return f"{length:.0f}" if length >= 100 else f"{length:.3g}"


def extent_line(manifest: Mapping[str, Any]) -> str:
    """``extent: 5.0 x 4.0 x 2.5 m``, of several scenes the median and the range of the longest sides."""
    extents = sorted((entry["extent"] for entry in manifest["scenes"].values() if "extent" in entry), key=max)
    if not extents:
        return ""
    middle = " x ".join(map(metres, extents[len(extents) // 2]))
    if len(extents) == 1:
        return f"extent: {middle} m"
    return (
        f"extent: {middle} m (the middle one; longest sides {metres(max(extents[0]))} to {metres(max(extents[-1]))} m)"
    )


def units_warning(manifest: Mapping[str, Any]) -> str:
    """A warning where scenes are too small or too large for rooms in metres; empty where they are not."""
    sides = {name: max(entry["extent"]) for name, entry in manifest["scenes"].items() if "extent" in entry}
    odd = {name: side for name, side in sides.items() if not ROOM[0] <= side <= ROOM[1]}
    if not odd:
        return ""
    name, side = max(odd.items(), key=lambda item: abs(item[1] - ROOM[0]))
    text = f"warning: {name} is {metres(side)} m long"
    text += f" (and {len(odd) - 1} more outside of {ROOM[0]:g} to {ROOM[1]:g} m)" if len(odd) > 1 else ""
    if manifest["dataset"] != "folder":
        return f"{text}, which no room is: are the files in metres?"
    unit = next((unit for unit in UNITS if ROOM[0] <= side * unit <= ROOM[1]), None)
    scale = manifest["options"].get("scale", 1.0) * unit if unit else None
    way = f"scale={scale:g} makes it {metres(side * unit)} m" if unit and scale else "scale= says the metres of a unit"
    return f"{text}, which no room is: if the files are not in metres, {way}"


def remark_lines(remarks: Mapping[str, list[str]]) -> list[str]:
    """All remarks, those that differ in numbers alone in one line."""
    lines = list(remarks.get(WHOLE, []))
    alike: dict[str, list[tuple[str, str]]] = {}
    for name, texts in remarks.items():
        for text in texts if name != WHOLE else []:
            alike.setdefault(re.sub(r"[\d.,]+", "#", text), []).append((name, text))
    for members in alike.values():
        name, text = members[0]
        if len(members) == 1:
            lines.append(f"{name}: {text}")
            continue
        rest = len(members) - NAMED
        names = ", ".join(name for name, _ in members[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
        same = len({text for _, text in members}) == 1
        lines.append(f"{len(members)} scenes ({names}): {text}{'' if same else f' (so in {name}; others alike)'}")
    return lines
