"""Row i is point i, whatever the scan holds; and what a network sees is what it sees in an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks.pretrained.scan_files import write_scan
from benchmarks.pretrained.small_networks import BACKBONES, cloud, described

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.datasets.scene import Scene
from mm3d_benchmarks.evaluation.covers import potential_crops
from mm3d_benchmarks.evaluation.detection_pass import DetectionPass
from mm3d_benchmarks.evaluation.voting import Voting
from mm3d_benchmarks.loading.crops import voxel_groups
from mm3d_benchmarks.pretrained.crops import tree_crops
from mm3d_benchmarks.pretrained.network import Network

DENSE = [name for name, dataset in BACKBONES.items() if dataset == "s3dis"]
SEEDS = [name for name, dataset in BACKBONES.items() if dataset == "scannet"]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    """An encoder of each backbone."""
    folder = tmp_path_factory.mktemp("encoders")
    return {name: pretrained.load(described(folder / name, name), device="cpu") for name in BACKBONES}


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_row_gets_the_features_of_its_point(encoders: dict[str, Network], backbone: str, tmp_path: Path) -> None:
    encoder = encoders[backbone]
    coord, color = cloud()
    coord[[5, 900]] = np.nan
    coord[17, 2] = np.inf
    coord[1000:1010], color[1000:1010] = coord[30], color[30]  # duplicates
    found = encoder.features(write_scan(tmp_path / "room.ply", coord, color), progress=False)
    assert found.shape == (len(coord), encoder.channels[0])
    assert found.dtype == np.float32
    no_points = [5, 17, 900]
    assert np.isnan(found[no_points]).all()
    assert np.isfinite(np.delete(found, no_points, axis=0)).all()
    assert (found[1000:1010] == found[30]).all()
    assert np.delete(found, no_points, axis=0).std(axis=0).max() > 0
    again = encoder.features(coord, color, progress=False)
    np.testing.assert_array_equal(found, again)  # arrays are read as the file is, and twice the same


@pytest.mark.parametrize("backbone", BACKBONES)
def test_levels_stand_side_by_side(encoders: dict[str, Network], backbone: str) -> None:
    encoder, (coord, color) = encoders[backbone], cloud(1500)
    single = [encoder.features(coord, color, level=n, progress=False) for n in range(len(encoder.channels))]
    together = encoder.features(coord, color, level="all", progress=False)
    np.testing.assert_allclose(together, np.concatenate(single, axis=1), rtol=0, atol=1e-5)
    np.testing.assert_array_equal(encoder.features(coord, color, progress=False), single[0])


@pytest.mark.parametrize("backbone", DENSE)
def test_points_in_crops_at_the_far_end_are_not_forgotten(encoders: dict[str, Network], backbone: str) -> None:
    coord, color = cloud(3000)
    coord = np.concatenate([coord, coord + np.array([40, 0, 0]), [[20.0, 30.0, 1.0]]])  # two rooms and a lost point
    color = np.concatenate([color, color, [[9, 9, 9]]]).astype(np.uint8)
    found = encoders[backbone].features(coord, color, max_points=300, progress=False)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("backbone", DENSE)
def test_features_are_those_inside_the_published_voting(encoders: dict[str, Network], backbone: str) -> None:
    coord, color = cloud(2500)
    seen: list[tuple[np.ndarray, np.ndarray]] = []

    class Watched(torch.nn.Module):
        num_classes = 2
        encoder = encoders[backbone].encoder

        def predict(self, points: Any) -> dict[str, torch.Tensor]:
            finest = self.encoder(points)[0]
            seen.append((finest.index.numpy(), finest.feat.numpy()))
            return {"logits": finest.feat[:, :2]}

    sampling = encoders[backbone].description.sampling
    voting = Voting(float(sampling.voxel or 0), 500)
    inputs = encoders[backbone].description.inputs
    voting(Watched(), Scene("scan", coord.astype(np.float32), color), inputs)
    order, starts, counts = voxel_groups(coord.astype(np.float32), float(sampling.voxel or 0))
    first = order[starts]  # what the first pass shows
    total, times = np.zeros((len(coord), seen[0][1].shape[1])), np.zeros(len(coord))
    covered: set[int] = set()
    for index, feat in seen:
        np.add.at(total, index, feat)
        np.add.at(times, index, 1)
        covered |= set(index.tolist())
        if covered >= set(first.tolist()):
            break
    found = encoders[backbone].features(coord, color, max_points=500, progress=False)
    once = first[counts == 1]  # later passes of the voting show these again
    assert len(once) > 100
    np.testing.assert_allclose(found[once], (total / times.clip(1)[:, None])[once], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backbone", SEEDS)
def test_features_at_seeds_are_those_inside_a_detection_pass(encoders: dict[str, Network], backbone: str) -> None:
    coord, color = cloud(2000)
    seen: list[Any] = []

    class Watched(torch.nn.Module):
        encoder = encoders[backbone].encoder

        def predict(self, points: Any) -> dict[str, torch.Tensor]:
            seen.extend(self.encoder(points))
            return {}

    told = encoders[backbone].description
    scene = Scene("scan", coord.astype(np.float32), color, boxes=np.zeros((0, 8), np.float32))
    DetectionPass(told.sampling.num_points)(Watched(), scene, told.inputs)
    found = encoders[backbone].features(coord, color, progress=False)
    np.testing.assert_allclose(found[seen[0].index.numpy()], seen[0].feat.numpy(), rtol=1e-5, atol=1e-5)


def test_every_point_alone_is_the_published_voting(tmp_path: Path) -> None:
    model = pretrained.load(described(tmp_path, "point_transformer", "finetune"), device="cpu")
    coord, color = cloud(1500)
    told = model.description
    voting = Voting(float(told.sampling.voxel or 0), 400)
    expected, _ = voting(model.module, Scene("scan", coord.astype(np.float32), color), told.inputs)
    found, shares = model.segment(coord, color, every_point=True, probabilities=True, max_points=400, progress=False)
    np.testing.assert_array_equal(found, expected["segment"].numpy())
    mean = expected["logits"] / expected["votes"][:, None]
    np.testing.assert_allclose(shares, mean.softmax(1).numpy(), atol=1e-5)


def test_the_tree_makes_the_crops_of_the_definition() -> None:
    coord = np.random.default_rng(3).random((3000, 3)).astype(np.float32) * 5
    fast = list(tree_crops(coord, 250, np.random.default_rng(0)))
    slow = list(potential_crops(coord, 250, np.random.default_rng(0)))
    assert len(fast) == len(slow)
    for one, other in zip(fast, slow, strict=True):
        assert one[0] == other[0]
        assert set(one.tolist()) == set(other.tolist())


def test_identical_points_end_up_in_some_crop() -> None:
    coord = np.concatenate([np.zeros((500, 3)), np.random.default_rng(0).random((100, 3))]).astype(np.float32)
    covered = np.concatenate(list(tree_crops(coord, 100, np.random.default_rng(0))))
    assert set(covered.tolist()) == set(range(600))


def test_features_can_go_to_a_file(encoders: dict[str, Network], tmp_path: Path) -> None:
    coord, color = cloud(800)
    coord[3] = np.nan
    mapped = encoders["point_transformer"].features(coord, color, out=tmp_path / "deep/f.npy", progress=False)
    direct = encoders["point_transformer"].features(coord, color, progress=False)
    np.testing.assert_array_equal(np.load(tmp_path / "deep/f.npy"), direct)
    np.testing.assert_array_equal(mapped, direct)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["f.npy"]


def test_the_encoder_of_a_model_has_features_too(tmp_path: Path) -> None:
    model = pretrained.load(described(tmp_path, "votenet", "finetune"), device="cpu")
    coord, _ = cloud(500)
    assert model.features(coord, progress=False).shape == (500, 64)


def test_tensors_and_colors_of_either_range_are_taken(encoders: dict[str, Network]) -> None:
    coord, color = cloud(800)
    encoder = encoders["point_transformer"]
    expected = encoder.features(coord, color, progress=False)
    found = encoder.features(torch.from_numpy(coord), torch.from_numpy(color / 255.0), progress=False)
    np.testing.assert_array_equal(found, expected)
