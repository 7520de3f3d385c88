"""Released checkpoints: state dicts of the released names and shapes load whole, and foreign ones are refused."""

from __future__ import annotations

import pytest
import torch
from backbones.released_states import h3dnet, votenet
from torch import nn

from mm3d_backbones.h3dnet import FourTowers, H3DNet
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.released_detection import (
    convert_file,
    import_encoder,
    import_h3dnet,
    import_votenet,
)
from mm3d_backbones.votenet import VoteNet
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights
from mm3d_core.training.released import read_released


def scannet_votenet(channels: int = 1) -> VoteNet:
    return VoteNet(PointNet2Encoder(channels), 18, 1, torch.ones(18, 3))


def test_released_dicts_have_the_published_sizes():
    assert len(votenet()) == 146
    assert len(h3dnet()) == 730


def test_a_released_votenet_loads_whole():
    model, released = scannet_votenet(), votenet()
    report = import_votenet(model, released)
    assert len(report.loaded) == 146
    assert [*report.fresh, *report.unused, *report.mismatched] == []
    weights = model.state_dict()
    assert torch.equal(
        weights["encoder.sa1.mlp.linears.0.weight"],
        released["backbone_net.sa1.mlp_module.layer0.conv.weight"].flatten(1),
    )
    assert torch.equal(
        weights["encoder.fp2.norms.1.running_var"], released["backbone_net.fp2.mlp.layer1.bn.bn.running_var"]
    )
    assert torch.equal(weights["voting.head.last.bias"], released["vgen.conv3.bias"])
    assert torch.equal(weights["head.stack.linears.1.weight"], released["pnet.conv2.weight"].flatten(1))


def test_a_released_sunrgbd_votenet_loads_into_its_own_network_only():
    model = VoteNet(PointNet2Encoder(1), 10, 12, torch.ones(10, 3))
    assert len(import_votenet(model, votenet(out=79)).loaded) == 146
    with pytest.raises(UserError, match=r"another shape.*head\.last"):
        import_votenet(scannet_votenet(), votenet(out=79))


def test_a_released_h3dnet_loads_whole():
    model, released = H3DNet(FourTowers(1), 18, 1, torch.ones(18, 3)), h3dnet()
    report = import_h3dnet(model, released)
    assert len(report.loaded) == 730
    weights = model.state_dict()
    assert torch.equal(weights["votings.vertical.head.last.bias"], released["vgen_xy.conv3.bias"])
    assert torch.equal(
        weights["encoder.towers.3.fp1.linears.0.weight"],
        released["backbone_net4.fp1.mlp.layer0.conv.weight"].flatten(1),
    )
    assert torch.equal(weights["refinement.head.last.weight"], released["pnet_final.conv_refine4.weight"].flatten(1))
    assert torch.equal(weights["refinement.first.norms.0.weight"], released["pnet_final.bn_refine1.weight"])


def test_a_checkpoint_of_another_network_is_refused_and_changes_nothing():
    model = scannet_votenet()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(UserError, match="layers missing"):
        import_votenet(model, h3dnet())
    with pytest.raises(UserError, match="left over"):
        import_votenet(model, votenet() | {"decoder.weight": torch.ones(1)})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_encoder_of_a_pre_training_loads_beside_tensors_of_other_modules():
    encoder, released = PointNet2Encoder(4), votenet(channels=4) | {"folding.mlp.weight": torch.ones(3)}
    report = import_encoder(encoder, released)
    assert not report.fresh
    assert "folding.mlp.weight" in report.unused
    assert torch.equal(
        encoder.state_dict()["sa4.mlp.norms.2.running_mean"],
        released["backbone_net.sa4.mlp_module.layer2.bn.bn.running_mean"],
    )


def test_other_inputs_are_refused_unless_the_published_omission_is_asked_for():
    encoder, released = PointNet2Encoder(3), votenet(channels=4)
    with pytest.raises(UserError, match=r"sa1\.mlp\.linears\.0\.weight"):
        import_encoder(encoder, released)
    report = import_encoder(encoder, released, skip_mismatched=True)
    assert report.mismatched == ["sa1.mlp.linears.0.weight"]
    assert report.fresh == ["sa1.mlp.linears.0.weight"]
    assert len(report.loaded) == len(encoder.state_dict()) - 1


def test_files_are_read_as_the_programs_write_them(tmp_path):
    path = tmp_path / "checkpoint.tar"
    state = {f"module.{name}": value for name, value in votenet().items()}
    torch.save({"epoch": 180, "loss": torch.tensor(1.0), "model_state_dict": state}, path)
    assert len(import_votenet(scannet_votenet(), read_released(path), path.name).loaded) == 146


def test_a_converted_file_is_loaded_by_an_evaluation(tmp_path):
    torch.save({"model_state_dict": votenet()}, tmp_path / "released.tar")
    convert_file(tmp_path / "released.tar", tmp_path / "model.safetensors", "votenet")
    model = scannet_votenet()
    model.load_state_dict(read_weights(tmp_path / "model.safetensors"), strict=True)
    with pytest.raises(UserError, match="not a released h3dnet"):
        convert_file(tmp_path / "released.tar", tmp_path / "other.safetensors", "h3dnet")
    with pytest.raises(UserError, match="network=pointnet"):
        convert_file(tmp_path / "released.tar", tmp_path / "other.safetensors", "pointnet")


def test_bad_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint"):
        read_released(tmp_path / "absent.tar")
    (tmp_path / "text.tar").write_text("not a checkpoint")
    with pytest.raises(UserError, match="cannot be read"):
        read_released(tmp_path / "text.tar")
    torch.save({"epoch": 3}, tmp_path / "empty.tar")
    with pytest.raises(UserError, match="no state dict"):
        read_released(tmp_path / "empty.tar")


def test_code_in_a_file_is_never_run(tmp_path):
    torch.save({"model_state_dict": nn.Linear(2, 2)}, tmp_path / "module.tar")
    with pytest.raises(UserError, match="cannot be read"):
        read_released(tmp_path / "module.tar")
