"""Both segmentation networks against plain restatements of the published descriptions, whole and in float64."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.points import PointBatch


class Weights:
    """A network's tensors by name, and the layers that read them."""

    def __init__(self, model: Segmentor) -> None:
        self.state = model.state_dict()

    def linear(self, name: str, x: Tensor) -> Tensor:
        out = x @ self.state[f"{name}.weight"].T
        return out + self.state[f"{name}.bias"] if f"{name}.bias" in self.state else out

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        mean, var = self.state[f"{name}.running_mean"], self.state[f"{name}.running_var"]
        return (x - mean) / (var + 1e-5).sqrt() * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        scaled = centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
        return scaled * self.state[f"{name}.weight"] + self.state[f"{name}.bias"]


def sampled(coord: Tensor, count: int) -> Tensor:
    """Farthest point sampling by its definition."""
    chosen, nearest = [0], ((coord - coord[0]) ** 2).sum(1)
    while len(chosen) < count:
        chosen.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, ((coord - coord[chosen[-1]]) ** 2).sum(1))
    return torch.tensor(chosen)


def nearest(query: Tensor, source: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Rows of the k nearest and their distances; missing rows are the first point, infinitely far."""
    distance, index = torch.cdist(query.double(), source.double()).sort(dim=1, stable=True)
    missing = max(0, k - len(source))
    index = torch.cat([index[:, :k], torch.zeros(len(query), missing, dtype=torch.int64)], 1)
    return index, torch.cat([distance[:, :k], torch.full((len(query), missing), math.inf)], 1)


def interpolated(feat: Tensor, coarse: Tensor, fine: Tensor) -> Tensor:
    index, distance = nearest(fine, coarse, 3)
    weight = 1 / (distance + 1e-8)
    return (feat[index] * (weight / weight.sum(1, keepdim=True)).unsqueeze(-1)).sum(1)


def head(w: Weights, feat: Tensor) -> Tensor:
    return w.linear("head.3", w.batch_norm("head.1", w.linear("head.0", feat)).relu())


def point_transformer(w: Weights, coord: Tensor, feat: Tensor, levels: int, k: int, depth: int) -> Tensor:
    def block(name: str, feat: Tensor, coord: Tensor) -> Tensor:
        inner = w.batch_norm(f"{name}.norm_in", w.linear(f"{name}.linear_in", feat)).relu()
        index, _ = nearest(coord, coord, k)
        layer = f"{name}.attention"
        relative = (coord[index] - coord[:, None]).double()
        position = w.batch_norm(f"{layer}.position.1", w.linear(f"{layer}.position.0", relative)).relu()
        position = w.linear(f"{layer}.position.3", position)
        query, key, value = (w.linear(f"{layer}.{part}", inner) for part in ("query", "key", "value"))
        weight = w.batch_norm(f"{layer}.weight.0", key[index] - query[:, None] + position).relu()
        weight = w.batch_norm(f"{layer}.weight.3", w.linear(f"{layer}.weight.2", weight)).relu()
        weight = w.linear(f"{layer}.weight.5", weight).softmax(1)
        inner = ((value[index] + position) * weight.repeat(1, 1, 8)).sum(1)
        inner = w.batch_norm(f"{name}.norm_attention", inner).relu()
        return (w.batch_norm(f"{name}.norm_out", w.linear(f"{name}.linear_out", inner)) + feat).relu()

    coords, encoded = [], []
    for level in range(levels):
        name = f"encoder.down.{level}"
        if level:
            rows = sampled(coord, len(coord) // 4)
            index, _ = nearest(coord[rows], coord, 16)
            grouped = torch.cat([(coord[index] - coord[rows][:, None]).double(), feat[index]], -1)
            feat, coord = w.batch_norm(f"{name}.norm", w.linear(f"{name}.linear", grouped)).relu().amax(1), coord[rows]
        else:
            feat = w.batch_norm(f"{name}.norm", w.linear(f"{name}.linear", feat)).relu()
        for number in range(depth):
            feat = block(f"encoder.encoder_blocks.{level}.{number}", feat, coord)
        coords.append(coord)
        encoded.append(feat)
    for level in reversed(range(levels)):
        name = f"encoder.up.{level}"
        if level == levels - 1:
            context = w.linear(f"{name}.context.0", feat.mean(0, keepdim=True)).relu().expand(len(feat), -1)
            feat = w.batch_norm(f"{name}.fuse.1", w.linear(f"{name}.fuse.0", torch.cat([feat, context], 1))).relu()
        else:
            lifted = w.batch_norm(f"{name}.lift.1", w.linear(f"{name}.lift.0", feat)).relu()
            skip = w.batch_norm(f"{name}.skip.1", w.linear(f"{name}.skip.0", encoded[level])).relu()
            feat = skip + interpolated(lifted, coords[level + 1], coords[level])
        feat = block(f"encoder.decoder_blocks.{level}.0", feat, coords[level])
    return head(w, feat)


def stratified_transformer(w: Weights, coord: Tensor, feat: Tensor, heads: list[int], depths: list[int]) -> Tensor:
    voxel = 0.1

    def convolution(name: str, feat: Tensor) -> Tensor:
        points, weight = w.state[f"{name}.points"], w.state[f"{name}.weight"]
        distance = torch.cdist(coord.double(), coord.double())
        reached = distance <= 2.5 * voxel
        assert int(reached.sum(1).max()) <= 34  # else the nearest 34 would count
        offset = (coord[None] - coord[:, None]).double()
        out = torch.zeros(len(coord), weight.shape[2], dtype=torch.float64)
        for number in range(15):
            influence = (1 - (offset - points[number]).norm(dim=-1) / voxel).clamp_min(0) * reached
            out = out + influence @ feat @ weight[number]
        return out

    def attention(name: str, feat: Tensor, coord: Tensor, level: int, shifted: bool) -> Tensor:
        window, quant = 4 * voxel * 2**level, voxel / 4 * 2**level
        low = coord.amin(0)
        small = ((coord - low + shifted * window / 2) / window).floor()
        large = ((coord - low + shifted * window) / (2 * window)).floor()
        chosen = torch.zeros(len(coord), dtype=torch.bool)
        chosen[sampled(coord, len(coord) // 8 + 1)] = True
        own = (small[:, None] == small[None]).all(-1)
        seen = own | ((large[:, None] == large[None]).all(-1) & chosen[None])
        steps = ((coord[:, None] - coord[None]).double() * 1e5).round().long()
        bins = ((steps + round(2e5 * window) - 10) // round(1e5 * quant)).clamp(0, 63)
        count, width = heads[level], feat.shape[1] // heads[level]
        projected = w.linear(f"{name}.query_key_value", feat).view(len(feat), 3, count, width)
        query, key, value = projected[:, 0] / width**0.5, projected[:, 1], projected[:, 2]

        def at(table: str) -> Tensor:
            return sum((w.state[f"{name}.{table}"][bins[..., axis], :, :, axis] for axis in range(3)), torch.zeros(()))

        logit = (query[:, None] * key[None]).sum(-1)
        logit = logit + (query[:, None] * at("query_table")).sum(-1) + (key[None] * at("key_table")).sum(-1)
        weight = logit.masked_fill(~seen[..., None], -math.inf).softmax(1)
        return w.linear(f"{name}.out", (weight[..., None] * (value[None] + at("value_table"))).sum(1).flatten(1))

    def gelu(x: Tensor) -> Tensor:
        return x * (1 + torch.erf(x / math.sqrt(2))) / 2

    feat = w.batch_norm("encoder.stem.0.norm", convolution("encoder.stem.0.convolution", feat))
    feat = torch.where(feat > 0, feat, 0.2 * feat)
    coords, encoded = [], []
    for level, depth in enumerate(depths):
        if level:
            rows = sampled(coord, len(coord) // 4 + 1)
            index, _ = nearest(coord[rows], coord, 16)
            name = f"encoder.down.{level - 1}"
            feat, coord = w.linear(f"{name}.linear", w.layer_norm(f"{name}.norm", feat[index])).amax(1), coord[rows]
        for number in range(depth):
            name = f"encoder.stages.{level}.{number}"
            normed = w.layer_norm(f"{name}.norm_attention", feat)
            feat = feat + attention(f"{name}.attention", normed, coord, level, number % 2 == 1)
            inner = gelu(w.linear(f"{name}.perceptron.0", w.layer_norm(f"{name}.norm_perceptron", feat)))
            feat = feat + w.linear(f"{name}.perceptron.2", inner)
        coords.append(coord)
        encoded.append(feat)
    for level in reversed(range(len(depths) - 1)):
        name = f"encoder.up.{level}"
        lifted = w.linear(f"{name}.lift.1", w.layer_norm(f"{name}.lift.0", feat))
        skip = w.linear(f"{name}.skip.1", w.layer_norm(f"{name}.skip.0", encoded[level]))
        feat = skip + interpolated(lifted, coords[level + 1], coords[level])
    return head(w, feat)


def trained(model: Segmentor, points: PointBatch) -> Segmentor:
    """In float64, with running statistics and weights that are not those of the start."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for _ in range(3):
            model(points)
    return model.eval()


def scene(count: int) -> PointBatch:
    random = torch.Generator().manual_seed(0)
    # a lattice of 40 micrometres, offset by half a step: no displacement meets the edge of a bin
    coord = (torch.rand(count, 3, generator=random, dtype=torch.float64) / 4e-5).round() * 4e-5
    color = torch.rand(count, 3, generator=random, dtype=torch.float64)
    return PointBatch.single(coord.float(), torch.cat([color, coord], 1))


@pytest.mark.parametrize("count", [200, 60])
def test_point_transformer_equals_its_restatement(count: int):
    torch.manual_seed(0)
    points = scene(count)
    model = trained(Segmentor(PointTransformer(6, (16, 32, 48), (2, 2, 2), (1, 1, 1), (6, 6, 6), (1, 4, 4)), 5), points)
    with torch.no_grad():
        slow = point_transformer(Weights(model), points.coord, points.feat, levels=3, k=6, depth=2)
        torch.testing.assert_close(model(points), slow, rtol=0, atol=1e-6)  # interpolation weights are float32


@pytest.mark.parametrize("count", [200, 60])
def test_stratified_transformer_equals_its_restatement(count: int):
    torch.manual_seed(0)
    points = scene(count)
    encoder = StratifiedTransformer(6, 0.1, (12, 24, 48), (2, 3, 1), (3, 6, 12))
    model = trained(Segmentor(encoder, 5), points)
    with torch.no_grad():
        slow = stratified_transformer(Weights(model), points.coord, points.feat, [3, 6, 12], [2, 3, 1])
        torch.testing.assert_close(model(points), slow, rtol=0, atol=1e-5)
