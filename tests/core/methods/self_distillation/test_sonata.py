"""Sonata*: views move on their own and remember the scan, the teacher only follows, resuming is exact."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan
from torch import Tensor, nn

from mm3d_core.methods.self_distillation.sonata import Sonata, StillTeacher
from mm3d_core.methods.self_distillation.views import DistillationViews, hidden_cells
from mm3d_core.points import PointBatch

HEAD = {"hidden": 32, "width": 16, "prototypes": 24}
VIEWS = DistillationViews(locals=2)


def method(**options: Any) -> Sonata:
    torch.manual_seed(0)
    chosen: dict[str, Any] = {"views": VIEWS, "head": HEAD, "match_radius": 0.5, **options}
    return Sonata(TinyEncoder(), **chosen)


def batch(views: DistillationViews = VIEWS, seed: int = 0, scenes: int = 2) -> dict[str, PointBatch]:
    return joined([views(scan(400, s), generator(seed + s)) for s in range(scenes)])


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


# ---------------------------------------------------------------------------------------------- views


def test_views_are_parts_of_the_scan_that_know_where_their_points_lay():
    points = scan(400)
    views = VIEWS(points, generator())
    assert tuple(views) == ("global_0", "global_1", "masked_0", "masked_1", "local_0", "local_1")
    for name, view in views.items():
        torch.testing.assert_close(view.attributes["origin"], points.coord[view.index])
        share = view.num_points / 400
        assert (0.1 - 1e-2 <= share <= 0.4) if name.startswith("local") else (0.4 - 1e-2 <= share <= 1)


def test_every_view_has_its_own_motion_and_large_ones_share_their_color():
    views = VIEWS(scan(400), generator())
    shared = [views[f"global_{n}"] for n in range(2)]
    rows = [{int(row): place for place, row in enumerate(view.index)} for view in shared]
    both = sorted(rows[0].keys() & rows[1].keys())
    places = [torch.tensor([table[row] for row in both]) for table in rows]
    colors = [view.attributes["color"][place] for view, place in zip(shared, places, strict=True)]
    torch.testing.assert_close(colors[0], colors[1])
    moved = [view.coord[place] - view.coord[place].mean(0) for view, place in zip(shared, places, strict=True)]
    assert float((moved[0] - moved[1]).abs().max()) > 0.1
    for view in views.values():
        if "masked" not in view.attributes:
            torch.testing.assert_close(view.feat[:, :3], view.coord)


def test_hidden_points_are_jittered_and_the_others_stay():
    views = VIEWS(scan(400), generator())
    whole, masked = views["global_0"], views["masked_0"]
    hidden = masked.attributes["masked"]
    assert torch.equal(masked.coord[~hidden], whole.coord[~hidden])
    noise = (masked.coord - whole.coord)[hidden]
    assert 0.005 < float(noise.std()) < 0.011
    assert float(noise.abs().max()) <= 0.02 + 1e-5


def test_whole_cells_are_hidden_in_the_share_asked_for():
    coord = torch.cartesian_prod(*[torch.arange(10.0)] * 3).repeat(2, 1) + 0.5
    hidden = hidden_cells(coord, 1.0, 0.7, generator())
    assert int(hidden.sum()) == 1400
    assert torch.equal(hidden[:1000], hidden[1000:])
    assert not hidden_cells(torch.zeros(5, 3), 1.0, 0.7, generator()).any()


def test_the_same_seed_gives_the_same_views_and_another_one_others():
    one, same, other = (VIEWS(scan(400), generator(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(one[name].feat, same[name].feat) for name in one)
    assert not torch.equal(one["local_0"].coord[:10], other["local_0"].coord[:10])


def test_small_scans_give_small_views():
    views = VIEWS(scan(20), generator())
    assert min(view.num_points for view in views.values()) == 20


# ---------------------------------------------------------------------------------------------- loss


def test_the_loss_is_the_weighted_sum_and_reaches_encoder_token_and_heads():
    model = method()
    terms = model.loss(batch(), generator())
    expected = 0.25 * terms["masked"] + 0.25 * terms["crossed"] + 0.5 * terms["local"]
    torch.testing.assert_close(terms["loss"].detach(), expected)
    terms["loss"].backward()
    for name in ("token", "encoder.near.0.weight", "heads.hidden.prototypes", "heads.local.prototypes"):
        gradient = dict(model.named_parameters())[name].grad
        assert gradient is not None
        assert gradient.abs().sum() > 0
    assert 0 < float(terms["matched"]) <= 1
    assert 1 <= float(terms["used"]) <= 24.01


def test_no_gradient_reaches_the_teacher():
    model = method()
    model.loss(batch(), generator())["loss"].backward()
    for part in (model.teacher, model.teacher_heads):
        assert all(p.grad is None and not p.requires_grad for p in part.parameters())


def test_the_teacher_is_the_average_of_the_students():
    model = method(momentum=0.9)
    before = weights(model.teacher.network)
    with torch.no_grad():
        for parameter in [*model.encoder.parameters(), *model.heads.parameters()]:
            parameter.add_(1.0)
    heads = weights(model.teacher_heads.network)
    model.after_step()
    student = dict(model.encoder.named_parameters())
    for name, value in model.teacher.network.named_parameters():
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * student[name])
    for name, value in model.teacher_heads.network.named_parameters():
        torch.testing.assert_close(value, heads[name] + 0.1)


def test_the_teacher_stays_still_but_for_its_norms():
    teacher = StillTeacher(nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5)))
    teacher.train()
    norm, dropout = teacher.network.children()
    assert norm.training
    assert not dropout.training
    assert not any(module.training for module in teacher.eval().modules())


def test_the_temperature_rises_in_steps_and_is_kept():
    model = method(warmup_steps=2, teacher_temperature=(0.04, 0.08))
    seen = []
    for _ in range(4):
        seen.append(float(model._temperature()))
        model.after_step()
    assert seen == pytest.approx([0.04, 0.06, 0.08, 0.08])
    assert int(model.state_dict()["step"]) == 4


def test_hidden_points_show_the_token_and_nothing_of_themselves():
    model, views = method(), batch()
    with torch.no_grad():
        model.token.fill_(7.0)
    view = views["masked_0"]
    hidden = view.attributes["masked"]
    shown = model._masked(view).feat
    assert bool((shown[hidden] == 7).all())
    assert torch.equal(shown[~hidden], view.feat[~hidden])


def test_points_without_a_partner_bear_no_loss():
    model, views = method(), batch()
    for name in ("global_0", "global_1"):
        views[name] = views[name].with_attributes(origin=views[name].attributes["origin"] + 100)
    terms = model.loss(views, generator())
    assert float(terms["loss"].detach()) == float(terms["matched"]) == 0
    terms["loss"].backward()
    assert not any(bool(p.grad.any()) for p in model.parameters() if p.grad is not None)


def test_the_loss_falls_on_a_toy_and_prototypes_stay_in_use():
    model = method(warmup_steps=1, momentum=0.9)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    losses, used = [], []
    for step in range(40):
        optimizer.zero_grad()
        terms = model.loss(batch(seed=2 * step), generator(step))
        terms["loss"].backward()
        optimizer.step()
        model.after_step()
        losses.append(float(terms["loss"].detach()))
        used.append(float(terms["used"]))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert used[-1] > 6


def test_training_goes_on_exactly_from_a_saved_state():
    def train(model: Sonata, optimizer: torch.optim.Optimizer, steps: range) -> None:
        for step in steps:
            optimizer.zero_grad()
            model.loss(batch(seed=step), generator(step))["loss"].backward()
            optimizer.step()
            model.after_step()

    whole = method(max_matches=50)
    optimizer = torch.optim.AdamW(whole.parameters(), 0.01)
    train(whole, optimizer, range(2))
    kept, its = weights(whole), copy.deepcopy(optimizer.state_dict())
    train(whole, optimizer, range(2, 4))
    resumed = method(max_matches=50)
    resumed.load_state_dict(kept)
    again = torch.optim.AdamW(resumed.parameters(), 0.01)
    again.load_state_dict(its)
    train(resumed, again, range(2, 4))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_drawn_matches_follow_the_generator():
    model, views = method(max_matches=20), batch()
    one, same, other = (float(model.loss(views, generator(seed))["loss"].detach()) for seed in (0, 0, 1))
    assert one == same != other


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"up_cast": -1}, "up_cast"),
        ({"match_radius": 0.0}, "match_radius"),
        ({"teacher_temperature": (0.0, 0.1)}, "teacher_temperature"),
        ({"masked_weight": -1.0}, "must not be negative"),
        ({"masked_weight": 0.0, "crossed_weight": 0.0, "local_weight": 0.0}, "nor all 0"),
        ({"momentum": 2.0}, "momentum"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        method(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"global_share": (0.9, 0.4)}, "global_share"),
        ({"local_share": (0.0, 0.4)}, "local_share"),
        ({"mask_share": 1.0}, "mask_share"),
        ({"cell": 0.0}, "cell"),
        ({"inputs": ("smell",)}, "smell"),
    ],
)
def test_bad_views_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        DistillationViews(**options)


def test_an_empty_scan_is_refused():
    with pytest.raises(ValueError, match="no points"):
        VIEWS(scan(0), generator())
