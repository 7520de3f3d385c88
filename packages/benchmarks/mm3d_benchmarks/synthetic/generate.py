"""Synthetic data sets: procedural rooms, written as the official raw releases; no step behind knows a difference.

Every scene has seeds of its own, spawned into streams (layout, appearance, visit, tour, sensor) from (suite seed,
data set, place, visit): a change in one part does not shift the others, and a second visit finds the same place with
other light, another tour and a few things moved. Splits go by place.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from mm3d_benchmarks.datasets.manifest import FORMER_MARK, MARK
from mm3d_benchmarks.synthetic.releases.write_s3dis import write_alignment, write_room
from mm3d_benchmarks.synthetic.releases.write_scannet import write_scan, write_tables
from mm3d_benchmarks.synthetic.releases.write_sunrgbd import write_frame, write_metadata
from mm3d_benchmarks.synthetic.rooms.floor_plan import (
    PROFILES,
    Profile,
    area_style,
    frame_rooms,
    is_complete,
    place_kinds,
    room_names,
    scan_names,
)
from mm3d_benchmarks.synthetic.rooms.knobs import Knobs
from mm3d_benchmarks.synthetic.rooms.layout import furnish
from mm3d_benchmarks.synthetic.rooms.placement import Room
from mm3d_benchmarks.synthetic.rooms.shell import Style
from mm3d_benchmarks.synthetic.sensors import handheld, tripod
from mm3d_benchmarks.synthetic.sensors.singleframe import shoot
from mm3d_core.errors import UserError
from mm3d_core.files.atomic import write_json
from mm3d_core.files.untrusted import parse_json

GENERATOR = 5  # version: raise it when the same seed gives other scenes
FRAMES = "synthetic_frames"
CODES = {"scannet": 1, "s3dis": 2, "sunrgbd": 3}
Progress = Callable[[int, int], None]


def generate(
    dataset: str,
    out: Path | str,
    *,
    profile: str = "ci",
    seed: int = 0,
    workers: int = 0,
    knobs: Knobs | None = None,
    progress: Progress | None = None,
    quiet: bool = False,
) -> Path:
    """Write one synthetic data set in its official raw format. Scenes that are there already are kept.

    Args:
        dataset: ``scannet``, ``s3dis`` or ``sunrgbd``.
        out: folder to write; it can be given to ``mm3d prepare`` as ``raw``.
        profile: one of ``floor_plan.PROFILES``: ``ci``, ``study``, ``default``, ``full``.
        seed: another seed gives other rooms.
        workers: processes; 0 works in this one.
        knobs: difficulty.
        progress: called with (done, total) after each scene; without it a tqdm bar is drawn unless ``quiet``.

    Returns:
        ``out``.

    Raises:
        UserError: unknown data set or profile, the folder cannot be written, or it holds other synthetic data.
    """
    out = Path(out)
    if dataset not in CODES:
        raise UserError(f"dataset={dataset}: no synthetic data; choose one of {', '.join(CODES)}")
    if profile not in PROFILES:
        raise UserError(f"profile={profile}: unknown; choose one of {', '.join(PROFILES)}")
    knobs = knobs or Knobs(variety=PROFILES[profile].variety.get(dataset, 0.0))
    mark = {
        "generator": GENERATOR, "dataset": dataset, "profile": profile, "seed": seed, "knobs": _told(knobs),
        "numpy": np.__version__,
    }  # fmt: skip
    _adopt(out)
    _claim(out, mark)
    plans = {"scannet": _scannet_jobs, "s3dis": _s3dis_jobs, "sunrgbd": _sunrgbd_jobs}
    jobs = plans[dataset](out, PROFILES[profile], seed, knobs)
    with tqdm(total=len(jobs), desc=f"generate {dataset}", unit="scene", disable=quiet or progress is not None) as bar:
        for done, _ in enumerate(_run(jobs, workers), start=1):
            bar.update()
            if progress is not None:
                progress(done, len(jobs))
    if dataset == "sunrgbd":
        _finish_sunrgbd(out, PROFILES[profile], seed)
    return out


def make_room(
    dataset: str, seed: int, place: int, visit: int, kind: str, style: Style, knobs: Knobs, complete: bool = False
) -> tuple[Room, list[np.random.Generator]]:
    """One visit's room, and the streams (tour, sensor) of its scan."""
    fixed = np.random.SeedSequence([seed, CODES[dataset], place]).spawn(2)
    changing = np.random.SeedSequence([seed, CODES[dataset], place, visit + 1]).spawn(3)
    layout, appearance = (np.random.default_rng(s) for s in fixed)
    moved, tour, sensor = (np.random.default_rng(s) for s in changing)
    return furnish(kind, style, knobs, layout, appearance, moved, calm=visit == 0, complete=complete), [tour, sensor]


def _told(knobs: Knobs) -> dict[str, float]:
    """The knobs as the mark holds them; what makes no difference is left out, so that earlier data stay valid."""
    told = asdict(knobs)
    return told if knobs.variety else {name: value for name, value in told.items() if name != "variety"}


def _adopt(out: Path) -> None:
    """Give the files of data that were generated under their former names the present ones."""
    for former, name in ((FORMER_MARK, MARK), ("embedded_frames", FRAMES)):
        if (out / former).exists() and not (out / name).exists():
            (out / former).rename(out / name)


def _claim(out: Path, mark: dict[str, Any]) -> None:
    """Write the mark, or refuse a folder that other settings have begun to fill."""
    path = out / MARK
    if path.exists():
        try:
            found = parse_json(path.read_bytes())
        except ValueError as error:
            raise UserError(f"{path}: damaged ({error}); delete {out} and generate again") from error
        if found != mark:
            raise UserError(f"{out}: holds synthetic data of other settings; delete it or choose another folder")
        return
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out}: is not empty and holds no synthetic data; choose another folder")
    write_json(path, mark)


def _scannet_jobs(out: Path, profile: Profile, seed: int, knobs: Knobs) -> list[partial[None]]:
    """Tables, and one job per scan."""
    splits = scan_names(profile, seed)
    write_tables(out, {**{split: [name for name, _, _ in scans] for split, scans in splits.items()}, "test": []})
    kinds = place_kinds(profile, seed)
    scans = [scan for split in splits.values() for scan in split]
    return [partial(_scan, out, name, place, visit, kinds[place], seed, profile, knobs) for name, place, visit in scans]


def _scan(out: Path, name: str, place: int, visit: int, kind: str, seed: int, profile: Profile, knobs: Knobs) -> None:
    if (out / "scans" / name / f"{name}.txt").exists():
        return
    room, (tour, sensor) = make_room("scannet", seed, place, visit, kind, Style(), knobs, profile.small)
    write_scan(out, name, handheld.scan_room(room, profile.scannet_spacing, knobs, tour, sensor))


def _s3dis_jobs(out: Path, profile: Profile, seed: int, knobs: Knobs) -> list[partial[None]]:
    """Alignment files, and one job per room."""
    jobs = []
    for area in range(1, 7):
        rooms = room_names(profile, seed, area)
        write_alignment(out, f"Area_{area}", [name for name, _ in rooms])
        for number, (name, kind) in enumerate(rooms):
            jobs.append(partial(_room, out, area, name, number, kind, seed, profile, knobs))
    return jobs


def _room(out: Path, area: int, name: str, number: int, kind: str, seed: int, profile: Profile, knobs: Knobs) -> None:
    if (out / f"Area_{area}" / name / f"{name}.txt").exists():
        return
    room, (tour, sensor) = make_room(
        "s3dis",
        seed,
        area * 1000 + number,
        0,
        kind,
        area_style(area, number, knobs.variety),
        knobs,
        is_complete(profile, name),
    )
    write_room(out, f"Area_{area}", name, tripod.scan_room(room, profile.s3dis_spacing, knobs, tour, sensor))


def _sunrgbd_jobs(out: Path, profile: Profile, seed: int, knobs: Knobs) -> list[partial[None]]:
    """One job per frame; what the metadata needs is kept in ``FRAMES/`` until all are there."""
    frames = frame_rooms(profile, seed)
    return [
        partial(_frame, out, number, place, visit, kind, seed, profile, knobs)
        for number, (place, visit, kind, _) in enumerate(frames, 1)
    ]


def _frame(
    out: Path, number: int, place: int, visit: int, kind: str, seed: int, profile: Profile, knobs: Knobs
) -> None:
    record = out / FRAMES / f"{number:06d}.json"
    if record.exists():
        return
    room, (tour, sensor) = make_room("sunrgbd", seed, place, visit, kind, Style(), knobs, profile.small)
    write_json(record, write_frame(out, number, shoot(room, knobs, tour, sensor)))


def _finish_sunrgbd(out: Path, profile: Profile, seed: int) -> None:
    """Metadata and split, once every frame is there."""
    if (out / "SUNRGBDtoolbox" / "traintestSUNRGBD" / "allsplit.mat").exists():
        return
    plan = frame_rooms(profile, seed)
    frames = [json.loads((out / FRAMES / f"{n:06d}.json").read_text()) for n in range(1, len(plan) + 1)]
    write_metadata(out, frames, [i for i, (_, _, _, split) in enumerate(plan) if split == "train"], seed)


def _run(jobs: list[partial[None]], workers: int) -> Iterator[None]:
    """Run the jobs and yield as each ends."""
    if workers <= 0:
        for job in jobs:
            yield job()
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(_call, jobs)


def _call(job: partial[None]) -> None:
    job()


def _one_thread() -> None:
    """Workers are the parallelism; their BLAS gets one thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
