"""The benchmark: rooms on a voxel grid, the published counts of searches, and a table that can be read."""

from __future__ import annotations

import pytest
import torch

from mm3d_backbones.point_transformer import PointTransformer, VectorAttention
from mm3d_backbones.stratified_transformer import StratifiedTransformer, WindowAttention
from speed import segmentation as bench_segmentation
from speed.segmentation import VOXEL, Costs, batch_of, main, room, table


def test_a_room_has_one_point_a_voxel_and_the_size_asked_for():
    coord = room(3000, torch.Generator().manual_seed(0))
    assert coord.shape == (3000, 3)
    assert len(torch.unique((coord / VOXEL).floor().long(), dim=0)) == 3000
    points, labels = batch_of(500, 3)
    assert points.counts().tolist() == [500] * 3
    assert len(labels) == 1500


@pytest.mark.parametrize(
    ("network", "plan", "layerwise"), [("Point Transformer", 13, 44), ("Stratified Transformer", 7, 7)]
)
def test_searches_are_counted(
    network: str, plan: int, layerwise: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    narrow = {
        "Point Transformer": (lambda: PointTransformer(channels=(16,) * 5), VectorAttention),
        "Stratified Transformer": (lambda: StratifiedTransformer(channels=(12,) * 4, heads=(1,) * 4), WindowAttention),
    }
    monkeypatch.setitem(bench_segmentation.NETWORKS, network, narrow[network])
    assert main(["--points", "600", "--scenes", "1", "--repeats", "1", "--network", network]) == 0
    lines = dict(line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines() if "searches" in line)
    assert lines == {"searches of the plan": str(plan), "searches layer by layer": str(layerwise)}


def test_gains_are_ratios():
    costs = Costs(
        planned=2.0,
        inside=2.5,
        layerwise=4.0,
        layerwise_geometry=2.0,
        plan=0.5,
        sampling=0.1,
        attention=1.0,
        searches=13,
        layerwise_searches=44,
    )
    text = table({"network": costs})
    assert "| gain: layer by layer / plan inside | 1.60 |" in text
    assert "| gain: layer by layer / loader's plan | 2.00 |" in text
    assert "| gain in geometry alone | 4.00 |" in text
    assert "| geometry's share of a step with the plan made inside | 20% |" in text
    assert "| attention's share of a step with a loader's plan | 50% |" in text
