"""Import of released checkpoints, tried on state dicts of the released names and shapes made here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mm3d_backbones import released_segmentation as released
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer
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


def linear(out: int, into: int, bias: bool = True) -> nn.Module:
    return nn.Linear(into, out, bias)


class Tree(nn.Module):
    """Modules under dotted names: the released structure, spelled out."""

    def put(self, name: str, module: nn.Module | nn.Parameter) -> None:
        parts, here = name.split("."), self
        for part in parts[:-1]:
            if not hasattr(here, part):
                here.add_module(part, Tree())
            here = getattr(here, part)
        if isinstance(module, nn.Parameter):
            here.register_parameter(parts[-1], module)
        else:
            here.add_module(parts[-1], module)


def random_state(tree: Tree) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        n: torch.randn(v.shape, generator=random) if v.is_floating_point() else v + 7
        for n, v in tree.state_dict().items()
    }


def point_transformer_state(prefix: str = "", head: str = "cls", classes: int = 13) -> dict[str, Tensor]:
    """As POSTECH-CVLab/point-transformer saves it."""
    tree, planes, before = Tree(), (32, 64, 128, 256, 512), 6
    for level, width in enumerate(planes, start=1):
        tree.put(f"enc{level}.0.linear", linear(width, before + (3 if level > 1 else 0), False))
        tree.put(f"enc{level}.0.bn", nn.BatchNorm1d(width))
        before = width
        for block in range(1, (2, 3, 4, 6, 3)[level - 1]):
            attention_block(tree, f"enc{level}.{block}", width)
    for level, width in reversed(list(enumerate(planes, start=1))):
        coarse = 2 * width if level == 5 else width
        tree.put(f"dec{level}.0.linear1.0", linear(width, coarse))
        tree.put(f"dec{level}.0.linear1.1", nn.BatchNorm1d(width))
        tree.put(f"dec{level}.0.linear2.0", linear(width, width if level == 5 else planes[level]))
        if level < 5:
            tree.put(f"dec{level}.0.linear2.1", nn.BatchNorm1d(width))
        attention_block(tree, f"dec{level}.1", width)
    state = {f"{prefix}{name}": value for name, value in random_state(tree).items()}
    top = Tree()
    for place, module in (("0", linear(32, 32)), ("1", nn.BatchNorm1d(32)), ("3", linear(classes, 32))):
        top.put(f"{head}.{place}", module)
    return {f"module.{name}": value for name, value in {**state, **random_state(top)}.items()}


def attention_block(tree: Tree, name: str, width: int) -> None:
    for linear_name in ("linear1", "linear3"):
        tree.put(f"{name}.{linear_name}", linear(width, width, False))
    for norm in ("bn1", "bn2", "bn3"):
        tree.put(f"{name}.{norm}", nn.BatchNorm1d(width))
    layer, share = f"{name}.transformer2", width // 8
    for part in "qkv":
        tree.put(f"{layer}.linear_{part}", linear(width, width))
    for place, module in (("0", linear(3, 3)), ("1", nn.BatchNorm1d(3)), ("3", linear(width, 3))):
        tree.put(f"{layer}.linear_p.{place}", module)
    for place, module in (
        ("0", nn.BatchNorm1d(width)),
        ("2", linear(share, width)),
        ("3", nn.BatchNorm1d(share)),
        ("5", linear(share, share)),
    ):
        tree.put(f"{layer}.linear_w.{place}", module)


def stratified_state(scannet: bool = False) -> dict[str, Tensor]:
    """As JIA-Lab-research/Stratified-Transformer saves it."""
    channels = (48, 96, 192, 384, 384) if scannet else (48, 96, 192, 384)
    depths, length, classes = ((3, 9, 3, 3), 80, 20) if scannet else ((2, 2, 6, 2), 64, 13)
    tree, start = Tree(), int(scannet)
    kernel(tree, "stem_layer.0", 6, 48)
    tree.put("stem_layer.0.bn.batch_norm", nn.BatchNorm1d(48))
    if scannet:
        kernel(tree, "stem_layer.1", 12, 12)
        tree.put("stem_layer.1.bn.batch_norm", nn.BatchNorm1d(48))
        for unary, into, out in (("unary_1", 48, 12), ("unary_2", 12, 48)):
            tree.put(f"stem_layer.1.{unary}.0", linear(out, into, False))
            tree.put(f"stem_layer.1.{unary}.1.batch_norm", nn.BatchNorm1d(out))
        tree.put("downsample.norm", nn.LayerNorm(48))
        tree.put("downsample.linear", linear(96, 48, False))
    for layer, depth in enumerate(depths):
        width = channels[layer + start]
        for block in range(depth):
            window_block(tree, f"layers.{layer}.blocks.{block}", width, length)
        if layer < len(depths) - 1:
            tree.put(f"layers.{layer}.downsample.norm", nn.LayerNorm(width))
            tree.put(f"layers.{layer}.downsample.linear", linear(channels[layer + start + 1], width, False))
    for place, level in enumerate(range(len(channels) - 1, 0, -1)):
        fine, coarse = channels[level - 1], channels[level]
        for name, width in (("linear1", fine), ("linear2", coarse)):
            tree.put(f"upsamples.{place}.{name}.0", nn.LayerNorm(width))
            tree.put(f"upsamples.{place}.{name}.1", linear(fine, width))
    for place, module in (("0", linear(48, 48)), ("1", nn.BatchNorm1d(48)), ("3", linear(classes, 48))):
        tree.put(f"classifier.{place}", module)
    return {f"module.{name}": value for name, value in random_state(tree).items()}


def kernel(tree: Tree, name: str, into: int, out: int) -> None:
    tree.put(f"{name}.kpconv.K_points", nn.Parameter(torch.zeros(15, 3), requires_grad=False))
    tree.put(f"{name}.kpconv.weight", nn.Parameter(torch.zeros(15, into, out)))


def window_block(tree: Tree, name: str, width: int, length: int) -> None:
    for table in ("query", "key", "value"):
        tree.put(f"{name}.attn.relative_pos_{table}_table", nn.Parameter(torch.zeros(length, width // 16, 16, 3)))
    tree.put(f"{name}.attn.qkv", linear(3 * width, width))
    tree.put(f"{name}.attn.proj", linear(width, width))
    for norm in ("norm1", "norm2"):
        tree.put(f"{name}.{norm}", nn.LayerNorm(width))
    tree.put(f"{name}.mlp.fc1", linear(4 * width, width))
    tree.put(f"{name}.mlp.fc2", linear(width, 4 * width))


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
    class Other(nn.Module):
        channels = (8,)

    with pytest.raises(ValueError, match="Other"):
        released.import_released(Segmentor(Other(), 13), {})
    with pytest.raises(UserError, match="no tensor belongs"):
        released.import_released(Segmentor(StratifiedTransformer(), 13), point_transformer_state())
