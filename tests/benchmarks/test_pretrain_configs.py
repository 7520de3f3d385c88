"""Every pre-training config composes, instantiates on an encoder, and gives a loss with a gradient."""

import pytest
import torch
from core.tiny import TinyEncoder, generator, joined, scan
from hydra.utils import instantiate

from mm3d_benchmarks.runs.compose import Request, available, compose

OTHERS = {"evaluation": "segmentation"}  # any will do
NAMES = [name for name in available("pretrain") if name != "none"]


def config(name: str, **overrides) -> dict:
    return compose(Request({"pretrain": name, **OTHERS}, overrides))["pretrain"]


@pytest.mark.parametrize("name", NAMES)
def test_a_config_is_named_after_its_file_and_gives_a_loss_that_reaches_the_encoder(name):
    settings = config(name)
    assert settings["name"] == name
    torch.manual_seed(0)
    method = instantiate(settings["method"], encoder=TinyEncoder())
    views = joined([method.views(scan(400, seed), generator(seed)) for seed in range(2)])
    loss = method.loss(views, generator())["loss"]
    loss.backward()
    assert loss.isfinite()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in method.encoder.parameters())
    method.after_step()


def test_from_scratch_is_a_config_without_a_method():
    assert config("none") == {"name": "none", "version": 1, "method": None}


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
    "name", ["point_contrast", "csc", "msc", "random_rooms", "random_rooms_procedural", "four_d_contrast"]
)
def test_a_rival_says_how_it_differs_from_its_original(name):
    settings = config(name)
    assert "the encoder and optimizer" in settings["adaptation"] or "otherwise as" in settings["adaptation"]
    assert settings["method"]["views"]["budget"] == "points"
