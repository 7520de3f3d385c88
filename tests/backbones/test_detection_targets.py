"""Box codec: headings at their borders, sizes, the slices of a head's output, labels that are refused."""

from __future__ import annotations

import math

import pytest
import torch

from mm3d_backbones.detection_targets import BoxCodec, decode_heading, encode_heading, pick, predictions, take
from mm3d_core.points import PointBatch

SIZES = [[1.0, 2.0, 3.0], [0.5, 0.5, 0.5]]
WIDTH = 2 * math.pi / 12


def labels(heading: float = 0.0, box_class: int = 1, size=(0.6, 0.5, 0.4)) -> dict[str, torch.Tensor]:
    """One box and one padding row that holds rubbish."""
    return {
        "center": torch.tensor([[[1.0, 2.0, 3.0], [9.0, 9.0, 9.0]]]),
        "size": torch.tensor([[size, (-1.0, 0.0, 9.0)]]),
        "heading": torch.tensor([[heading, 9.0]]),
        "box_class": torch.tensor([[box_class, 77]]),
        "box_mask": torch.tensor([[True, False]]),
    }


@pytest.mark.parametrize(
    ("heading", "number", "residual"),
    [
        (0.0, 0, 0.0),
        (WIDTH, 1, 0.0),
        (0.3 * WIDTH, 0, 0.3 * WIDTH),
        (0.7 * WIDTH, 1, -0.3 * WIDTH),
        (-0.3 * WIDTH, 0, -0.3 * WIDTH),
        (math.pi, 6, 0.0),
        (-math.pi, 6, 0.0),
        (-WIDTH, 11, 0.0),
        (2 * math.pi + WIDTH, 1, 0.0),
    ],
)
def test_headings_fall_into_the_bin_whose_center_is_nearest(heading, number, residual):
    found = encode_heading(torch.tensor([heading], dtype=torch.float64), 12)
    assert found[0].item() == number
    assert found[1].item() == pytest.approx(residual, abs=1e-9)


def test_a_border_between_bins_belongs_to_the_upper_one():
    number, residual = encode_heading(torch.tensor([0.5, 0.5 - 1e-9], dtype=torch.float64) * WIDTH, 12)
    assert number.tolist() == [1, 0]
    torch.testing.assert_close(residual, torch.tensor([-WIDTH / 2, WIDTH / 2], dtype=torch.float64))


def test_decoding_undoes_encoding_everywhere():
    headings = torch.linspace(-math.pi + 1e-4, math.pi, 1001, dtype=torch.float64)
    number, residual = encode_heading(headings, 12)
    assert residual.abs().max() <= math.pi / 12 + 1e-9
    torch.testing.assert_close(decode_heading(number, residual, 12), headings)


def test_an_axis_aligned_codec_always_decodes_heading_zero():
    codec = BoxCodec(1, SIZES)
    assert codec.headings(torch.tensor([[0]]), torch.full((1, 1, 1), 0.9)).item() == 0
    assert BoxCodec(1, SIZES, head_heading_bins=24).headings(torch.tensor([[5]]), torch.rand(1, 1, 24)).item() == 0


def test_the_head_has_the_published_width():
    assert BoxCodec(1, torch.ones(18, 3)).width == 97
    assert BoxCodec(12, torch.ones(10, 3)).width == 79
    assert BoxCodec(1, torch.ones(18, 3), head_heading_bins=24).width == 143


def test_slices_of_the_output_are_read_in_the_published_order():
    codec = BoxCodec(3, SIZES)
    output, cluster = torch.arange(codec.width, dtype=torch.float32).view(1, 1, -1), torch.full((1, 1, 3), 100.0)
    proposals = codec.read(output, cluster, torch.zeros(1, 1, 0))
    assert proposals.objectness.flatten().tolist() == [0, 1]
    assert proposals.center.flatten().tolist() == [102, 103, 104]
    assert proposals.heading_logits.flatten().tolist() == [5, 6, 7]
    assert proposals.heading_residuals.flatten().tolist() == [8, 9, 10]
    assert proposals.size_logits.flatten().tolist() == [11, 12]
    assert proposals.size_residuals.tolist() == [[[[13, 14, 15], [16, 17, 18]]]]
    assert proposals.class_logits.flatten().tolist() == [19, 20]


def test_decoding_a_perfect_head_gives_the_labelled_box():
    codec = BoxCodec(12, SIZES)
    targets = codec.encode(labels(heading=-2.0))
    output = torch.zeros(1, 1, codec.width)
    output[..., 2:5] = targets.center[:, :1]
    number = int(targets.heading_bin[0, 0])
    output[..., 5 + number] = 5.0
    output[..., 17 + number] = targets.heading_residual[0, 0] / (math.pi / 12)
    output[..., 29 + 1] = 5.0
    output[..., 31 + 3 : 31 + 6] = targets.size_residual[0, 0] / torch.tensor(SIZES[1])
    box = codec.decode(codec.read(output, torch.zeros(1, 1, 3), torch.zeros(1, 1, 0)))
    torch.testing.assert_close(box, torch.tensor([[[1.0, 2.0, 3.0, 0.6, 0.5, 0.4, -2.0]]]))


def test_padding_rows_become_zero_whatever_they_hold():
    targets = BoxCodec(12, SIZES).encode(labels())
    for value in (targets.center, targets.heading_residual, targets.box_class, targets.size_residual, targets.boxes):
        assert not value[0, 1].any()
    torch.testing.assert_close(targets.size_residual[0, 0], torch.tensor([0.1, 0.0, -0.1]))


def test_a_box_without_positive_size_is_refused():
    with pytest.raises(ValueError, match="sizes are positive"):
        BoxCodec(12, SIZES).encode(labels(size=(0.5, 0.0, 0.5)))


def test_a_class_without_a_template_is_refused():
    with pytest.raises(ValueError, match="2 classes"):
        BoxCodec(12, SIZES).encode(labels(box_class=2))


@pytest.mark.parametrize("sizes", [[[1.0, 1.0]], [[1.0, 0.0, 1.0]]])
def test_templates_that_are_no_sizes_are_refused(sizes):
    with pytest.raises(ValueError, match="mean_sizes"):
        BoxCodec(1, sizes)


def test_templates_are_not_part_of_a_checkpoint():
    assert not BoxCodec(1, SIZES).state_dict()


def test_pick_and_take_follow_their_indices():
    values = torch.arange(24).view(1, 2, 4, 3)
    assert pick(values, torch.tensor([[1, 3]])).tolist() == [[[3, 4, 5], [21, 22, 23]]]
    assert take(torch.tensor([[5, 6, 7], [8, 9, 10]]), torch.tensor([[2, 0], [1, 1]])).tolist() == [[7, 5], [9, 9]]


def test_predictions_count_the_points_of_their_own_scene():
    first, second = torch.zeros(4, 3), torch.ones(3, 3)
    points = PointBatch(torch.cat([first, second]), torch.zeros(7, 0), torch.tensor([4, 7]), torch.arange(7))
    boxes = torch.tensor([[[0, 0, 0, 1, 1, 1, 0.3]], [[1, 1, 1, 1, 1, 1, 0.3]]])
    found = predictions(points, boxes, torch.zeros(2, 1, 2), torch.zeros(2, 1, 4))
    assert found["point_count"].tolist() == [[4], [3]]
    assert found["scores"].tolist() == [[0.5], [0.5]]
    torch.testing.assert_close(found["class_scores"], torch.full((2, 1, 4), 0.25))
