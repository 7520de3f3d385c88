"""Point Transformer: exact size, isolated scenes, equivariant to point order, and one search per table."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import pointops.plan
from mm3d_backbones.point_transformer import Neighborhood, PointTransformer, VectorAttention
from mm3d_core.points import PointBatch
from pointops import knn_query
from pointops.plan import make_plan

SMALL = {
    "channels": (16, 32, 48),
    "depths": (1, 1, 1),
    "decoder_depths": (1, 1, 1),
    "neighbors": (8, 8, 8),
    "strides": (1, 4, 4),
}


def points(*sizes: int, seed: int = 0) -> PointBatch:
    random = torch.Generator().manual_seed(seed)
    coord = 4 * torch.rand(sum(sizes), 3, generator=random)
    color = torch.rand(sum(sizes), 3, generator=random)
    return PointBatch(
        coord, torch.cat([coord, color], 1), torch.tensor(sizes).cumsum(0), torch.arange(sum(sizes)), {"color": color}
    )


def small(**options: object) -> PointTransformer:
    torch.manual_seed(0)
    return PointTransformer(**{**SMALL, **options})  # pyright: ignore[reportArgumentType]


def count(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def test_every_module_has_the_published_number_of_parameters():
    network = PointTransformer()
    encoder = [count(network.down[i], network.encoder_blocks[i]) for i in range(5)]
    decoder = [count(network.up[i], network.decoder_blocks[i]) for i in range(5)]
    assert encoder == [6_034, 46_500, 267_510, 1_738_458, 2_844_708]
    assert decoder == [9_042, 34_738, 136_146, 539_026, 2_144_018]
    assert [count(module) for module in network.down] == [256, 2_368, 8_832, 34_048, 133_632]
    assert [count(module) for module in network.up] == [3_264, 12_672, 49_920, 198_144, 788_480]
    assert [count(blocks[0]) for blocks in network.encoder_blocks] == [5_778, 22_066, 86_226, 340_882, 1_355_538]  # pyright: ignore[reportIndexIssue]
    assert (sum(encoder), sum(decoder), count(network)) == (4_903_210, 2_862_970, 7_766_180)


@pytest.mark.parametrize(
    ("width", "parameters"), [(32, 3_538), (64, 13_490), (128, 52_690), (256, 208_274), (512, 828_178)]
)
def test_an_attention_layer_has_the_published_number_of_parameters(width: int, parameters: int):
    assert count(VectorAttention(width, 8)) == parameters


@pytest.mark.parametrize("in_channels", [3, 6, 9])
def test_input_channels_add_32_parameters_each(in_channels: int):
    assert count(PointTransformer(in_channels)) == 7_766_180 + 32 * (in_channels - 6)


def test_levels_have_the_published_sizes():
    batch = points(2575, 3877)
    torch.manual_seed(0)
    with torch.no_grad():
        levels = PointTransformer()(batch)
    assert [level.counts().tolist() for level in levels] == [[2575, 3877], [643, 969], [160, 242], [40, 60], [10, 15]]
    assert [level.feat.shape[1] for level in levels] == [32, 64, 128, 256, 512]
    for level in levels:
        torch.testing.assert_close(level.coord, batch.coord[level.index], rtol=0, atol=0)
        torch.testing.assert_close(level.attributes["color"], batch.attributes["color"][level.index], rtol=0, atol=0)


def attention_by_hand(layer: VectorAttention, feat: Tensor, coord: Tensor, index: Tensor) -> Tensor:
    """The layer's definition, one point, neighbor and channel at a time; batch norms by their formula."""
    normalize = lambda norm, rows: (  # noqa: E731
        (rows - rows.mean(0)) / (rows.var(0, unbiased=False) + norm.eps).sqrt() * norm.weight + norm.bias
    )
    count, k, channels = *index.shape, feat.shape[1]
    query, key, value = layer.query(feat), layer.key(feat), layer.value(feat)
    relative = torch.stack([coord[index[i, j]] - coord[i] for i in range(count) for j in range(k)])
    first, norm, _, last = layer.position
    position = last(normalize(norm, first(relative)).relu())
    pairs = [(i, int(index[i, j])) for i in range(count) for j in range(k)]
    relation = torch.stack([key[j] - query[i] + position[row] for row, (i, j) in enumerate(pairs)])
    outer, _, reduce, inner, _, mix = layer.weight
    weight = mix(normalize(inner, reduce(normalize(outer, relation).relu())).relu()).view(count, k, -1)
    out = torch.zeros(count, channels, dtype=feat.dtype)
    shares = channels // 8
    for i in range(count):
        for channel in range(channels):
            logits = weight[i, :, channel % shares]
            attention = logits.exp() / logits.exp().sum()
            terms = torch.stack([value[index[i, j], channel] + position[i * k + j, channel] for j in range(k)])
            out[i, channel] = (attention * terms).sum()
    return out


def test_attention_equals_its_definition_with_gradients():
    torch.manual_seed(0)
    layer = VectorAttention(16, 8).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.3)
    coord = torch.rand(12, 3).double()
    feat = torch.randn(12, 16).double().requires_grad_()
    index = knn_query(5, coord.float(), torch.tensor([12]))[0].long()
    around = Neighborhood(index.int(), coord[index] - coord[:, None])
    probe = torch.randn(12, 16).double()
    results = []
    for out in (layer(feat, around), attention_by_hand(layer, feat, coord, index)):
        gradients = torch.autograd.grad((out * probe).sum(), [feat, *layer.parameters()])
        results.append([out.detach(), *gradients])
    for ours, slow in zip(*results, strict=True):
        torch.testing.assert_close(ours, slow, rtol=0, atol=1e-10)


def test_a_scene_does_not_feel_its_batch_mates():
    network = small().eval()
    one, other = points(700, seed=1), points(400, seed=2)
    with torch.no_grad():
        alone, together = network(other), network(PointBatch.join([one, other]))
    for level, joined in zip(alone, together, strict=True):
        torch.testing.assert_close(joined.feat[-level.num_points :], level.feat, rtol=0, atol=1e-5)


def test_features_follow_a_permutation_of_the_points():
    network, batch = small().eval(), points(900)
    order = torch.cat(
        [torch.zeros(1, dtype=torch.int64), 1 + torch.randperm(899)]
    )  # sampling starts at the first point
    with torch.no_grad():
        plain, permuted = network(batch)[0].feat, network(batch.select(order, batch.offset))[0].feat
    torch.testing.assert_close(permuted, plain[order], rtol=0, atol=1e-5)


class Searches:
    """Counts what :func:`pointops.plan.make_plan` does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = {"knn_query": 0, "farthest_point_sampling": 0}
        for name in self.calls:
            monkeypatch.setattr(pointops.plan, name, self._counting(name, getattr(pointops.plan, name)))

    def _counting(self, name: str, function: object):
        def call(*arguments: object, **options: object) -> object:
            self.calls[name] += 1
            return function(*arguments, **options)  # pyright: ignore[reportCallIssue]

        return call


def test_a_forward_pass_makes_13_searches_and_one_sampling_and_none_with_a_plan(monkeypatch: pytest.MonkeyPatch):
    batch = points(1200, 800)
    torch.manual_seed(0)
    network = PointTransformer().eval()
    searches = Searches(monkeypatch)
    with torch.no_grad():
        plain = network(batch)
        assert searches.calls == {"knn_query": 13, "farthest_point_sampling": 1}
        plans = [make_plan(scene.coord, scene.offset, network.plan_spec()) for scene in batch.split()]
        prepared = PointBatch.join([scene.with_plan(plan) for scene, plan in zip(batch.split(), plans, strict=True)])
        before = dict(searches.calls)
        planned = network(prepared)
    assert searches.calls == before
    for a, b in zip(plain, planned, strict=True):
        torch.testing.assert_close(a.feat, b.feat, rtol=0, atol=0)


def test_a_scene_smaller_than_every_neighborhood_still_passes():
    network = PointTransformer().eval()
    with torch.no_grad():
        levels = network(points(5))
    assert [level.num_points for level in levels] == [5, 1, 1, 1, 1]
    assert all(bool(level.feat.isfinite().all()) for level in levels)


def test_a_level_of_a_single_point_cannot_be_trained_on():
    with pytest.raises(ValueError, match="single point"):
        PointTransformer()(points(300))


def test_a_scene_with_too_few_points_is_refused_on_request():
    with pytest.raises(ValueError, match="only 6 points"):
        small(missing="refuse")(points(100))


def test_a_plan_for_another_network_or_other_points_is_refused():
    network, batch = small(), points(600)
    foreign = make_plan(batch.coord, batch.offset, small(neighbors=(4, 8, 8)).plan_spec())
    with pytest.raises(ValueError, match="another network"):
        network(batch.with_plan(foreign))
    with pytest.raises(ValueError, match="600 points"):
        network(replace(points(500), plan=make_plan(batch.coord, batch.offset, network.plan_spec())))


def test_bad_points_are_refused():
    with pytest.raises(ValueError, match="feat has 6"):
        small(in_channels=9)(points(300))
    empty = points(300)
    with pytest.raises(ValueError, match="at least one point"):
        small()(replace(empty, offset=torch.tensor([300, 300])))
    broken = points(300)
    broken.coord[7, 1] = float("nan")
    with pytest.raises(ValueError, match="not finite"):
        small()(broken)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="depths"):
        PointTransformer(depths=(1, 1))
    with pytest.raises(ValueError, match="multiples"):
        PointTransformer(channels=(30, 64, 128, 256, 512))
    with pytest.raises(ValueError, match="missing"):
        PointTransformer(missing="maybe")
