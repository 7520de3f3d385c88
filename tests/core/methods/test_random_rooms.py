"""RandomRooms*: the same objects in both rooms, none overlapping, contrasted object by object."""

from __future__ import annotations

import math

import pytest
import torch
from core.tiny import IdentityEncoder, TinyEncoder, generator, joined, scan

from mm3d_core.features import FeatureLayout
from mm3d_core.methods.contrastive import InfoNCE
from mm3d_core.methods.objects import ObjectFinder
from mm3d_core.methods.random_rooms import RandomRooms, RoomViews, arrange
from mm3d_core.points import PointBatch

VIEWS = RoomViews(finder=ObjectFinder(min_share=0.05, radius=0.3), objects=(4, 6))


def method(**options) -> RandomRooms:
    torch.manual_seed(0)
    return RandomRooms(TinyEncoder(), **{"views": VIEWS, **options})


def batch(model, scenes: int = 2) -> dict[str, PointBatch]:
    return joined([model.views(scan(1500, s), generator(s)) for s in range(scenes)])


@pytest.mark.parametrize("bank", ["clusters", "procedural"])
def test_both_rooms_hold_the_same_objects_within_the_budget(bank):
    views = RoomViews(finder=VIEWS.finder, objects=(4, 6), bank=bank)(scan(1500), generator())
    objects = [set(view.attributes["object"].tolist()) - {-1} for view in views.values()]
    assert objects[0] == objects[1]
    assert 4 <= len(objects[0]) <= 6
    assert sum(view.num_points for view in views.values()) <= 1500
    for view in views.values():
        torch.testing.assert_close(view.feat, torch.cat([view.coord, view.attributes["color"]], dim=1))
        assert view.coord.amin(0).tolist() == [0.0, 0.0, 0.0]


def test_the_rooms_differ():
    views = VIEWS(scan(1500), generator())
    assert not torch.equal(views["first"].coord[:50], views["second"].coord[:50])


def test_circles_do_not_overlap_however_large():
    radii = [0.5, 2.0, 1.0, 0.3, 0.3, 0.3]
    places = arrange(radii, generator())
    for a in range(6):
        for b in range(a):
            assert (places[a] - places[b]).norm() >= radii[a] + radii[b]


def test_heights_and_normals_are_built_where_the_network_reads_them():
    base = scan(1500)
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(1500, 3)
    feat = torch.cat([base.attributes["color"] * 255 / 256 - 0.3, base.coord[:, 2:] - 0.1, normal], dim=1)
    points = PointBatch.single(base.coord, feat, {"color": base.attributes["color"], "normal": normal})
    inputs = ("color_votenet", "height", "normal")
    view = RoomViews(inputs=inputs, finder=VIEWS.finder, objects=(4, 6))(points, generator())["first"]
    layout = FeatureLayout(inputs)
    torch.testing.assert_close(layout.read(view, "color_votenet"), view.attributes["color"] * 255 / 256 - 0.3)
    torch.testing.assert_close(layout.read(view, "height"), view.coord[:, 2:])


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_the_gradient_reaches_the_encoder_and_the_head(pool):
    model = method(pool=pool)
    terms = model.loss(batch(model), generator())
    terms["loss"].backward()
    assert terms["loss"].isfinite()
    assert 8 <= terms["objects"] <= 12
    for name, parameter in model.named_parameters():
        if not name.startswith("encoder.far"):
            assert parameter.grad is not None, name


def test_constant_features_give_the_logarithm_of_the_objects():
    model = method()
    for parameter in model.head.parameters():
        torch.nn.init.ones_(parameter)
    for parameter in model.encoder.parameters():
        torch.nn.init.zeros_(parameter)
    terms = model.loss(batch(model), generator())
    assert terms["loss"].item() == pytest.approx(math.log(int(terms["objects"])), abs=1e-4)


def test_identical_rooms_of_orthogonal_objects_give_the_closed_form():
    model = method(contrast=InfoNCE(temperature=0.1, max_points=None))
    model.head = torch.nn.Identity()
    model.encoder = IdentityEncoder()
    label = torch.arange(40) % 5
    room = PointBatch.single(torch.rand(40, 3), torch.eye(5)[label], {"object": label})
    loss = model.loss({"first": room, "second": room}, generator())["loss"]
    assert loss.item() == pytest.approx(math.log(math.exp(10) + 4) - 10, abs=1e-4)


def test_the_order_of_the_points_does_not_change_the_loss():
    model = method().eval()
    views = VIEWS(scan(1500), generator())
    order = torch.randperm(views["second"].num_points, generator=generator(1))
    shuffled = {**views, "second": views["second"].select(order, views["second"].offset)}
    torch.testing.assert_close(model.loss(shuffled, generator())["loss"], model.loss(views, generator())["loss"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bank": "cad"}, "bank must be"),
        ({"objects": (1, 1)}, "at least 2 objects"),
        ({"floor_share": 1.0}, "floor_share"),
        ({"budget": "x"}, "budget must be"),
    ],
)
def test_bad_options_of_rooms_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        RoomViews(**options)


def test_an_empty_scan_and_an_unknown_pooling_are_refused():
    with pytest.raises(ValueError, match="no points"):
        RoomViews()(PointBatch.single(torch.zeros(0, 3), torch.zeros(0, 6)), generator())
    with pytest.raises(ValueError, match="pool must be"):
        method(pool="sum")
