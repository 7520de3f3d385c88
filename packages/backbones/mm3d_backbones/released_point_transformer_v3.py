"""Names and weight layouts of Pointcept's Point Transformer V3 checkpoints.

Source: the state dicts of Pointcept/Pointcept, pointcept/models/point_transformer_v3/point_transformer_v3m1_base.py.
Their classifier (``seg_head``) is one linear layer, which our segmentation head is not: it finds no place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_core.errors import UserError

STEM = "backbone.embedding.stem.conv.weight"
_BLOCK = {
    "cpe.0": "position.convolution",
    "cpe.1": "position.linear",
    "cpe.2": "position.norm",
    "norm1.0": "norm_attention",
    "attn.qkv": "attention.query_key_value",
    "attn.proj": "attention.out",
    "norm2.0": "norm_perceptron",
    "mlp.0.fc1": "perceptron.0",
    "mlp.0.fc2": "perceptron.2",
}
_WAY = {
    "down.proj": "down.linear",
    "down.norm.0": "down.norm",
    "up.proj.0": "up.lift.0",
    "up.proj.1": "up.lift.1",
    "up.proj_skip.0": "up.skip.0",
    "up.proj_skip.1": "up.skip.1",
}


def point_transformer_v3_name(name: str) -> str | None:
    """Our name of a tensor of Pointcept's Point Transformer V3; None if it has no place."""
    name = name.removeprefix("backbone.")
    if found := re.fullmatch(r"embedding\.stem\.(conv|norm)\.(\w+)", name):
        return f"encoder.stem.{'convolution' if found[1] == 'conv' else 'norm'}.{found[2]}"
    found = re.fullmatch(r"(enc|dec)\.(?:enc|dec)(\d+)\.(.+)\.(\w+)", name)
    if found is None:
        return None
    part, level, layer, kind = found.groups()
    block = re.fullmatch(r"block(\d+)\.(.+)", layer)
    ours = _BLOCK.get(block[2]) if block else _WAY.get(layer)
    if ours is None:
        return None
    where = f"encoder.{'encoder' if part == 'enc' else 'decoder'}.{level}"
    return f"{where}.blocks.{block[1]}.{ours}.{kind}" if block else f"{where}.{ours}.{kind}"


def convolution_weight(value: Tensor) -> Tensor:
    """spconv's weight, (D, k, k, k, C) of spconv 2 or (k, k, k, C, D) of spconv 1, as (k^3, C, D).

    Raises:
        UserError: a tensor of another form.
    """
    if value.ndim == 5 and len(set(value.shape[1:4])) == 1:
        return value.permute(1, 2, 3, 4, 0).flatten(0, 2).contiguous()
    if value.ndim == 5 and len(set(value.shape[:3])) == 1:
        return value.flatten(0, 2).contiguous()
    raise UserError(
        f"a weight of shape {tuple(value.shape)} is none of spconv's three-dimensional kernels; restore the checkpoint"
    )


def translated(name: str, value: Tensor) -> Tensor:
    """The value as our layer wants it, given our name of it."""
    return convolution_weight(value) if name.endswith("convolution.weight") and value.ndim == 5 else value


def encoder_of(state: Mapping[str, Tensor]) -> PointTransformerV3:
    """The released network, with the checkpoint's input width. ``state`` has no prefix before ``backbone.``."""
    weight = convolution_weight(state[STEM])
    with torch.random.fork_rng(devices=[]):  # every value is replaced
        return PointTransformerV3(in_channels=weight.shape[1])
