"""The method as a whole: what is built, what flows where, and that it learns."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from core.tiny import IdentityEncoder, TinyEncoder, generator, joined, scan

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.local_statistic import LocalStatistic
from mm3d_core.methods.masking import MaskedViews
from mm3d_core.methods.mm3dscene import MM3DScene
from mm3d_core.methods.monitors import mark_classes
from mm3d_core.methods.pictures import mask_ladder, reconstruction_picture
from mm3d_core.methods.reconstruction import Chamfer
from mm3d_core.points import PointBatch

SMALL = {"width": 32}


def method(**options) -> MM3DScene:
    torch.manual_seed(0)
    return MM3DScene(TinyEncoder(), **{"decoder": SMALL, **options})


def batch(model: MM3DScene, scenes: int = 2, seed: int = 0) -> dict[str, PointBatch]:
    return joined([model.views(scan(150, s), generator(100 * seed + s)) for s in range(scenes)])


def test_the_loss_is_what_its_levels_add():
    model = method(rec_weight=4.0, csd_weight=0.5)
    terms = model.loss(batch(model), generator())
    levels = sum(terms[f"{part}_level{n}"] for part in ("reconstruction", "consistency") for n in (0, 1))
    torch.testing.assert_close(terms["loss"].detach(), levels)
    torch.testing.assert_close(terms["loss"].detach(), 4 * terms["reconstruction"] + 0.5 * terms["consistency"])
    assert [name for name, value in terms.items() if value.requires_grad] == ["loss"]


def test_gradients_reach_the_student_and_the_decoders_and_never_the_teacher():
    model = method()
    model.loss(batch(model), generator())["loss"].backward()
    for name, parameter in model.named_parameters():
        if name.startswith("teacher"):
            assert (parameter.grad, parameter.requires_grad) == (None, False), name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_a_weight_of_zero_builds_nothing_and_gives_the_other_term_alone():
    no_teacher, no_decoders = method(csd_weight=0.0), method(rec_weight=0.0)
    assert (no_teacher.teacher, no_decoders.decoders) == (None, None)
    assert (no_teacher.planned_views, no_decoders.planned_views) == (("student",), ("student", "target"))
    terms = no_teacher.loss(batch(no_teacher), generator())
    assert "consistency" not in terms
    assert terms["loss"] == 4 * terms["reconstruction"]
    terms = no_decoders.loss(batch(no_decoders), generator())
    assert "reconstruction" not in terms
    assert terms["loss"] == terms["consistency"]
    no_teacher.after_step()


def test_a_teacher_equal_to_the_student_agrees_at_the_finest_level():
    model = method()
    model.eval()
    assert model.loss(batch(model), generator())["similarity_level0"].item() == pytest.approx(1.0, abs=1e-4)


def test_constant_features_give_the_logarithm_of_the_points_at_every_level():
    model = method(rec_weight=0.0)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.zeros_(module.weight)
            torch.nn.init.ones_(module.bias)
    views = MaskedViews(order="random", keep_ratio=0.4)(scan(150), generator())
    terms = model.eval().loss(views, generator())
    assert terms["consistency_level0"].item() == pytest.approx(math.log(60), abs=1e-4)
    assert terms["consistency_level1"].item() == pytest.approx(math.log(15), abs=1e-4)
    assert terms["spread_level0"].item() == pytest.approx(0.0, abs=1e-6)


def test_a_scene_does_not_feel_its_batch_mates():
    model = method(contrast=InfoNCE(max_points=None)).eval()
    apart = [model.loss(model.views(scan(150, s), generator(s)), generator()) for s in range(2)]
    together = model.loss(joined([model.views(scan(150, s), generator(s)) for s in range(2)]), generator())
    for name in ("reconstruction", "consistency"):
        torch.testing.assert_close(together[name], (apart[0][name] + apart[1][name]) / 2)


def test_the_order_of_the_points_does_not_change_the_loss():
    model = method(contrast=InfoNCE(max_points=None), views=MaskedViews(keep_ratio=0.4)).eval()
    points = scan(150)
    shuffled = points.select(torch.randperm(150, generator=generator(3)), points.offset)
    one, two = (model.loss(model.views(p, generator(1)), generator())["loss"] for p in (points, shuffled))
    torch.testing.assert_close(one, two)


def test_a_fixed_seed_gives_identical_losses():
    runs = []
    for _ in range(2):
        model = method(contrast=InfoNCE(max_points=20))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        runs.append([_step(model, optimizer, batch(model, seed=step), generator(step)) for step in range(4)])
    assert runs[0] == runs[1]


def test_a_resumed_method_continues_with_identical_losses():
    model = method()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(2):
        _step(model, optimizer, batch(model, seed=step), generator(step))
    again = method()
    again_optimizer = torch.optim.AdamW(again.parameters(), lr=1e-3)
    again.load_state_dict(copy.deepcopy(model.state_dict()))
    again_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    one, two = (_step(m, o, batch(m, seed=2), generator(2)) for m, o in ((model, optimizer), (again, again_optimizer)))
    assert one == two


def test_overfitting_one_scene_brings_the_reconstruction_below_a_tenth():
    torch.manual_seed(0)
    model = MM3DScene(TinyEncoder(channels=(32, 64)), csd_weight=0.0, rec_weight=1.0, levels=[0], decoder={"width": 64})
    points = scan(240)
    points = points.with_feat(torch.cat([points.coord * 4, points.attributes["color"]], dim=1))
    views = MaskedViews(order="abandoned", keep_ratio=0.6, target="intact")(points, generator())
    shifted = {"student": views["student"], "target": views["target"]}
    shifted["target"] = PointBatch.single(shifted["target"].coord + 1.0, shifted["target"].feat)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    losses = []
    for step in range(300):
        losses.append(_step(model, optimizer, shifted, generator(step)))
        schedule.step()
    assert losses[-1] < 0.1 * losses[0]


def test_masking_that_waits_for_the_batch_gives_the_same_terms():
    model = method(views=MaskedViews(LocalStatistic(scope="batch")), chamfer=Chamfer(over_scenes="sum"))
    assert model.planned_views == ()
    scenes = joined([model.views(scan(150, s), generator(s)) for s in range(2)])
    assert model.loss(scenes, generator())["loss"].isfinite()


def test_a_scan_without_color_is_learned_from_where_color_is_not_asked_for():
    model = method(views=MaskedViews(LocalStatistic(terms=("coord",))))
    views = model.views(scan(150, color=False), generator())
    assert model.loss(views, generator())["loss"].isfinite()


def test_coincident_points_cost_finite_losses_and_gradients():
    model = method()
    same = PointBatch.single(torch.ones(80, 3), torch.ones(80, 6), {"color": torch.ones(80, 3)})
    model.loss(model.views(same, generator()), generator())["loss"].backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("correspondence", ["interpolate", "nearest", "exact"])
@pytest.mark.parametrize("anchor", ["first", "second", "symmetric"])
def test_every_correspondence_and_direction_gives_a_finite_loss(correspondence, anchor):
    model = method(correspondence=correspondence, contrast=InfoNCE(anchor=anchor), rec_weight=0.0)
    assert model.loss(batch(model), generator())["loss"].isfinite()


def test_masks_by_the_first_layer_follow_the_student_of_the_moment():
    views = MaskedViews(LocalStatistic(terms=("coord", "first_layer")), keep_ratio=0.4)
    model = method(views=views)
    assert model.planned_views == ()
    shown = batch(model)
    assert set(shown) == {"scene"}
    before = views.finish(shown["scene"], generator(), model.embed)["student"].coord
    expected = LocalStatistic(terms=("coord", "first_layer"))(scan(150, 0), model.embed)
    rows = expected.argsort(descending=True, stable=True)[:60]
    torch.testing.assert_close(before[:60], scan(150, 0).coord[rows])
    first: Any = model.encoder.near
    torch.nn.init.normal_(first[0].weight, generator=generator(7))
    after = views.finish(shown["scene"], generator(), model.embed)["student"].coord
    assert not torch.equal(before, after)
    assert model.loss(shown, generator())["loss"].isfinite()


def test_an_encoder_without_a_layer_for_single_points_has_no_such_term():
    with pytest.raises(ValueError, match="first_layer"):
        MM3DScene(IdentityEncoder(), views=MaskedViews(LocalStatistic(terms=("first_layer",))))


def test_the_levels_on_the_way_down_can_be_used_and_have_to_be_offered():
    torch.manual_seed(0)
    narrow: dict[str, Any] = {
        "channels": (8, 16, 16),
        "depths": (1, 1, 1),
        "decoder_depths": (1, 1, 1),
        "neighbors": (8, 8, 8),
    }
    encoder = PointTransformer(**narrow, strides=(1, 4, 4))
    model = MM3DScene(encoder, decoder=SMALL, outputs="encoder")
    model.loss(batch(model), generator())["loss"].backward()
    reached = {name.split(".")[0] for name, p in encoder.named_parameters() if p.grad is not None}
    assert reached == {"down", "encoder_blocks"}  # nothing of the way up
    with pytest.raises(ValueError, match=r"no encode\(\)"):
        MM3DScene(IdentityEncoder(), outputs="encoder")


def test_only_the_chosen_levels_are_used():
    model = method(levels=[1])
    terms = model.loss(batch(model), generator())
    assert [name for name in terms if name.startswith("reconstruction_")] == ["reconstruction_level1"]
    assert len(list(model.decoders or ())) == 1


def test_the_share_of_furniture_that_the_mask_prefers_is_reported():
    model = method(views=MaskedViews(keep_ratio=0.4))
    segment = (torch.arange(150) % 3 == 0).long()  # the points on the box
    terms = model.loss(model.views(mark_classes(scan(150), segment, [1]), generator()), generator())
    kept = LocalStatistic()(scan(150)).argsort(descending=True, stable=True)[:60]
    assert terms["enrichment"].item() == pytest.approx(float(segment[kept].float().mean()) / (50 / 150), rel=1e-5)


def test_the_picture_of_a_scan_shows_input_target_and_reconstruction():
    model = method(views=MaskedViews(keep_ratio=0.4, gap=0.2)).train()
    points = scan(150)
    picture = reconstruction_picture(model, points, generator())
    sizes = {name: len(value) for name, value in picture.items()}
    assert sizes == {
        "scan": 150,
        "scan_color": 150,
        "statistic": 150,
        "input": 60,
        "input_rows": 60,
        "target": 90,
        "target_rows": 90,
        "masked": 30,
        "reconstruction_level0": 240,
        "reconstruction_level1": 60,
    }
    np.testing.assert_array_equal(picture["scan"][picture["target_rows"]], picture["target"])
    assert model.training


def test_a_ladder_of_masks_is_nested():
    kept = mask_ladder(MaskedViews(), scan(100), [0.8, 0.5, 0.2], generator())["kept"]
    assert kept.sum(1).tolist() == [80, 50, 20]
    assert not (kept[2] & ~kept[1]).any()
    assert not (kept[1] & ~kept[0]).any()


def test_a_method_without_decoders_says_that_it_cannot_reconstruct():
    model = method(rec_weight=0.0)
    with pytest.raises(ValueError, match="no decoders"):
        model.predict_points(scan(60))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rec_weight": 0.0, "csd_weight": 0.0}, "nor both 0"),
        ({"rec_weight": -1.0}, "must not be negative"),
        ({"levels": [2]}, "the encoder has levels 0 to 1"),
        ({"levels": []}, "the encoder has levels 0 to 1"),
        ({"correspondence": "same"}, "correspondence must be"),
        ({"outputs": "both"}, "outputs must be"),
    ],
)
def test_bad_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        method(**options)


def _step(model: MM3DScene, optimizer: torch.optim.Optimizer, views, random: torch.Generator) -> float:
    optimizer.zero_grad()
    loss = model.loss(views, random)["loss"]
    loss.backward()
    optimizer.step()
    model.after_step()
    return loss.item()
