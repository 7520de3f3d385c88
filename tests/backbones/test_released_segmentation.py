"""Import of released checkpoints, tried on state dicts of the released names and shapes made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backbones.released_states import point_transformer_state, stratified_state
from torch import Tensor

from mm3d_backbones import released_segmentation as released
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import read_weights

OURS = [
    "ceiling",
    "floor",
    "wall",
    "beam",
    "column",
    "window",
    "door",
    "table",
    "chair",
    "sofa",
    "bookcase",
    "board",
    "clutter",
]


@pytest.mark.parametrize(
    ("state", "tensors"),
    [
        (point_transformer_state(), 932),
        (point_transformer_state("PT_model.", "cls_pt", 20), 932),
        (stratified_state(), None),
        (stratified_state(scannet=True), None),
    ],
    ids=["point transformer", "mm-3dscene", "stratified s3dis", "stratified scannet"],
)
def test_every_released_tensor_finds_its_place(state: dict[str, Tensor], tensors: int | None):
    model = released.network_of(state)
    report = released.import_released(model, state)
    assert (report.fresh, report.unused, report.mismatched) == ([], [], [])
    assert len(report.loaded) == len(state) == len(model.state_dict()) == (tensors or len(state))
    # each value arrived once
    ours = sorted(float(value.double().sum()) for value in model.state_dict().values())
    assert ours == pytest.approx(sorted(float(value.double().sum()) for value in state.values()))


def test_tensors_arrive_where_they_belong():
    state = point_transformer_state()
    model = Segmentor(PointTransformer(), 13)
    released.import_released(model, state)
    ours = model.state_dict()
    for theirs, name in {
        "enc1.0.linear.weight": "encoder.down.0.linear.weight",
        "enc4.5.transformer2.linear_w.5.bias": "encoder.encoder_blocks.3.4.attention.weight.5.bias",
        "dec5.0.linear1.0.weight": "encoder.up.4.fuse.0.weight",
        "dec5.0.linear2.0.weight": "encoder.up.4.context.0.weight",
        "dec2.0.linear1.0.weight": "encoder.up.1.skip.0.weight",
        "dec2.0.linear2.0.weight": "encoder.up.1.lift.0.weight",
        "dec3.1.bn3.running_mean": "encoder.decoder_blocks.2.0.norm_out.running_mean",
        "cls.3.bias": "head.3.bias",
    }.items():
        assert torch.equal(state[f"module.{theirs}"], ours[name])
    deep = stratified_state(scannet=True)
    model = released.network_of(deep)
    released.import_released(model, deep)
    ours = model.state_dict()
    for theirs, name in {
        "layers.1.blocks.8.attn.relative_pos_key_table": "encoder.stages.2.8.attention.key_table",
        "downsample.linear.weight": "encoder.down.0.linear.weight",
        "layers.2.downsample.norm.bias": "encoder.down.3.norm.bias",
        "upsamples.0.linear2.1.weight": "encoder.up.3.lift.1.weight",
        "upsamples.3.linear1.1.weight": "encoder.up.0.skip.1.weight",
        "stem_layer.1.unary_2.1.batch_norm.running_var": "encoder.stem.1.widen.1.running_var",
        "layers.0.blocks.2.mlp.fc2.bias": "encoder.stages.1.2.perceptron.2.bias",
    }.items():
        assert torch.equal(deep[f"module.{theirs}"], ours[name])


def test_classes_are_brought_into_our_order():
    state, model = point_transformer_state(), Segmentor(PointTransformer(), 13)
    released.import_released(model, state, OURS)
    for ours, name in enumerate(OURS):
        theirs = released.S3DIS_ORDER.index(name)
        assert torch.equal(model.head[3].weight[ours], state["module.cls.3.weight"][theirs])  # pyright: ignore
        assert model.head[3].bias[ours] == state["module.cls.3.bias"][theirs]  # pyright: ignore
    with pytest.raises(UserError, match="class_names"):
        released.import_released(model, state, ["sky", *OURS[1:]])


def test_what_was_not_taken_over_is_reported_by_name():
    state = point_transformer_state("PT_model.", "cls_pt", 20)
    state["module.teacher.enc1.0.linear.weight"] = torch.zeros(32, 6)
    del state["module.PT_model.enc1.0.bn.bias"]
    report = released.import_released(Segmentor(PointTransformer(), 13), state)
    assert report.unused == ["module.teacher.enc1.0.linear.weight"]
    assert report.fresh == ["encoder.down.0.norm.bias"]
    assert report.mismatched == ["head.3.bias", "head.3.weight"]


def test_a_file_becomes_a_fine_tuned_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    state = point_transformer_state()
    torch.save({"epoch": 100, "state_dict": state, "best_iou": 0.7}, tmp_path / "best.pth")
    arguments = [str(tmp_path / "best.pth"), str(tmp_path / "model.safetensors"), "--classes", ",".join(OURS)]
    assert released.main(arguments) == 0
    assert "932 tensors loaded" in capsys.readouterr().out
    weights = read_weights(tmp_path / "model.safetensors")
    assert torch.equal(weights["encoder.down.0.linear.weight"], state["module.enc1.0.linear.weight"])
    assert weights.keys() == Segmentor(PointTransformer(), 13).state_dict().keys()
    assert released.main([*arguments[:1], str(tmp_path / "encoder.safetensors"), "--encoder"]) == 0
    assert read_weights(tmp_path / "encoder.safetensors").keys() == PointTransformer().state_dict().keys()


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


@pytest.mark.parametrize("content", ["missing", "garbage", "pickle", "nothing", "foreign"])
def test_bad_files_are_refused_with_one_line(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "released.pth"
    if content == "garbage":
        path.write_bytes(b"not a checkpoint")
    elif content == "pickle":
        torch.save({"state_dict": {"a": torch.zeros(1)}, "trap": Trap()}, path)
    elif content == "nothing":
        torch.save({"epoch": 3}, path)
    elif content == "foreign":
        torch.save({"state_dict": {"conv1.weight": torch.zeros(3)}}, path)
    assert released.main([str(path), str(tmp_path / "out.safetensors")]) == 1
    assert capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_an_encoder_without_releases_is_refused():
    class Other(Encoder):
        channels = (8,)

    with pytest.raises(ValueError, match="Other"):
        released.import_released(Segmentor(Other(), 13), {})
    with pytest.raises(UserError, match="no tensor belongs"):
        released.import_released(Segmentor(StratifiedTransformer(), 13), point_transformer_state())
