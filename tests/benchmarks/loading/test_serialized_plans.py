"""Point Transformer V3's plans from loader workers: not one bit differs from those the network makes itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from benchmarks.small_runs import write_rooms
from core.tiny import generator
from torch import Tensor

from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_benchmarks.datasets.scene import PreparedDataset, open_dataset
from mm3d_benchmarks.loading.labels import segmentation_targets
from mm3d_benchmarks.loading.loading import Batch, Sampling, SceneLoader, ScenesToItems
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.mm3dscene import MM3DScene
from pointops.serialized import SerializedPlan


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    return open_dataset(write_rooms(tmp_path_factory.mktemp("rooms"), train=4))


@pytest.fixture
def encoder() -> PointTransformerV3:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"channels": [8, 16], "depths": [1, 1], "heads": [1, 2], "strides": [2]}
    up: dict[str, Any] = {"decoder_channels": [8], "decoder_depths": [1], "decoder_heads": [1]}
    return PointTransformerV3(6, **sizes, **up, patch=64, drop_path=0.3)


def batches(data: PreparedDataset, items: ScenesToItems, workers: int, mix: float = 0.0) -> list[Batch]:
    loader = SceneLoader(data, data.scenes("train"), items, batch=4, seed=7, workers=workers, mix=mix)
    return list(loader.stream(0, 2))


def step(encoder: PointTransformerV3, batch: Batch) -> list[Tensor]:
    """Features of all levels and the gradients of their sum, in training with its drop path and shuffled curves."""
    torch.manual_seed(1)
    encoder.zero_grad()
    levels = encoder(batch.points)
    torch.stack([level.feat.square().mean() for level in levels]).sum().backward()
    return [level.feat for level in levels] + [p.grad for p in encoder.parameters() if p.grad is not None]


@pytest.mark.parametrize("mix", [0.0, 1.0])
@pytest.mark.parametrize("workers", [0, 2])
def test_planned_and_unplanned_batches_give_the_same_bits(
    data: PreparedDataset, encoder: PointTransformerV3, workers: int, mix: float
):
    sampling = Sampling(inputs=("coord", "color"), voxel=0.05, max_points=400)
    own = ScenesToItems(sampling, targets=segmentation_targets)
    made = batches(data, replace(own, plan=encoder.plan_spec()), workers, mix)
    for planned, plain in zip(made, batches(data, own, 0, mix), strict=True):
        assert isinstance(planned.points.plan, SerializedPlan)
        assert plain.points.plan is None
        assert planned.points.plan.levels[0].offset.tolist() != []
        for one, other in zip(step(encoder, planned), step(encoder, plain), strict=True):
            assert torch.equal(one, other)


def test_a_pretraining_takes_the_plans_of_the_views_it_names(data: PreparedDataset, encoder: PointTransformerV3):
    method = MM3DScene(encoder, views=MaskedViews(keep_ratio=(0.5, 0.6)), decoder={"width": 8})
    sampling = Sampling(inputs=("coord", "color"), voxel=0.05, max_points=400)
    own = ScenesToItems(sampling, views=method.views, planned_views=method.planned_views)
    made = batches(data, replace(own, plan=encoder.plan_spec()), 2)[0]
    plain = batches(data, own, 0)[0]
    assert {name for name, view in made.views.items() if view.plan is not None} == set(method.planned_views)
    losses = []
    for batch in (made, plain):
        torch.manual_seed(1)
        losses.append(method.loss(batch.views, generator(3)))
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


def test_nested_correspondence_still_refuses_a_network_without_samples(encoder: PointTransformerV3):
    with pytest.raises(ValueError, match=r"nested.*sampling can be planned"):
        MM3DScene(encoder, correspondence="nested")
