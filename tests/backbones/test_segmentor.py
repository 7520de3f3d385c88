"""The segmentation head: exact size on any encoder, loss over labelled points only."""

from __future__ import annotations

import math

import pytest
import torch

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch


class Echo(Encoder):
    """An encoder that returns its input as its only level."""

    channels = (4,)

    def __init__(self, drop: int = 0) -> None:
        super().__init__()
        self.drop = drop

    def forward(self, points: PointBatch) -> list[PointBatch]:
        kept = points.num_points - self.drop
        return [points.select(torch.arange(kept), torch.tensor([kept]))]


def points(count: int = 40) -> PointBatch:
    torch.manual_seed(0)
    return PointBatch.single(torch.rand(count, 3), torch.rand(count, 4))


@pytest.mark.parametrize(
    ("in_channels", "classes", "parameters"),
    [(6, 13, 7_767_729), (6, 20, 7_767_960), (3, 13, 7_767_633), (9, 13, 7_767_825), (9, 20, 7_768_056)],
)
def test_point_transformer_with_its_head_has_the_published_size(in_channels: int, classes: int, parameters: int):
    model = Segmentor(PointTransformer(in_channels), classes)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_state_has_the_published_number_of_tensors():
    model = Segmentor(PointTransformer(), 13)
    assert (len(list(model.parameters())), len(model.state_dict())) == (563, 932)
    assert sum(buffer.numel() for buffer in model.buffers()) == 36_903


def test_ignored_points_bear_no_loss():
    torch.manual_seed(0)
    model, batch = Segmentor(Echo(), 5).eval(), points()
    segment = torch.randint(0, 5, (40,))
    segment[::2] = -1
    logits = model(batch)
    expected = -logits.log_softmax(1)[1::2].gather(1, segment[1::2, None]).mean()
    terms = model.loss(batch, {"segment": segment})
    torch.testing.assert_close(terms["loss"], expected)
    assert not terms["accuracy"].requires_grad


def test_a_batch_of_ignored_points_gives_loss_and_gradients_of_zero():
    model, batch = Segmentor(Echo(), 5), points()
    loss = model.loss(batch, {"segment": torch.full((40,), -1)})["loss"]
    loss.backward()
    assert loss.item() == 0.0
    assert all(not p.grad.any() for p in model.parameters() if p.grad is not None)


def test_predict_gives_logits_for_every_point():
    model, batch = Segmentor(Echo(), 5).eval(), points()
    assert model.predict(batch)["logits"].shape == (40, 5)


def test_a_uniform_classifier_loses_the_logarithm_of_the_classes():
    model, batch = Segmentor(Echo(), 5, init_std=0.0), points()
    loss = model.loss(batch, {"segment": torch.zeros(40, dtype=torch.int64)})["loss"]
    assert loss.item() == pytest.approx(math.log(5))


def test_bad_labels_and_encoders_are_refused():
    model, batch = Segmentor(Echo(), 5), points()
    with pytest.raises(ValueError, match="outside"):
        model.loss(batch, {"segment": torch.full((40,), 5)})
    with pytest.raises(ValueError, match="40 points"):
        model.loss(batch, {"segment": torch.zeros(39, dtype=torch.int64)})
    with pytest.raises(ValueError, match="every input point"):
        Segmentor(Echo(drop=3), 5)(batch)
    with pytest.raises(ValueError, match="num_classes"):
        Segmentor(Echo(), 1)


@pytest.mark.parametrize("name", ["point transformer", "stratified transformer"])
def test_a_network_learns_the_corners_of_a_room(name: str):
    torch.manual_seed(0)
    coord = torch.rand(300, 3) * torch.tensor([2.0, 2.0, 0.5])
    segment = (coord[:, 0] > 1).long() + 2 * (coord[:, 1] > 1).long()
    batch = PointBatch.single(coord, torch.cat([coord, torch.rand(300, 3)], 1))
    if name == "point transformer":
        encoder = PointTransformer(6, (16, 32), (1, 1), (1, 1), (8, 8), (1, 4))
    else:
        encoder = StratifiedTransformer(voxel=0.1, channels=(12, 24), depths=(1, 1), heads=(3, 6), drop_path=0.0)
    model = Segmentor(encoder, 4)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        terms = model.loss(batch, {"segment": segment})
        terms["loss"].backward()
        optimizer.step()
    assert terms["accuracy"] > 0.9
    assert terms["loss"].item() < 0.5
