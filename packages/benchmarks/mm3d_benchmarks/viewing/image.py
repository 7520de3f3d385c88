"""PNG views of a scene: points as small squares in depth order, boxes as lines. numpy and Pillow only."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mm3d_core.files.atomic import atomic_write

EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]


def box_corners(boxes: np.ndarray) -> np.ndarray:
    """(K, 8, 3) corners of boxes (K, 8): the lower face around, then the upper. Headings turn from +x towards -y."""
    signs = np.array(
        [[1, 1, -1], [1, -1, -1], [-1, -1, -1], [-1, 1, -1], [1, 1, 1], [1, -1, 1], [-1, -1, 1], [-1, 1, 1]]
    )
    local = signs[None] * boxes[:, None, 3:6] / 2
    c, s = np.cos(boxes[:, None, 6]), np.sin(boxes[:, None, 6])
    x, y = c * local[..., 0] + s * local[..., 1], -s * local[..., 0] + c * local[..., 1]
    return boxes[:, None, :3] + np.stack([x, y, local[..., 2]], axis=-1)


def draw(
    coord: np.ndarray,
    color: np.ndarray,
    boxes: np.ndarray | None = None,
    box_colors: np.ndarray | None = None,
    *,
    azimuth: float = -60.0,
    elevation: float = 50.0,
    cut: float | None = 2.1,
    size: tuple[int, int] = (900, 700),
) -> Image.Image:
    """A parallel projection.

    Args:
        coord: (N, 3) metres, z up.
        color: (N, 3) uint8.
        boxes: (K, 8) to draw as wires.
        box_colors: (K, 3) uint8.
        azimuth: degrees, where the viewer stands.
        elevation: degrees above the horizon; 90 is the plan.
        cut: metres above the lowest percent; higher points are left out, so that one can look into a room.
    """
    if cut is not None:
        keep = coord[:, 2] < np.percentile(coord[:, 2], 1) + cut
        coord, color = coord[keep], color[keep]
    a, e = np.radians(azimuth), np.radians(elevation)
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    back = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    up = np.cross(back, right)
    flat = np.stack([coord @ right, -(coord @ up)], axis=1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    scale = float(min((np.array(size) - 20) / np.maximum(high - low, 0.1)))
    shift = np.array(size) / 2 - (low + high) / 2 * scale
    pixel = (flat * scale + shift).round().astype(int)
    area = np.prod((high - low) * scale)
    wide = int(np.clip(np.sqrt(area / max(len(coord), 1)) * 1.3, 1, 7))
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    order = np.argsort(coord @ back, kind="stable")
    for dx in range(wide):
        for dy in range(wide):
            x, y = pixel[order, 0] + dx - wide // 2, pixel[order, 1] + dy - wide // 2
            inside = (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])
            canvas[y[inside], x[inside]] = color[order][inside]
    image = Image.fromarray(canvas)
    if boxes is not None and len(boxes):
        corners = box_corners(boxes.astype(np.float64))
        wires = np.stack([corners @ right, -(corners @ up)], axis=-1) * scale + shift
        pen = ImageDraw.Draw(image)
        for k, corner in enumerate(wires):
            ink = tuple(int(v) for v in box_colors[k]) if box_colors is not None else (200, 30, 30)
            for i, j in EDGES:
                pen.line([tuple(corner[i]), tuple(corner[j])], fill=ink, width=2)
    return image


def sheet(panels: list[tuple[str, Image.Image]]) -> Image.Image:
    """Panels side by side with a title above each."""
    width, height = panels[0][1].size
    canvas = Image.new("RGB", (width * len(panels), height + 26), "white")
    pen = ImageDraw.Draw(canvas)
    for i, (title, panel) in enumerate(panels):
        canvas.paste(panel, (i * width, 26))
        pen.text((i * width + 10, 7), title, fill="black")
    return canvas


def save(image: Image.Image, path: Path) -> Path:
    """Write a PNG in one step."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    with atomic_write(path) as stream:
        stream.write(buffer.getvalue())
    return path
