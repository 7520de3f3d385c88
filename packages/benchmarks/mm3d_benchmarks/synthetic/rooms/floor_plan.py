"""Which synthetic scenes there are: sizes of the profiles, kinds of rooms, visits, styles of areas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.shell import Style

AREA_KINDS = {  # share of S3DIS's rooms and the recipe that furnishes them
    "office": (0.6, "office"),
    "hallway": (0.15, "hallway"),
    "conferenceRoom": (0.1, "conference"),
    "storage": (0.06, "storage"),
    "WC": (0.03, "bathroom"),
    "lounge": (0.01, "living"),
    "copyRoom": (0.02, "office"),
    "pantry": (0.03, "kitchen"),
}
COVER = (
    "apartment",
    "bathroom",
    "office",
    "living",
    "kitchen",
    "conference",
)  # kinds that between them hold every class
FRAME_KINDS = ("bedroom", "bathroom", "living", "apartment", "conference", "library", "office", "kitchen", "classroom")


@dataclass(frozen=True)
class Profile:
    """Sizes of the synthetic data sets.

    Attributes:
        scannet: (train, val) scans.
        scannet_spacing: metres between vertices.
        s3dis: rooms per area.
        s3dis_spacing: metres between points.
        sunrgbd: (train, test) frames.
        visits: share of the places that are scanned twice.
        variety: how different the rooms of a data set are, see ``Knobs.variety``; 0 for those not named.
    """

    scannet: tuple[int, int]
    scannet_spacing: float
    s3dis: int
    s3dis_spacing: float
    sunrgbd: tuple[int, int]
    visits: float = 0.4
    variety: Mapping[str, float] = field(default_factory=dict)

    @property
    def small(self) -> bool:
        """Whether chance alone would leave classes out."""
        return sum(self.scannet) < 40


PROFILES = {
    "tiny": Profile((2, 1), 0.08, 1, 0.08, (3, 2), visits=0.0),  # for tests
    "smoke": Profile((6, 3), 0.08, 2, 0.09, (12, 6), visits=0.0),  # what loading costs counts where steps cost little
    "ci": Profile((6, 3), 0.06, 2, 0.05, (12, 6), visits=0.0),
    # S3DIS's rooms differ, so that labels matter; where ScanNet's did too, a narrow VoteNet of 900 steps found next to
    # nothing (mAP@0.25 3.8).
    "study": Profile((160, 40), 0.04, 40, 0.08, (240, 60), visits=0.0, variety={"s3dis": 1.0}),
    "default": Profile((160, 40), 0.04, 8, 0.025, (300, 100)),
    "full": Profile((600, 150), 0.02, 24, 0.02, (2000, 800)),
}


def scan_names(profile: Profile, seed: int) -> dict[str, list[tuple[str, int, int]]]:
    """(name, place, visit) of the scans of each split; a place is in one split only."""
    random = np.random.default_rng([seed, 11])
    splits: dict[str, list[tuple[str, int, int]]] = {}
    place = 0
    for split, count in zip(("train", "val"), profile.scannet, strict=True):
        scans: list[tuple[str, int, int]] = []
        while len(scans) < count:
            visits = 2 if random.random() < profile.visits else 1
            scans += [
                (f"scene{place:04d}_{visit:02d}", place, visit) for visit in range(min(visits, count - len(scans)))
            ]
            place += 1
        splits[split] = scans
    return splits


def place_kinds(profile: Profile, seed: int) -> list[str]:
    """Kind of room of every place; small profiles get the kinds that hold every class first, in both splits."""
    splits = scan_names(profile, seed)
    places = max(place for scans in splits.values() for _, place, _ in scans) + 1
    random = np.random.default_rng([seed, 12])
    names = list(KINDS)
    share = _mixed(np.array([KINDS[name][0] for name in names]), profile.variety.get("scannet", 0.0))
    kinds = random.choice(names, places, p=share).tolist()
    first_val = splits["val"][0][1]
    for start, end in ((0, first_val), (first_val, places)):
        cover = COVER[: end - start] if profile.small else ()
        kinds[start : start + len(cover)] = cover
    return kinds


def room_names(profile: Profile, seed: int, area: int) -> list[tuple[str, str]]:
    """(name, kind) of an area's rooms; areas differ in their mix."""
    random = np.random.default_rng([seed, 13, area])
    types = list(AREA_KINDS)
    share = _mixed(
        random.dirichlet(np.array([AREA_KINDS[t][0] for t in types]) * 30), profile.variety.get("s3dis", 0.0)
    )
    chosen = random.choice(types, profile.s3dis, p=share).tolist()
    if profile.small:  # few rooms: let every class occur in every area
        chosen[:2] = ("conferenceRoom" if area % 2 else "office", "lounge")[: profile.s3dis]
    elif area in (1, 5) and "lounge" not in chosen:  # one for each split: hardly any other room has a sofa
        chosen[-1] = "lounge"
    names: list[tuple[str, str]] = []
    for number, kind in enumerate(chosen):
        names.append((f"{kind}_{chosen[: number + 1].count(kind)}", AREA_KINDS[kind][1]))
    return names


def is_complete(profile: Profile, room: str) -> bool:
    """Whether a room must hold what is typical of its kind, so that every class occurs in every area."""
    return profile.small or room.startswith("lounge")


def area_style(area: int, number: int, variety: float = 0.0) -> Style:
    """Style of an area's room; Area_5, which papers test on, is a shift: more glass and columns, hardly a beam.

    With ``variety`` every room, Area_5's too, has a style of its own, from ranges that are the wider the more there is.
    """
    if variety > 0:
        return _own_style(np.random.default_rng([14, area, number]), variety)
    if area == 5:
        return Style(
            (2.7, 3.3),
            beams=0.03 if number else 1.0,
            columns=1.3,
            glass=1.3,
            clutter=1.8,
            boards=1.0,
            bookcases=1.5,
            roofed=True,
        )
    random = np.random.default_rng([14, area])
    height = random.uniform(2.5, 2.9)
    return Style(
        (height, height + 0.4), beams=random.uniform(0.2, 0.4), columns=random.uniform(0.6, 1.0),
        glass=random.uniform(0.5, 0.95), clutter=random.uniform(1.6, 2.4), boards=random.uniform(0.6, 1.1),
        bookcases=random.uniform(1.2, 2.2), roofed=True,
    )  # fmt: skip


def _own_style(random: np.random.Generator, variety: float) -> Style:
    """A style between that of a usual building and anything a building may be."""

    def between(low: float, high: float) -> float:
        usual = (low + high) / 2
        return float(usual + variety * (random.uniform(low, high) - usual))

    height = between(2.3, 3.4)
    return Style(
        (height, height + 0.3), beams=between(0.0, 0.8), columns=between(0.0, 1.6), glass=between(0.2, 1.4),
        clutter=between(0.4, 3.2), boards=between(0.0, 1.4), bookcases=between(0.0, 2.4), roofed=True,
    )  # fmt: skip


def _mixed(share: np.ndarray, variety: float) -> np.ndarray:
    """Chances of the kinds of rooms: between ``share`` and all alike."""
    share = share / share.sum()
    return (1 - variety) * share + variety / len(share)


def frame_rooms(profile: Profile, seed: int) -> list[tuple[int, int, str, str]]:
    """(place, visit, kind, split) of every frame, halves interleaved as in the release; a place is in one half only."""
    random = np.random.default_rng([seed, 15])
    train, test = profile.sunrgbd
    frames = []
    for place, (split, count) in enumerate((("train", train), ("test", test))):
        for k in range(count):
            views = 1 if profile.small else 3  # of a place
            number = 2 * (k // views) + place
            kind = FRAME_KINDS[k % len(FRAME_KINDS)] if views == 1 else _kind(seed, number)
            frames.append((number, k % views, kind, split))
    return [frames[i] for i in random.permutation(len(frames))]


def _kind(seed: int, place: int) -> str:
    """Kind of room of a frame's place."""
    return str(np.random.default_rng([seed, 16, place]).choice(FRAME_KINDS))
