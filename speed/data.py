"""How fast the whole way is: CPU time of each step of preparation, then loading as training does it.

    python -m speed.data [--profile ci]

It writes nothing but a temporary folder. ``bench_loading`` measures data that are prepared already.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mm3d_benchmarks.datasets.formats.ply import read_ply
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.scannet import ScanNetReader
from mm3d_benchmarks.datasets.scene import write_scene
from mm3d_benchmarks.synthetic.generate import generate
from mm3d_benchmarks.synthetic.releases.write_scannet import write_scan, write_tables
from mm3d_benchmarks.synthetic.sensors.scan import LabelledScan
from speed.loading import measure

TASKS_OF = {
    "scannet": ("pretraining", "segmentation", "detection"),
    "s3dis": ("pretraining", "segmentation"),
    "sunrgbd": ("detection",),
}
VERTICES = 150_000  # of a ScanNet scan (the validation scans average 158,784)


def measure_preparation(folder: Path, vertices: int = VERTICES, repeats: int = 3) -> dict[str, float]:
    """CPU seconds of one core to prepare one scan of ``vertices`` vertices, and of each step (best of ``repeats``)."""
    write_large_scan(folder, vertices)
    reader = ScanNetReader(folder)
    _ = reader.label_ids
    name = "scene0000_00"
    mesh, _, segments, objects = reader.source_files(name)
    scene = reader.read(name).scene
    return {
        "whole": _best(lambda: write_scene(folder / "out", reader.read(name).scene), repeats),
        "read and label": _best(lambda: reader.read(name), repeats),
        "mesh": _best(lambda: read_ply(mesh), repeats),
        "JSON": _best(lambda: (json.loads(segments.read_bytes()), json.loads(objects.read_bytes())), repeats),
        "write and hash": _best(lambda: write_scene(folder / "out", scene), repeats),
    }


def measure_dataset(dataset: str, folder: Path, profile: str, scenes: int = 16) -> dict[str, Any]:
    """CPU seconds per scene to generate and to prepare, and what ``bench_loading`` finds for every task."""
    start = time.process_time()
    raw = generate(dataset, folder / "raw" / dataset, profile=profile, quiet=True)
    generated = time.process_time()
    prepared = prepare_dataset(dataset, raw, folder / dataset, quiet=True)
    ended, count = time.process_time(), len(prepared.manifest["scenes"])
    return {
        "generate, CPU s per scene": (generated - start) / count,
        "prepare, CPU s per scene": (ended - generated) / count,
        "loading": [measure(prepared, task, (0, 1, 2), scenes) for task in TASKS_OF[dataset]],
    }


def write_large_scan(folder: Path, vertices: int) -> None:
    """A scan of exactly ``vertices`` vertices in ScanNet's raw format: a wavy sheet cut into objects."""
    side = int(np.ceil(np.sqrt(vertices)))
    x, y = (a.ravel()[:vertices] * 0.02 for a in np.meshgrid(np.arange(side), np.arange(side)))
    coord = np.stack([x, y, 1 + np.sin(x * 3) * np.cos(y * 2)], axis=1).astype(np.float32)
    color = np.random.default_rng(0).integers(0, 256, (vertices, 3), np.uint8)
    patch = (x // 0.3).astype(np.int64) * 1000 + (y // 0.3).astype(np.int64)
    owner = ((x // 1.0) + 8 * (y // 1.0)).astype(np.int64)
    corner = np.arange(vertices - side - 1)
    corner = corner[corner % side < side - 1]
    faces = np.concatenate(
        [np.stack([corner, corner + 1, corner + side], 1), np.stack([corner + 1, corner + side + 1, corner + side], 1)]
    )
    labels = [("chair", "table", "wall", "floor", "couch")[k % 5] for k in range(int(owner.max()) + 1)]
    scan = LabelledScan(coord, color, patch, owner, labels, faces.astype(np.int32), np.eye(4), "Office")
    write_scan(folder, "scene0000_00", scan)
    write_tables(folder, {"train": ["scene0000_00"], "val": []})


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vertices", type=int, default=VERTICES)
    parser.add_argument("--profile", default="ci", help="size of the synthetic data")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures["preparation, CPU s"] = measure_preparation(folder / "large", options.vertices)
        for dataset in TASKS_OF:
            figures[dataset] = measure_dataset(dataset, folder, options.profile)
    print(json.dumps(figures, indent=1))


def _best(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return round(min(times), 4)


if __name__ == "__main__":
    main()
