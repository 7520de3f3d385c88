"""Embedded data sets: procedural rooms written as the official raw releases, so that no step behind knows a difference."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from tqdm import tqdm

from mm3d_benchmarks.datasets.embedded.simple_room import FURNITURE, simple_scan
from mm3d_benchmarks.datasets.embedded.write_s3dis import write_alignment, write_room
from mm3d_benchmarks.datasets.embedded.write_scannet import write_scan, write_tables
from mm3d_benchmarks.datasets.manifest import EMBEDDED_MARK
from mm3d_core.atomic import write_json
from mm3d_core.errors import UserError

GENERATOR = 1  # version: raise it when the same seed gives other scenes
CODES = {"scannet": 1, "s3dis": 2, "sunrgbd": 3}
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Profile:
    """Sizes of the embedded data sets.

    Attributes:
        scannet: (train, val) scans, and vertex spacing in metres.
        s3dis: rooms per area, and point spacing in metres.
    """

    scannet: tuple[int, int]
    scannet_spacing: float
    s3dis: int
    s3dis_spacing: float


PROFILES = {"ci": Profile((6, 3), 0.06, 2, 0.05), "default": Profile((160, 40), 0.04, 8, 0.025)}


def generate(
    dataset: str,
    out: Path | str,
    *,
    profile: str = "ci",
    seed: int = 0,
    workers: int = 0,
    progress: Progress | None = None,
    quiet: bool = False,
) -> Path:
    """Write one embedded data set in its official raw format. Scenes that are there already are kept.

    Args:
        dataset: ``scannet`` or ``s3dis``.
        out: folder to write; it can be given to ``mm3d prepare`` as ``raw``.
        profile: one of :data:`PROFILES`.
        seed: another seed gives other rooms.
        workers: processes; 0 works in this one.
        progress: called with (done, total) after each scene; without it a tqdm bar is drawn unless ``quiet``.

    Returns:
        ``out``.

    Raises:
        UserError: unknown data set or profile, or the folder cannot be written.
    """
    out = Path(out)
    if dataset not in ("scannet", "s3dis"):
        raise UserError(f"dataset={dataset}: no embedded data; choose one of scannet, s3dis")
    if profile not in PROFILES:
        raise UserError(f"profile={profile}: unknown; choose one of {', '.join(PROFILES)}")
    jobs = (
        _scannet_jobs(out, PROFILES[profile], seed)
        if dataset == "scannet"
        else _s3dis_jobs(out, PROFILES[profile], seed)
    )
    with tqdm(total=len(jobs), desc=f"embed {dataset}", unit="scene", disable=quiet or progress is not None) as bar:
        for done, _ in enumerate(_run(jobs, workers), start=1):
            bar.update()
            if progress is not None:
                progress(done, len(jobs))
    write_json(out / EMBEDDED_MARK, {"generator": GENERATOR, "profile": profile, "seed": seed, "numpy": np.__version__})
    return out


def _scannet_jobs(out: Path, profile: Profile, seed: int) -> list[partial[None]]:
    """Tables, and one job per scan."""
    train, val = profile.scannet
    names = [f"scene{place:04d}_00" for place in range(train + val)]
    write_tables(out, {"train": names[:train], "val": names[train:], "test": []})
    return [partial(_scan, out, name, place, seed, profile.scannet_spacing) for place, name in enumerate(names)]


def _scan(out: Path, name: str, place: int, seed: int, spacing: float) -> None:
    if (out / "scans" / name / f"{name}.txt").exists():
        return
    rng = np.random.default_rng([seed, CODES["scannet"], place])
    kinds = [kind for kind in FURNITURE if kind not in ("beam", "column")]
    half = kinds[place % 2 :: 2] + list(rng.choice(kinds, 4)) if place % 3 else kinds
    write_scan(out, name, simple_scan(rng, spacing, False, half, moved=True))


def _s3dis_jobs(out: Path, profile: Profile, seed: int) -> list[partial[None]]:
    """Alignment files, and one job per room."""
    jobs = []
    for area in range(1, 7):
        rooms = [f"office_{k + 1}" for k in range(profile.s3dis)]
        write_alignment(out, f"Area_{area}", rooms)
        jobs += [
            partial(_room, out, f"Area_{area}", room, seed, area, k, profile.s3dis_spacing)
            for k, room in enumerate(rooms)
        ]
    return jobs


def _room(out: Path, area: str, room: str, seed: int, area_number: int, number: int, spacing: float) -> None:
    if (out / area / room / f"{room}.txt").exists():
        return
    rng = np.random.default_rng([seed, CODES["s3dis"], area_number, number])
    kinds = ["table", "office chair", "office chair", "couch", "bookshelf", "trash can", "column", "beam", "desk"]
    write_room(out, area, room, simple_scan(rng, spacing, True, kinds, moved=False))


def _run(jobs: list[partial[None]], workers: int):
    """Run the jobs and yield as each ends."""
    if workers <= 0:
        yield from (job() for job in jobs)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        yield from pool.map(_call, jobs)


def _call(job: partial[None]) -> None:
    job()


def _one_thread() -> None:
    """Workers are the parallelism; their BLAS gets one thread."""
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"
