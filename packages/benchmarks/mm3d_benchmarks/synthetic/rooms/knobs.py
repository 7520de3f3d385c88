"""How hard synthetic scenes are: one block of numbers, printed with every result made from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Knobs:
    """Difficulty of the synthetic data.

    Attributes:
        palette_overlap: chance that an object takes its color from the palette that all classes share.
        noise: factor on the geometric noise of the sensors.
        tour: factor on the length of a hand-held tour (fewer poses leave more unseen).
        unlabelled: share of the objects that nobody annotated.
        distractors: factor on the number of things outside the benchmark's classes.
        moved: share of the free-standing objects that a later visit finds elsewhere.
        spare_room: 1 leaves rooms as empty as they come, 0 fills every wall.
        variety: 0 keeps rooms as alike as those of one building; at 1 each comes from a building of its own: rare
            kinds are as frequent as common ones, and styles, sizes, heights of furniture and colors lie further apart.
    """

    palette_overlap: float = 0.75
    noise: float = 1.0
    tour: float = 1.0
    unlabelled: float = 0.04
    distractors: float = 1.0
    moved: float = 0.3
    spare_room: float = 0.05
    variety: float = 0.0
