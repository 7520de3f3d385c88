"""One synthetic room as a scan of one's own: readable, labeled, repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mm3d_benchmarks.commands import main as cli
from mm3d_benchmarks.datasets.formats.ply import read_ply
from mm3d_benchmarks.datasets.readers.s3dis import CLASSES
from mm3d_benchmarks.synthetic.one_room import write_room_scan


def test_a_room_is_colored_labeled_and_repeatable(tmp_path: Path) -> None:
    segment = write_room_scan(tmp_path / "new/office.ply", seed=3, spacing=0.15)
    vertices, _ = read_ply(tmp_path / "new/office.ply")
    assert len(vertices) == len(segment) > 1000
    assert np.array_equal(vertices["label"], segment)
    assert {"floor", "wall", "chair"} <= {CLASSES[number] for number in np.unique(segment)}
    assert vertices["red"].std() > 10
    floor = vertices["z"][segment == CLASSES.index("floor")]
    assert abs(np.median(floor)) < 0.05
    write_room_scan(tmp_path / "again.ply", seed=3, spacing=0.15)
    assert (tmp_path / "again.ply").read_bytes() == (tmp_path / "new/office.ply").read_bytes()
    assert len(write_room_scan(tmp_path / "other.ply", seed=4, spacing=0.15)) != len(segment)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["room.xyz"], "end the name with .ply"),
        (["room.ply", "--kind", "castle"], "kind=castle: there is no such room; choose one of bedroom"),
    ],
)
def test_bad_words_are_one_error(words: list[str], message: str, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "--room", *words]) == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_room(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "--room", "rooms/kitchen.ply", "--kind", "kitchen", "--seed", "2"]) == 0
    assert "points" in capsys.readouterr().out
    assert Path("rooms/kitchen.ply").is_file()
