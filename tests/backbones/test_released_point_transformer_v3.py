"""Import of Pointcept's Point Transformer V3, tried on a state dict of the released names and shapes made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from mm3d_backbones import released_segmentation as released
from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_backbones.released_encoders import import_encoder
from mm3d_backbones.released_point_transformer_v3 import convolution_weight
from mm3d_backbones.segmentor import Segmentor
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights

DOWN, UP = (32, 64, 128, 256, 512), (64, 64, 128, 256, 512)
DOWN_BLOCKS, UP_BLOCKS = (2, 2, 2, 6, 2), (2, 2, 2, 2)


def layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    running = {f"{name}.running_mean": (width,), f"{name}.running_var": (width,), f"{name}.num_batches_tracked": ()}
    return layer(name, width) | running


def block(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return (
        layer(f"{name}.cpe.0", width, 3, 3, 3, width)
        | layer(f"{name}.cpe.1", width, width)
        | layer(f"{name}.cpe.2", width)
        | layer(f"{name}.norm1.0", width)
        | layer(f"{name}.attn.qkv", 3 * width, width)
        | layer(f"{name}.attn.proj", width, width)
        | layer(f"{name}.norm2.0", width)
        | layer(f"{name}.mlp.0.fc1", 4 * width, width)
        | layer(f"{name}.mlp.0.fc2", width, 4 * width)
    )


def released_state(classes: int = 20, prefix: str = "module.") -> dict[str, Tensor]:
    """As Pointcept saves it."""
    shapes = {"backbone.embedding.stem.conv.weight": (32, 5, 5, 5, 6)} | norm("backbone.embedding.stem.norm", 32)
    for level, width in enumerate(DOWN):
        stage = f"backbone.enc.enc{level}"
        if level:
            shapes |= layer(f"{stage}.down.proj", width, DOWN[level - 1]) | norm(f"{stage}.down.norm.0", width)
        for number in range(DOWN_BLOCKS[level]):
            shapes |= block(f"{stage}.block{number}", width)
    for level, width in enumerate(UP[:-1]):
        stage = f"backbone.dec.dec{level}"
        shapes |= layer(f"{stage}.up.proj.0", width, UP[level + 1]) | norm(f"{stage}.up.proj.1", width)
        shapes |= layer(f"{stage}.up.proj_skip.0", width, DOWN[level]) | norm(f"{stage}.up.proj_skip.1", width)
        for number in range(UP_BLOCKS[level]):
            shapes |= block(f"{stage}.block{number}", width)
    shapes |= layer("seg_head", classes, 64)
    random = torch.Generator().manual_seed(0)
    return {
        f"{prefix}{name}": torch.tensor(7) if name.endswith("tracked") else torch.rand(shape, generator=random)
        for name, shape in shapes.items()
    }


def test_every_tensor_of_the_network_is_taken_over():
    state = released_state()
    model = released.network_of(state)
    assert isinstance(model.encoder, PointTransformerV3)
    assert model.num_classes == 20
    report = released.import_released(model, state)
    assert report.unused == ["module.seg_head.bias", "module.seg_head.weight"]
    assert report.mismatched == []
    assert {name.split(".")[0] for name in report.fresh} == {"head"}
    ours = model.state_dict()
    pairs = {
        "encoder.encoder.3.blocks.5.attention.query_key_value.weight": "backbone.enc.enc3.block5.attn.qkv.weight",
        "encoder.decoder.1.up.skip.1.running_var": "backbone.dec.dec1.up.proj_skip.1.running_var",
        "encoder.encoder.2.down.norm.bias": "backbone.enc.enc2.down.norm.0.bias",
        "encoder.decoder.0.blocks.1.position.convolution.bias": "backbone.dec.dec0.block1.cpe.0.bias",
    }
    for mine, its in pairs.items():
        assert ours[mine].equal(state[f"module.{its}"])


def test_the_kernels_of_spconv_are_turned_into_ours():
    state = released_state(prefix="")
    model = released.network_of(state)
    released.import_released(model, state)
    theirs, ours = state["backbone.enc.enc1.block0.cpe.0.weight"], model.state_dict()
    mine = ours["encoder.encoder.1.blocks.0.position.convolution.weight"]
    for x, y, z in ((0, 0, 0), (0, 1, 2), (2, 1, 0)):
        assert mine[9 * x + 3 * y + z].equal(theirs[:, x, y, z].T)
    old = torch.rand(3, 3, 3, 4, 5)
    assert convolution_weight(old)[9 * 2 + 3 * 1].equal(old[2, 1, 0])
    with pytest.raises(UserError, match="none of spconv's"):
        convolution_weight(torch.rand(4, 3, 5, 3, 4))


def test_a_file_is_converted_for_a_fine_tuning(tmp_path: Path):
    torch.save({"state_dict": released_state(13)}, tmp_path / "model_best.pth")
    assert released.main([str(tmp_path / "model_best.pth"), str(tmp_path / "e.safetensors"), "--encoder"]) == 0
    tensors = read_weights(tmp_path / "e.safetensors")
    PointTransformerV3().load_state_dict(tensors)


def test_the_encoder_comes_in_whole_or_not_at_all():
    state, encoder = released_state(prefix=""), PointTransformerV3()
    account = import_encoder(encoder, state, "model_best.pth")
    assert sorted(account.taken.values()) == sorted(encoder.state_dict())
    assert account.left_out == ("seg_head.bias", "seg_head.weight")
    mine = encoder.state_dict()["stem.convolution.weight"]
    assert mine[25 * 4 + 5 * 2 + 1].equal(state["backbone.embedding.stem.conv.weight"][:, 4, 2, 1].T)
    with pytest.raises(UserError, match="another width"):
        import_encoder(PointTransformerV3(in_channels=9), state)


def test_the_names_do_not_depend_on_the_head():
    report = released.import_released(Segmentor(PointTransformerV3(), 13), released_state(20))
    assert len(report.loaded) == len(PointTransformerV3().state_dict())
