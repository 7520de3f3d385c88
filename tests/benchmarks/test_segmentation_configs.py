"""Segmentation configs: they compose, build the published networks, and hold the published recipes and protocols."""

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from mm3d_benchmarks.datasets.loading import Sampling
from mm3d_benchmarks.metrics.segmentation import SegmentationMetric
from mm3d_benchmarks.protocols.voting import View, Voting
from mm3d_benchmarks.protocols.voxel_validation import VoxelValidation
from mm3d_benchmarks.runs.build import Recipe
from mm3d_benchmarks.runs.build import instantiate as build
from mm3d_benchmarks.runs.compose import Request, available, check_targets, compose
from mm3d_core.schedules import Position

RECIPES = [name for name in available("recipe") if name.startswith(("point_transformer", "stratified_transformer"))]
EVALUATIONS = [name for name in available("evaluation") if name.startswith("segmentation")]


def config(backbone: str = "point_transformer", dataset: str = "s3dis", recipe: str = "", **choices: str) -> dict:
    name = f"{backbone.removesuffix('_scannet')}_{dataset}"
    chosen = {"backbone": backbone, "dataset": dataset, "recipe": recipe or name, "evaluation": "segmentation"}
    return compose(Request({**chosen, "profile": "paper", **choices}))


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("backbone", "dataset", "parameters"),
    [
        ("point_transformer", "s3dis", 7_767_729),
        ("point_transformer", "scannet", 7_767_960),
        ("stratified_transformer", "s3dis", 8_022_970),
        ("stratified_transformer_scannet", "scannet", 18_798_662),
    ],
)
def test_each_backbone_config_builds_the_published_network(backbone: str, dataset: str, parameters: int):
    settings = config(backbone, dataset)
    facts = instantiate(settings["dataset"]["facts"])
    head = settings["backbone"]["task"]["segmentation"]
    encoder = instantiate(settings["backbone"]["encoder"])
    assert count(instantiate(head, encoder=encoder, num_classes=facts.num_segment_classes)) == parameters


@pytest.mark.parametrize(
    ("backbone", "total"), [("point_transformer", 8_631_234), ("stratified_transformer", 8_019_885 + 654_360)]
)
def test_pre_training_adds_one_folding_decoder_for_each_level(backbone: str, total: int):
    settings = config(backbone, pretrain="mm3dscene_reconstruction")
    method = instantiate(settings["pretrain"]["method"], encoder=instantiate(settings["backbone"]["encoder"]))
    assert count(method) == total


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_builds_its_sampling_optimizer_and_schedule(name: str):
    dataset = "scannet" if "scannet" in name else "s3dis"
    backbone = "stratified_transformer" if name.startswith("stratified") else "point_transformer"
    settings = config(backbone, dataset, name)
    check_targets(settings)
    small = {"channels": [24, 48], "depths": [1, 1], "heads": [3, 6]} if backbone[0] == "s" else {}
    encoder = nn.ModuleDict({"encoder": build({**settings["backbone"]["encoder"], **small}, "backbone.encoder")})
    for kind in ("pretrain", "finetune"):
        recipe = Recipe.of(settings, kind)
        sampling = recipe.sampling(settings["backbone"]["input"])
        assert isinstance(sampling, Sampling)
        assert (sampling.voxel, sampling.max_points is not None) == (0.02 if dataset == "scannet" else 0.04, True)
        assert isinstance(recipe.build_optimizer(encoder), torch.optim.Optimizer)
        schedule, _ = recipe.schedules()
        assert 0 < schedule(Position(0, 1000, 10)) <= 1
        assert 0 <= schedule(Position(999, 1000, 10)) < 1 or settings["recipe"]["name"].endswith("official")


def test_attention_blocks_of_stratified_transformer_learn_at_a_tenth():
    settings = config("stratified_transformer")
    module = nn.ModuleDict({"encoder": instantiate(settings["backbone"]["encoder"])})
    optimizer = Recipe.of(settings, "finetune").build_optimizer(module)
    blocks, others = optimizer.param_groups
    assert (blocks["lr"], others["lr"]) == (pytest.approx(0.0006), pytest.approx(0.006))
    encoder = module["encoder"]
    assert sum(p.numel() for p in blocks["params"]) == count(encoder.stages)  # pyright: ignore[reportArgumentType]


def test_windows_follow_the_voxel_of_the_recipe():
    settings = compose(
        Request(
            {
                "backbone": "stratified_transformer",
                "dataset": "s3dis",
                "evaluation": "segmentation",
                "profile": "paper",
            },
            {"recipe.finetune.voxel": 0.08},
        )
    )
    assert settings["backbone"]["encoder"]["voxel"] == 0.08


@pytest.mark.parametrize("name", EVALUATIONS)
def test_each_evaluation_builds_its_protocol_and_metric(name: str):
    settings = config(evaluation=name)
    evaluation = settings["evaluation"]
    protocol = build(evaluation["protocol"], "evaluation.protocol")
    assert isinstance(protocol, Voting | VoxelValidation)
    assert protocol.voxel == settings["recipe"]["finetune"]["voxel"]
    assert isinstance(build(evaluation["metric"], "evaluation.metric", class_names=["a", "b"]), SegmentationMetric)
    assert settings["task"] == "segmentation"


def test_protocols_differ_as_published():
    built = {name: build(config(evaluation=name)["evaluation"]["protocol"], name) for name in EVALUATIONS}
    plain, released = built["segmentation_voting"], built["segmentation_voting_released"]
    assert (plain.sum_of, plain.views, plain.released_sums, plain.packed) == ("logits", (View(),), False, 0)
    assert (released.released_sums, released.packed) == (True, 10)
    assert len(built["segmentation_voting_augmented_s3dis"].views) == 10
    assert len(built["segmentation_voting_augmented_scannet"].views) == 13
    assert len(set(built["segmentation_voting_augmented_scannet"].views)) == 13
    stratified = built["segmentation_voting_stratified"]
    assert (len(stratified.views), stratified.equal_views, stratified.sum_of) == (7, True, "probabilities")
