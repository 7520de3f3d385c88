"""Colors: the range is told by type and by most of the values; a few that are beyond it decide nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room, s3dis, scannet

from mm3d_benchmarks.datasets.color import bytes_of_color, choose_paint
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.readers.base import BrokenSceneError
from mm3d_benchmarks.datasets.scans.scan import read_scan

RGB = room()[1]


def painted(values: np.ndarray, color_range: float | None = None) -> tuple[np.ndarray, str]:
    paint = choose_paint([values], color_range, Path("a.ply"))
    return paint(values), paint.remark


@pytest.mark.parametrize(
    ("values", "assumed"),
    [
        (RGB, ""),
        (RGB / 255, "0..1"),
        (RGB.astype(np.float32) / 255, "0..1"),
        (RGB / 127.5 - 1, "-1..1"),
        (RGB.astype(np.float64), "0..255"),
        (RGB.astype(np.uint16), "0..255"),
        (RGB.astype(np.int64), "0..255"),
        (RGB.astype(np.uint16) * 257, "0..65535"),
        (RGB.astype(np.float64) * 257, "0..65535"),
        (RGB.view(np.int8), "bytes"),
    ],
)
def test_every_range_gives_the_same_colors_and_says_what_was_assumed(values: np.ndarray, assumed: str) -> None:
    color, remark = painted(values)
    assert np.abs(color.astype(int) - RGB).max() <= 1
    assert assumed in remark
    assert bool(assumed) == bool(remark)


@pytest.mark.parametrize("stray", [1.0000002, 1.3, 7.0, 300.0, 1e9, np.inf, -0.01, -5.0])
@pytest.mark.parametrize("base", [RGB / 255, RGB.astype(np.float64), RGB / 127.5 - 1])
def test_one_value_out_of_range_is_clipped(base: np.ndarray, stray: float) -> None:
    values = base.copy()
    values[3, 1] = stray
    color, _ = painted(values)
    rest = np.arange(len(RGB)) != 3
    assert np.abs(color[rest].astype(int) - RGB[rest]).max() <= 1


def test_how_many_were_clipped_is_said() -> None:
    values = RGB / 255
    values[:4, 0] = 2.0
    values[5] = np.nan
    assert painted(values)[1] == "colors taken as 0..1 (float64), 4 values beyond clipped, 3 NaN made black"


def test_points_without_color_which_are_black_have_no_say() -> None:
    values = np.concatenate([np.zeros((9000, 3)), RGB.astype(np.float64)])
    assert "0..255" in painted(values)[1]


def test_overexposed_fractions_are_no_bytes() -> None:
    values = RGB / 255 * np.where(np.arange(len(RGB)) % 50 == 0, 3.0, 1.0)[:, None]
    color, remark = painted(values)
    assert "0..1" in remark
    assert abs(color.mean() - RGB.mean()) < 4


def test_marks_of_255_among_fractions_decide_nothing() -> None:
    values = RGB / 255
    values[::50] = 255
    color, remark = painted(values)
    rest = np.arange(len(RGB)) % 50 != 0
    np.testing.assert_array_equal(color[rest], RGB[rest])
    assert "0..1" in remark


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int8, np.uint16, np.float32])
def test_colors_that_are_on_or_off_are_no_shades_of_black(kind: type) -> None:
    color, remark = painted((RGB > 128).astype(kind))
    np.testing.assert_array_equal(color, np.where(RGB > 128, 255, 0))
    assert "0..1" in remark


@pytest.mark.parametrize(("white", "told"), [(4095, 4095), (1023, 1023)])
def test_numbers_of_ten_or_twelve_bits_name_the_remedy_that_brightens_them(white: int, told: int) -> None:
    values = (RGB.astype(np.uint32) * white // 255).astype(np.uint16)
    remark = painted(values)[1]
    assert f"color_range={told}" in remark
    assert np.abs(painted(values, told)[0].astype(int) - RGB).max() <= 1
    assert "color_range" not in painted(RGB.astype(np.uint16) * 257)[1]


def test_a_dark_scan_in_whole_numbers_is_no_fraction() -> None:
    dark = np.tile(np.array([[2.0, 3.0, 0.0]]), (100, 1))
    assert painted(dark)[0].max() == 3


def test_color_range_says_what_white_is() -> None:
    color, remark = painted(RGB.astype(np.uint16) * 4, 1020)
    np.testing.assert_array_equal(color, RGB)
    assert remark == ""


@pytest.mark.parametrize("values", [RGB.astype(np.float64) - 128, RGB * 1e4, -3 * (RGB / 255)])
def test_no_known_range_names_the_remedy(values: np.ndarray) -> None:
    with pytest.raises(BrokenSceneError, match=r"a\.ply: colors from .* color_range="):
        painted(values)


def test_the_same_holds_in_scans_in_raw_meshes_and_in_processed_forms(tmp_path: Path) -> None:
    xyz, rgb, _ = room()
    fractions = rgb / 255
    fractions[0] = 1.0000002, 1, 1
    scan = read_scan(ply(tmp_path / "a.ply", columns(xyz, fractions, kind="float")))
    assert scan.color is not None
    np.testing.assert_array_equal(scan.color[1:], rgb[1:])
    mesh = prepare_dataset("scannet", scannet(tmp_path / "raw", kind="float"), tmp_path / "out", quiet=True)
    color = mesh.load("scene0000_00").color
    assert color is not None
    np.testing.assert_array_equal(color, rgb)
    remarks: list[str] = []
    np.testing.assert_array_equal(bytes_of_color(fractions, tmp_path / "a.npy", remarks)[1:], rgb[1:])
    assert remarks == ["colors taken as 0..1 (float64)"]


def test_rooms_of_ones_own_in_the_layout_of_s3dis_with_fractions(tmp_path: Path) -> None:
    raw = s3dis(tmp_path / "in")
    expected = prepare_dataset("s3dis", raw, tmp_path / "bytes", quiet=True).load("Area_1_office_1").color
    for path in raw.rglob("Annotations/*.txt"):
        rows = np.loadtxt(path)
        rows[:, 3:] /= 255
        path.write_text("\n".join(" ".join(f"{v:.4f}" for v in row) for row in rows))
    data = prepare_dataset("s3dis", raw, tmp_path / "fractions", quiet=True)
    np.testing.assert_array_equal(data.load("Area_1_office_1").color, expected)
    assert data.manifest["remarks"]["Area_1_office_1"] == ["colors taken as 0..1 (float64)"]
    first = raw / "Area_1/office_1/Annotations/floor_1.txt"
    first.write_text(first.read_text() + "\n1 1 0 300 2 2")
    for path in raw.rglob("Area_1/office_1/Annotations/*.txt"):
        rows = np.loadtxt(path)
        rows[rows[:, 3:].max(axis=1) <= 1, 3:] *= 255
        path.write_text("\n".join(" ".join(f"{v:.0f}" for v in row) for row in rows))
    data = prepare_dataset("s3dis", raw, tmp_path / "beyond", quiet=True)
    assert data.manifest["remarks"]["Area_1_office_1"] == ["colors of 0..255, 1 values beyond clipped"]
