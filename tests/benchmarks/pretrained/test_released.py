"""A released checkpoint is told by its tensors and shown scans as its program did; others are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from backbones.released_states import Released, h3dnet, point_transformer_state, stratified_state, votenet
from benchmarks.pretrained.small_networks import cloud

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.pretrained.description import Description
from mm3d_benchmarks.pretrained.released import import_file, recognized
from mm3d_core.errors import UserError


def saved(path: Path, state: dict[str, torch.Tensor], name: str = "state_dict") -> Path:
    torch.save({name: state, "epoch": 3}, path)
    return path


def plausible(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors of a size that a trained network's have, so that numbers stay finite through all layers."""
    sized = {}
    for name, value in state.items():
        if name.endswith("running_var"):
            value = value.abs() + 0.5
        elif name.endswith("K_points"):
            value = value * 0.03  # metres
        elif value.dim() > 1:
            value = value / value[0].numel() ** 0.5
        sized[name] = value
    return sized


#: Release -> (state dict, name under which its program keeps it, backbone, what it holds, levels, inputs).
RELEASES: dict[str, tuple[dict[str, torch.Tensor], str, str, str, int, tuple[str, ...]]] = {
    "point_transformer.pth": (
        point_transformer_state(), "state_dict", "point_transformer", "segmentation", 5, ("coord", "color"),
    ),
    "mm3dscene.pth": (
        point_transformer_state("PT_model.", "cls_pt", 20), "state_dict", "point_transformer", "segmentation", 5,
        ("coord", "color"),
    ),
    "stratified.pth": (
        stratified_state(), "state_dict", "stratified_transformer", "segmentation", 4, ("color", "coord"),
    ),
    "stratified_scannet.pth": (
        stratified_state(scannet=True), "state_dict", "stratified_transformer_scannet", "segmentation", 5,
        ("color", "coord"),
    ),
    "votenet.tar": (votenet(), "model_state_dict", "votenet", "detection", 1, ("height",)),
    "h3dnet.tar": (h3dnet(), "model_state_dict", "h3dnet", "detection", 4, ("height",)),
}  # fmt: skip


@pytest.mark.parametrize("name", RELEASES)
def test_every_release_is_loaded_and_shown_a_scan(name: str, tmp_path: Path) -> None:
    state, where, backbone, holds, levels, inputs = RELEASES[name]
    network = pretrained.load(saved(tmp_path / name, plausible(state), where), device="cpu")
    told = network.description
    assert (told.name, told.holds, told.inputs, len(network.channels)) == (backbone, holds, inputs, levels)
    (coord, color), reads_color = cloud(1200), "color" in inputs
    found = network.features(coord, color if reads_color else None, level="all", progress=False)
    assert found.shape == (1200, sum(network.channels))
    assert np.isfinite(found).all()
    assert (found.std(axis=0) > 0).mean() > 0.5  # rectified: a channel of random weights may be 0 everywhere
    if holds == "segmentation":
        assert set(network.segment(coord, color, progress=False).tolist()) <= set(range(len(network.classes)))
    else:
        assert network.detect(coord, min_score=0.0, progress=False).names == network.classes


def test_a_network_that_learned_on_another_scale_is_fed_on_it(tmp_path: Path) -> None:
    """Stratified Transformer's ScanNet network: colors in [-1, 1]; what it reads is what its program showed it."""
    file = saved(tmp_path / "deep.pth", plausible(stratified_state(scannet=True)))
    network = pretrained.load(file, device="cpu")
    seen = []
    network.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].feat.numpy().copy()))
    coord, color = cloud(600)
    color[:3] = [[0, 0, 0], [255, 255, 255], [51, 102, 204]]
    network.features(coord, color, every_point=True, progress=False)
    shown = np.concatenate([feat[:, :3] for feat in seen])
    assert (shown.min(), shown.max()) == (-1.0, 1.0)
    expected = np.unique(color / 127.5 - 1, axis=0)
    np.testing.assert_allclose(np.unique(shown.astype(np.float64).round(5), axis=0), expected.round(5), atol=2e-5)
    assert network.description.to_json()["inputs"][0]["scaling"] == [2.0, -1.0]


@pytest.mark.parametrize("scaling", [[0.0, 1.0], [float("inf"), 0.0], [1.0], "no"])
def test_a_scaling_that_no_network_has_is_refused(tmp_path: Path, scaling: object) -> None:
    told = pretrained.load(
        saved(tmp_path / "a.pth", stratified_state(scannet=True)), device="cpu"
    ).description.to_json()
    assert told["format"] == 2  # older programs would feed it wrongly, and refuse it
    told["inputs"][0]["scaling"] = scaling
    with pytest.raises(UserError, match="its description is damaged"):
        Description.from_json(told, "a.safetensors")


def test_a_released_point_transformer_is_a_segmentor(tmp_path: Path) -> None:
    model = pretrained.load(saved(tmp_path / "model_best.pth", plausible(point_transformer_state())), device="cpu")
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
    file = saved(tmp_path / "checkpoint.tar", plausible(votenet(channels, outputs)), "model_state_dict")
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
