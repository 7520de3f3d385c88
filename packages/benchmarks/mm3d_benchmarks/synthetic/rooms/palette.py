"""Materials: palettes that classes share, so that color alone does not tell a desk from a door."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.synthetic.rooms.primitives import Material

Color = tuple[float, float, float]
GREYING = 0.7  # share of a color's saturation that is kept
WOODS: tuple[Color, ...] = (
    (0.55, 0.36, 0.2),
    (0.42, 0.26, 0.14),
    (0.7, 0.52, 0.33),
    (0.3, 0.18, 0.1),
    (0.62, 0.45, 0.3),
)
WHITES: tuple[Color, ...] = ((0.86, 0.85, 0.82), (0.78, 0.76, 0.7), (0.9, 0.9, 0.9), (0.7, 0.69, 0.66))
METALS: tuple[Color, ...] = ((0.5, 0.5, 0.52), (0.3, 0.3, 0.32), (0.65, 0.65, 0.66), (0.14, 0.14, 0.15))
FABRICS: tuple[Color, ...] = (
    (0.25, 0.22, 0.2), (0.5, 0.42, 0.34), (0.14, 0.15, 0.2), (0.18, 0.26, 0.4), (0.45, 0.15, 0.13), (0.35, 0.37, 0.24),
    (0.62, 0.56, 0.48), (0.08, 0.08, 0.09), (0.4, 0.25, 0.15), (0.72, 0.7, 0.66), (0.3, 0.42, 0.45), (0.1, 0.1, 0.1),
)  # fmt: skip
PAINTS: tuple[Color, ...] = (
    (0.74, 0.7, 0.6), (0.8, 0.78, 0.72), (0.66, 0.62, 0.52), (0.72, 0.66, 0.5), (0.62, 0.66, 0.64), (0.55, 0.52, 0.45),
    (0.78, 0.72, 0.62), (0.5, 0.56, 0.6), (0.7, 0.56, 0.44),
)  # fmt: skip


class Palette:
    """Draws materials for one scene.

    Args:
        random: the scene's appearance stream.
        overlap: chance that a color comes from the palettes above; otherwise it is drawn freely.
    """

    def __init__(self, random: np.random.Generator, overlap: float = 0.75) -> None:
        self.random = random
        self.overlap = overlap
        self.wall = self.paint()
        self.trim = self.wood() if random.random() < 0.5 else self.white()

    def wood(self) -> Material:
        """Grained wood."""
        color = self._pick(WOODS)
        return Material(color, "wood", shade(color, 0.55), self.random.uniform(0.2, 0.5))

    def white(self) -> Material:
        """White lacquer or ceramic."""
        return Material(self._pick(WHITES))

    def metal(self) -> Material:
        """Steel, aluminium or black metal."""
        return Material(self._pick(METALS))

    def paint(self) -> Material:
        """Wall paint, now and then with a pattern."""
        color = self._pick(PAINTS)
        texture = str(self.random.choice(["speckle", "stripes", "panels"], p=[0.6, 0.15, 0.25]))
        return Material(color, texture, shade(color, 0.8), self.random.uniform(0.3, 1.2))

    def fabric(self) -> Material:
        """Upholstery, cloth."""
        color = self._pick(FABRICS)
        texture = str(self.random.choice(["fabric", "plain", "stripes", "carpet"], p=[0.5, 0.2, 0.15, 0.15]))
        return Material(color, texture, shade(color, self.random.uniform(0.5, 1.8)), self.random.uniform(0.1, 0.4))

    def hard(self) -> Material:
        """What cases and tables are made of."""
        kind = self.random.random()
        return self.wood() if kind < 0.5 else self.white() if kind < 0.8 else self.metal()

    def any(self) -> Material:
        """Anything at all."""
        kind = self.random.random()
        return self.fabric() if kind < 0.4 else self.hard() if kind < 0.8 else self.bright()

    def bright(self) -> Material:
        """Packaging, toys, bags."""
        color = tuple((self.random.uniform(0.05, 0.8) + self.random.uniform(-0.3, 0.3, 3)).clip(0.03, 0.95).tolist())
        return Material(color, str(self.random.choice(["plain", "poster", "stripes"])), shade(color, 1.6), 0.3)

    def dark(self) -> Material:
        """Screens and black plastic: they return few rays."""
        level = self.random.uniform(0.02, 0.06)
        return Material((level, level, level * 1.1))

    def glass(self) -> Material:
        """Window panes and shower walls."""
        level = self.random.uniform(0.35, 0.9)
        return Material(
            (level * 0.95, level, level), "poster", (0.5, 0.6, 0.7), self.random.uniform(0.5, 2), glass=True
        )

    def books(self) -> Material:
        """A row of spines."""
        return Material((0.4, 0.3, 0.2), "books", scale=self.random.uniform(0.2, 0.3))

    def poster(self) -> Material:
        """A printed sheet, often in the wall's own color."""
        if self.random.random() < 0.35:
            return Material(self.wall.albedo, "stripes", shade(self.wall.albedo, 0.7), self.random.uniform(0.1, 0.4))
        return Material((0.5, 0.5, 0.5), "poster", scale=self.random.uniform(0.1, 0.4))

    def floor(self) -> Material:
        """Planks, tiles or carpet."""
        texture = str(self.random.choice(["planks", "tiles", "carpet", "speckle"], p=[0.35, 0.2, 0.3, 0.15]))
        color = self._pick(WOODS if texture == "planks" else FABRICS + PAINTS)
        return Material(color, texture, shade(color, 0.6), self.random.uniform(0.2, 0.5))

    def _pick(self, colors: tuple[Color, ...]) -> Color:
        """A color of a palette, a little varied; or, off the palette, any color of the same lightness."""
        color = np.array(colors[self.random.integers(len(colors))])
        if self.random.random() > self.overlap:
            color = color.mean() * self.random.dirichlet([5, 5, 4.5]) * 3
        color = color.mean() + GREYING * (color - color.mean())
        return tuple((color * self.random.normal(1, 0.12) + self.random.normal(0, 0.02, 3)).clip(0.02, 0.95).tolist())


def shade(color: Color, factor: float) -> Color:
    """A lighter or darker color."""
    r, g, b = (min(0.97, c * factor + 0.02) for c in color)
    return r, g, b
