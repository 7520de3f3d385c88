"""Digits that coordinates lost before they came here: kept in 32 bits far from the origin, or printed in short."""

from __future__ import annotations

import numpy as np

from mm3d_benchmarks.datasets.placement import FAR, STEP, coarse_steps

VISIBLE = 5e-3  # steps from this share of the scan's size on are said: 2.5 cm in a room of 5 m
LONG = 1e4  # times its steps from zero: more digits than a room needs
FEW = 50  # points; of fewer nothing is told
SAMPLE = 20_000  # rows that steps are told from
SAID = "coordinates lie on steps of"  # how the remark begins


def coarse_remark(columns: list[np.ndarray], scale: float = 1.0) -> list[str]:
    """A sentence where coordinates lost digits, or none.

    Args:
        columns: the file's numbers, one array for each axis.
        scale: metres per unit.
    """
    samples = [_sampled(column) for column in columns]
    if min(map(len, samples), default=0) < FEW:
        return []
    steps = max(coarse_steps(columns, scale), _steps(samples) * scale)
    if steps < STEP:
        return []
    far = max(float(np.abs(sample).max()) for sample in samples) * scale > FAR
    why = (
        "far from the origin they need doubles and all digits: export them so, or shift the scan before"
        if far
        else "or one point was kept of each cell of a grid"
    )
    return [f"{SAID} {steps:.2g} m: rounded before they were written ({why})"]


def _steps(samples: list[np.ndarray]) -> float:
    """The distance between neighboring numbers, in their own unit, as the numbers themselves tell it; 0 where fine.

    Either all are numbers of float32, or most stand several times, as after printing with few digits: on two axes,
    since floors and shelves lie level, or on one where the numbers are long.
    """
    largest = max(float(np.abs(sample).max()) for sample in samples)
    single = all(bool((sample == sample.astype(np.float32)).all()) for sample in samples)
    spacing = float(np.spacing(np.float32(largest))) if single else 0.0
    size = max(float(np.ptp(sample)) for sample in samples)
    gaps = [gap if (gap := _gap(sample)) >= VISIBLE * size else 0.0 for sample in samples]
    printed = [gap for gap, sample in zip(gaps, samples, strict=True) if gap * LONG < float(np.abs(sample).max())]
    return max(spacing, sorted(gaps)[-2], *printed)


def _gap(sample: np.ndarray) -> float:
    """The least distance of different numbers where most stand several times; 0 where they do not, or all are equal."""
    values = np.unique(sample)
    return float(np.diff(values).min()) if 2 < len(values) < len(sample) / 4 else 0.0


def _sampled(column: np.ndarray) -> np.ndarray:
    column = column[:: max(1, len(column) // SAMPLE)].astype(np.float64)
    return column[np.isfinite(column)]
