"""Every pre-training leaves a picture of what it sees, with the heat map of the local statistic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.small_runs import config, write_rooms
from matplotlib.image import imread

from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.runs.pretrain import run_pretrain

RIVALS = ["point_contrast", "contrastive_scene_contexts", "masked_scene_contrast", "random_rooms", "four_d_contrast"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def pretrained(root: Path, folder: Path, name: str) -> Path:
    method = compose(Request({"pretrain": name, "evaluation": "segmentation"}))["pretrain"]["method"]
    given = config(root, recipe__pretrain__steps=1, recipe__pretrain__crop=None)
    run_pretrain({**given, "pretrain": {"method": method}}, folder, {})
    return folder


@pytest.mark.parametrize("name", [RIVALS[0], *(pytest.param(rival, marks=pytest.mark.slow) for rival in RIVALS[1:])])
def test_a_method_without_masks_leaves_a_picture_of_its_views(root: Path, tmp_path: Path, name: str):
    folder = pretrained(root, tmp_path, name)
    image = imread(folder / "views.png")
    assert image.shape[1] > 3 * image.shape[0]  # scan, heat map and at least two views, side by side
    assert not (folder / "reconstruction.png").exists()


def test_the_picture_of_a_masked_method_shows_the_heat_map(root: Path, tmp_path: Path):
    folder = pretrained(root, tmp_path, "mm3dscene_reconstruction")
    image = imread(folder / "reconstruction.png")
    assert image.shape[1] == 5 * 440  # scan, heat map, input, target, reconstruction
    panel = image[100:, 440:880, :3].reshape(-1, 3)
    colored = panel[panel.max(1) - panel.min(1) > 0.2]
    assert len(np.unique((colored * 8).astype(int), axis=0)) > 20  # a map of many colors
