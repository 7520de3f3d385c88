"""Every pre-training config composes, instantiates on an encoder, and gives a loss with a gradient."""

from __future__ import annotations

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan
from hydra.utils import instantiate

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_benchmarks.planning.compose import available, compose
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import Request

OTHERS = {"evaluation": "segmentation"}  # any will do


def task_of(name: str) -> dict[str, str]:
    """The evaluation that a backbone or a recipe of this name can have."""
    return {"evaluation": "detection" if name.startswith(("votenet", "h3dnet")) else "segmentation"}


def config(name: str, **overrides) -> dict:
    return compose(Request({"pretrain": name, **OTHERS}, overrides))["pretrain"]


NAMES = [name for name in available("pretrain") if config(name)["method"] is not None]  # the rest: none, and controls


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_named_after_its_file_and_gives_a_loss_that_reaches_the_encoder(name):
    settings = config(name)
    assert settings["name"] == name
    torch.manual_seed(0)
    # The text's levels on the way down, sampled nested, are a matter of Point Transformer.
    ones = (1, 1, 1)
    narrow = PointTransformer(6, (8, 16, 16), ones, ones, neighbors=(8, 8, 8), strides=(1, 4, 4))
    method = instantiate(settings["method"], encoder=narrow if name == "mm3dscene_paper" else TinyEncoder())
    views = joined([method.views(scan(400, seed), generator(seed)) for seed in range(2)])
    loss = method.loss(views, generator())["loss"]
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in method.encoder.parameters())
    method.after_step()


def test_from_scratch_is_a_config_without_a_method():
    assert config("none") == {"name": "none", "version": 1, "method": None}


@pytest.mark.parametrize(
    ("backbone", "dataset", "weight", "ratio"),
    [
        ("point_transformer", "s3dis", 4.0, [0.2, 0.9]),
        ("point_transformer", "scannet", 2.0, [0.2, 0.9]),
        ("stratified_transformer", "s3dis", 4.0, [0.2, 0.9]),
        ("votenet", "scannet", 1.0, [0.2, 0.8]),
        ("votenet", "sunrgbd", 1.0, [0.2, 0.8]),
        ("h3dnet", "scannet", 1.0, [0.2, 0.8]),
    ],
)
def test_weight_and_kept_share_are_those_of_the_released_code_for_backbone_and_data(backbone, dataset, weight, ratio):
    request = Request({"pretrain": "mm3dscene", "backbone": backbone, "dataset": dataset, **task_of(backbone)})
    method = compose(request)["pretrain"]["method"]
    assert (method["rec_weight"], method["views"]["keep_ratio"]) == (weight, ratio)
    chosen = compose(Request(request.choices, {"pretrain.method.rec_weight": 3.0}))["pretrain"]["method"]
    assert chosen["rec_weight"] == 3.0


@pytest.mark.parametrize(
    ("pretrain_on", "seen", "voxel", "batch"), [(None, "s3dis", 0.04, 16), ("scannet", "scannet", 0.02, 8)]
)
def test_results_on_s3dis_start_from_s3dis_as_the_released_code_or_from_scannet_as_the_text(
    pretrain_on, seen, voxel, batch
):
    choices = {"backbone": "point_transformer", "dataset": "s3dis", "pretrain": "mm3dscene", **OTHERS}
    request = Request(choices, {"pretrain_on": pretrain_on} if pretrain_on else {})
    chain = Planner("paper", needs_data=False).chain(request, "evaluate")
    before, after = chain["pretrain"].config, chain["finetune"].config
    assert (before["dataset"]["name"], before["recipe"]["name"]) == (seen, f"point_transformer_{seen}")
    assert (before["recipe"]["pretrain"]["voxel"], before["recipe"]["pretrain"]["batch"]) == (voxel, batch)
    assert before["backbone"]["encoder"] == after["backbone"]["encoder"]
    assert (after["dataset"]["name"], after["recipe"]["name"]) == ("s3dis", "point_transformer_s3dis")
    assert chain["finetune"].upstream == {"pretrain": chain["pretrain"].key}


def test_every_recipe_says_what_the_released_code_bases_differ_in():
    for name in available("recipe"):
        chosen = compose(Request({"recipe": name, **task_of(name)}))
        assert chosen["pretrain"]["method"]["rec_weight"] in (1.0, 2.0, 4.0), name


@pytest.mark.parametrize("detector", ["votenet", "h3dnet"])
@pytest.mark.parametrize("dataset", ["scannet", "sunrgbd"])
def test_detectors_pre_train_as_the_released_code_or_as_the_text(detector, dataset):
    def recipe(suffix: str) -> dict:
        choices = {"backbone": detector, "recipe": f"{detector}_{dataset}{suffix}", "evaluation": "detection"}
        return compose(Request(choices))["recipe"]

    code, text = recipe("")["pretrain"], recipe("_paper")["pretrain"]
    assert recipe("_official")["pretrain"] == code
    assert (code["epochs"], code["optimizer"]["weight_decay"]) == (500, 0.0)
    assert code["schedule"]["milestones"] == [0.5, 0.7, 0.9]  # 250, 350, 450 of 500
    assert code["batch_norm"]["every"] * code["epochs"] == pytest.approx(20)
    assert (text["epochs"], text["batch"], text["optimizer"]["weight_decay"]) == (300, 8, 0.0005)
    assert (text["schedule"]["milestones"], text["batch_norm"]) == ([0.6, 0.8], None)
    assert text["optimizer"]["_target_"] == "torch.optim.AdamW"
    assert recipe("_paper")["finetune"] == recipe("")["finetune"]


def test_the_official_preset_holds_the_values_of_the_released_code():
    method = config("mm3dscene_official")["method"]
    assert method["views"]["statistic"]["scope"] == "batch"
    assert method["chamfer"]["over_scenes"] == "sum"
    assert (method["rec_weight"], method["csd_weight"]) == (1.0, 1.0)
    contrast = {key: value for key, value in method["contrast"].items() if key != "_target_"}
    assert contrast == {
        "temperature": 0.07,
        "normalize": True,
        "anchor": "second",
        "max_points": 4096,
        "reduction": "mean",
    }


def test_the_paper_preset_holds_the_values_of_the_text():
    method = config("mm3dscene_paper")["method"]
    assert method["views"]["statistic"]["squared"] is False
    assert method["chamfer"]["kind"] == "sum"
    assert (method["contrast"]["temperature"], method["contrast"]["normalize"]) == (1.0, False)
    assert method["decoder"]["with_coord"] is False
    assert method["views"]["discrete"] is True
    assert (method["correspondence"], method["outputs"]) == ("nested", "encoder")
    assert (method["contrast"]["max_points"], method["contrast"]["reduction"]) == (None, "sum")
    assert (method["rec_weight"], method["csd_weight"]) == (1.0, 1.0)


def test_ablations_differ_from_the_method_only_where_they_say():
    full = config("mm3dscene")["method"]
    assert {**config("mm3dscene_reconstruction")["method"], "csd_weight": 1.0} == full
    assert {**config("mm3dscene_consistency")["method"], "rec_weight": full["rec_weight"]} == full


def test_the_decoders_are_those_of_the_backbone():
    for backbone in available("backbone"):
        chosen = compose(
            Request({"pretrain": "mm3dscene", "backbone": backbone, "recipe": "point_transformer_s3dis", **OTHERS})
        )
        assert chosen["pretrain"]["method"]["decoder"] == chosen["backbone"]["decoder"]


@pytest.mark.parametrize(
    "name",
    [
        "point_contrast",
        "contrastive_scene_contexts",
        "masked_scene_contrast",
        "random_rooms",
        "random_rooms_procedural",
        "four_d_contrast",
    ],
)
def test_a_rival_says_how_it_differs_from_its_original(name):
    settings = config(name)
    assert "the encoder and optimizer" in settings["adaptation"] or "otherwise as" in settings["adaptation"]
    assert settings["method"]["views"]["budget"] == "points"
