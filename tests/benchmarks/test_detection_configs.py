"""Detection configs: they compose, build the published networks, and hold the published recipes."""

from __future__ import annotations

import pytest
from hydra.utils import instantiate

from mm3d_benchmarks.loading.loading import Sampling
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.strictness import check_targets
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_core.training.schedules import Position

BACKBONES = ("votenet", "votenet_color", "votenet_color_height", "h3dnet")
RECIPES = [name for name in available("recipe") if name.startswith(("votenet", "h3dnet"))]
EVALUATIONS = [name for name in available("evaluation") if name.startswith("detection")]


def config(
    backbone: str = "votenet", dataset: str = "scannet", recipe: str = "", evaluation: str = "detection", **choices
) -> dict:
    chosen = {
        "backbone": backbone,
        "dataset": dataset,
        "recipe": recipe or f"{backbone}_{dataset}",
        "evaluation": evaluation,
    }
    return compose(Request({**chosen, "profile": "paper", **choices}))


def parameters(settings: dict, dataset: str) -> int:
    facts = instantiate(settings["dataset"]["facts"])
    encoder = instantiate(settings["backbone"]["encoder"])
    model = instantiate(
        settings["backbone"]["task"]["detection"],
        encoder=encoder,
        num_classes=facts.num_detection_classes,
        num_heading_bins=facts.num_heading_bins,
        mean_sizes=[list(size) for size in facts.mean_sizes],
    )
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("backbone", "scannet", "sunrgbd"),
    [
        ("votenet", 953_828, 951_506),
        ("votenet_color", 953_956, 951_634),
        ("votenet_color_height", 954_020, 951_698),
        ("h3dnet", 4_740_278, 4_720_670),
    ],
)
def test_each_backbone_config_builds_the_published_network(backbone, scannet, sunrgbd):
    assert parameters(config(backbone, "scannet"), "scannet") == scannet
    assert parameters(config(backbone, "sunrgbd"), "sunrgbd") == sunrgbd


@pytest.mark.parametrize(("backbone", "total"), [("votenet", 1_486_826), ("h3dnet", 6_872_270)])
def test_pre_training_adds_one_folding_decoder_for_each_level(backbone, total):
    settings = config(backbone, pretrain="mm3dscene")
    method = instantiate(settings["pretrain"]["method"], encoder=instantiate(settings["backbone"]["encoder"]))
    decoders = sum(parameter.numel() for parameter in method.decoders.parameters())
    assert decoders == 532_998 * (4 if backbone == "h3dnet" else 1)
    assert parameters(settings, "scannet") + decoders == total


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_named_after_its_file_and_is_understood(name):
    backbone, _, rest = name.partition("_")
    settings = config(backbone, "sunrgbd" if "sunrgbd" in rest else "scannet", name)
    assert settings["recipe"]["name"] == name
    check_targets(settings)
    for kind in ("pretrain", "finetune"):
        recipe = Recipe.of(settings, kind)
        sampling = recipe.sampling(settings["backbone"]["input"])
        assert isinstance(sampling, Sampling)
        assert not sampling.shift
        assert 0 < recipe.schedule(Position(0, 1000, 10)) <= 1


@pytest.mark.parametrize("name", EVALUATIONS)
def test_every_evaluation_is_named_after_its_file_and_builds(name):
    settings = config(evaluation=name)["evaluation"]
    assert settings["name"] == name
    assert instantiate(settings["protocol"]).num_points == 40_000
    instantiate(settings["metric"], class_names=["a", "b"])


def test_fine_tuning_follows_the_paper():
    scannet, sunrgbd = (config(dataset=name)["recipe"]["finetune"] for name in ("scannet", "sunrgbd"))
    assert (scannet["epochs"], scannet["batch"], scannet["num_points"]) == (500, 6, 40_000)
    assert (sunrgbd["epochs"], sunrgbd["batch"], sunrgbd["num_points"]) == (500, 16, 20_000)
    assert (scannet["votes"], sunrgbd["votes"]) == ("hull", "inside")


@pytest.mark.parametrize(
    ("name", "epochs", "steps", "factor"),
    [
        ("votenet_scannet", 500, (250, 350, 450), 0.5),
        ("votenet_scannet_release", 180, (80, 120, 160), 0.1),
        ("votenet_scannet_strong", 36, (24, 32), 0.1),
        ("h3dnet_scannet", 360, (80, 140, 200, 240), 0.1),
        ("h3dnet_sunrgbd", 360, (160, 220, 260), 0.1),
    ],
)
def test_learning_rates_fall_at_the_published_epochs(name, epochs, steps, factor):
    backbone, dataset = name.split("_")[:2]
    recipe = Recipe.of(config(backbone, dataset, name), "finetune")
    assert recipe.epochs == epochs
    schedule = recipe.schedule
    per_epoch = 7
    factors = [schedule(Position(epoch * per_epoch, epochs * per_epoch, per_epoch)) for epoch in range(epochs)]
    falls = [epoch for epoch in range(1, epochs) if factors[epoch] != factors[epoch - 1]]
    assert falls == list(steps)
    assert factors[steps[0]] == pytest.approx(factor)


@pytest.mark.parametrize("name", ["votenet_scannet", "votenet_scannet_release", "h3dnet_scannet"])
def test_batch_norm_momentum_halves_every_twenty_epochs(name):
    recipe = Recipe.of(config(name.split("_")[0], "scannet", name), "finetune")
    momentum = recipe.batch_norm
    assert momentum is not None
    epochs = recipe.epochs or 0
    for epoch in range(epochs):
        expected = max(0.5 * 0.5 ** (epoch // 20), 0.001)
        assert momentum(Position(epoch * 3, epochs * 3, 3)) == pytest.approx(expected)


def test_the_smoke_profile_shrinks_every_detector():
    for backbone in BACKBONES:
        for dataset in ("scannet", "sunrgbd"):
            settings = config(backbone, dataset, profile="smoke")
            assert settings["backbone"]["encoder"]["samples"][0] <= 256
            for kind in ("pretrain", "finetune"):
                section = settings["recipe"][kind]
                assert section.get("voxel") is None
                assert section["num_points"] <= 2048
                assert section["steps"] <= 20
