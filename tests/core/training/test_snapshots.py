"""Snapshots lie at even distances, the last at the end, and are found by their step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mm3d_core.training.snapshots import save_snapshot, snapshot_steps, snapshots_of


@pytest.mark.parametrize(
    ("steps", "count", "expected"),
    [(100, 4, {25, 50, 75, 100}), (10, 3, {3, 6, 10}), (7, 1, {7}), (3, 10, {1, 2, 3}), (5, 0, set())],
)
def test_the_steps_are_evenly_spaced_and_end_with_the_last(steps: int, count: int, expected: set[int]):
    assert snapshot_steps(steps, count) == expected


def test_snapshots_are_found_in_the_order_of_their_steps_and_nothing_else(tmp_path: Path):
    assert snapshots_of(tmp_path) == {}
    for step in (100, 20):
        save_snapshot(tmp_path, step, {"weight": torch.full((2,), float(step))})
    for other in ("snapshot_x.safetensors", "snapshot_5.safetensors.tmp", "model.safetensors"):
        (tmp_path / other).touch()
    assert list(snapshots_of(tmp_path)) == [20, 100]
