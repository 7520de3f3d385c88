"""What a step of pre-training costs: parts that add up, and the bound against a supervised step."""

import pytest
import torch
from core.tiny import TinyEncoder, generator, scan

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from mm3d_core.masking import MaskedViews
from mm3d_core.mm3dscene import MM3DScene
from mm3d_core.step_cost import PARTS, Step, step_seconds, time_shares, view_seconds
from pointops.plan import make_plan

BOUND = 3.5  # times a supervised step of the same backbone on the same scan
POINTS = 40_000


def test_the_shares_of_all_parts_add_up_to_the_step():
    method = MM3DScene(TinyEncoder(), decoder={"width": 16})
    shares = time_shares(method, method.views(scan(600), generator()), torch.optim.AdamW(method.parameters()))
    assert set(shares) == {*PARTS, "backward", "update", "rest"}
    assert min(shares.values()) >= 0
    assert sum(shares.values()) == pytest.approx(1.0, abs=0.02)


def test_parts_that_are_not_built_take_no_time():
    method = MM3DScene(TinyEncoder(), decoder={"width": 16}, csd_weight=0.0)
    shares = time_shares(method, method.views(scan(600), generator()), torch.optim.AdamW(method.parameters()))
    assert "teacher" not in shares
    assert "consistency" not in shares


@pytest.mark.slow
@pytest.mark.parametrize("keep_ratio", [0.55, 0.89])
def test_a_step_of_pre_training_costs_less_than_the_bound(keep_ratio, capsys):
    torch.manual_seed(0)
    points = scan(POINTS)
    method = MM3DScene(PointTransformer(), views=MaskedViews(keep_ratio=keep_ratio))
    encoder = PointTransformer()
    task = Segmentor(encoder, num_classes=13)
    spec = encoder.plan_spec()
    whole = points.with_plan(make_plan(points.coord, points.offset, spec))
    views = method.views(points, generator())
    views = {name: view.with_plan(make_plan(view.coord, view.offset, spec)) for name, view in views.items()}
    labels = {"segment": torch.arange(POINTS) % 13}
    optimizers = [torch.optim.AdamW(model.parameters()) for model in (task, method)]
    steps = [
        Step(lambda: task.loss(whole, labels), optimizers[0]),
        Step(lambda: method.loss(views, generator()), optimizers[1], method.after_step),
    ]
    supervised, pretraining = step_seconds(steps, repeats=3)
    statistic = view_seconds(method.views, [points], repeats=1)
    shares = time_shares(method, views, optimizers[1])
    with capsys.disabled():
        print(f"\n{POINTS} points, {keep_ratio:.0%} kept: {pretraining:.2f} s against {supervised:.2f} s supervised")
        print(f"ratio {pretraining / supervised:.2f}, with the statistic {(pretraining + statistic) / supervised:.2f}")
        print(", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    assert (pretraining + statistic) / supervised < BOUND
