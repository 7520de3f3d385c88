"""PNG views of a scene: points as small squares in depth order, boxes as lines with names. numpy and Pillow only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from mm3d_core.files.atomic import atomic_write

EDGES = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
MARGIN = 12  # pixels around what is shown
TALL, SILL = 1.2, 0.25  # metres above the floor: what stands higher may be a wall; lower things never hide a room
STRIPE, WALL, DEEP = 0.1, 0.4, 1.5  # metres: width of a line of sight, depth of a wall and its frames, of a room


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
    box_names: Sequence[str] = (),
    *,
    azimuth: float = -60.0,
    elevation: float = 50.0,
    cut: float | None = 2.1,
    size: tuple[int, int] = (900, 700),
) -> Image.Image:
    """A parallel projection, as large as the points and the boxes together allow.

    Args:
        coord: (N, 3) metres, z up.
        color: (N, 3) uint8.
        boxes: (K, 8) to draw as wires.
        box_colors: (K, 3) uint8.
        box_names: K words, one to stand on each box; none: wires only.
        azimuth: degrees, where the viewer stands.
        elevation: degrees above the horizon; 90 is the plan.
        cut: metres above the lowest percent; higher points are left out, so that one can look into a room, and so are
            the walls between the viewer and the room. None shows everything.
    """
    a, e = np.radians(azimuth), np.radians(elevation)
    if cut is not None:
        floor = np.percentile(coord[:, 2], 1)
        keep = coord[:, 2] < floor + cut
        if elevation < 90:
            keep &= ~near_walls(coord, a, floor)
        coord, color = coord[keep], color[keep]
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    back = np.array([np.cos(a) * np.cos(e), np.sin(a) * np.cos(e), np.sin(e)])
    up = np.cross(back, right)
    flat = np.stack([coord @ right, -(coord @ up)], axis=1)
    corners = box_corners(boxes.astype(np.float64)) if boxes is not None else np.zeros((0, 8, 3))
    wires = np.stack([corners @ right, -(corners @ up)], axis=-1)
    shown = np.concatenate([flat, wires.reshape(-1, 2)])
    low, high = shown.min(axis=0), shown.max(axis=0)
    scale = float(min((np.array(size) - 2 * MARGIN) / np.maximum(high - low, 0.1)))
    shift = np.array(size) / 2 - (low + high) / 2 * scale
    area = np.prod(np.ptp(flat, axis=0) * scale)
    wide = int(np.clip(np.sqrt(area / max(len(coord), 1)) * 1.6, 1, 9))
    order = np.argsort(coord @ back, kind="stable")
    image = _squares((flat * scale + shift)[order], color[order], wide, size)
    if len(wires):
        inks = [(200, 30, 30)] * len(wires) if box_colors is None else [tuple(map(int, row)) for row in box_colors]
        _wires(image, wires * scale + shift, inks, box_names)
    return image


def near_walls(coord: np.ndarray, azimuth: float, floor: float) -> np.ndarray:
    """(N,) bool: points of the walls between the viewer and a room.

    On each line of sight, seen from above, what is nearest to the viewer and taller than furniture is taken for a wall,
    if a room lies behind it: a thing that stands alone keeps its front.

    Args:
        coord: (N, 3) metres, z up.
        azimuth: radians, where the viewer stands.
        floor: metres, its height.
    """
    nearness = coord[:, 0] * np.cos(azimuth) + coord[:, 1] * np.sin(azimuth)
    across = coord[:, 1] * np.cos(azimuth) - coord[:, 0] * np.sin(azimuth)
    stripe = np.floor((across - across.min()) / STRIPE).astype(int)
    nearest, farthest = np.full((2, stripe.max() + 1), -np.inf)
    tall = coord[:, 2] > floor + TALL
    np.maximum.at(nearest, stripe[tall], nearness[tall])
    np.maximum.at(farthest, stripe, -nearness)
    wall = nearest + farthest > DEEP
    return wall[stripe] & (nearness > nearest[stripe] - WALL) & (coord[:, 2] > floor + SILL)


def _squares(pixel: np.ndarray, color: np.ndarray, wide: int, size: tuple[int, int]) -> Image.Image:
    """Points (N, 2) as squares ``wide`` pixels wide, the last ones on top."""
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    place = pixel.round().astype(int)
    for dx in range(wide):
        for dy in range(wide):
            x, y = place[:, 0] + dx - wide // 2, place[:, 1] + dy - wide // 2
            inside = (x >= 0) & (x < size[0]) & (y >= 0) & (y < size[1])
            canvas[y[inside], x[inside]] = color[inside]
    return Image.fromarray(canvas)


def _wires(image: Image.Image, wires: np.ndarray, inks: Sequence[tuple[int, ...]], names: Sequence[str]) -> None:
    """Edges of boxes with corners (K, 8, 2) in pixels, edged in white to stand out; names on top, none on another."""
    pen = ImageDraw.Draw(image)
    for corner, ink in zip(wires, inks, strict=True):
        for fill, width in (("white", 4), (ink, 2)):
            for i, j in EDGES:
                pen.line([tuple(corner[i]), tuple(corner[j])], fill=fill, width=width)
    taken: list[tuple[float, float, float, float]] = []
    for corner, ink, name in zip(wires, inks, names, strict=False):
        left, top, right, bottom = pen.textbbox((0, 0), name)
        wide, high = right - left + 6, bottom - top + 4
        x = float(np.clip(corner[4:, 0].mean() - wide / 2, 0, image.width - wide))
        y = float(np.clip(corner[4:, 1].mean() - high / 2, 0, image.height - high))
        while y + 2 * high < image.height and any(
            x < other[2] and other[0] < x + wide and y < other[3] and other[1] < y + high for other in taken
        ):
            y += 2
        taken.append((x, y, x + wide, y + high))
        pen.rectangle(taken[-1], fill="white", outline=ink)
        pen.text((x + 3 - left, y + 2 - top), name, fill=tuple(v * 3 // 5 for v in ink))


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
