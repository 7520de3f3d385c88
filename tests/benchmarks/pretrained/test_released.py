"""A released checkpoint is told by its tensors and shown scans as its program did; others are refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backbones.released_states import Released, point_transformer_state
from benchmarks.pretrained.small_networks import cloud

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.pretrained.released import import_file, recognized
from mm3d_core.errors import UserError


def saved(path: Path, state: dict[str, torch.Tensor], name: str = "state_dict") -> Path:
    torch.save({name: state, "epoch": 3}, path)
    return path


def votenet_state(channels: int, outputs: int) -> dict[str, torch.Tensor]:
    """As facebookresearch/votenet saves it."""
    released = Released()
    released.backbone("backbone_net", channels)
    released.head("vgen", 256, 259)
    released.mlp("pnet.vote_aggregation.mlp_module", 259, 128, 128, 128)
    released.head("pnet", 128, outputs)
    return {name: value * 0.1 if name.endswith("conv.weight") else value for name, value in released.state.items()}


def test_a_released_point_transformer_is_a_segmentor(tmp_path: Path) -> None:
    state = point_transformer_state()
    state = {name: value.abs() if name.endswith("running_var") else value / 9 for name, value in state.items()}
    model = pretrained.load(saved(tmp_path / "model_best.pth", state), device="cpu")
    assert model.description.holds == "segmentation"
    assert model.classes[:3] == ("ceiling", "floor", "wall")
    assert model.description.sampling.voxel == 0.04
    assert "S3DIS" in model.description.data["licence"]
    coord, color = cloud(300)
    assert model.segment(coord, color, progress=False).shape == (300,)


def test_the_account_of_names_is_given(tmp_path: Path) -> None:
    file = saved(tmp_path / "model_best.pth", point_transformer_state())
    _, network, report = import_file(file)
    assert set(report.loaded) == set(network.state_dict())
    assert report.mismatched == []


@pytest.mark.parametrize(
    ("channels", "outputs", "dataset", "inputs"),
    [
        (1, 97, "scannet", ("height",)),
        (3, 97, "scannet", ("color_votenet",)),
        (4, 79, "sunrgbd", ("color_centered", "height")),
    ],
)
def test_a_released_votenet_is_a_detector(
    tmp_path: Path, channels: int, outputs: int, dataset: str, inputs: tuple[str, ...]
) -> None:
    file = saved(tmp_path / "checkpoint.tar", votenet_state(channels, outputs), "model_state_dict")
    model = pretrained.load(file, device="cpu")
    assert (model.description.data["name"], model.description.inputs) == (dataset, inputs)
    assert model.description.holds == "detection"
    coord, color = cloud(300)
    assert model.detect(coord, color, min_score=0.0, progress=False).names == model.classes


def test_a_backbone_alone_is_an_encoder(tmp_path: Path) -> None:
    released = Released()
    released.backbone("backbone_net", 1)
    encoder = pretrained.load(saved(tmp_path / "pretrained.pth", released.state), device="cpu")
    assert encoder.description.holds == "encoder"
    assert encoder.features(cloud(300)[0], progress=False).shape == (300, 256)


def test_half_a_checkpoint_is_refused(tmp_path: Path) -> None:
    state = {name: value for name, value in point_transformer_state().items() if not name.startswith("module.dec3")}
    with pytest.raises(UserError, match=r"lacks .* tensors of the encoder"):
        pretrained.load(saved(tmp_path / "half.pth", state))


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is none of the released.*it holds backbone.conv1"):
        pretrained.load(saved(tmp_path / "a.pth", {"backbone.conv1": torch.zeros(3)}))
    (tmp_path / "b.pth").write_bytes(b"junk")
    with pytest.raises(UserError, match="cannot be read as plain tensors"):
        pretrained.load(tmp_path / "b.pth")
    torch.save({"epoch": 3}, tmp_path / "c.pth")
    with pytest.raises(UserError, match="holds no network weights"):
        pretrained.load(tmp_path / "c.pth")
    with pytest.raises(UserError, match="tells 7 classes apart"):
        recognized({"cls.3.weight": torch.zeros(7, 32)}, tmp_path / "d.pth")
    with pytest.raises(UserError, match=r"reads colors in \[-1, 1\]"):
        recognized({"stem_layer.1.kpconv.weight": torch.zeros(1)}, tmp_path / "e.pth")
