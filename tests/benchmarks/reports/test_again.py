"""The command on a card asks for the very run that the sweep planned."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from mm3d_benchmarks.commands.main import make_parser
from mm3d_benchmarks.commands.run import chain_of, requests_of
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.sweepfile import find_sweeps, load_sweep
from mm3d_benchmarks.reports.page.again import words_of

SWEEPS = Path(__file__).parents[3] / "sweeps"


@pytest.mark.parametrize(
    "name", ["table_02", "table_04", "figure_09", "limited_annotations", "probes", "scratch_references"]
)
def test_a_cells_words_give_its_runs_by_hand(name: str):
    sweep = load_sweep(find_sweeps([name], SWEEPS)[0])
    plan = Planner("smoke", needs_data=False).plan([sweep])
    planned = {(cell.row, cell.seed): cell.runs for cell in plan.cells[sweep.name]}
    for cell in sweep.cells("smoke", [0]):
        for kind, key in planned[cell.row, cell.seed].items():
            line = f"run kind={kind} {words_of(cell.request, 'smoke')} --dry-run"
            options = make_parser().parse_args(shlex.split(line))
            [(request, _)] = requests_of(options.overrides, options.conf, options.profile)
            assert chain_of(request, dry=True)[-1].key == key, line


def test_values_of_every_kind_are_written_as_hydra_reads_them():
    request = Request({"profile": "smoke"}, {"a.b": [1, 2.5], "a.c": None, "a.d": True, "a.e": {"x": "word"}})
    assert words_of(request, "smoke") == "'a.b=[1,2.5]' a.c=null a.d=true 'a.e={x:word}' --profile smoke"
