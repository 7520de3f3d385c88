"""Fine-tuning with few labels: a share of the scenes, or some labeled points or boxes in each.

The lists of the papers are not published. Ours are nested (10 % is part of 20 %), keep all visits of one place
together, and follow a hash of the names and of a list seed alone, so that they are the same on every machine and for
every pre-training. The hash is :func:`mm3d_core.seeding.derive`, BLAKE2b of the words, each with its type:

    scenes    places in rising order of derive("data_efficient", seed, place); visits of a place by name
    points    the first of a permutation by the generator of derive("few_points", seed, scene)
    boxes     the first of a permutation by the generator of derive("few_boxes", seed, scene)

The official lists of ScanNet's data-efficient benchmark, which come with its download, can be given instead
(``protocol.scene_list``, ``protocol.point_list``). Theirs are not nested, and their points were chosen by clustering
features; ours by chance.
Shares of the detection curve: 10, 20, 40, 80 %; points per scene: 20, 50, 100, 200
(facebookresearch/ContrastiveSceneContexts).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mm3d_benchmarks.loading.labels import in_box
from mm3d_benchmarks.loading.sample import Sample
from mm3d_core.errors import UserError
from mm3d_core.seeding import derive, numpy_generator


def scene_share(scenes: Sequence[str], share: float, seed: int = 0) -> list[str]:
    """A share of a scene list, at least one scene, in the list's order.

    Places are taken in the order of their hash until the share is reached; the visits of the last one may be cut.

    Args:
        seed: another one gives another list.

    Raises:
        UserError: a share outside (0, 1].
    """
    if not 0 < share <= 1:
        raise UserError(f"protocol.scenes={share}: a share of the scenes lies above 0 and up to 1")
    order = sorted(scenes, key=lambda name: (derive("data_efficient", seed, place_of(name)), name))
    chosen = set(order[: max(1, round(share * len(scenes)))])
    return [name for name in scenes if name in chosen]


def place_of(name: str) -> str:
    """The place that a scan shows: ScanNet's ``scene0012_01`` is a visit of ``scene0012``; others are places."""
    place, _, visit = name.rpartition("_")
    return place if place.startswith("scene") and visit.isdigit() else name


def listed_scenes(scenes: Sequence[str], path: Path) -> list[str]:
    """The scenes named in a file, one a line.

    Raises:
        UserError: the file is missing, empty, or names a scene that the split does not have.
    """
    try:
        names = path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"protocol.scene_list={path}: cannot be read ({error})") from error
    unknown = [name for name in names if name not in set(scenes)]
    if unknown or not names:
        raise UserError(
            f"protocol.scene_list={path}: {unknown[0] if unknown else 'no scene'} is not in the training split"
        )
    return names


@dataclass(frozen=True)
class FewPoints:
    """Labels of ``count`` points of each scene, the others are ignored; always the same points for one list seed."""

    count: int
    seed: int = 0

    def __call__(self, sample: Sample, num_points: int) -> Sample:
        """Applied to a sample read from a scene of ``num_points`` points."""
        if sample.segment is None:
            return sample
        random = numpy_generator("few_points", self.seed, sample.name)
        kept = random.permutation(num_points)[: self.count]  # a longer list begins with the shorter one
        return replace(sample, segment=np.where(np.isin(sample.index, kept), sample.segment, -1))


@dataclass(frozen=True)
class FewBoxes:
    """``count`` boxes of each scene, always the same for one list seed; other instances lose their number and votes."""

    count: int
    seed: int = 0

    def __call__(self, sample: Sample, num_points: int) -> Sample:
        if sample.boxes is None:
            return sample
        order = numpy_generator("few_boxes", self.seed, sample.name).permutation(len(sample.boxes))
        boxes = sample.boxes[np.sort(order[: self.count])]
        if sample.instance is None:
            return replace(sample, boxes=boxes)
        inside = np.zeros(sample.num_points, dtype=bool)
        for box in boxes:
            inside |= in_box(sample.coord, box)
        total, kept = (
            np.bincount(sample.instance[rows] + 1, minlength=sample.instance.max() + 2)
            for rows in (slice(None), inside)
        )
        mostly = kept > 0.5 * total
        return replace(sample, boxes=boxes, instance=np.where(mostly[sample.instance + 1], sample.instance, -1))
