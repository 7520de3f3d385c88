"""What the commands share about prepared data: where it lies, what is said about it, remedies in a command's words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mm3d_benchmarks.planning.planner import Planner
from mm3d_core.errors import UserError

# Options of the reader of own scans, as messages name them.
OPTIONS = (
    "columns", "up", "scale", "color_range", "segment", "instance", "classes", "formats", "points", "tile",
    "validation",
)  # fmt: skip
SKIP_BROKEN = "dataset.skip_broken=true prepares the other scenes and lists this one"


def prepared_root(dataset: str, data: Mapping[str, Any], path: str | None = None) -> Path:
    """The prepared folder of a data set, or of own scans, which are told apart by their folder.

    Args:
        data: a profile's ``data``.
        path: the folder of own scans, as in ``dataset.path=``.

    Raises:
        UserError: several folders of own scans are prepared, and none was named.
    """
    plain = Path(data["prepared"]) / dataset
    if path:
        return Planner.root_of({"dataset": {"name": dataset, "path": path}, "profile": {"data": data}})
    if (plain / "manifest.json").exists():
        return plain
    others = sorted(found.parent for found in plain.parent.glob(f"{dataset}-????????/manifest.json"))
    if len(others) > 1:
        raise UserError(
            f"{plain}: several folders of own scans are prepared; choose: " + " or ".join(f"root={o}" for o in others)
        )
    return others[0] if others else plain


def tell(data: Any, own: bool = False) -> None:
    """Print what became of a preparation: counts, extents, warnings, remarks.

    Args:
        data: the prepared data set.
        own: for ``mm3d run``, whose words for the reader's options differ.
    """
    from mm3d_benchmarks.datasets.summary import told

    manifest = data.manifest
    scenes = {split: len(names) for split, names in manifest["splits"].items()}
    lines = [f"{data.root}: {data.dataset}, " + ", ".join(f"{count} {split}" for split, count in scenes.items())]
    lines += told(data)
    left_out = manifest.get("left_out") or {}
    if left_out:
        lines.append(f"left out: {', '.join(sorted(left_out))} (reasons in {data.root / 'manifest.json'})")
    for line in lines:
        print(in_words_of_run(line) if own else line)


def in_words_of_run(text: str) -> str:
    """``scale=0.001`` as ``dataset.reader.scale=0.001``: the same remedy, as ``mm3d run`` takes it."""
    text = re.sub(rf"(?<![\w.])({'|'.join(OPTIONS)})=", r"dataset.reader.\1=", text)
    return text.replace("dataset.reader.classes=", "dataset.classes=")
