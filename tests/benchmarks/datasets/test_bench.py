"""Speed: a ScanNet-sized scan is prepared in well under the time that reading it from a slow disk takes."""

from pathlib import Path

from mm3d_benchmarks.datasets.bench import VERTICES, measure_loading, measure_preparation
from mm3d_benchmarks.datasets.prepare import prepare_dataset


def test_a_scan_of_150000_vertices_is_prepared_in_under_a_second_and_a_half(tmp_path: Path) -> None:
    figures = measure_preparation(tmp_path, VERTICES, repeats=1)
    assert figures["whole"] < 1.5
    assert figures["mesh"] < figures["whole"]


def test_loading_is_measured_for_every_number_of_workers(raw_scannet: Path, tmp_path: Path) -> None:
    prepare_dataset("scannet", raw_scannet, tmp_path, quiet=True)
    rates = measure_loading(tmp_path, "train", seconds=0.2)
    assert list(rates) == ["0 workers", "1 workers", "2 workers"]
    assert min(rates.values()) > 0
