"""From configuration to objects: every mistake is named with its key."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from benchmarks.small_runs import config, write_rooms

from mm3d_benchmarks.supervision.protocol import Protocol
from mm3d_benchmarks.runs.build import build_encoder, build_metric, build_task
from mm3d_benchmarks.runs.configuration import Backbone, Dataset, Evaluation, Pretraining, facts_of, protocol_of
from mm3d_benchmarks.runs.evaluate import run_evaluate
from mm3d_benchmarks.runs.finetune import run_finetune
from mm3d_benchmarks.runs.instantiate import instantiate, value_at
from mm3d_benchmarks.runs.machine import Machine
from mm3d_benchmarks.runs.pretrain import run_pretrain
from mm3d_benchmarks.runs.recipe import Recipe
from mm3d_core.errors import UserError
from mm3d_core.points import PointBatch
from pointops.plan import make_plan


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rooms(tmp_path_factory.mktemp("rooms"))


def test_nested_targets_and_lists_are_built():
    built = instantiate({"_target_": "torch.nn.Sequential"}, "network")
    assert isinstance(built, torch.nn.Sequential)
    assert (
        instantiate([{"a": {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 1}}], "x")[0][
            "a"
        ].in_features
        == 2
    )


@pytest.mark.parametrize(
    ("target", "complaint"),
    [
        ("mm3d_backbones.no_such.Net", r"backbone\.encoder\._target_"),
        ("mm3d_backbones.point_transformer.NoSuchNet", "has no class NoSuchNet"),
        ("PointTransformer", "not an import path"),
        ("os.system", "not an import path"),
        ("builtins.eval", "not an import path"),
    ],
)
def test_an_unknown_backbone_is_named(root: Path, target: str, complaint: str):
    with pytest.raises(UserError, match=complaint):
        build_encoder(Backbone.of(config(root, backbone__encoder={"_target_": target})))


def test_an_unknown_key_of_a_constructor_is_named(root: Path):
    with pytest.raises(UserError, match=r"backbone\.encoder\.chanels"):
        build_encoder(Backbone.of(config(root, backbone__encoder__chanels=[8])))
    with pytest.raises(UserError, match=r"recipe\.finetune\.optimizer\.momentumm"):
        Recipe.of(config(root, recipe__finetune__optimizer__momentumm=0.9), "finetune").build_optimizer(
            torch.nn.Linear(1, 1)
        )
    with pytest.raises(UserError, match=r"recipe\.pretrain\.augmentation\[0\]\.lo"):
        Recipe.of(
            config(
                root,
                recipe__pretrain__augmentation=[{"_target_": "mm3d_benchmarks.loading.augment.RandomScale", "lo": 1}],
            ),
            "pretrain",
        ).sampling(["coord"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"machine__worker": 2}, r"machine\.worker"),
        ({"machine__device": "tpu"}, r"machine\.device=tpu"),
        ({"recipe__pretrain__batch_size": 2}, r"recipe\.pretrain\.batch_size"),
        ({"recipe__pretrain__precision": "fp8"}, "precision='fp8'"),
        ({"recipe__pretrain__steps": None}, "epochs or steps"),
        ({"backbone__input": ["coord", "colour"]}, "colour"),
        ({"backbone__input": ["coord"]}, r"in_channels=6.*3 channels"),
        ({"pretrain__method": None}, "pretrain=none"),
        ({"dataset__root": "nowhere"}, "nowhere"),
        ({"dataset__splits__pretrain": "trian"}, "trian"),
        ({"recipe__pretrain__batch": 0}, "batch"),
    ],
)
def test_a_mistake_in_a_pretraining_is_named_and_nothing_is_left(
    root: Path, tmp_path: Path, change: dict, complaint: str
):
    with pytest.raises(UserError, match=complaint):
        run_pretrain(config(root, **change), tmp_path / "run", {})
    assert not (tmp_path / "run/metrics.json").exists()


def test_a_missing_section_is_named(root: Path):
    with pytest.raises(UserError, match=r"recipe\.finetune"):
        value_at({"recipe": {}}, "recipe.finetune")


def test_a_task_that_the_backbone_or_the_data_lacks_is_named(root: Path):
    with pytest.raises(UserError, match="task=detection"):
        run_finetune(config(root, task="detection"), root, {})
    folder = config(root, dataset__facts={"_target_": "mm3d_benchmarks.datasets.readers.folder.facts"})
    with pytest.raises(UserError, match="has no classes"):
        build_task("segmentation", Backbone.of(folder), build_encoder(Backbone.of(folder)), Dataset.of(folder).facts)


def test_missing_and_foreign_weights_are_named(root: Path, tmp_path: Path):
    settings = config(root)
    with pytest.raises(UserError, match=r"encoder\.safetensors: there is no such"):
        run_finetune(settings, tmp_path / "f", {"pretrain": tmp_path})
    with pytest.raises(UserError, match="needs the fine-tuning run"):
        run_evaluate(settings, tmp_path / "e", {})
    run_pretrain(config(root, recipe__pretrain__steps=1), tmp_path / "p", {})
    wider = config(root, backbone__encoder__channels=[8, 16, 32], recipe__finetune__steps=1)
    with pytest.raises(UserError, match="another network"):
        run_finetune(wider, tmp_path / "f", {"pretrain": tmp_path / "p"})
    (tmp_path / "p/encoder.safetensors").write_bytes(b"junk")
    with pytest.raises(UserError, match="its checksum does not fit"):
        run_finetune(settings, tmp_path / "f", {"pretrain": tmp_path / "p"})


def test_the_machine_is_resolved_and_the_protocol_has_defaults(root: Path):
    assert Machine.of({}).device in ("cpu", "cuda")
    assert protocol_of({}) == Protocol()
    with pytest.raises(UserError, match=r"protocol\.share"):
        protocol_of({"protocol": {"share": 0.1}})
    assert protocol_of({"protocol": {"scenes": 0.5}}).chosen(["a", "b"]) in (["a"], ["b"])


def test_a_gpu_gets_plans_with_inverse_tables_and_they_change_no_result(root: Path):
    encoder = build_encoder(Backbone.of(config(root)))
    plain, inverse = Machine(device="cpu").plan_spec(encoder), Machine(device="cuda").plan_spec(encoder)
    assert plain is not None and inverse is not None
    assert not plain.inverse
    assert inverse.inverse
    random = torch.Generator().manual_seed(0)
    coord, feat = torch.rand(200, 3, generator=random), torch.rand(200, 6, generator=random)
    points = PointBatch(coord, feat, torch.tensor([90, 200]), torch.arange(200))
    levels = [encoder(points.with_plan(make_plan(coord, points.offset, spec))) for spec in (plain, inverse)]
    gradients = [torch.autograd.grad(level[0].feat.sum(), list(encoder.parameters())[:4]) for level in levels]
    assert all(torch.equal(a.feat, b.feat) for a, b in zip(*levels, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_lists_follow_the_seed_of_the_run_unless_they_have_their_own():
    scenes = [f"room_{n}" for n in range(30)]
    half = {"scenes": 0.5, "points_per_scene": 20, "boxes_per_scene": 1}
    followed = [protocol_of({"seed": seed, "protocol": {**half, "list_seed": None}}) for seed in (0, 1)]
    assert followed[0].chosen(scenes) != followed[1].chosen(scenes)
    assert [vars(limit)["seed"] for limit in followed[1].limits()] == [1, 1]
    fixed = [protocol_of({"seed": seed, "protocol": {**half, "list_seed": 1}}) for seed in (0, 1)]
    assert fixed[0] == fixed[1] == followed[1]
    for wrong in (-1, 0.5, "a", True):
        with pytest.raises(UserError, match=r"protocol\.list_seed"):
            protocol_of({"protocol": {"list_seed": wrong}})


def test_facts_are_known_where_no_data_are_prepared(root: Path):
    given = config(root)
    del given["dataset"]["root"]  # as `mm3d info` and its estimate of memory see a configuration
    assert facts_of(given).name == "s3dis"
    with pytest.raises(UserError, match=r"dataset\.root"):
        Dataset.of(given)


def test_metrics_get_the_data_sets_classes(root: Path):
    assert build_metric(Evaluation.of(config(root))).class_names[0] == "ceiling"
