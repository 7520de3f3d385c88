"""Stratified Transformer: exact size, its layers' definitions, isolated scenes, and geometry made once."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pointops.plan
from mm3d_backbones.kernel_points import kernel_points
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import DropPath, StratifiedTransformer, TransitionDown, WindowAttention
from mm3d_core.methods.reconstruction import FoldingDecoder
from mm3d_core.points import PointBatch
from pointops.plan import make_plan
from pointops.windows import WindowPairs, window_pairs

SCANNET = {
    "voxel": 0.02,
    "channels": (48, 96, 192, 384, 384),
    "depths": (0, 3, 9, 3, 3),
    "heads": (3, 6, 12, 24, 24),
    "window": 5,
    "key_stride": 4,
    "skipped_blocks": 3,
}
SMALL = {"channels": (12, 24, 48), "depths": (2, 2, 1), "heads": (3, 6, 12)}


def points(*sizes: int, seed: int = 0) -> PointBatch:
    """Points near a floor and a wall, so that windows hold several."""
    random = torch.Generator().manual_seed(seed)
    coord = torch.rand(sum(sizes), 3, generator=random) * torch.tensor([1.5, 1.5, 0.05])
    coord[::3] = coord[::3][:, [0, 2, 1]]
    color = torch.rand(sum(sizes), 3, generator=random)
    return PointBatch(coord, torch.cat([color, coord], 1), torch.tensor(sizes).cumsum(0), torch.arange(sum(sizes)))


def small(**options: object) -> StratifiedTransformer:
    torch.manual_seed(0)
    return StratifiedTransformer(**{**SMALL, **options})  # pyright: ignore[reportArgumentType]


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_every_module_of_the_s3dis_network_has_the_published_number_of_parameters():
    model = Segmentor(StratifiedTransformer(), 13)
    network = model.encoder
    assert isinstance(network, StratifiedTransformer)
    assert count(network.stem) == 4_461
    assert [count(stage[0]) for stage in network.stages] == [55_920, 167_136, 555_456, 1_995_648]  # pyright: ignore
    assert [count(down) for down in network.down] == [4_704, 18_624, 74_112]
    assert [count(up) for up in network.up] == [7_296, 28_416, 112_128]
    assert count(model.head) == 3_085
    assert count(model) == 8_022_970
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == 8_022_925


def test_the_scannet_network_has_the_published_number_of_parameters():
    assert count(Segmentor(StratifiedTransformer(**SCANNET), 20)) == 18_798_662  # pyright: ignore[reportArgumentType]


def test_decoders_of_pre_training_have_their_honest_size():
    four = [FoldingDecoder(width, width=256) for width in StratifiedTransformer().channels]
    assert count(*four) == 654_360
    # the paper's 8.89 M: this network plus decoders of Point Transformer's widths
    assert 8_022_970 + count(*[FoldingDecoder(width, width=256) for width in (32, 64, 128, 256, 512)]) == 8_888_024


def test_drop_path_rises_as_published():
    rates = [block.drop_path.probability for stage in StratifiedTransformer().stages for block in stage]  # pyright: ignore
    expected = [0, 0.0273, 0.0545, 0.0818, 0.1091, 0.1364, 0.1636, 0.1909, 0.2182, 0.2455, 0.2727, 0.3]
    assert rates == pytest.approx(expected, abs=5e-5)
    scannet = StratifiedTransformer(**SCANNET).stages  # pyright: ignore[reportArgumentType]
    assert scannet[1][0].drop_path.probability == pytest.approx(0.045)  # pyright: ignore


def test_windows_tables_and_neighbors_have_the_published_sizes():
    for network, windows in (
        (StratifiedTransformer(), [0.16, 0.32, 0.64, 1.28]),
        (small(**SCANNET), [0.2, 0.4, 0.8, 1.6]),
    ):
        specs = [level.windows for level in network._spec.levels if level.windows]
        assert [spec.window for spec in specs] == pytest.approx(windows)
        lengths = {len(block.attention.query_table) for stage in network.stages for block in stage}  # pyright: ignore
        assert lengths == {64 if len(windows) == 4 and windows[0] == 0.16 else 80}
    assert StratifiedTransformer()._spec.levels[0].around == (pytest.approx(0.1), 34)


def attention_by_hand(layer: WindowAttention, feat: Tensor, pairs: WindowPairs) -> Tensor:
    """One query, head and key at a time."""
    channels, width = feat.shape[1], feat.shape[1] // layer.heads
    projected = feat @ layer.query_key_value.weight.T + layer.query_key_value.bias
    rows = []
    starts = [0, *pairs.ends.tolist()[:-1]]
    for i, (start, end) in enumerate(zip(starts, pairs.ends.tolist(), strict=True)):
        heads = []
        for head in range(layer.heads):
            part = slice(head * width, (head + 1) * width)
            query = projected[i, :channels][part] / width**0.5
            logits, values = [], []
            for pair in range(start, end):
                x, y, z = pairs.bins[pair].tolist()
                key = projected[int(pairs.key[pair]), channels : 2 * channels][part]
                value = projected[int(pairs.key[pair]), 2 * channels :][part]
                at = [
                    table[x, head, :, 0] + table[y, head, :, 1] + table[z, head, :, 2]
                    for table in (layer.query_table, layer.key_table, layer.value_table)
                ]
                logits.append(query @ key + query @ at[0] + key @ at[1])
                values.append(value + at[2])
            weight = torch.stack(logits).exp()
            heads.append((weight[:, None] / weight.sum() * torch.stack(values)).sum(0))
        rows.append(torch.cat(heads))
    return torch.stack(rows) @ layer.out.weight.T + layer.out.bias


def test_attention_equals_its_definition_with_gradients():
    torch.manual_seed(0)
    layer = WindowAttention(12, 3, 64).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    coord = 0.5 * torch.rand(50, 3)
    pairs = window_pairs(coord, torch.tensor([50]), torch.arange(0, 50, 8), 0.16, 0.01)
    feat, probe = torch.randn(50, 12).double().requires_grad_(), torch.randn(50, 12).double()
    results = []
    for out in (layer(feat, pairs), attention_by_hand(layer, feat, pairs)):
        results.append([out.detach(), *torch.autograd.grad((out * probe).sum(), [feat, *layer.parameters()])])
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)


def test_pooling_before_or_after_the_gathering_is_the_same():
    torch.manual_seed(0)
    down, network = TransitionDown(12, 24).double(), small()
    batch = points(300)
    level = make_plan(batch.coord, batch.offset, network._spec).levels[1]
    assert level.down is not None
    feat = torch.randn(300, 12).double()
    after = down.linear(down.norm(feat[level.down.index.long()])).amax(1)
    torch.testing.assert_close(down(feat, level), after, rtol=0, atol=1e-12)


def test_levels_have_the_published_sizes_and_any_scene_size_passes():
    with torch.no_grad():
        levels = small()(points(403, 260, 1))
    assert [level.counts().tolist() for level in levels] == [[403, 260, 1], [101, 66, 1], [26, 17, 1]]
    assert [level.feat.shape[1] for level in levels] == [12, 24, 48]
    assert all(bool(level.feat.isfinite().all()) for level in levels)


@pytest.mark.parametrize("stem", ["transformer", "convolutions"])
def test_a_scene_does_not_feel_its_batch_mates(stem: str):
    network = small(**({} if stem == "transformer" else {"depths": (0, 2, 1)})).eval()
    one, other = points(500, seed=1), points(400, seed=2)
    with torch.no_grad():
        alone, together = network(other), network(PointBatch.join([one, other]))
    for level, joined in zip(alone, together, strict=True):
        torch.testing.assert_close(joined.feat[-level.num_points :], level.feat, rtol=0, atol=1e-5)


def test_with_the_released_origin_a_scene_feels_its_batch_mates():
    network = small(origin="batch").eval()
    one, other = points(500, seed=1), points(400, seed=2)
    moved = replace(one, coord=one.coord - 0.05)
    with torch.no_grad():
        alone, together = network(other), network(PointBatch.join([moved, other]))
    assert network.plan_spec() is None
    assert float((together[0].feat[-400:] - alone[0].feat).abs().max()) > 1e-4


def test_features_follow_a_permutation_of_the_points():
    network, batch = small().eval(), points(600)
    order = torch.cat(
        [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(599)]
    )  # sampling starts at the first point
    with torch.no_grad():
        plain, permuted = network(batch)[0].feat, network(batch.select(order, batch.offset))[0].feat
    torch.testing.assert_close(permuted, plain[order], rtol=0, atol=1e-5)


def test_geometry_is_made_once_and_not_at_all_with_a_plan(monkeypatch: pytest.MonkeyPatch):
    calls: dict[str, int] = {}

    def counting(name: str, function):
        def call(*arguments, **options):
            calls[name] = calls.get(name, 0) + 1
            return function(*arguments, **options)

        return call

    for name in ("knn_query", "farthest_point_sampling", "kpconv_neighbors", "window_pairs"):
        monkeypatch.setattr(pointops.plan, name, counting(name, getattr(pointops.plan, name)))
    torch.manual_seed(0)
    network, batch = StratifiedTransformer().eval(), points(500, 300)
    with torch.no_grad():
        plain = network(batch)
        # the release: 7 samplings, 12 pair lists, and the same 7 searches
        assert calls == {"knn_query": 6, "farthest_point_sampling": 1, "kpconv_neighbors": 1, "window_pairs": 8}
        spec = network.plan_spec()
        assert spec is not None
        parts = [scene.with_plan(make_plan(scene.coord, scene.offset, spec)) for scene in batch.split()]
        before = dict(calls)
        planned = network(PointBatch.join(parts))
    assert calls == before
    for a, b in zip(plain, planned, strict=True):
        torch.testing.assert_close(a.feat, b.feat, rtol=0, atol=1e-6)


def test_every_trained_parameter_gets_a_gradient():
    network, batch = small(depths=(0, 2, 2)), points(400)
    torch.stack([level.feat.square().sum() for level in network(batch)]).sum().backward()
    idle = [name for name, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert idle == []


def test_drop_path_drops_points_and_keeps_the_mean():
    torch.manual_seed(0)
    layer, branch = DropPath(0.3), torch.ones(20_000, 4)
    dropped = layer(branch)
    assert dropped[:, 0].unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert torch.equal(dropped, dropped[:, :1].expand(-1, 4))
    assert float(dropped.mean()) == pytest.approx(1, abs=0.02)
    assert layer.eval()(branch) is branch


def test_kernel_points_lie_as_published_and_come_from_their_seed():
    layout = kernel_points(0.06, torch.Generator().manual_seed(3))
    radii = layout.norm(dim=1).sort().values / 0.06
    assert float(radii[0]) < 0.05
    assert bool(((radii[1:] - 1).abs() < 0.05).all())
    apart = torch.cdist(layout, layout)[1:, 1:] + torch.eye(14)
    assert float(apart.min()) / 0.06 > 0.7
    assert torch.equal(layout, kernel_points(0.06, torch.Generator().manual_seed(3)))
    assert not torch.equal(layout, kernel_points(0.06, torch.Generator().manual_seed(4)))


def test_bad_points_and_settings_are_refused():
    with pytest.raises(ValueError, match="feat has 6"):
        small(in_channels=9)(points(100))
    batch = points(100)
    foreign = make_plan(batch.coord, batch.offset, small(voxel=0.02)._spec)
    with pytest.raises(ValueError, match="another network"):
        small()(batch.with_plan(foreign))
    with pytest.raises(ValueError, match="depths"):
        small(depths=(1, 1))
    with pytest.raises(ValueError, match="multiples"):
        small(heads=(5, 6, 12))
    with pytest.raises(ValueError, match="voxel"):
        small(voxel=0.0)
