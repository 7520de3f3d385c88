"""Every pre-training method runs a step on every backbone, from configs, with the backbone's inputs and decoders."""

from __future__ import annotations

import pytest
import torch
from core.tiny import generator, joined, scan
from hydra.utils import instantiate

from mm3d_benchmarks.loading.features import feature_width
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.request import Request
from mm3d_core.features import COLOR_SCALES, FeatureLayout
from mm3d_core.points import PointBatch
from pointops import memory
from pointops.plan import make_plan

BACKBONES = available("backbone")
FIVE = ["point_transformer", "point_transformer_v3", "stratified_transformer", "votenet", "h3dnet"]
RIVALS = ["point_contrast", "contrastive_scene_contexts", "masked_scene_contrast", "random_rooms", "four_d_contrast"]
HEAVY = {"h3dnet"}  # four towers: 10 s on one core
POINTS = 3000


@pytest.fixture(scope="module", autouse=True)
def kept_memory():
    memory.keep_freed_memory()


def settings(backbone: str, pretrain: str) -> dict:
    others = {"evaluation": "segmentation", "recipe": "point_transformer_s3dis"}  # any will do
    return compose(Request({"backbone": backbone, "pretrain": pretrain, **others}))


def scene(seed: int, inputs: list[str]) -> PointBatch:
    """A scan whose features are the backbone's inputs."""
    points = scan(POINTS, seed)
    normal = torch.tensor([0.0, 0.0, 1.0]).expand(POINTS, 3)
    points = points.with_attributes(normal=normal)
    shown = PointBatch.single(points.coord, points.feat[:, :0], points.attributes)
    reference = shown.with_feat(torch.zeros(POINTS, feature_width(inputs)))
    layout = FeatureLayout(inputs)
    constants = reference.feat.clone()  # colors of the reference such that nothing is added to them
    for name, scale in COLOR_SCALES.items():
        columns = layout.columns(name)
        if columns:
            constants[:, columns] = scale * points.attributes["color"]
    return shown.with_feat(layout.build(shown, shown.with_feat(constants), points.coord[:, 2]))


def step(backbone: str, pretrain: str) -> None:
    config = settings(backbone, pretrain)
    torch.manual_seed(0)
    encoder = instantiate(config["backbone"]["encoder"])
    method = instantiate(config["pretrain"]["method"], encoder=encoder)
    spec, planned = encoder.plan_spec(), method.planned_views
    samples = []
    for seed in range(1 if backbone in HEAVY else 2):
        views = method.views(scene(seed, config["backbone"]["input"]), generator(seed))
        samples.append(
            {
                name: view.with_plan(make_plan(view.coord, view.offset, spec)) if spec and name in planned else view
                for name, view in views.items()
            }
        )
    terms = method.loss(joined(samples), generator())
    terms["loss"].backward()
    method.after_step()
    assert terms["loss"].isfinite()
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert sum(float(gradient.abs().sum()) for gradient in gradients) > 0


@pytest.mark.parametrize("backbone", [pytest.param(b, marks=pytest.mark.slow if b in HEAVY else ()) for b in BACKBONES])
def test_mm3dscene_trains_every_backbone(backbone):
    step(backbone, "mm3dscene")


@pytest.mark.slow
@pytest.mark.parametrize("pretrain", ["mm3dscene_official", "mm3dscene_official_detection", "point_mae", *RIVALS])
@pytest.mark.parametrize("backbone", FIVE)
def test_every_method_trains_every_backbone(backbone, pretrain):
    inputs = settings(backbone, pretrain)["backbone"]["input"]
    if pretrain == "masked_scene_contrast" and not FeatureLayout(inputs).color_columns:
        with pytest.raises(Exception, match="no color or normal"):
            step(backbone, pretrain)
    else:
        step(backbone, pretrain)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", [name for name in BACKBONES if name not in FIVE])
def test_masked_colors_train_the_variants_of_the_backbones(backbone):
    step(backbone, "masked_scene_contrast")
