"""What a message tells to do is accepted by the command that printed it, and any path may be a data set's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room

from mm3d_benchmarks.commands.main import main
from mm3d_benchmarks.launching.by_hand import chain_of, requests_of
from mm3d_benchmarks.launching.prepared_data import in_words_of_run
from mm3d_core.errors import UserError

XYZ, RGB, NORMAL = room()
REMEDY = re.compile(r"(--[a-z-]+)|((?:dataset\.)?[a-z_.]+)=('[^']*'|[^\s,;]*)")


def bare_table(folder: Path) -> None:
    np.save(folder / "a.npy", np.column_stack([XYZ, NORMAL]))


def one_broken(folder: Path) -> None:
    for name in "ab":
        path = ply(folder / f"{name}.ply", columns(XYZ, RGB))
    path.write_bytes(path.read_bytes()[:4000])


def strange_colors(folder: Path) -> None:
    ply(folder / "a.ply", columns(XYZ, RGB * 1e4, kind="float"))


def millimetres(folder: Path) -> None:
    ply(folder / "a.ply", columns(XYZ * 1000, RGB))


def other_formats(folder: Path) -> None:
    ply(folder / "a.ply", columns(XYZ, RGB))
    (folder / "b.xyz").write_text("\n".join(" ".join(f"{v:.4f}" for v in row) for row in XYZ))


VALUES = {"color_range": "2550000", "columns": "x y z nx ny nz"}


@pytest.mark.parametrize("fault", [bare_table, one_broken, strange_colors, millimetres, other_formats])
@pytest.mark.parametrize("command", ["prepare", "run"])
def test_what_a_message_names_works(fault, command: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    fault(tmp_path / "scans")

    def call(*words: str) -> str:
        """What the command says, from its error or its output."""
        try:
            if command == "prepare":
                main(["prepare", "dataset=folder", "raw=scans", "out=out", "--workers", "0", *words])
            else:
                asked = ["kind=pretrain", "profile=smoke", "dataset=folder", "dataset.path=scans", *words]
                chain_of(requests_of(asked, ())[0][0], dry=False)
        except UserError as error:
            return str(error)
        finally:
            out = capsys.readouterr()
            said.append(out.out + out.err)
        return said[-1]

    said: list[str] = []
    message = call()
    found = [match for match in REMEDY.finditer(message) if match[1] or match[2].split(".")[-1] != "root"]
    assert found, message
    for match in found[:1]:
        key, value = match[2], (match[3] or "").strip("'")
        word = match[1] or f"{key}={value or VALUES[key.split('.')[-1]]}"
        if command == "run" and " " in word:
            word = f"{key}='{value}'"
        again = call(word)
        assert "unknown" not in again
        assert "damaged" not in again
        assert next(line for line in message.splitlines() if match[0] in line) not in again.splitlines()


def test_options_are_named_as_the_command_takes_them() -> None:
    assert in_words_of_run("try scale=0.001 or columns='x y z'") == (
        "try dataset.reader.scale=0.001 or dataset.reader.columns='x y z'"
    )
    assert in_words_of_run("classes= names them, up= too") == "dataset.classes= names them, dataset.reader.up= too"
    assert in_words_of_run("dataset.reader.up=y") == "dataset.reader.up=y"


@pytest.mark.parametrize("name", ["My Scans (2), März #1", "a=b", "[x], {y}", "it's", "客厅", "50%", "a:b", "2024"])
def test_any_folder_may_be_a_data_sets_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    for path in (name, str(tmp_path / name)):
        [(request, _)] = requests_of(["dataset=folder", f"dataset.path={path}"], ())
        assert request.overrides["dataset.path"] == path


def test_several_paths_are_a_multirun() -> None:
    assert [r.overrides["dataset.path"] for r, _ in requests_of(["dataset=folder", "dataset.path=a,b"], ())] == [
        "a",
        "b",
    ]


def test_view_finds_what_run_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        ply(tmp_path / name / f"{name}.ply", columns(XYZ, RGB))
    chain_of(requests_of(["kind=pretrain", "profile=smoke", "dataset=folder", "dataset.path=one"], ())[0][0], dry=False)
    assert main(["view", "dataset=folder", "out=seen", "--profile", "smoke"]) == 0
    assert (tmp_path / "seen/one.html").is_file()
    chain_of(requests_of(["kind=pretrain", "profile=smoke", "dataset=folder", "dataset.path=two"], ())[0][0], dry=False)
    assert main(["view", "dataset=folder", "path=two", "out=seen", "--profile", "smoke"]) == 0
    assert (tmp_path / "seen/two.html").is_file()


def test_synthetic_scenes_that_are_not_there_yet_are_generated_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["prepare", "dataset=scannet", "--profile", "smoke"]) != 0
    assert "generate it first: mm3d generate --dataset scannet --profile smoke\n" in capsys.readouterr().err
    assert main(["prepare", "dataset=scannet", "--profile", "paper"]) != 0
    assert "raw must be the folder of the raw scannet data" in capsys.readouterr().err
