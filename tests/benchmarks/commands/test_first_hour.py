"""What somebody meets who types a first command: versions, names that are nearly right, detectors, other folders."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.commands import report
from mm3d_benchmarks.planning import sweepfile
from mm3d_benchmarks.planning.compose import compose
from mm3d_benchmarks.planning.planner import Planner
from mm3d_benchmarks.planning.request import Request
from mm3d_benchmarks.planning.sweepfile import find_sweeps, load_sweep, sweeps_folder
from mm3d_core.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is no clone of the project."""
    monkeypatch.chdir(tmp_path)


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert re.search(r"mm3dscene \d+\.\d+.*mm3d-pointops \d+\.\d+.*torch \d", capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["pretrain", "finetune", "evaluate"])
@pytest.mark.parametrize("backbone", ["votenet", "h3dnet"])
def test_a_detector_needs_no_evaluation_named(kind: str, backbone: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", f"kind={kind}", f"backbone={backbone}", "dataset=scannet", "--dry-run"]) == 0
    assert cli.main(["info", f"kind={kind}", f"backbone={backbone}", "dataset=scannet"]) == 0
    assert "parameters" in capsys.readouterr().out


def test_an_evaluation_by_hand_is_the_one_of_the_profiles_tables() -> None:
    by_hand = compose(Request({"profile": "smoke"}))["evaluation"]["name"]
    of_tables = compose(Request({"profile": "smoke", "evaluation": "segmentation_voting"}))["evaluation"]["name"]
    assert by_hand == of_tables == "segmentation_voxel"
    assert compose(Request({"profile": "paper"}))["evaluation"]["name"] == "segmentation_voting"


def test_info_lists_tensors_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["info", "kind=pretrain", "backbone=votenet", "dataset=scannet"]
    cli.main(words)
    short = capsys.readouterr().out
    cli.main([*words, "--tensors"])
    assert len(capsys.readouterr().out.splitlines()) > 3 * len(short.splitlines())
    assert "--tensors" in short


@pytest.mark.parametrize("name", ["table_7", "table7", "Table 7", "tabel_07"])
@pytest.mark.parametrize("command", ["sweep", "report", "status", "collect"])
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(
    name: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, name]) == 1
    assert "did you mean table_07" in capsys.readouterr().err


def test_the_papers_sweeps_are_found_from_any_folder_and_ones_own_come_first() -> None:
    assert len(find_sweeps([])) > 20
    own = Path("sweeps/mine.yaml")
    own.parent.mkdir()
    own.write_text("runs: {each: [{row: r}]}\n")
    assert find_sweeps([]) == [own]
    assert find_sweeps(["mine", "table_07"])[0] == own
    assert find_sweeps(["table_07"])[0].stem == "table_07_framework_ablation"


@pytest.mark.parametrize("part", ["pretrain", "finetune"])
def test_epochs_that_a_profiles_steps_would_pass_over_are_refused_with_both_ways(
    part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", f"kind={part}", "dataset=s3dis", "--profile", "smoke", "--dry-run"]
    assert cli.main([*words, f"recipe.{part}.epochs=5"]) == 1
    said = capsys.readouterr().err
    assert "steps whatever the epochs" in said
    for remedy in (f"recipe.{part}.steps=7", f"recipe.{part}.steps=null"):
        assert remedy.partition("=")[0] in said
        assert cli.main([*words, f"recipe.{part}.epochs=5", remedy]) == 0
    assert cli.main([*words[:3], "--profile", "paper", "--dry-run", f"recipe.{part}.epochs=5"]) == 0


def test_an_evaluation_that_a_profile_replaces_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", "kind=evaluate", "dataset=s3dis", "pretrain=none", "--profile", "smoke", "--dry-run"]
    for asked, said in (("segmentation_voting", True), ("segmentation_voxel", False)):
        assert cli.main([*words, f"evaluation={asked}"]) == 0
        assert ("in place of segmentation_voting" in capsys.readouterr().err) is said
    words[words.index("smoke")] = "paper"  # `segmentation` is another name for the published protocol, no replacement
    assert cli.main([*words, "evaluation=segmentation"]) == 0
    assert "in place of" not in capsys.readouterr().err


def test_a_report_is_asked_for_by_its_sweeps_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(report, "build_report", lambda *words: asked.append(words) or 0)
    path = find_sweeps(["table_07"])[0]
    for words in ([str(path)], ["table_07"], ["missing.yaml"]):
        assert cli.main(["report", *words]) == 0
    assert [(name, sweeps) for name, _, _, sweeps, *_ in asked] == [
        (path.stem, path.parent),
        ("table_07", None),
        ("missing.yaml", None),
    ]


def test_where_there_are_none_both_places_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweepfile, "_places", list)
    with pytest.raises(UserError, match=r"\./sweeps and in the installed package"):
        sweeps_folder()


def test_status_cuts_no_name_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert cli.main(["sweep", "table_07", "--dry-run"]) == 0
    plan = Planner("smoke", needs_data=False).plan([load_sweep(find_sweeps(["table_07"])[0])])
    plan.write(Path("plan/smoke"))
    capsys.readouterr()
    assert cli.main(["status"]) == 0
    assert "table_07_framework_ablation " in capsys.readouterr().out


@pytest.mark.parametrize("place", [".", "conf"])
def test_a_module_of_ones_own_is_found_here_and_beside_its_config(
    place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("conf/pretrain").mkdir(parents=True)
    Path(place, f"mine_{len(place)}.py").write_text("class Mine:\n    def __init__(self, encoder, weight=1.0): ...\n")
    text = f"name: mine\nversion: 1\nmethod: {{_target_: mine_{len(place)}.Mine, weight: 2.0}}\n"
    Path("conf/pretrain/mine.yaml").write_text(text)
    before = list(sys.path), dict(os.environ)
    assert cli.main(["run", "kind=pretrain", "pretrain=mine", "--conf", "conf", "--dry-run"]) == 0, capsys.readouterr()
    assert (list(sys.path), dict(os.environ)) == before
