"""Point Transformer V3: its size, plain restatements in float64, isolated scenes, no order of points, no chance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mm3d_backbones.patch_attention import Patches, patch_attention_reference
from mm3d_backbones.point_transformer_v3 import Block, PointTransformerV3
from mm3d_backbones.segmentor import Segmentor
from mm3d_core.encoder import Encoder
from mm3d_core.points import PointBatch
from pointops import known_counts
from pointops.serialized import SerializedLevel, SerializedSpec, make_serialized_plan
from pointops.submanifold import submanifold_convolution_reference

EXACT: Any = {"rtol": 1e-10, "atol": 1e-10}
SMALL = {
    "voxel": 0.1,
    "channels": (8, 16, 24),
    "depths": (2, 1, 2),
    "heads": (2, 4, 3),
    "decoder_channels": (16, 16),
    "decoder_depths": (1, 2),
    "decoder_heads": (4, 2),
    "patch": 16,
    "strides": (2, 2),
}


def network(seed: int = 0, **changes: object) -> PointTransformerV3:
    torch.manual_seed(seed)
    model = PointTransformerV3(**{**SMALL, **changes})  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        for module in model.modules():
            if (
                isinstance(module, nn.BatchNorm1d)
                and module.running_mean is not None
                and module.running_var is not None
            ):
                module.running_mean.normal_()
                module.running_var.uniform_(0.5, 2)
    return model.eval()


def scene(count: int, seed: int = 0, size: float = 1.0) -> PointBatch:
    random = torch.Generator().manual_seed(seed)
    coord = torch.rand(count, 3, generator=random) * size
    return PointBatch.single(coord, torch.rand(count, 6, generator=random))


def on_a_grid(count: int, seed: int = 0, side: int = 12) -> PointBatch:
    """Points of which no two share a voxel."""
    random = torch.Generator().manual_seed(seed)
    cells = torch.randint(0, side, (4 * count, 3), generator=random).unique(dim=0)
    cells = cells[torch.randperm(len(cells), generator=random)][:count]
    cells = cells - cells.amin(0)
    return PointBatch.single((cells + 0.3) * 0.1, torch.rand(len(cells), 6, generator=random))


# ---------------------------------------------------------------------------------------------- size


def test_the_network_has_the_released_number_of_parameters():
    model = PointTransformerV3()
    assert isinstance(model, Encoder)

    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    assert count(model) == 46_166_272
    assert [count(stage) for stage in (model.stem, *model.encoder)] == [
        24_064, 83_008, 332_096, 1_323_648, 15_788_288, 21_121_536,
    ]  # fmt: skip
    assert [count(stage) for stage in model.decoder] == [336_384, 342_528, 1_364_992, 5_449_728]
    assert model.channels == (64, 64, 128, 256, 512)


# ---------------------------------------------------------------------------------------------- restatements


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.Linear)
    return x @ layer.weight.T + layer.bias


def layer_norm(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.LayerNorm)
    centered = x - x.mean(1, keepdim=True)
    return centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt() * layer.weight + layer.bias


def batch_norm(layer: nn.Module, x: Tensor) -> Tensor:
    assert isinstance(layer, nn.BatchNorm1d)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    return (x - layer.running_mean) / (layer.running_var + 1e-3).sqrt() * layer.weight + layer.bias


def gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / 2**0.5)) / 2


def attention(layer: Any, x: Tensor, level: SerializedLevel, curve: int, patch: int) -> Tensor:
    order = level.order[curve].long()
    sorted_ = linear(layer.query_key_value, x)[order]
    query, key, value = (part.unflatten(1, (layer.heads, -1)) for part in sorted_.chunk(3, 1))
    mixed = patch_attention_reference(query, key, value, known_counts(level.offset), patch).flatten(1)
    return linear(layer.out, torch.zeros_like(mixed).index_copy(0, order, mixed))


def block(layer: Any, x: Tensor, level: SerializedLevel, curve: int, patch: int) -> Tensor:
    own = layer.position
    convolved = submanifold_convolution_reference(x, level.neighbors, own.convolution.weight) + own.convolution.bias
    x = x + layer_norm(own.norm, linear(own.linear, convolved))
    x = x + attention(layer.attention, layer_norm(layer.norm_attention, x), level, curve, patch)
    hidden = gelu(linear(layer.perceptron[0], layer_norm(layer.norm_perceptron, x)))
    return x + linear(layer.perceptron[2], hidden)


def restated(model: Any, points: PointBatch) -> list[Tensor]:
    """The network in evaluation, voxel by voxel where it pools."""
    levels = make_serialized_plan(points.coord, points.offset, model.spec).levels
    patch, count = model.patch, len(model.spec.orders)
    x = torch.stack([points.feat[levels[0].owner == v].mean(0) for v in range(levels[0].num_points)])
    assert levels[0].stem is not None
    x = submanifold_convolution_reference(x, levels[0].stem, model.stem.convolution.weight)
    x, feats = gelu(batch_norm(model.stem.norm, x)), []
    for stage, level in zip(model.encoder, levels, strict=True):
        if feats:
            inner = linear(stage.down.linear, x)
            pooled = torch.stack([inner[level.owner == v].amax(0) for v in range(level.num_points)])
            x = gelu(batch_norm(stage.down.norm, pooled))
        for number, each in enumerate(stage.blocks):
            x = block(each, x, level, number % count, patch)
        feats.append(x)
    for number in reversed(range(len(model.decoder))):
        stage = model.decoder[number]
        lifted = gelu(batch_norm(stage.up.lift[1], linear(stage.up.lift[0], x)))
        skipped = gelu(batch_norm(stage.up.skip[1], linear(stage.up.skip[0], feats[number])))
        x = skipped + lifted[levels[number + 1].owner.long()]
        for turn, each in enumerate(stage.blocks):
            x = block(each, x, levels[number], turn % count, patch)
        feats[number] = x
    return [feats[0][levels[0].owner.long()], *feats[1:]]


@pytest.mark.parametrize("counts", [(60,), (60, 9), (9, 60, 5), (5, 7)])
def test_a_block_is_its_restatement_with_gradients(counts):
    torch.manual_seed(0)
    layer = Block(12, 3, 0.0).double()
    points = PointBatch.join([scene(count, seed) for seed, count in enumerate(counts)])
    level = make_serialized_plan(points.coord, points.offset, SerializedSpec(0.1, strides=())).levels[0]
    feat = torch.rand(level.num_points, 12, dtype=torch.float64).requires_grad_()
    patches = Patches.of(known_counts(level.offset), 16, feat.device)
    for curve in range(4):
        found = layer(feat, level.neighbors, patches, level.order[curve], level.place[curve])
        meant = block(layer, feat, level, curve, 16)
        torch.testing.assert_close(found, meant, **EXACT)
        change, inputs = torch.rand_like(meant), (feat, *layer.parameters())
        ours, its = torch.autograd.grad(found, inputs, change), torch.autograd.grad(meant, inputs, change)
        for one, other in zip(ours, its, strict=True):
            torch.testing.assert_close(one, other, **EXACT)


def test_the_network_is_its_restatement_with_gradients():
    model = network().double()
    points = PointBatch.join([scene(150), scene(40, 1, 0.4), scene(200, 2, 2.0)])
    points = points.with_feat(points.feat.double().requires_grad_())
    found, meant = [level.feat for level in model(points)], restated(model, points)
    for one, other in zip(found, meant, strict=True):
        torch.testing.assert_close(one, other, **EXACT)
    inputs = (points.feat, *model.parameters())
    totals = [torch.stack([level.square().sum() for level in levels]).sum() for levels in (found, meant)]
    ours, its = (torch.autograd.grad(total, inputs) for total in totals)
    for one, other in zip(ours, its, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_the_last_patch_is_filled_from_the_one_before_it():
    patches = Patches.of([10, 3], 4, torch.device("cpu"))
    assert patches.slots.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 6, 7], [10, 11, 12, -1]]
    assert patches.back.tolist() == [*range(10), 12, 13, 14]
    assert patches.mask is not None
    assert patches.mask[3, 0, 0].tolist() == [True, True, True, False]
    assert Patches.of([8, 4], 4, torch.device("cpu")).mask is None


# ---------------------------------------------------------------------------------------------- contracts


def test_a_scene_does_not_feel_its_batch_mates():
    model, scenes = network(), [scene(150), scene(6, 1, 0.1), scene(300, 2, 3.0)]
    together = model(PointBatch.join(scenes))
    for number, one in enumerate(scenes):
        for level, its in zip(model(one), together, strict=True):
            torch.testing.assert_close(its.feat[its.scenes()[number]], level.feat, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(its.coord[its.scenes()[number]], level.coord)


def test_features_follow_the_points_in_whatever_order_they_come():
    model, points = network(), scene(200)
    turn = torch.randperm(200, generator=torch.Generator().manual_seed(3))
    turned = PointBatch.single(points.coord[turn], points.feat[turn])
    one, other = model(points), model(turned)
    torch.testing.assert_close(one[0].feat[turn], other[0].feat, rtol=1e-4, atol=1e-5)
    for first, second in zip(one[1:], other[1:], strict=True):
        torch.testing.assert_close(first.feat, second.feat, rtol=1e-4, atol=1e-5)


def test_logits_follow_the_points_too():
    model, points = Segmentor(network(), 5).eval(), on_a_grid(150)
    turn = torch.randperm(points.num_points, generator=torch.Generator().manual_seed(3))
    turned = PointBatch.single(points.coord[turn], points.feat[turn])
    logits = [model.predict(each)["logits"] for each in (points, turned)]
    torch.testing.assert_close(logits[0][turn], logits[1], rtol=1e-4, atol=1e-5)


def test_evaluation_leaves_nothing_to_chance_unless_asked_to():
    points = scene(300)
    torch.manual_seed(0)
    assert network()(points)[0].feat.equal(network()(points)[0].feat)
    released = network(shuffle_orders="always")
    outputs = torch.stack([released(points)[0].feat for _ in range(4)])
    assert float((outputs - outputs[0]).detach().abs().max()) > 1e-3
    fixed = network(shuffle_orders="never", drop_path=0.0).train()
    assert fixed(points)[2].feat.equal(fixed(points)[2].feat)
    drawn = network(drop_path=0.0).train()
    assert len({float(drawn(points)[2].feat.detach().sum()) for _ in range(4)}) > 1


def test_points_that_share_a_voxel_read_the_same_feature():
    model, points = network(), on_a_grid(100)
    doubled = PointBatch.single(points.coord.repeat(2, 1), points.feat.repeat(2, 1))
    one, both = model(points), model(doubled)
    torch.testing.assert_close(both[0].feat, one[0].feat.repeat(2, 1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both[1].feat, one[1].feat, rtol=1e-4, atol=1e-5)


def test_a_scene_smaller_than_a_patch_is_one_patch():
    points = scene(12)
    sizes = [network(patch=size)(points)[0].feat for size in (12, 16, 1024)]
    torch.testing.assert_close(sizes[0], sizes[1])
    torch.testing.assert_close(sizes[0], sizes[2])


def test_a_single_point_is_evaluated_and_refused_in_training():
    point = scene(1)
    assert [level.num_points for level in network()(point)] == [1, 1, 1]
    with pytest.raises(ValueError, match="single point"):
        network().train()(point)


def test_levels_carry_their_points():
    points = PointBatch.join([scene(100), scene(50, 1)]).with_attributes(color=torch.rand(150, 3))
    levels = network()(points)
    assert levels[0].coord is points.coord
    for level in levels[1:]:
        near = (level.coord - points.coord[_rows(points, level)]).norm(dim=1)
        assert float(near.max()) < 0.4 * 3**0.5
        assert level.attributes["color"].equal(points.attributes["color"][_rows(points, level)])


def _rows(points: PointBatch, level: PointBatch) -> Tensor:
    starts = torch.tensor([rows.start for rows in points.scenes()])
    return level.index + starts[level.scene_of_point()]


def test_a_plan_made_before_gives_the_same_result():
    model, scenes = network(), [scene(100), scene(50, 1)]
    planned = [s.with_plan(make_serialized_plan(s.coord, s.offset, model.spec)) for s in scenes]
    for one, other in zip(model(PointBatch.join(planned)), model(PointBatch.join(scenes)), strict=True):
        torch.testing.assert_close(one.feat, other.feat)


def test_without_a_decoder_the_levels_are_those_of_the_way_down():
    bare, points, whole = network(decoder_channels=(), decoder_depths=(), decoder_heads=()), scene(100), network()
    assert bare.channels == (8, 16, 24)
    bare.load_state_dict({n: v for n, v in whole.state_dict().items() if not n.startswith("decoder.")})
    for one, other in zip(bare(points), whole.descend(points), strict=True):
        torch.testing.assert_close(one.feat, other.feat)


def test_every_parameter_gets_a_gradient_and_training_falls():
    torch.manual_seed(0)
    model = Segmentor(PointTransformerV3(**{**SMALL, "drop_path": 0.0}), 3).train()
    points = PointBatch.join([scene(150), scene(150, 1)])
    labels = {"segment": (points.coord[:, 2] * 3).long().clamp(0, 2)}
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = model.loss(points, labels)["loss"]
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    assert losses[-1] < losses[0] / 2
    assert [name for name, p in model.named_parameters() if p.grad is None or not bool(p.grad.any())] == []


def test_autocast_convolves_in_half_precision():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        levels = network()(scene(100))
    torch.testing.assert_close(levels[0].feat.float(), network()(scene(100))[0].feat, rtol=0.1, atol=0.2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"orders": ("z", "spiral")}, "orders must be one of"),
        ({"shuffle_orders": "sometimes"}, "shuffle_orders must be one of"),
        ({"depths": (1, 1)}, "one of each per level"),
        ({"decoder_depths": (1,)}, "one of each per level"),
        ({"heads": (3, 4, 3)}, "multiples of their heads"),
        ({"strides": (2, 3)}, "powers of two"),
        ({"patch": 0}, "at least one point"),
        ({"voxel": -1.0}, "positive length"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        network(**changes)


def test_bad_points_are_refused():
    model, points = network(), scene(20)
    with pytest.raises(ValueError, match="4 channels, the network reads 6"):
        model(points.with_feat(points.feat[:, :4]))
    with pytest.raises(ValueError, match="NaN, infinite"):
        model(PointBatch.single(points.coord / 0, points.feat))
    with pytest.raises(ValueError, match="16 bits an axis"):
        model(PointBatch.single(points.coord * 1e5, points.feat))
    other = make_serialized_plan(points.coord, points.offset, SerializedSpec(0.2))
    with pytest.raises(ValueError, match="another network"):
        model(points.with_plan(other))
    fewer = make_serialized_plan(points.coord[:19], torch.tensor([19]), model.spec)
    with pytest.raises(ValueError, match="made for 19 points"):
        model(points.with_plan(fewer))


@pytest.mark.gpu
def test_the_gpu_agrees():
    model, points = network(), PointBatch.join([scene(3000, size=4.0), scene(10, 1)])
    here = model(points)
    there = model.cuda()(points.to("cuda"))
    for one, other in zip(here, there, strict=True):
        torch.testing.assert_close(other.feat.cpu(), one.feat, rtol=2e-2, atol=2e-2)


def test_gelu_here_is_torchs():
    x = torch.linspace(-4, 4, 50, dtype=torch.float64)
    torch.testing.assert_close(gelu(x), F.gelu(x))
