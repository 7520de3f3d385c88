"""Views: a page without network, pictures that show what is there."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mm3d_benchmarks.datasets.facts import DatasetFacts
from mm3d_benchmarks.datasets.prepare import prepare_dataset
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.viewing.image import box_corners, draw
from mm3d_benchmarks.viewing.page import page_text, thinned, view_scene
from mm3d_benchmarks.viewing.statistic import heat, local_statistic
from mm3d_core.errors import UserError


@pytest.fixture(scope="module")
def prepared(raw_scannet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_dataset("scannet", raw_scannet, tmp_path_factory.mktemp("prepared"), quiet=True).root


def test_a_scene_becomes_a_page_and_pictures(prepared: Path, tmp_path: Path) -> None:
    written = view_scene(prepared, "scene0001_00", tmp_path)
    assert sorted(p.name for p in written) == sorted(
        f"scene0001_00{end}" for end in ("_color.png", "_labels.png", "_statistic.png", "_sheet.png", ".html")
    )
    page = (tmp_path / "scene0001_00.html").read_text()
    assert not re.search(r"https?://|<script src|<link", page)
    assert "{{" not in page
    assert '"boxNames": ["cabinet"' in page
    for file in written[:-1]:
        with Image.open(file) as image:
            assert (np.asarray(image.convert("L")) < 250).mean() > 0.05


def test_the_first_scene_is_shown_when_none_is_named(prepared: Path, tmp_path: Path) -> None:
    assert view_scene(prepared, None, tmp_path)[-1].name == "scene0000_00.html"
    with pytest.raises(UserError, match="no scene 'x'"):
        view_scene(prepared, "x", tmp_path)


EVIL = ["<img src=x onerror=alert(1)>", "<!--<script>", 'a"b&c', "$\\frac{", "{{data}}", "ü\u202ex'`"]


@pytest.mark.parametrize("name", [*EVIL[2:], "&lt;script&gt;"])
def test_no_name_becomes_markup(name: str, tmp_path: Path) -> None:
    data = [Scene(name, np.eye(3, dtype=np.float32))]
    page = page_text(data[0], {"color": np.zeros((3, 3), np.uint8)}, np.zeros((0, 8)), DatasetFacts("x"))
    title = re.findall(r"<title>(.*?)</title>", page)
    assert [html.unescape(text) for text in title] == [name]
    assert json.loads(re.findall(r"^const data = (.*);$", page, re.MULTILINE)[0])["name"] == name


@pytest.mark.parametrize("name", ["</title><script>alert(1)</script>", *EVIL[:2]])
def test_markup_in_a_name_stays_text(name: str) -> None:
    """Such names cannot even be prepared where they hold a slash; the page does not rely on that."""
    page = page_text(
        Scene(name, np.eye(3, dtype=np.float32)),
        {"color": np.zeros((3, 3), np.uint8)},
        np.zeros((0, 8)),
        DatasetFacts("x"),
    )
    assert page.count("<script") == page.count("</script>") == 1
    assert "<img" not in page
    assert "<!--" not in page


def test_nearer_points_cover_farther_ones() -> None:
    coord = np.array([[0, 0, 0], [0, 0, 1], [-1, -1, 0], [1, 1, 0]], np.float32)
    color = np.array([[255, 0, 0], [0, 0, 255], [9, 9, 9], [9, 9, 9]], np.uint8)
    picture = np.asarray(draw(coord, color, elevation=90, cut=None, size=(101, 101)))
    assert picture[50, 50].tolist() == [0, 0, 255]


def test_box_corners_turn_clockwise_with_the_heading() -> None:
    corners = box_corners(np.array([[0, 0, 0, 4, 2, 2, np.pi / 2, 0]]))[0]
    np.testing.assert_allclose(corners.max(axis=0), [1, 2, 1], atol=1e-12)
    front = (corners[0] + corners[1]) / 2  # the face at +length
    np.testing.assert_allclose(front, [0, -2, -1], atol=1e-12)


def test_the_statistic_is_high_where_color_changes() -> None:
    grid = np.stack(np.meshgrid(np.arange(40.0), np.arange(40.0), [0.0]), axis=-1).reshape(-1, 3)
    color = np.where(grid[:, :1] < 20, 0, 255) * np.ones((1, 3))
    value = local_statistic(grid, color, 9)
    border = np.abs(grid[:, 0] - 19.5) < 1
    inner = (np.abs(grid - [[19.5, 19.5, 0]])[:, :2] < 15).all(axis=1)
    assert value[border & inner].min() > value[~border & inner].max()
    assert 0 <= value.min() <= value.max() <= 1


def test_heat_runs_from_blue_to_red_by_rank() -> None:
    colors = heat(np.array([1000.0, 0.0, 1.0, 2.0, 3.0]))
    assert colors[0, 0] > 200 > 60 > colors[0, 2]
    assert colors[1, 2] > 160 > 60 > colors[1, 0]


def test_large_scenes_are_thinned_with_their_labels(prepared: Path) -> None:
    from mm3d_benchmarks.datasets.scene import open_dataset

    scene = open_dataset(prepared).load("scene0000_00")
    small = thinned(scene, 100)
    assert small.num_points == 100
    assert small.segment is not None
    assert small.boxes is scene.boxes
