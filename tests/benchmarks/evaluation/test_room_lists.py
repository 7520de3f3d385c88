"""Room lists are named in results: 67 or 68 rooms of Area 5, 271 or 272 of all areas."""

from __future__ import annotations

import pytest

from mm3d_benchmarks.evaluation.room_lists import DISPUTED, room_protocol

AREA_5 = [DISPUTED, *(f"Area_5_office_{i}" for i in range(67))]
OTHERS = [f"Area_{area}_office_{i}" for i, area in enumerate([1, 2, 3, 4, 6] * 41)][:204]


@pytest.mark.parametrize(
    ("rooms", "line"),
    [
        (AREA_5, "68 rooms (Area 5)"),
        (AREA_5[1:], "67 rooms (Area 5 without hallway_6)"),
        (AREA_5[:-1], "67 rooms (not a published list)"),
        (AREA_5 + OTHERS, "272 rooms (all areas)"),
        (AREA_5[1:] + OTHERS, "271 rooms (all areas without hallway_6)"),
        (AREA_5[:3], "3 rooms (not a published list)"),
    ],
)
def test_s3dis_lists_are_told_apart(rooms: list[str], line: str):
    assert room_protocol("s3dis", rooms) == line


def test_other_data_sets_are_counted():
    assert room_protocol("scannet", [f"scene{i:04d}_00" for i in range(312)]) == "312 rooms (validation scans)"
    assert room_protocol("folder", ["a", "b"]) == "2 rooms"
