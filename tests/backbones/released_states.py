"""State dicts of the released names and shapes; every tensor is random, so that a mix-up of two shows."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class Released:
    """Builds a state dict by the released programs' names; every tensor is random, so a mix-up of two shows."""

    def __init__(self) -> None:
        self.state: dict[str, Tensor] = {}
        self._random = torch.Generator().manual_seed(0)

    def conv(self, name: str, out: int, inputs: int, dimensions: int = 1, bias: bool = True) -> None:
        self.state[f"{name}.weight"] = torch.randn(out, inputs, *[1] * dimensions, generator=self._random)
        if bias:
            self.state[f"{name}.bias"] = torch.randn(out, generator=self._random)

    def norm(self, name: str, channels: int) -> None:
        for tensor in ("weight", "bias", "running_mean", "running_var"):
            self.state[f"{name}.{tensor}"] = torch.rand(channels, generator=self._random)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def mlp(self, name: str, *widths: int) -> None:
        for number, (first, second) in enumerate(pairwise(widths)):
            self.conv(f"{name}.layer{number}.conv", second, first, dimensions=2, bias=False)
            self.norm(f"{name}.layer{number}.bn.bn", second)

    def backbone(self, name: str, channels: int) -> None:
        self.mlp(f"{name}.sa1.mlp_module", 3 + channels, 64, 64, 128)
        self.mlp(f"{name}.sa2.mlp_module", 131, 128, 128, 256)
        self.mlp(f"{name}.sa3.mlp_module", 259, 128, 128, 256)
        self.mlp(f"{name}.sa4.mlp_module", 259, 128, 128, 256)
        self.mlp(f"{name}.fp1.mlp", 512, 256, 256)
        self.mlp(f"{name}.fp2.mlp", 512, 256, 256)

    def head(self, name: str, width: int, out: int) -> None:
        for number in (1, 2):
            self.conv(f"{name}.conv{number}", width, width)
            self.norm(f"{name}.bn{number}", width)
        self.conv(f"{name}.conv3", out, width)


def votenet(channels: int = 1, out: int = 97) -> dict[str, Tensor]:
    released = Released()
    released.backbone("backbone_net", channels)
    released.head("vgen", 256, 259)
    released.mlp("pnet.vote_aggregation.mlp_module", 259, 128, 128, 128)
    released.head("pnet", 128, out)
    return released.state


def h3dnet(channels: int = 1, classes: int = 18, out: int = 143) -> dict[str, Tensor]:
    released = Released()
    for tower in range(1, 5):
        released.backbone(f"backbone_net{tower}", channels)
    for name, width, inputs in (("agg1", 512, 1024), ("agg2", 256, 512)):
        released.conv(f"conv_{name}", width, inputs)
        released.norm(f"bn_{name}", width)
    released.head("vgen", 256, 259)
    for kind, extents in (("z", 2), ("xy", 1), ("line", 0)):
        released.conv(f"conv_flag_{kind}1", 128, 256)
        released.norm(f"bn_flag_{kind}1", 128)
        released.conv(f"conv_flag_{kind}2", 2, 128)
        released.head(f"vgen_{kind}", 256, 259)
        released.mlp(f"pnet_{kind}.vote_aggregation.mlp_module", 259, 128, 128, 128)
        released.head(f"pnet_{kind}", 128, 3 + extents + classes)
    released.mlp("pnet_final.vote_aggregation.mlp_module", 259, 128, 128, 128)
    released.mlp("pnet_final.match_surface_center.mlp_module", 137, 128, 64, 32)
    released.mlp("pnet_final.match_line_center.mlp_module", 143, 128, 64, 32)
    released.head("pnet_final", 128, out)
    for name in ("match", "match_sem"):
        released.conv(f"pnet_final.conv_{name}1", 32, 32)
        released.norm(f"pnet_final.bn_{name}1", 32)
        released.conv(f"pnet_final.conv_{name}2", 2, 32)
    for name in ("surface1", "surface2", "line1", "line2"):
        released.conv(f"pnet_final.conv_{name}", 32, 32)
        released.norm(f"pnet_final.bn_{name}", 32)
    for number, inputs in ((1, 576), (2, 128), (3, 128)):
        released.conv(f"pnet_final.conv_refine{number}", 128, inputs)
        released.norm(f"pnet_final.bn_refine{number}", 128)
    released.conv("pnet_final.conv_refine4", out, 128)
    return released.state


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
