"""Speed: a ScanNet-sized scan is prepared in well under the time that reading it from a slow disk takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from speed.data import TASKS_OF, VERTICES, measure_dataset, measure_preparation


def test_a_scan_of_150000_vertices_is_prepared_in_under_a_second_and_a_half(tmp_path: Path) -> None:
    figures = measure_preparation(tmp_path, VERTICES, repeats=1)
    assert figures["whole"] < 1.5
    assert figures["mesh"] < figures["whole"]


@pytest.mark.parametrize("dataset", ["sunrgbd"])
def test_every_step_from_generation_to_loading_is_measured(dataset: str, tmp_path: Path) -> None:
    figures = measure_dataset(dataset, tmp_path, "tiny", scenes=2)
    assert min(figures["generate, CPU s per scene"], figures["prepare, CPU s per scene"]) > 0
    assert [entry["task"] for entry in figures["loading"]] == list(TASKS_OF[dataset])
    for entry in figures["loading"]:
        assert list(entry["scenes_per_second"]) == ["0", "1", "2"]
        assert min(entry["scenes_per_second"].values()) > 0
