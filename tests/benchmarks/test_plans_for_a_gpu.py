"""Every encoder takes the plans that loader workers make for a GPU: they carry inverse tables that none asks for."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate

from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.runs.machine import Machine
from mm3d_core.points import PointBatch
from pointops.plan import make_plan

PLANNED = ("point_transformer", "point_transformer_v3", "stratified_transformer", "votenet", "h3dnet")


@pytest.mark.parametrize("backbone", available("backbone"))
def test_each_encoder_takes_a_plan_made_for_a_gpu(backbone: str):
    evaluation = "detection" if backbone.startswith(("votenet", "h3dnet")) else "segmentation"
    recipe = f"{backbone.removesuffix('_scannet')}_scannet"
    if recipe not in available("recipe"):
        recipe = "point_transformer_scannet"  # a network without a recipe of its own: any will do
    chosen = {"backbone": backbone, "dataset": "scannet", "recipe": recipe, "evaluation": evaluation}
    settings = compose(Request({**chosen, "profile": "smoke"}))
    encoder = instantiate(settings["backbone"]["encoder"]).eval()
    spec = Machine(device="cuda").plan_spec(encoder)
    if spec is None:  # a network of a reader's own, without neighbors
        assert backbone not in PLANNED
        return
    assert spec.inverse
    random = torch.Generator().manual_seed(0)
    coord = torch.rand(800, 3, generator=random) * torch.tensor([4.0, 3.0, 2.5])
    feat = torch.rand(800, settings["backbone"]["encoder"]["in_channels"], generator=random)
    points = PointBatch(coord, feat, torch.tensor([300, 800]), torch.arange(800))
    with torch.no_grad():
        planned = encoder(points.with_plan(make_plan(points.coord, points.offset, spec)))
        alone = encoder(points)
    for one, other in zip(planned, alone, strict=True):
        torch.testing.assert_close(one.feat, other.feat)
