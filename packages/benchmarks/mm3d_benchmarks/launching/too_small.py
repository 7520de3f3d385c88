"""What to say about a run that could not compute with its scenes because they have hardly any points."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_benchmarks.store.spec import RunSpec

REST = 4  # points of the coarsest level; batch norms over fewer multiply what they should even out
STEP = "failure/step.json"  # what stopped training, in the run's folder


def too_small(spec: RunSpec, folder: Path) -> str:
    """How many points the network wants, where a run stopped at scenes that have fewer; else empty."""
    strides = ((spec.config.get("backbone") or {}).get("encoder") or {}).get("strides")
    root = (spec.config.get("dataset") or {}).get("root")
    if not isinstance(strides, list) or not all(isinstance(stride, int) for stride in strides) or not root:
        return ""
    stride = math.prod(strides)
    scenes = _read(folder / STEP).get("scenes")
    entries = _read(Path(root) / "manifest.json").get("scenes")
    if not isinstance(scenes, list) or not isinstance(entries, Mapping):
        return ""
    points = {name: entries[name].get("points") for name in set(scenes) if isinstance(entries.get(name), Mapping)}
    few = {name: count for name, count in points.items() if isinstance(count, int) and count < REST * stride}
    if not few:
        return ""
    name, count = min(few.items(), key=lambda item: (item[1], item[0]))
    return (
        f"; {name} has {count:,} points, and this network, whose coarsest level keeps one of {stride:,}, needs "
        f"{REST * stride:,} or more: leave the scan out, or choose a network with fewer levels"
    )


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
