"""What a table could have told from nothing, and its verdict on each comparison of the paper: known answers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks.reports.synthetic import SYNTHETIC, TABLE_7, done, table_7_values, write_inputs, write_sweep
from scipy.stats import t

from mm3d_benchmarks.planning.sweepfile import load_sweep
from mm3d_benchmarks.planning.table_spec import TableSpec
from mm3d_benchmarks.reports.figures_comparisons import comparisons
from mm3d_benchmarks.reports.verdicts.comparisons import judge, write_statistics
from mm3d_benchmarks.reports.verdicts.resolution import (
    ONE_SEED,
    blind,
    resolutions,
    sentence,
    smallest_difference,
    verdicts,
)
from mm3d_benchmarks.results.inputs import Inputs, load_inputs

NAME = "table_07_framework_ablation"


def measured(folder: Path, values: dict[tuple[str, str], list[float]]) -> tuple[TableSpec, Inputs]:
    spec = load_sweep(write_sweep(folder / "sweeps", NAME, TABLE_7) / f"{NAME}.yaml").table
    assert spec is not None
    write_inputs(folder, NAME, done(values), SYNTHETIC)
    return spec, load_inputs(folder / "smoke" / "inputs", NAME)


def with_oracle(folder: Path, ours: list[float]) -> tuple[str, ...]:
    table = {**TABLE_7["table"], "oracles": ["iv"]}
    spec = load_sweep(write_sweep(folder / "sweeps", NAME, {**TABLE_7, "table": table}) / f"{NAME}.yaml").table
    assert spec is not None
    write_inputs(folder, NAME, done({("i", "mIoU"): [10.0, 11.0, 12.0][: len(ours)], ("iv", "mIoU"): ours}), SYNTHETIC)
    return blind(spec, load_inputs(folder / "smoke" / "inputs", NAME))


@pytest.mark.parametrize(("ours", "told"), [([15.0, 16.0, 17.5], 0), ([10.5, 10.5, 13.0], 1), ([10.5], 0), ([10.0], 1)])
def test_an_oracle_that_does_not_beat_its_baseline_blinds_the_comparison(tmp_path, ours: list[float], told: int):
    found = with_oracle(tmp_path, ours)
    assert len(found) == told
    assert all("cannot resolve anything" in text and "iv does not beat i" in text for text in found)


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_a_difference_of_that_size_is_found_four_times_in_five(seeds: int):
    size = smallest_difference(2.0, seeds)
    draws = np.random.default_rng(0).normal(size, 2.0, (40_000, seeds))
    statistic = draws.mean(1) / (draws.std(1, ddof=1) / math.sqrt(seeds))
    assert np.mean(np.abs(statistic) > t.ppf(0.975, seeds - 1)) == pytest.approx(0.8, abs=0.01)


def test_many_seeds_need_the_normal_distributions_2_8_standard_errors():
    assert smallest_difference(1.0, 10_000) == pytest.approx(2.8016 / 100, rel=1e-3)


def test_one_seed_has_no_smallest_difference(tmp_path):
    with pytest.raises(ValueError, match="two seeds"):
        smallest_difference(1.0, 1)
    spec, inputs = measured(tmp_path, {("i", "mIoU"): [1.0], ("ii", "mIoU"): [2.0]})
    assert resolutions(spec, inputs, None) == []
    assert [v.verdict for v in verdicts(spec, inputs, None)] == ["unresolved"]
    assert sentence([]) == ()
    judged = judge([spec], lambda _: inputs, None)
    assert ONE_SEED in write_statistics([spec], lambda _: inputs, None, judged)["statistics_comparisons.md"]


def test_the_deviation_of_paired_differences_counts_not_that_of_the_rows(tmp_path):
    wide = {("i", "mIoU"): [10.0, 50.0, 90.0], ("ii", "mIoU"): [11.0, 52.0, 93.0]}  # differences 1, 2, 3
    spec, inputs = measured(tmp_path, wide)
    (found,) = resolutions(spec, inputs, None)
    assert (found.column, found.rows, found.seeds) == ("mIoU", 1, 3)
    assert found.smallest == pytest.approx(smallest_difference(1.0, 3))
    assert f"mIoU {found.smallest:.1f} points" in sentence([found])[0]


def test_a_comparison_holds_is_reversed_or_stays_unresolved(tmp_path):
    values = {
        ("i", "mIoU"): [40.0, 41.0, 42.0],
        ("ii", "mIoU"): [45.0, 46.1, 46.9],  # the paper: ii above i
        ("iii", "mIoU"): [30.0, 31.1, 31.9],  # the paper: iii above i
        ("iv", "mIoU"): [40.0, 44.0, 41.0],
    }
    spec, inputs = measured(tmp_path, values)
    found = {(v.first, v.second): v for v in verdicts(spec, inputs, None)}
    assert found["i", "ii"].verdict == "holds"
    assert found["i", "iii"].verdict == "reversed"
    assert found["i", "iv"].verdict == "unresolved"
    interval = found["i", "ii"].over_seeds
    assert interval is not None
    assert interval.high < 0
    assert found["i", "ii"].published == pytest.approx(-0.7)


def test_scenes_that_disagree_leave_a_comparison_unresolved_and_limit_what_is_seen(tmp_path):
    spec, inputs = measured(tmp_path, {("i", "mIoU"): [40.0, 41.0, 42.0], ("ii", "mIoU"): [45.0, 46.1, 46.9]})
    for row, shift in (("i", 0.0), ("ii", 5.0)):
        for seed in "012":
            folder = tmp_path / "runs" / inputs.run_of(row, "mIoU", seed)
            folder.mkdir(parents=True)
            scores = {f"s{k}": {"mIoU": 40.0 + shift * (10 if k == 0 else -1)} for k in range(6)}
            (folder / "scenes.json").write_text(json.dumps(scores))
    (verdict,) = verdicts(spec, inputs, tmp_path / "runs")
    assert verdict.verdict == "unresolved"
    (found,) = resolutions(spec, inputs, tmp_path / "runs")
    assert found.by_scenes is not None
    assert found.smallest == found.by_scenes > found.by_seeds


def test_the_full_table_gives_a_verdict_for_each_ordered_pair(tmp_path):
    assert len(verdicts(*measured(tmp_path, table_7_values()), None)) == 12


def test_the_figure_draws_a_line_for_each_comparison_in_the_papers_direction(tmp_path):
    spec, inputs = measured(tmp_path, table_7_values())
    found = verdicts(spec, inputs, None)
    figure = comparisons(found)
    assert figure is not None
    (axes,) = figure.axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == len(found) == 12
    assert "Table 7, mIoU: iv over i" in labels
    assert comparisons([]) is None
