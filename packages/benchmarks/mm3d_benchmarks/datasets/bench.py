"""How fast preparation and loading are: CPU time of each step, scenes per second for 0, 1 and 2 workers.

Run as ``python -m mm3d_benchmarks.datasets.bench``; it writes nothing but a temporary folder.
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

from mm3d_benchmarks.datasets.embedded.generate import generate
from mm3d_benchmarks.datasets.embedded.scan import LabelledScan
from mm3d_benchmarks.datasets.embedded.write_scannet import write_scan, write_tables
from mm3d_benchmarks.datasets.ply import read_ply
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scannet import ScanNetReader
from mm3d_benchmarks.datasets.scene import open_dataset, write_scene

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


def measure_loading(root: Path, split: str, seconds: float = 3.0) -> dict[str, float]:
    """Scenes per second that a torch loader reads from memory maps into memory, for 0, 1 and 2 workers."""
    from torch.utils.data import DataLoader

    names = open_dataset(root).scenes(split)
    rates = {}
    for workers in (0, 1, 2):
        loader = DataLoader(_Scenes(root, names * 20), batch_size=None, num_workers=workers)  # type: ignore[arg-type]
        batches = iter(loader)
        next(batches)
        start, count = time.perf_counter(), 0
        for _ in batches:
            count += 1
            if time.perf_counter() - start > seconds:
                break
        rates[f"{workers} workers"] = count / (time.perf_counter() - start)
    return rates


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


class _Scenes:
    """Scenes as dictionaries of arrays in memory."""

    def __init__(self, root: Path, names: list[str]) -> None:
        self.root, self.names = root, names

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int) -> dict[str, Any]:
        scene = open_dataset(self.root).load(self.names[number])
        return {key: np.array(value) for key, value in scene.arrays().items()}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vertices", type=int, default=VERTICES)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures["preparation, CPU s"] = measure_preparation(folder / "large", options.vertices)
        for dataset in ("scannet", "s3dis", "sunrgbd"):
            start = time.process_time()
            raw = generate(dataset, folder / "raw" / dataset, profile="tiny", quiet=True)
            generated = time.process_time()
            prepared = prepare_dataset(dataset, raw, folder / dataset, quiet=True)
            scenes = len(prepared.manifest["scenes"])
            figures[dataset] = {
                "generate, CPU s per scene": (generated - start) / scenes,
                "prepare, CPU s per scene": (time.process_time() - generated) / scenes,
                "load, scenes/s": measure_loading(prepared.root, "train"),
            }
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
