"""Hours of trainings that never ran here, from those that the paper prints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.evaluation.room_lists import SCANNET
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.published_hours import TRAIN_SCENES, PublishedHours, points_read
from mm3d_benchmarks.planning.sweepfile import find_sweeps, load_sweep


@pytest.fixture(scope="module")
def published() -> PublishedHours:
    return PublishedHours.read()


@pytest.mark.parametrize(
    ("table", "row", "kind", "hours"),
    [
        ("table_10", "VoteNet (scratch)", "finetune", 5.9),
        ("table_10", "MM3DScene + VoteNet", "pretrain", 15.6 - 5.9),
        ("table_10", "MM3DScene + H3DNet", "pretrain", 36.1 - 12.3),
        ("table_11", "PointTrans (scratch)", "finetune", 17.3),
        ("table_11", "MM-3DScene + Stratified Trans*", "pretrain", 73.2 - 45.7),
    ],
)
def test_the_rows_of_the_tables_cost_what_they_print(
    published: PublishedHours, table: str, row: str, kind: str, hours: float
):
    sweep = load_sweep(find_sweeps([table])[0])
    plan = Planner("paper", needs_data=False).plan([sweep])
    cell = next(cell for cell in plan.cells[sweep.name] if cell.row == row)
    spec = plan.specs[cell.runs[kind]]
    assert published.hours(spec) == pytest.approx(hours)
    recipe = dict(spec.config["recipe"][kind])
    recipe |= {"steps": 10, "batch": 2, "num_points": 100, "max_points": 100}
    short = replace(spec, config={**spec.config, "recipe": {kind: recipe}})
    assert points_read(short) == 10 * 2 * 100
    assert published.hours(short) == pytest.approx(hours * 2000 / points_read(spec))
    assert published.hours(plan.specs[cell.runs["evaluate"]]) is None


def test_narrow_networks_have_no_published_hours(published: PublishedHours):
    plan = Planner("study", needs_data=False).plan([load_sweep(find_sweeps(["table_07"])[0])])
    assert {published.hours(spec) for spec in plan.specs.values()} == {None}


def test_training_scenes_are_the_official_ones():
    assert SCANNET[TRAIN_SCENES["scannet"]] == "training scans"


def test_a_dry_run_says_that_it_is_an_estimate(tmp_path, capsys):
    assert cli.main(["sweep", "table_10", "--dry-run", "--profile", "paper", "--store", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    hours = 3 * (
        2 * 5.9 + 9.7 + 2 * 12.3 + 23.8
    )  # three seeds; a fine-tuning from scratch and one from the pre-training
    assert f"about {hours:.0f} hours of one GPU: an estimate; 12 runs are not in it" in told
