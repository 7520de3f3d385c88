"""Time and memory of preparing one large scan in tiles.

    python -m speed.large_scans [--points 50000000] [--tile 10]

It writes a made-up hall into a temporary folder (15 bytes a point, and as much again for the tiles).
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from mm3d_benchmarks.datasets.prepare import prepare_dataset

PIECE = 10**6  # points written at a time
SIZE = (100, 60, 3)  # metres


def write_hall(path: Path, points: int) -> None:
    """A binary PLY of points spread evenly in a hall, with colors."""
    row = np.dtype([(axis, "<f4") for axis in "xyz"] + [(color, "u1") for color in ("red", "green", "blue")])
    random = np.random.default_rng(0)
    head = f"ply\nformat binary_little_endian 1.0\nelement vertex {points}\n"
    head += "".join(f"property {'float' if name in 'xyz' else 'uchar'} {name}\n" for name in row.names or ())
    with open(path, "wb") as stream:
        stream.write(f"{head}end_header\n".encode())
        for start in range(0, points, PIECE):
            rows = np.zeros(min(PIECE, points - start), row)
            for axis, side in zip("xyz", SIZE, strict=True):
                rows[axis] = random.random(len(rows), np.float32) * side
            stream.write(rows.tobytes())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--points", type=int, default=50_000_000)
    parser.add_argument("--tile", type=float, default=10.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_hall(Path(folder) / "hall.ply", options.points)
        wall, cpu = time.perf_counter(), time.process_time()
        data = prepare_dataset(
            "folder", Path(folder) / "hall.ply", Path(folder) / "out", options={"tile": options.tile}, quiet=True
        )
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{options.points:,} points, {len(data.manifest['scenes'])} tiles of {options.tile:g} m: "
            f"{time.process_time() - cpu:.1f} s of one core, {time.perf_counter() - wall:.1f} s, {peak:.2f} GiB at most"
        )


if __name__ == "__main__":
    main()
