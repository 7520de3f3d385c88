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
from mm3d_benchmarks.viewing.image import box_corners, draw, near_walls
from mm3d_benchmarks.viewing.page import box_palette, page_text, thinned, view_scene
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


def room() -> np.ndarray:
    """Floor and four walls of 4 x 4 x 2 m, every 5 cm."""
    side, height = np.arange(0, 4.001, 0.05), np.arange(0.05, 2.0, 0.05)
    floor = [(x, y, 0.0) for x in side for y in side]
    walls = [(x, y, z) for x in side for y in (0.0, 4.0) for z in height]
    walls += [(x, y, z) for x in (0.0, 4.0) for y in side for z in height]

    return np.array(floor + walls, np.float32)


def test_walls_between_the_viewer_and_the_room_are_left_away() -> None:
    coord = room()
    gone = near_walls(coord, np.radians(-60.0), 0.0)
    near = ((coord[:, 0] == 4) | (coord[:, 1] == 0)) & (coord[:, 2] > 0.3)
    assert gone[near].mean() > 0.7  # all but the outer corners, with little room behind them
    assert not gone[(coord[:, 0] < 3.4) & (coord[:, 1] > 0.6)].any()  # nothing of the room itself, nor the walls behind


def test_a_thing_that_stands_alone_keeps_its_front() -> None:
    turn = np.linspace(0, 2 * np.pi, 60)
    statue = np.array([(0.4 * np.cos(t), 0.4 * np.sin(t), z) for t in turn for z in np.arange(0, 2, 0.05)])
    assert not near_walls(statue, 0.0, 0.0).any()


@pytest.mark.parametrize("elevation", [50.0, 90.0])
def test_boxes_that_stick_out_of_the_room_are_drawn_whole(elevation: float) -> None:
    boxes = np.array([[6.0, 2, 1, 3, 1, 2, 0, 0], [-3, 2, 1, 1, 1, 1, 0, 0]])
    inks = np.array([[250, 0, 0], [0, 0, 250]], np.uint8)
    grey = np.full((len(room()), 3), 128, np.uint8)
    picture = np.asarray(draw(room(), grey, boxes, inks, elevation=elevation)).astype(int)
    for ink, longest in zip(inks.astype(int), (3.0, 1.0), strict=True):
        found = np.argwhere(np.abs(picture - ink).sum(axis=2) < 10)
        assert found.min() >= 4
        assert (found.max(axis=0) < np.array(picture.shape[:2]) - 4).all()
        assert np.ptp(found, axis=0).max() > 40 * longest
    assert (picture == 255).all(axis=2)[[0, -1]].all()


def test_names_of_boxes_at_the_same_place_stand_below_each_other() -> None:
    boxes = np.array([[2.0, 2, 0.5, 1, 1, 1, 0, k] for k in range(2)])
    blank = np.full((len(room()), 3), 255, np.uint8)
    inks = np.array([[200, 0, 0], [0, 0, 200]], np.uint8)
    bare = np.asarray(draw(room(), blank, boxes, inks)).astype(int)
    named = np.asarray(draw(room(), blank, boxes, inks, ["chair", "table"])).astype(int)
    new = (bare != named).any(axis=2)
    red = np.argwhere(new & (named[..., 0] > named[..., 2] + 60))
    blue = np.argwhere(new & (named[..., 2] > named[..., 0] + 60))
    assert red[:, 0].max() <= blue[:, 0].min() or blue[:, 0].max() <= red[:, 0].min()


def test_classes_of_similar_hue_are_told_apart() -> None:
    names = tuple(f"class {k}" for k in range(18))
    palette = box_palette(DatasetFacts("x", detection_classes=names, mean_sizes=((1.0, 1.0, 1.0),) * 18)).astype(int)
    apart = np.abs(palette[:, None] - palette[None]).max(axis=2) + 999 * np.eye(18, dtype=int)
    assert apart.min() > 30
