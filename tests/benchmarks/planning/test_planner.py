"""The plan: composed once, the same bytes every time, shared by key; and sweeps that are wrong are refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm3d_benchmarks.planning.compose import CONF, _composed, compose
from mm3d_benchmarks.planning.planner import Plan, Planner
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.sweepfile import Sweep, find_sweeps, load_sweep
from mm3d_benchmarks.results.collect import Results, provenance
from mm3d_core.errors import UserError

SWEEPS = Path(__file__).resolve().parents[3] / "sweeps"
GOOD: dict[str, Any] = {
    "runs": {
        "base": {"dataset": "s3dis", "evaluation": "segmentation_voxel"},
        "each": [{"row": "scratch", "pretrain": "none"}, {"row": "ours", "pretrain": "mm3dscene"}],
        "cross": {"seed": [0, 1]},
    },
    "table": {"columns": ["mIoU"], "over": "seed", "axis": "pretrain", "baseline": "scratch"},
}


def sweep(folder: Path, change: dict[str, Any] | None = None, name: str = "good") -> Sweep:
    """The good sweep with changes at dotted keys."""
    value = copy.deepcopy(GOOD)
    for path, new in (change or {}).items():
        here: Any = value
        *parents, last = path.split(".")
        for part in parents:
            here = here[int(part)] if isinstance(here, list) else here[part]
        here[last] = new
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(value, sort_keys=False))
    return load_sweep(path)


def planned(*sweeps: Sweep) -> Plan:
    return Planner("smoke", needs_data=False).plan(sweeps)


def test_a_cell_asks_for_all_runs_before_it(tmp_path: Path) -> None:
    plan = planned(sweep(tmp_path))
    cells = {(c.row, c.seed): c.runs for c in plan.cells["good"]}
    assert set(cells["scratch", 0]) == {"finetune", "evaluate"}
    assert set(cells["ours", 1]) == {"pretrain", "finetune", "evaluate"}
    finetune = plan.specs[cells["ours", 1]["finetune"]]
    assert finetune.upstream == {"pretrain": cells["ours", 1]["pretrain"]}
    assert (len(plan.of_kind("pretrain")), len(plan.of_kind("finetune")), len(plan.of_kind("evaluate"))) == (2, 4, 4)


def test_equal_runs_of_different_tables_are_one_run(tmp_path: Path) -> None:
    one, two = planned(sweep(tmp_path)), planned(sweep(tmp_path), sweep(tmp_path, name="other"))
    assert set(one.specs) == set(two.specs)


def test_the_bytes_are_stable_and_are_read_back(tmp_path: Path) -> None:
    plan = planned(sweep(tmp_path))
    assert plan.write(tmp_path / "smoke")
    assert not planned(sweep(tmp_path)).write(tmp_path / "smoke")
    again = Plan.read(tmp_path / "smoke")
    assert again.specs == plan.specs
    assert again.cells == plan.cells


def test_a_replaced_evaluation_is_noted(tmp_path: Path) -> None:
    plan = planned(sweep(tmp_path, {"runs.base.evaluation": "segmentation_voting"}))
    assert plan.notes["good"] == ["Profile smoke evaluates by segmentation_voxel in place of segmentation_voting."]


def test_what_batch_norm_a_probe_reads_with_is_noted(tmp_path: Path) -> None:
    assert not any("batch-norm" in note for note in planned(sweep(tmp_path)).notes["good"])
    probe = {**GOOD["runs"]["base"], "protocol.train": "linear"}
    [measured] = planned(sweep(tmp_path, {"runs.base": probe})).notes["good"]
    assert "measured anew on whole training scenes" in measured
    [note] = planned(sweep(tmp_path, {"runs.base": {**probe, "protocol.batch_norm": "carried"}})).notes["good"]
    assert note.startswith("Frozen encoders read with the batch-norm statistics of their pre-training: ")


def test_scenes_that_preparation_left_out_are_noted_in_every_table_made_from_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planner, "root_of", staticmethod(lambda config: tmp_path / config["dataset"]["name"]))
    (tmp_path / "s3dis").mkdir()
    manifest = {"scenes": {"Area_1_office_1": {}}, "left_out": {"Area_5_WC_1": "lost", "Area_2_hallway_1": "damaged"}}
    (tmp_path / "s3dis" / "manifest.json").write_text(json.dumps(manifest))
    notes = planned(sweep(tmp_path)).notes["good"]
    listed = "Area_2_hallway_1, Area_5_WC_1"
    assert notes == [f"2 of 3 scenes of s3dis were damaged or missing and are left out: {listed}."]
    (tmp_path / "s3dis" / "manifest.json").write_text(json.dumps({**manifest, "left_out": {}}))
    assert planned(sweep(tmp_path)).notes["good"] == []


def test_how_a_rival_differs_from_its_original_is_noted(tmp_path: Path) -> None:
    plan = planned(sweep(tmp_path, {"runs.each.1.pretrain": "point_contrast"}))
    [note] = plan.notes["good"]
    assert note.startswith("point_contrast: scan-only adaptation: two camera crops")
    assert note.endswith("as one scan.")


@pytest.mark.parametrize("baseline", ["scratch", {"ours": "scratch"}], ids=["a row", "a mapping"])
def test_a_groups_baseline_is_held_fair_too(tmp_path: Path, baseline: Any) -> None:
    groups = [{"title": "", "rows": ["scratch", "ours"], "baseline": baseline}]
    changes = {"table": {"columns": ["mIoU"], "axis": "pretrain", "groups": groups}}
    planned(sweep(tmp_path, changes))
    with pytest.raises(UserError, match=r"'ours' is compared with 'scratch' .*protocol\.scenes"):
        planned(sweep(tmp_path, {**changes, "runs.each.1.protocol": {"scenes": 0.1}}))


def test_every_rival_of_the_repository_is_noted_as_an_adaptation() -> None:
    plan = planned(load_sweep(Path("sweeps/rivals.yaml")))
    named = {note.split(":")[0] for note in plan.notes["rivals"] if ": " in note}
    assert named == {
        "contrastive_scene_contexts",
        "four_d_contrast",
        "masked_scene_contrast",
        "point_contrast",
        "point_mae",
        "random_rooms",
    }


@pytest.mark.parametrize("name", ["point_list", "scene_list"])
def test_a_list_with_other_content_is_another_run(tmp_path: Path, name: str) -> None:
    path = tmp_path / "points.json"
    listed = sweep(tmp_path, {"runs.base": {**GOOD["runs"]["base"], f"protocol.{name}": str(path)}})
    runs = []
    for content in ("one", "one", "other"):
        path.write_text(content)
        runs.append(planned(listed).cells["good"][2].runs)
    assert runs[0] == runs[1]
    assert runs[0]["pretrain"] == runs[2]["pretrain"]
    assert runs[0]["finetune"] != runs[2]["finetune"]
    assert runs[0]["evaluate"] != runs[2]["evaluate"]
    plan = planned(listed)
    assert provenance(plan, plan.cells["good"], Results(tmp_path))["datasets"] == {"s3dis": "synthetic"}


def test_a_list_that_is_not_there_is_named_when_the_plan_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Planner, "_manifest", lambda *_: "")
    base = {**GOOD["runs"]["base"], "protocol.point_list": str(tmp_path / "none.pth")}
    listed = sweep(tmp_path, {"runs.base": base})
    planned(listed)
    with pytest.raises(UserError, match=r"protocol\.point_list=.*none\.pth: cannot be read"):
        Planner("smoke").plan([listed])


def test_a_choice_of_snapshots_needs_some_and_is_noted_with_its_rows(tmp_path: Path) -> None:
    rows = [dict(GOOD["runs"]["each"][0]), {**GOOD["runs"]["each"][1], "evaluation.select": "best"}]
    axis = ["pretrain", "evaluation.select", "recipe.finetune.snapshots"]
    with pytest.raises(UserError, match=r"evaluation\.select=best needs snapshots .* recipe\.finetune\.snapshots=10"):
        planned(sweep(tmp_path, {"runs.each": rows, "table.axis": axis}))
    rows[1]["recipe.finetune.snapshots"] = 2
    plan = planned(sweep(tmp_path, {"runs.each": rows, "table.axis": axis}))
    [note] = plan.notes["good"]
    assert "on the test scenes themselves" in note
    assert note.endswith("(rows: ours).")
    finetune, evaluate = (plan.specs[plan.cells["good"][2].runs[kind]] for kind in ("finetune", "evaluate"))
    assert finetune.config["recipe"]["finetune"]["snapshots"] == 2
    assert "evaluation" not in finetune.config
    assert evaluate.config["evaluation"]["select"] == "best"


def test_a_longer_training_from_scratch_is_a_run_of_its_own_that_knows_the_pre_trainings_length(tmp_path: Path) -> None:
    rows = [{"row": "scratch", "pretrain": "none"}, {"row": "long", "pretrain": "none", "protocol.longer": True}]
    change = {"runs.each": rows, "table.axis": ["pretrain", "protocol.longer", "recipe.pretrain"]}
    plan = planned(sweep(tmp_path, change))
    plain, long = (cell.runs for cell in plan.cells["good"] if cell.seed == 0)
    assert plain["finetune"] != long["finetune"]
    steps = compose(Request({"profile": "smoke"}))["recipe"]["pretrain"]["steps"]
    assert plan.specs[long["finetune"]].config["recipe"]["pretrain"]["steps"] == steps
    assert "pretrain" not in plan.specs[plain["finetune"]].config["recipe"]


def test_a_plan_for_another_data_set_pre_trains_there(tmp_path: Path) -> None:
    plan = planned(sweep(tmp_path, {"runs.base.pretrain_on": "scannet"}))
    pretrain, finetune = plan.of_kind("pretrain")[0], plan.of_kind("finetune")[0]
    assert (pretrain.config["dataset"]["name"], finetune.config["dataset"]["name"]) == ("scannet", "s3dis")
    assert pretrain.config["recipe"]["name"] == "point_transformer_scannet"


def test_one_changed_cell_changes_its_own_runs_only(tmp_path: Path) -> None:
    before = planned(sweep(tmp_path))
    changed = {"row": "ours", "pretrain": "mm3dscene", "pretrain.method.views.gap": 0.2}
    after = planned(sweep(tmp_path, {"runs.each": [GOOD["runs"]["each"][0], changed]}))
    for old, new in zip(before.cells["good"], after.cells["good"], strict=True):
        assert (old.runs == new.runs) == (old.row == "scratch")


def test_a_plan_edited_by_hand_is_refused(tmp_path: Path) -> None:
    planned(sweep(tmp_path)).write(tmp_path / "smoke")
    path = tmp_path / "smoke/runs/finetune.json"
    value = json.loads(path.read_text())
    next(iter(value.values()))["config"]["seed"] = 7
    path.write_text(json.dumps(value))
    with pytest.raises(UserError, match="was edited by hand"):
        Plan.read(tmp_path / "smoke")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runs.base.backbone": "votnet"}, "good.yaml: backbone=votnet: there is no such file, did you mean votenet"),
        ({"runs.base.backbnoe": "votenet"}, "good.yaml: backbnoe: there is no such key, did you mean backbone"),
        (
            {"runs.base": {**GOOD["runs"]["base"], "recipe.finetune.stepz": 3}},
            "there is no such key, did you mean steps",
        ),
        ({"table.groups": [{"rows": ["nobody"]}]}, "names row 'nobody', which no run fills"),
        ({"table.baseline": "nobody"}, "table.baseline names row 'nobody'"),
        ({"runs.each": [{"row": "a"}, {"row": "a"}]}, "two runs fill row 'a'"),
        ({"runs.each": [{"pretrain": "none"}]}, "has no `row`"),
        ({"runs.cross": {"seed": []}}, "cross.seed must be a list"),
        ({"runs.cross": {"seed": ["x"]}}, "seed 'x' is not a number"),
        ({"runs.kind": "train"}, "runs.kind=train"),
        ({"runs.evry": []}, "runs takes"),
    ],
)
def test_a_wrong_sweep_is_refused_by_name(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    if "table.baseline" not in change and ("runs.each" in change or "runs.kind" in change):
        change = {**change, "table": {"columns": ["mIoU"]}}
    with pytest.raises(UserError, match=message):
        planned(sweep(tmp_path, change))


@pytest.mark.parametrize("unfair", [{"recipe": "point_transformer_s3dis_strong"}, {"protocol.scenes": 0.1}])
def test_rows_that_differ_in_more_than_the_axis_are_refused(tmp_path: Path, unfair: dict[str, Any]) -> None:
    rows = [GOOD["runs"]["each"][0], {**GOOD["runs"]["each"][1], **unfair}]
    change = {"runs.each": rows}
    with pytest.raises(UserError, match="'ours' is compared with 'scratch' on pretrain, but they also differ in"):
        planned(sweep(tmp_path, change))


def test_data_that_is_not_prepared_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="mm3d prepare dataset=s3dis"):
        Planner("smoke").plan([sweep(tmp_path)])


def test_a_profile_may_run_a_sweep_with_values_of_its_own_and_says_so(tmp_path: Path) -> None:
    """``sweeps: {NAME: {key: value}}`` of a profile: below what a row says, named under the table."""
    own = {"good": {"recipe.pretrain.voxel": 0.07, "recipe.pretrain.steps": 3}}
    smoke = yaml.safe_load((CONF / "profile/smoke.yaml").read_text())
    (tmp_path / "conf/profile").mkdir(parents=True)
    (tmp_path / "conf/profile/mine.yaml").write_text(yaml.safe_dump({**smoke, "name": "mine", "sweeps": own}))
    rows = [GOOD["runs"]["each"][0], {**GOOD["runs"]["each"][1], "recipe.pretrain.steps": 5}]
    planner = Planner("mine", folders=(tmp_path / "conf",), needs_data=False)
    good, other = sweep(tmp_path, {"runs.each": rows}), sweep(tmp_path, {"runs.each": rows}, "other")
    plan = planner.plan([good, other])
    first, second = (
        next(plan.specs[c.runs["pretrain"]].config["recipe"]["pretrain"] for c in plan.cells[name] if c.row == "ours")
        for name in ("good", "other")
    )
    assert (first["voxel"], first["steps"]) == (0.07, 5)
    assert second["voxel"] != 0.07
    note = "Profile mine runs these rows with recipe.pretrain.steps=3, recipe.pretrain.voxel=0.07."
    assert note in plan.notes["good"]
    assert note not in plan.notes["other"]


def test_what_a_profile_sets_for_a_sweep_is_a_mapping(tmp_path: Path) -> None:
    smoke = yaml.safe_load((CONF / "profile/smoke.yaml").read_text())
    (tmp_path / "conf/profile").mkdir(parents=True)
    for wrong in (["good"], {"good": 3}):
        (tmp_path / "conf/profile/mine.yaml").write_text(yaml.safe_dump({**smoke, "name": "mine", "sweeps": wrong}))
        _composed.cache_clear()
        with pytest.raises(UserError, match=r"profile mine: write `sweeps: \{good: \{key: value\}\}`"):
            Planner("mine", folders=(tmp_path / "conf",), needs_data=False).plan([sweep(tmp_path)])


@pytest.mark.parametrize("profile", [path.stem for path in sorted((CONF / "profile").glob("*.yaml"))])
def test_the_sweeps_that_a_profile_names_are_there(profile: str) -> None:
    """A name that nothing has would set nothing, without a word."""
    named = yaml.safe_load((CONF / f"profile/{profile}.yaml").read_text()).get("sweeps") or {}
    assert set(named) <= {path.stem for path in find_sweeps([], SWEEPS)}


def test_data_that_lie_elsewhere_are_taken_from_there(tmp_path: Path) -> None:
    """``dataset.root`` is obeyed, is in no key, and is refused where it holds another data set."""

    def of_data_in(name: str) -> Plan:
        base = {**GOOD["runs"]["base"], "dataset.root": str(tmp_path / name)}
        return Planner("smoke").plan([sweep(tmp_path, {"runs.base": base})])

    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "manifest.json").write_text(json.dumps({"dataset": "s3dis"}))
    before = of_data_in("disk")
    assert {spec.local["dataset"]["root"] for spec in before.specs.values()} == {str(tmp_path / "disk")}
    (tmp_path / "disk").rename(tmp_path / "moved")
    assert of_data_in("moved").specs.keys() == before.specs.keys()
    (tmp_path / "moved" / "manifest.json").write_text(json.dumps({"dataset": "scannet"}))
    with pytest.raises(UserError, match=r"moved: holds scannet, not s3dis"):
        of_data_in("moved")


@pytest.mark.parametrize("content", ["", "[]", "runs: 3", "\x00", "a: [", "runs: {each: 4}", "other: {}"])
def test_files_that_are_no_sweeps_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.yaml").write_text(content)
    with pytest.raises(UserError, match=r"x\.yaml"):
        load_sweep(tmp_path / "x.yaml")


def test_a_sweep_is_found_by_the_beginning_of_its_name() -> None:
    assert [path.stem for path in find_sweeps(["table_07"], SWEEPS)] == ["table_07_framework_ablation"]
    with pytest.raises(UserError, match="sweep files match"):
        find_sweeps(["table"], SWEEPS)


@pytest.mark.parametrize("profile", ["smoke", "mini", "paper"])
def test_every_sweep_of_the_repository_can_be_planned(profile: str) -> None:
    sweeps = [load_sweep(path) for path in find_sweeps([], SWEEPS)]
    plan = Planner(profile, needs_data=False).plan(sweeps)
    assert set(plan.cells) == {sweep.name for sweep in sweeps}
    asked = sum(len(cell.runs) for cells in plan.cells.values() for cell in cells)
    assert len(plan.specs) < 0.7 * asked, "most runs are shared between tables"


def test_a_thousand_cells_compose_each_choice_of_groups_once(tmp_path: Path) -> None:
    big = sweep(tmp_path, {"runs.cross": {"seed": list(range(500))}})
    before = _composed.cache_info().misses
    plan = Planner("smoke", needs_data=False).plan([big])
    assert len(plan.cells["good"]) == 1000
    assert _composed.cache_info().misses - before <= 6, "two rows of three kinds of run, whatever the seeds"
