"""What synthetic scans must look like: bands around a real scan's statistics, and around the published class shares.

Source of the real values: ScanNet scene0000_00 (a half of its vertices), ScanNet's label table and a public
class-weight vector for the shares; two real depth frames (SUN RGB-D 000017, a SUN3D frame) and the published counts of
S3DIS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mm3d_benchmarks.datasets.readers.s3dis import CLASSES as ROOM_CLASSES
from mm3d_benchmarks.datasets.readers.scannet import boxes_of_instances, nyu40_to_train
from mm3d_benchmarks.datasets.readers.sunrgbd_frame import points_of_frame
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.synthetic.generate import make_room
from mm3d_benchmarks.synthetic.rooms.floor_plan import PROFILES, area_style, frame_rooms, is_complete, room_names
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.labels import RAW_TO_NYU40, s3dis_name
from mm3d_benchmarks.synthetic.rooms.layout import KINDS
from mm3d_benchmarks.synthetic.rooms.shell import Style
from mm3d_benchmarks.synthetic.sensors import handheld, tripod
from mm3d_benchmarks.synthetic.sensors.singleframe import LabelledFrame, shoot
from tools.calibration.statistics import depth_noise, scan_statistics

# statistic -> (real, lowest accepted mean, highest accepted mean) at 4 cm spacing
# fmt: off
BANDS: dict[str, tuple[float, float, float]] = {
    "per floor area": (1680, 1300, 2200),
    "nearest": (35.7, 30, 38),
    "sigma p25": (7.5, 6, 9),
    "sigma p50": (14.0, 8.5, 15),
    "sigma p90": (26.5, 18, 30),
    "normal oblique": (0.31, 0.15, 1.0),
    "floor seen": (0.60, 0.45, 0.75),
    "any seen": (0.89, 0.70, 0.95),
    "mean red": (121, 100, 140), "mean green": (112, 90, 140), "mean blue": (95, 80, 140),
    "std red": (60, 40, 65), "std green": (57, 40, 65), "std blue": (56, 40, 65),
    "saturation": (0.30, 0.2, 0.4),
    "red-blue correlation": (0.82, 0.7, 0.92),
    "color difference": (21.5, 12, 25),
    "spread p10/p50": (0.73, 0.58, 0.88), "spread p90/p50": (1.35, 1.20, 1.50), "spread p99/p50": (1.70, 1.55, 1.85),
    "contrast p10/p50": (0.36, 0.3, 0.55), "contrast p90/p50": (2.27, 1.9, 3.2), "contrast p99/p50": (3.98, 3.5, 7),
    "annotated": (0.90, 0.85, 0.95),
    "boxes": (13.3, 10, 17),
    **{f"band {i}": (s, s - 0.06, s + 0.06) for i, s in enumerate((0.16, 0.21, 0.24, 0.17, 0.11, 0.07, 0.05))},
}
# fmt: on
SPACING = 0.04  # metres
# the same for frames; noise in millimetres, accepted from 0.6 of the lesser to 1.6 of the greater real value
FRAME_BANDS: dict[str, tuple[float, float, float]] = {
    "valid": (0.76, 0.70, 0.88),
    "camera above the floor": (1.24, 1.1, 1.4),
    "pitch": (13.0, 5.0, 20.0),
    "noise at 1.5 m": (2.9, 1.6, 5.1),
    "noise at 2 m": (4.25, 2.5, 6.9),
    "noise at 3 m": (6.4, 2.6, 13.5),
    "noise at 5 m": (11.4, 5.9, 20.6),
}
ROOM_SHARES = 0.4, 2.5  # accepted factors on S3DIS's published class shares
ROOM_SPACING = 0.04  # metres, of the grid at which those were counted


@dataclass(frozen=True)
class Measured:
    """Statistics of some synthetic scans.

    Attributes:
        mean: mean of each statistic.
        shares: (20,) percent of the labelled vertices per ScanNet class.
        boxes: (18,) boxes per scan.
    """

    mean: dict[str, float]
    shares: np.ndarray
    boxes: np.ndarray


def measure(scans: int, seed: int = 0) -> Measured:
    """Scan ``scans`` rooms of ScanNet's mix at 4 cm and look at them as a reader would."""
    names = list(KINDS)
    share = np.array([KINDS[name][0] for name in names])
    counts = np.floor(share / share.sum() * scans).astype(int)  # the mix itself, not a draw from it
    rest = np.argsort(-(share / share.sum() * scans - counts), kind="stable")[: scans - counts.sum()]
    counts[rest] += 1
    kinds = [name for name, n in zip(names, counts, strict=True) for _ in range(n)]
    rows, shares, boxes = [], np.zeros(20), np.zeros(18)
    for place, kind in enumerate(kinds):
        scene = scan(kind, place, seed)
        rows.append(scan_statistics(scene))
        assert scene.segment is not None
        assert scene.boxes is not None
        shares += np.bincount(scene.segment[scene.segment >= 0], minlength=20)
        boxes += np.bincount(scene.boxes[:, 7].astype(int), minlength=18)
    return Measured(
        {key: float(np.mean([r[key] for r in rows])) for key in rows[0]}, 100 * shares / shares.sum(), boxes / scans
    )


def measure_frames(frames: int, seed: int = 0) -> dict[str, float]:
    """Means over the first frames of the ``default`` profile; noise is the median over the frames that reach so far."""
    rows: list[dict[str, float]] = []
    for place, visit, kind, _ in frame_rooms(PROFILES["default"], seed)[:frames]:
        room, (tour, sensor) = make_room("sunrgbd", seed, place, visit, kind, Style(), Knobs())
        rows.append(frame_statistics(shoot(room, Knobs(), tour, sensor)))
    columns = {key: [row[key] for row in rows if key in row] for key in FRAME_BANDS}
    return {k: float(np.median(v) if k.startswith("noise") else np.mean(v)) for k, v in columns.items() if v}


def frame_statistics(frame: LabelledFrame) -> dict[str, float]:
    """Holes, pose and noise of one frame."""
    coord, _ = points_of_frame(frame.depth, frame.image, frame.k, frame.rtilt)
    forward = frame.rtilt @ [0.0, 1.0, 0.0]
    return {
        "valid": float((frame.depth > 0).mean()),
        "camera above the floor": -float(np.percentile(coord[:, 2], 1)),
        "pitch": float(np.degrees(np.arcsin(-forward[2]))),
        **depth_noise(coord @ frame.rtilt),
    }


def measure_room_shares(rooms: int, seed: int = 0) -> np.ndarray:
    """(13,) percent of the points per S3DIS class over the first rooms of every area of the ``default`` profile."""
    counts = np.zeros(len(ROOM_CLASSES))
    for area in range(1, 7):
        for number, (name, kind) in enumerate(room_names(PROFILES["default"], seed, area)[:rooms]):
            place, complete = area * 1000 + number, is_complete(PROFILES["default"], name)
            room, (tour, sensor) = make_room("s3dis", seed, place, 0, kind, area_style(area, number), Knobs(), complete)
            raw = tripod.scan_room(room, ROOM_SPACING, Knobs(), tour, sensor)
            names = [*map(s3dis_name, raw.labels), "clutter"]
            ids = np.array([ROOM_CLASSES.index(n if n in ROOM_CLASSES else "clutter") for n in names])
            counts += np.bincount(ids[raw.owner], minlength=len(ROOM_CLASSES))
    return 100 * counts / counts.sum()


def scan(
    kind: str, place: int, seed: int, spacing: float = SPACING, knobs: Knobs | None = None, visit: int = 0
) -> Scene:
    """One hand-held scan as its reader prepares it, without the way over the disk."""
    knobs = knobs or Knobs()
    room, (tour, sensor) = make_room("scannet", seed, place, visit, kind, Style(), knobs)
    raw = handheld.scan_room(room, spacing, knobs, tour, sensor)
    ids = np.array([*(RAW_TO_NYU40.get(label, 0) for label in raw.labels), 0])
    nyu40 = ids[raw.owner]
    coord = (raw.coord @ raw.alignment[:3, :3].T + raw.alignment[:3, 3]).astype(np.float32)
    boxes, _ = boxes_of_instances(coord, nyu40, raw.owner.astype(np.int32))
    return Scene(
        f"{kind}_{place}_{visit}",
        coord,
        raw.color,
        segment=nyu40_to_train()[nyu40],
        instance=raw.owner.astype(np.int32),
        boxes=boxes,
    )


def outside(
    mean: dict[str, float], widen: float = 1.0, bands: Mapping[str, tuple[float, float, float]] = BANDS
) -> dict[str, str]:
    """Statistics that leave their band, as ``{name: "value not in [low, high]"}``.

    Args:
        widen: factor on the width of each band, for fewer scans.
        bands: :data:`BANDS` or :data:`FRAME_BANDS`.
    """
    wrong = {}
    for name, (_, low, high) in bands.items():
        middle, half = (low + high) / 2, (high - low) / 2 * widen
        if not middle - half <= mean[name] <= middle + half:
            wrong[name] = f"{mean[name]:.3f} not in [{middle - half:.3f}, {middle + half:.3f}]"
    return wrong


def table_text(measured: Measured, scans: int) -> str:
    """The table real / synthetic as Markdown."""
    lines = [f"| statistic | real | synthetic ({scans} scans) | accepted |", "|---|---|---|---|"]
    for name, (real, low, high) in BANDS.items():
        digits = 0 if real > 50 else 1 if real > 5 else 2
        lines.append(
            f"| {name} | {real:.{digits}f} | {measured.mean[name]:.{digits}f} | {low:.{digits}f} to {high:.{digits}f} |"
        )
    return "\n".join(lines) + "\n"
