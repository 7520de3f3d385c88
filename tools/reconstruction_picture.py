"""README's first picture, from a pre-training run: scan, masked input, target and reconstruction of a room, in color.

python tools/reconstruction_picture.py runs/<key> docs/pictures/reconstruction.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mm3d_benchmarks.reports import scenes
from mm3d_benchmarks.reports.artefacts import Artefact, load_arrays
from mm3d_benchmarks.reports.figures_scenes import point_colors
from mm3d_benchmarks.reports.style import new_figure, plain

PANELS = {"coord": "scan", "input": "masked input", "target": "target", "reconstruction": "reconstruction"}

WALL = 0.45  # metres behind the near sides of the room that are left away
FOOT = 0.12  # metres above its floor up to which they are drawn all the same


def behind_the_front_walls(points: np.ndarray, room: np.ndarray) -> np.ndarray:
    """(N,) bool: points that the two walls on the viewer's side do not contain, as a doll's house is open in front."""
    low, high = room.min(0), room.max(0)
    viewer = np.array([np.cos(np.radians(scenes.AZIMUTH)), np.sin(np.radians(scenes.AZIMUTH))]) > 0
    depth = np.where(viewer, high[:2] - points[:, :2], points[:, :2] - low[:2])  # from the near walls inwards
    return (depth > WALL).all(axis=1) | (points[:, 2] < low[2] + FOOT)


def main() -> None:
    """Draw the picture of one run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a finished pre-training with masks")
    parser.add_argument("picture", type=Path, help="PNG file to write")
    options = parser.parse_args()
    artefact = Artefact(options.run.name, "", "artefacts", load_arrays(options.run / "artefacts.npz"))
    figure = new_figure(12.0, 3.4)
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        points, room = artefact.arrays[name], artefact.arrays["coord"]
        seen = behind_the_front_walls(points, room)
        scenes.draw_points(axes, points[seen], point_colors(artefact, name)[seen], limits=room)
        plain(axes, f"{title}, {len(points):,} points")
    figure.savefig(options.picture, dpi=110, metadata={"Software": None})
    print(options.picture)


if __name__ == "__main__":
    main()
