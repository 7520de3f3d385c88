"""Folding decoders and the chamfer loss: sizes, worked values, finite gradients."""

from __future__ import annotations

import pytest
import torch
from core.tiny import scan

from mm3d_core.methods.reconstruction import Chamfer, FoldingDecoder
from mm3d_core.points import PointBatch

PREDICTED = torch.tensor([[0.0, 0, 0], [1, 0, 0]])
TARGET = torch.tensor([[0.0, 0, 0], [0, 2, 0]])
TWO = torch.tensor([2])


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def level(points: int, channels: int, seed: int = 0) -> PointBatch:
    return scan(points, seed).with_feat(torch.randn(points, channels, generator=torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize(("kind", "value"), [("half", 0.75), ("sum", 1.5), ("squared", 2.5)])
def test_the_chamfer_distance_of_two_pairs_of_points_is_the_one_worked_out_by_hand(kind, value):
    assert Chamfer(kind)(PREDICTED, TWO, TARGET, TWO).item() == pytest.approx(value)


@pytest.mark.parametrize(("over_scenes", "factor"), [("mean", 1.0), ("sum", 2.0)])
def test_scenes_are_averaged_or_added_and_stay_apart(over_scenes, factor):
    offset = torch.tensor([2, 4])
    shift = torch.tensor([100.0, 0, 0])
    predicted, target = (torch.cat([p, p + shift]) for p in (PREDICTED, TARGET))
    loss = Chamfer("half", over_scenes)(predicted, offset, target, offset)
    assert loss.item() == pytest.approx(0.75 * factor)


@pytest.mark.parametrize("kind", ["half", "sum", "squared"])
def test_a_perfect_reconstruction_costs_nothing_and_has_a_finite_gradient(kind):
    predicted = TARGET.clone().requires_grad_()
    loss = Chamfer(kind)(predicted, TWO, TARGET, TWO)
    loss.backward()
    assert loss.item() == 0
    assert predicted.grad is not None
    assert predicted.grad.abs().sum() == 0


def test_the_gradient_pulls_a_prediction_towards_its_target():
    predicted = torch.tensor([[0.5, 0.0, 0.0]], requires_grad=True)
    Chamfer("sum")(predicted, torch.tensor([1]), torch.zeros(1, 3), torch.tensor([1])).backward()
    assert predicted.grad is not None
    torch.testing.assert_close(predicted.grad, torch.tensor([[2.0, 0.0, 0.0]]))


@pytest.mark.parametrize(
    ("channels", "count"), [(32, 87_814), (64, 104_198), (128, 136_966), (256, 202_502), (512, 333_574)]
)
def test_segmentation_decoders_have_the_published_number_of_parameters(channels, count):
    assert parameters(FoldingDecoder(channels)) == count


def test_the_five_segmentation_decoders_together_have_865054_parameters():
    assert sum(parameters(FoldingDecoder(c)) for c in (32, 64, 128, 256, 512)) == 865_054


def test_the_detection_decoder_has_the_published_number_of_parameters():
    decoder = FoldingDecoder(256, width=512, grid=(2, 1), extent=0.2, with_coord=False)
    assert (parameters(decoder), parameters(decoder.fold), parameters(decoder.refold)) == (532_998, 266_243, 266_755)


def test_grids_are_drawn_as_published():
    assert FoldingDecoder(8).cells.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    detection = FoldingDecoder(8, grid=(2, 1), extent=0.2).cells
    torch.testing.assert_close(detection, torch.tensor([[-0.2, -0.2], [0.2, -0.2]]))


@pytest.mark.parametrize("points", [3877, 969, 242, 60, 15])
def test_a_level_is_unfolded_into_four_points_each(points):
    assert FoldingDecoder(8)(level(points, 8)).shape == (4 * points, 3)


def test_the_first_layer_is_the_layer_on_the_concatenated_input():
    decoder = FoldingDecoder(8).eval()
    points = level(20, 8)
    shared = torch.cat([points.feat, points.coord], dim=1)
    own = decoder.cells.repeat(20, 1)
    together = torch.cat([own, shared.repeat_interleave(4, dim=0)], dim=1)
    expected = decoder.fold.rest(decoder.fold.first(together))
    torch.testing.assert_close(decoder.fold(own, shared), expected)


def test_predictions_start_from_the_points_of_the_level():
    decoder, points = FoldingDecoder(8), level(20, 8)
    last = decoder.refold.rest[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.zeros_(last.weight)
    torch.nn.init.zeros_(last.bias)
    torch.testing.assert_close(decoder(points).view(20, 4, 3), points.coord.unsqueeze(1).expand(-1, 4, -1))


def test_copies_of_a_point_differ_unless_the_release_is_reproduced():
    options = {"width": 16, "grid": (2, 1), "extent": 0.2, "with_coord": False}
    points = PointBatch.join([level(10, 8, 0), level(6, 8, 1)])
    copies = FoldingDecoder(8, **options)(points).view(16, 2, 3)
    assert (copies[:, 0] - copies[:, 1]).abs().sum(1).min() > 0
    same = FoldingDecoder(8, **options, paired_cells=False)(points).view(16, 2, 3)
    assert torch.equal(same[:, 0], same[:, 1])  # scenes of even size: each point meets one cell twice


@pytest.mark.parametrize("grid", [(2,), (0, 2), (2, 2, 2)])
def test_a_grid_that_is_not_two_numbers_of_cells_is_refused(grid):
    with pytest.raises(ValueError, match="grid must be"):
        FoldingDecoder(8, grid=grid)


@pytest.mark.parametrize("options", [{"kind": "mean"}, {"over_scenes": "max"}])
def test_unknown_kinds_of_chamfer_distance_are_refused(options):
    with pytest.raises(ValueError, match="must be"):
        Chamfer(**options)
