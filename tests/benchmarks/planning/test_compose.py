"""Composition: Hydra's meaning, strict keys, profiles, sweeps on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mm3d_benchmarks.planning.compose import CONF, available, compose, compose_by_hydra, parse, plain_override
from mm3d_benchmarks.planning.groupfiles import read_group
from mm3d_benchmarks.planning.request import GROUPS, Request
from mm3d_benchmarks.planning.strictness import check_targets, set_value
from mm3d_core.errors import UserError

EVERY_FILE = [(group, choice) for group in GROUPS for choice in available(group)]


@pytest.mark.parametrize(("group", "choice"), EVERY_FILE)
def test_the_fast_reading_of_a_group_file_is_hydras(group: str, choice: str) -> None:
    known: dict[tuple[str, str], str] = {}
    chosen = {"backbone": "point_transformer", "dataset": "s3dis", "recipe": "point_transformer_s3dis", group: choice}
    compose_by_hydra(chosen, (), known)
    content = read_group(group, choice, (CONF,))
    assert content is None or json.loads(json.dumps(content)) == json.loads(known[group, choice])


@pytest.mark.parametrize("backbone", available("backbone"))
@pytest.mark.parametrize("profile", available("profile"))
def test_every_backbone_composes_under_every_profile_with_constructors_that_accept_it(
    backbone: str, profile: str
) -> None:
    detection = backbone.startswith(("votenet", "h3dnet"))
    choices = {
        "backbone": backbone,
        "dataset": "scannet",
        "evaluation": "detection" if detection else "segmentation_voting",
        "profile": profile,
    }
    own = f"{backbone.removesuffix('_scannet')}_scannet"
    choices["recipe"] = own if own in available("recipe") else "point_transformer_scannet"
    config = compose(Request(choices))
    check_targets({key: config[key] for key in ("backbone", "pretrain", "recipe", "evaluation", "dataset")})
    assert config["task"] == ("detection" if detection else "segmentation")


def test_a_smoke_network_is_smaller_and_a_paper_network_is_untouched() -> None:
    smoke, paper = (compose(Request({"profile": profile})) for profile in ("smoke", "paper"))
    assert len(smoke["backbone"]["encoder"]["channels"]) < len(paper["backbone"]["encoder"]["channels"])
    assert smoke["recipe"]["pretrain"]["steps"] < 20
    assert "steps" not in paper["recipe"]["pretrain"]


def test_an_override_reaches_what_interpolates_it() -> None:
    config = compose(Request({"evaluation": "segmentation_voting"}, {"recipe.finetune.voxel": 0.5}))
    assert config["evaluation"]["protocol"]["voxel"] == 0.5


def test_an_argument_that_only_the_constructor_knows_can_be_set() -> None:
    config = compose(Request({}, {"backbone.encoder.missing": "refuse"}))
    assert config["backbone"]["encoder"]["missing"] == "refuse"


@pytest.mark.parametrize(
    ("choices", "overrides", "message"),
    [
        ({"backbone": "votnet"}, {}, "backbone=votnet: there is no such file, did you mean votenet"),
        ({"pretrain": "csc"}, {}, "pretrain=csc: there is no such file, did you mean contrastive_scene_contexts"),
        ({"pretrain": "msc"}, {}, "pretrain=msc: there is no such file, did you mean masked_scene_contrast"),
        ({"backbnoe": "votenet"}, {}, "there is no group 'backbnoe', did you mean backbone"),
        ({}, {"pretrain.method.csd_wieght": 0}, "did you mean csd_weight"),
        ({}, {"recipe.pretrain.stepz": 1}, "recipe.pretrain.stepz: there is no such key"),
        ({}, {"sed": 1}, "did you mean seed"),
        ({}, {"backbone.encodr.depths": [1]}, "backbone.encodr: there is no such key, did you mean encoder"),
        ({"backbone": "votenet", "dataset": "s3dis"}, {}, "recipe=votenet_s3dis: there is no such file"),
    ],
)
def test_bad_input_is_named_with_the_nearest_good_one(choices: dict, overrides: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compose(Request(choices, overrides))


def test_a_mapping_override_of_a_missing_key_is_refused_without_harm() -> None:
    config = {"a": {"b": 1}}
    with pytest.raises(UserError):
        set_value(config, "a.c.d", 1)
    assert config == {"a": {"b": 1}}


def test_sweeps_on_the_command_line_are_expanded() -> None:
    requests = parse(["pretrain=none,mm3dscene", "seed=range(0,3)", "backbone=votenet"])
    assert len(requests) == 6
    assert {r.choices["pretrain"] for r, _ in requests} == {"none", "mm3dscene"}
    assert {r.overrides["seed"] for r, _ in requests} == {0, 1, 2}
    assert all(r.choices["backbone"] == "votenet" for r, _ in requests)


def test_words_that_are_no_overrides_are_refused() -> None:
    with pytest.raises(UserError, match="key=value"):
        parse(["backbone"])


def test_a_folder_of_ones_own_adds_choices(tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "mine.yaml").write_text(
        "defaults: [mm3dscene, _self_]\nname: mine\nmethod: {csd_weight: 0.5}\n"
    )
    config = compose(Request({"pretrain": "mine"}, folders=(tmp_path,)))
    assert (config["pretrain"]["name"], config["pretrain"]["method"]["csd_weight"]) == ("mine", 0.5)
    assert config["pretrain"]["method"]["rec_weight"] == 4.0


def test_a_group_file_that_is_its_own_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pretrain").mkdir()
    (tmp_path / "pretrain" / "loop.yaml").write_text("defaults: [loop, _self_]\n")
    with pytest.raises(UserError, match="its own parent"):
        compose(Request({"pretrain": "loop"}, folders=(tmp_path,)))


@pytest.mark.parametrize(
    "value",
    ["3", "-3", "+3", "0", "007", "1_000", "0.5", "-0.25", "1.", ".5", "1e-3", "inf", "nan", "NaN", "true", "False",
     "NULL", "null", "none", "None", "word", "two.words", "a-b", "_x", "x1", "1x", "1.0.0", "0.50"],
)  # fmt: skip
def test_plain_overrides_read_as_hydra_reads_them(value: str) -> None:
    by_hydra = OverridesParser.create().parse_overrides([f"a.b={value}"])[0].value()
    found = plain_override(f"a.b={value}")
    assert found is None or (found[0] == "a.b" and type(found[1]) is type(by_hydra) and found[1] == by_hydra)


@pytest.mark.parametrize(
    "value", ["scans", "my-scans/2024.1", "/data/scans", "../x", "12", "null", "true", "a b", "a,b"]
)
def test_plain_paths_read_as_hydra_reads_them(value: str) -> None:
    found = plain_override(f"dataset.path={value}")
    by_hydra = parse([f"dataset.path={value}", "seed=choice(1)"])[0][0].overrides["dataset.path"]  # takes Hydra's way
    assert found is None or found == ("dataset.path", by_hydra)


def test_most_commands_need_no_hydra() -> None:
    code = (
        "import sys; from mm3d_benchmarks.planning.compose import parse, compose; "
        "compose(parse(['kind=pretrain', 'backbone=votenet', 'dataset=scannet', 'profile=smoke', 'seed=3'])[0][0]); "
        "parse(['kind=pretrain', 'dataset=folder', 'dataset.path=my_scans/of_today']); "
        "print('hydra' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
