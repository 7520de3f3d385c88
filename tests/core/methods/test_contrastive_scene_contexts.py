"""CSC*: the loss is per scene and region, and its monitors say how pairs are spread over the regions."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan

from mm3d_core.methods.contrastive import Partitions
from mm3d_core.methods.contrastive_scene_contexts import ContrastiveSceneContexts
from mm3d_core.methods.views import PairViews
from mm3d_core.points import PointBatch


def method(**options) -> ContrastiveSceneContexts:
    torch.manual_seed(0)
    return ContrastiveSceneContexts(TinyEncoder(), **{"views": PairViews(min_share=0.1), **options})


def views_of(model, seeds) -> dict[str, PointBatch]:
    return joined([model.views(scan(400, s), generator(s)) for s in seeds])


def test_the_loss_is_finite_and_its_gradient_reaches_the_encoder():
    model = method()
    terms = model.loss(views_of(model, range(2)), generator())
    terms["loss"].backward()
    assert terms["loss"].isfinite()
    for name, parameter in model.named_parameters():
        if name.startswith("encoder.near"):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_the_shares_of_the_regions_are_reported():
    model = method(partitions=Partitions(radii=(0.0, 0.5)))
    terms = model.loss(views_of(model, [0]), generator())
    shares = [terms[f"pairs_region{p}"].item() for p in range(4)]
    assert sum(shares) == pytest.approx(1.0, abs=1e-3)  # a first radius of 0 leaves no pair out


def test_scenes_do_not_feel_each_other():
    model = method(max_points=None).eval()
    apart = [model.loss(views_of(model, [s]), generator())["loss"] for s in range(2)]
    together = model.loss(views_of(model, range(2)), generator())["loss"]
    torch.testing.assert_close(together, (apart[0] + apart[1]) / 2)


def test_matches_are_drawn_in_each_scene():
    model = method(max_points=20)
    assert model.loss(views_of(model, range(3)), generator())["matches"] == 60


def test_a_batch_without_matches_and_a_bad_temperature_are_refused():
    model = method()
    views = views_of(model, [0])
    views["first"] = views["first"].with_attributes(match=torch.full((views["first"].num_points,), -1))
    with pytest.raises(ValueError, match="no matched points"):
        model.loss(views, generator())
    with pytest.raises(ValueError, match="temperature"):
        method(temperature=0.0)
