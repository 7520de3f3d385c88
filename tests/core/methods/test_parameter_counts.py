"""The published numbers of trainable parameters in pre-training."""

from __future__ import annotations

from torch import nn

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_core.methods.mm3dscene import MM3DScene


def trainable(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def test_point_transformer_with_five_decoders_trains_8631234_parameters():
    method = MM3DScene(PointTransformer())
    assert (trainable(method.encoder), trainable(method)) == (7_766_180, 8_631_234)
    assert sum(parameter.numel() for parameter in method.parameters()) == 16_397_414


def test_without_consistency_there_is_no_teacher_and_without_reconstruction_no_decoder():
    no_teacher, no_decoders = MM3DScene(PointTransformer(), csd_weight=0), MM3DScene(PointTransformer(), rec_weight=0)
    assert sum(parameter.numel() for parameter in no_teacher.parameters()) == 8_631_234
    assert trainable(no_decoders) == 7_766_180
