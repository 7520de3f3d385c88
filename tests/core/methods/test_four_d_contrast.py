"""4DContrast*: one object moves, rows are the same points over time, and three contrasts are added."""

from __future__ import annotations

import math

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan

from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.four_d_contrast import FourDContrast, MovingObjectViews, TemporalMixer
from mm3d_core.methods.motions import Motion
from mm3d_core.methods.objects import ObjectFinder
from mm3d_core.points import PointBatch

STILL = Motion(rotation="none", tilt=0.0, flip=0.0, scale=(1.0, 1.0), jitter=0.0, recenter="none")
FINDER = ObjectFinder(min_share=0.05, radius=0.3)
VIEWS = MovingObjectViews(finder=FINDER)


def method(**options) -> FourDContrast:
    torch.manual_seed(0)
    return FourDContrast(TinyEncoder(), **{"views": VIEWS, **options})


def batch(model, scenes: int = 2) -> dict[str, PointBatch]:
    return joined([model.views(scan(1200, s), generator(s)) for s in range(scenes)])


@pytest.mark.parametrize("bank", ["clusters", "procedural"])
def test_only_the_object_moves_and_rows_name_the_same_points(bank):
    views = MovingObjectViews(finder=FINDER, bank=bank, motion=STILL, color_change=None)(scan(1200), generator())
    first, last = views["frame0"], views["frame3"]
    moving = first.attributes["moving"]
    assert torch.equal(moving, last.attributes["moving"])
    assert torch.equal(first.coord[~moving], last.coord[~moving])
    assert torch.equal(first.attributes["color"], last.attributes["color"])
    travel = (last.coord[moving] - first.coord[moving])[:, :2].mean(0).norm()
    assert 0.5 < travel < 3.5
    torch.testing.assert_close(torch.pdist(first.coord[moving]), torch.pdist(last.coord[moving]), atol=1e-4, rtol=0)
    for view in views.values():
        torch.testing.assert_close(view.feat, torch.cat([view.coord, view.attributes["color"]], dim=1))


def test_all_frames_together_hold_no_more_points_than_the_scan():
    views = VIEWS(scan(1200), generator())
    assert list(views) == ["frame0", "frame1", "frame2", "frame3"]
    assert sum(view.num_points for view in views.values()) <= 1200
    assert 0 < views["frame0"].attributes["moving"].float().mean() <= 0.5


def test_the_object_stands_on_the_floor_and_avoids_what_stands_there():
    flat = torch.rand(3000, 3, generator=generator(1)) * torch.tensor([6.0, 6.0, 0.01])
    pillar = torch.rand(300, 3, generator=generator(2)) * torch.tensor([0.3, 0.3, 1.5]) + torch.tensor([3.0, 3.0, 0.0])
    coord = torch.cat([flat, pillar])
    points = PointBatch.single(coord, torch.cat([coord, coord * 0], 1), {"color": coord * 0})
    views = MovingObjectViews(bank="procedural", motion=STILL, color_change=None, budget="steps")(points, generator())
    assert views["frame0"].attributes["free"][0] == 1.0
    for view in views.values():
        thing = view.coord[view.attributes["moving"]]
        assert abs(float(thing[:, 2].min())) < 0.05
        middle = (thing.amin(0) + thing.amax(0))[:2] / 2
        assert (middle - torch.tensor([3.15, 3.15])).norm() > 0.2


@pytest.mark.parametrize("space_time", [True, False])
def test_the_loss_is_the_sum_of_its_terms_and_reaches_everything_used(space_time):
    model = method(space_time=space_time)
    terms = model.loss(batch(model), generator())
    names = ["space_space", "space_time", "time_time"] if space_time else ["space_space"]
    torch.testing.assert_close(terms["loss"].detach(), torch.stack([terms[name] for name in names]).sum())
    terms["loss"].backward()
    for name, parameter in model.named_parameters():
        if not name.startswith("encoder.far"):
            assert parameter.grad is not None, name


def test_constant_features_give_the_logarithm_of_the_matches():
    model = method(space_time=False)
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    terms = model.loss(batch(model), generator())
    assert terms["loss"].item() == pytest.approx(math.log(int(terms["matches"])), abs=1e-4)


def test_no_more_points_than_asked_are_contrasted():
    model = method(static_points=30, moving_points=20, contrast=InfoNCE(temperature=0.4, max_points=None))
    assert model.loss(batch(model), generator())["matches"] == 50


def test_mixing_over_time_keeps_points_apart():
    mixer = TemporalMixer(8, 4).eval()
    feat = torch.randn(5, 4, 8, generator=generator())
    torch.testing.assert_close(mixer(feat)[2:3], mixer(feat[2:3]))
    changed = feat.clone()
    changed[2, 3] *= -1
    assert not torch.allclose(mixer(changed)[2, 0], mixer(feat)[2, 0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"frames": 1}, "frames=1"), ({"bank": "cad"}, "bank must be"), ({"budget": "x"}, "budget must be")],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        MovingObjectViews(**options)


def test_an_empty_scan_is_refused():
    with pytest.raises(ValueError, match="no points"):
        VIEWS(PointBatch.single(torch.zeros(0, 3), torch.zeros(0, 6)), generator())
