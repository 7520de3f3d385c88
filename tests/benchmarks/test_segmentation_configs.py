"""Segmentation configs: they compose, build the published networks, and hold the published recipes and protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from mm3d_benchmarks.datasets.prepare import make_reader
from mm3d_benchmarks.evaluation.room_lists import room_protocol
from mm3d_benchmarks.evaluation.segmentation_metric import SegmentationMetric
from mm3d_benchmarks.evaluation.voting import View, Voting
from mm3d_benchmarks.evaluation.voxel_validation import VoxelValidation
from mm3d_benchmarks.loading.crops import KeepBox, RemoveBox
from mm3d_benchmarks.loading.loading import Sampling
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.strictness import check_targets
from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.runs.instantiate import instantiate as build
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_core.training.schedules import Position

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
        ("point_transformer_v3", "s3dis", 46_166_272 + 5_133),
        ("point_transformer_v3", "scannet", 46_166_272 + 5_588),
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
    third = name.startswith("point_transformer_v3")
    backbone = name.removesuffix(f"_{dataset}") if third or name.startswith("stratified") else "point_transformer"
    settings = config(backbone, dataset, name)
    check_targets(settings)
    small = {"channels": [24, 48], "depths": [1, 1], "heads": [3, 6]} if backbone[0] == "s" else {}
    small = {"depths": [1] * 5, "decoder_depths": [1] * 4} if third else small
    encoder = nn.ModuleDict({"encoder": build({**settings["backbone"]["encoder"], **small}, "backbone.encoder")})
    for kind in ("pretrain", "finetune"):
        recipe = Recipe.of(settings, kind)
        sampling = recipe.sampling(settings["backbone"]["input"])
        assert isinstance(sampling, Sampling)
        assert (sampling.voxel, sampling.max_points is not None) == (
            0.02 if third or dataset == "scannet" else 0.04,
            True,
        )
        assert isinstance(recipe.build_optimizer(encoder), torch.optim.Optimizer)
        assert 0 < recipe.schedule(Position(0, 1000, 10)) <= 1
        assert 0 <= recipe.schedule(Position(999, 1000, 10)) < 1 or settings["recipe"]["name"].endswith("official")


def test_attention_blocks_of_stratified_transformer_learn_at_a_tenth():
    settings = config("stratified_transformer")
    module = nn.ModuleDict({"encoder": instantiate(settings["backbone"]["encoder"])})
    optimizer = Recipe.of(settings, "finetune").build_optimizer(module)
    blocks, others = optimizer.param_groups
    assert (blocks["lr"], others["lr"]) == (pytest.approx(0.0006), pytest.approx(0.006))
    encoder = module["encoder"]
    assert sum(p.numel() for p in blocks["params"]) == count(encoder.stages)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("dataset", ["s3dis", "scannet"])
def test_blocks_of_point_transformer_v3_learn_at_a_tenth(dataset: str):
    settings = config("point_transformer_v3", dataset)
    encoder = instantiate(settings["backbone"]["encoder"])
    recipe = Recipe.of(settings, "finetune")
    blocks, others = recipe.build_optimizer(nn.ModuleDict({"encoder": encoder})).param_groups
    assert (blocks["lr"], others["lr"]) == (pytest.approx(0.0006), pytest.approx(0.006))
    stages = [*encoder.encoder, *encoder.decoder]  # pyright: ignore[reportGeneralTypeIssues]
    assert sum(p.numel() for p in blocks["params"]) == sum(count(stage.blocks) for stage in stages)
    assert recipe.mix == 0.8


@pytest.mark.parametrize("backbone", ["stratified_transformer", "point_transformer_v3"])
def test_windows_and_voxels_of_a_network_follow_the_voxel_of_the_recipe(backbone: str):
    settings = compose(
        Request(
            {
                "backbone": backbone,
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


# ----------------------------------------------------------------------------- where paper and released code differ
# docs/deviations.md; each has a default and a named option.


def finetuning(recipe: str, **overrides: Any) -> Recipe:
    dataset = "scannet" if "scannet" in recipe else "s3dis"
    choices = {"dataset": dataset, "recipe": recipe, "evaluation": "segmentation", "profile": "paper"}
    return Recipe.of(compose(Request(choices, overrides)), "finetune")


def rates(recipe: Recipe, *shares: float) -> list[float]:
    """Learning rates at some shares of a training, 100 steps an epoch."""
    steps = 100 * (recipe.epochs or 0)
    return [
        recipe.optimizer.options["lr"] * recipe.schedule(Position(round(share * steps), steps, 100)) for share in shares
    ]


@pytest.mark.parametrize(
    ("recipe", "crop"),
    [
        ("point_transformer_s3dis", RemoveBox(fallback=1024)),
        ("point_transformer_s3dis_official", RemoveBox(fallback=1)),
        ("point_transformer_s3dis_plain", None),
        ("point_transformer_scannet", KeepBox(fallback=512)),
    ],
)
def test_fine_tuning_removes_a_box_on_s3dis_and_keeps_one_on_scannet(recipe: str, crop: RemoveBox | KeepBox | None):
    assert finetuning(recipe).sampling(["coord"]).crop == crop


def test_the_box_crop_can_be_left_out_or_exchanged_on_either_data_set():
    keep = {"_target_": "mm3d_benchmarks.loading.crops.KeepBox"}
    assert finetuning("point_transformer_s3dis", **{"recipe.finetune.crop": keep}).sampling(["coord"]).crop == KeepBox()
    assert finetuning("point_transformer_scannet", **{"recipe.finetune.crop": None}).sampling(["coord"]).crop is None


@pytest.mark.parametrize("dataset", ["s3dis", "scannet"])
def test_pre_training_removes_a_box_on_either_data_set(dataset: str):
    crop = Recipe.of(config(dataset=dataset), "pretrain").sampling(["coord"]).crop
    assert crop == RemoveBox(fallback=1024)


def test_the_rate_on_s3dis_falls_in_steps_or_is_the_constant_of_the_released_code():
    shares = (0, 0.59, 0.61, 0.79, 0.81, 0.999)
    assert rates(finetuning("point_transformer_s3dis"), *shares) == pytest.approx([0.5, 0.5, 0.05, 0.05, 0.005, 0.005])
    assert rates(finetuning("point_transformer_s3dis_official"), *shares) == pytest.approx([0.001] * 6)


def test_the_rate_on_scannet_follows_a_cosine_to_its_last_value_or_the_steps_of_the_text():
    cosine, steps = finetuning("point_transformer_scannet"), finetuning("point_transformer_scannet_paper")
    assert (cosine.epochs, cosine.optimizer.kind) == (200, torch.optim.SGD)
    first, middle, last = rates(cosine, 0, 0.5, 1)
    assert (first, middle) == pytest.approx((0.5, (0.5 + 0.0001) / 2))
    assert last == pytest.approx(0.0001)
    assert rates(steps, 0, 0.61, 0.81) == pytest.approx([0.5, 0.05, 0.005])


def test_the_row_from_scratch_trains_with_the_recipe_of_its_rivals_beside_the_quoted_value():
    table = load_sweep(Path("sweeps/table_05_s3dis_segmentation.yaml"))
    plan = Planner("paper", needs_data=False).plan([table])
    rows = {cell.row: cell.runs for cell in plan.cells[table.name] if cell.seed == 0}
    scratch, ours = rows["PointTrans (scratch)"], rows["MM-3DScene + PointTrans"]
    assert plan.specs[scratch["finetune"]].config == plan.specs[ours["finetune"]].config
    assert plan.specs[scratch["finetune"]].config["recipe"]["finetune"]["epochs"] == 150
    assert "pretrain" not in scratch
    assert plan.specs[scratch["evaluate"]].config == plan.specs[ours["evaluate"]].config
    assert table.table is not None
    [quoted] = [entry for entry in table.table.published if entry.row == "PointTrans (scratch)"]
    assert (quoted.values["mIoU"], quoted.values["mAcc"], quoted.origin) == (70.4, 76.5, "quoted")


def test_the_published_recipe_behind_the_quoted_row_differs_in_length_and_crop_only():
    own, plain = (finetuning(f"point_transformer_s3dis{suffix}") for suffix in ("", "_plain"))
    different = {name for name in vars(own) if getattr(own, name) != getattr(plain, name)}
    assert different == {"epochs", "crop"}
    assert plain.epochs == 100


def test_s3dis_is_prepared_with_271_or_with_272_rooms(tmp_path: Path):
    rooms = [("Area_5", "hallway_6"), *(("Area_5", f"office_{n}") for n in range(67))]
    rooms += [(f"Area_{(1, 2, 3, 4, 6)[n % 5]}", f"office_{n}") for n in range(204)]
    for area, room in rooms:
        (tmp_path / area / room / "Annotations").mkdir(parents=True)
    named = {}
    for options in ({}, {"rooms": 272}, {"rooms": 271}):
        splits = make_reader("s3dis", tmp_path, options).splits()
        everything = [name for area in range(1, 7) for name in splits[f"Area_{area}"]]
        named[options.get("rooms")] = (room_protocol("s3dis", everything), room_protocol("s3dis", splits["val"]))
    assert named[271] == ("271 rooms (all areas without hallway_6)", "67 rooms (Area 5 without hallway_6)")
    assert named[272] == named[None] == ("272 rooms (all areas)", "68 rooms (Area 5)")
