"""What a message tells to do is accepted by the command that printed it, and any path may be a data set's."""

from __future__ import annotations

import ast
import inspect
import io
import re
import shlex
import struct
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from benchmarks.datasets.scans.made import columns, ply, room

from mm3d_benchmarks.commands.main import main, make_parser
from mm3d_benchmarks.datasets.known import DATASETS, reader_classes
from mm3d_benchmarks.datasets.readers.folder import FolderReader
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


def twelve_bits(folder: Path) -> None:
    ply(folder / "a.ply", columns(XYZ, RGB.astype(int) * 16, kind="ushort"))


def normals_called_colors(folder: Path) -> None:
    np.savetxt(folder / "a.pts", np.column_stack([XYZ, XYZ[:, 0], NORMAL * 0.6 + np.roll(NORMAL, 1, axis=1) * 0.8]))


def unknown_heading(folder: Path) -> None:
    (folder / "a.csv").write_text("a,b,c\n" + "\n".join(",".join(f"{v:.4f}" for v in row) for row in XYZ))


def faces_of_a_scan(folder: Path) -> None:
    faces = b"".join(struct.pack("<B3i", 3, i, i + 1, i + 2) for i in range(20))
    ply(
        folder / "a.ply",
        columns(XYZ, RGB),
        faces="element face 20\nproperty list uchar int vertex_indices\n",
        tail=faces,
    )


VALUES = {"color_range": "2550000", "columns": "x y z nx ny nz"}
FAULTS = [
    bare_table, one_broken, strange_colors, millimetres, other_formats, twelve_bits, normals_called_colors,
    unknown_heading, faces_of_a_scan,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
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


def test_every_option_and_flag_that_a_message_names_is_one() -> None:
    """Collected from the texts of the readers and of what prepares: none names an option that nobody takes."""
    known = {"dataset", "raw", "out", "root", "path"}
    for name in DATASETS:
        for reader in reader_classes(name):
            known |= set(inspect.signature(reader).parameters)
    flags = set(re.findall(r"--[a-z-]+", help_of("prepare")))
    named: dict[str, str] = {}
    for path in sorted(Path(inspect.getfile(FolderReader)).parents[1].rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                for match in REMEDY.finditer(node.value.split("python -c")[0]):
                    named[match[1] or match[2].split(".")[-1]] = f"{path.name}: {node.value}"
    assert {"columns", "scale", "color_range", "faces", "formats", "segment", "classes", "--skip-broken"} <= set(named)
    for name, where in named.items():
        assert name in (flags if name.startswith("-") else known), where


def help_of(command: str) -> str:
    """What ``--help`` prints."""
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit):
        main([command, "--help"] if command else ["--help"])
    return out.getvalue()


COMMANDS = sorted(set(re.findall(r"(?m)^ {4}([a-z]+)\s", help_of(""))))
EXAMPLES = [
    (command, line.strip())
    for command in COMMANDS
    for line in help_of(command).split("examples:")[-1].splitlines()
    if re.match(r"\s+mm3d \w", line)
]


@pytest.mark.parametrize(("command", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_the_examples_of_help_are_taken_by_the_parser(command: str, line: str) -> None:
    """Each example parses; the settings of ``mm3d run`` compose, as far as they need no file of the reader's."""
    words = shlex.split(line)
    parsed, _ = make_parser().parse_known_args(words[1:])
    assert parsed.command == words[1]
    if words[1] == "run":
        assert requests_of(list(parsed.overrides), ())


def test_examples_were_found() -> None:
    assert {command for command, _ in EXAMPLES} >= {"prepare", "run", "sweep", "view", "features", "predict", "import"}


def test_the_examples_of_preparation_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", np.column_stack([XYZ * 1000, RGB]))
    (tmp_path / "my_scans").mkdir()
    (tmp_path / "a.npy").rename(tmp_path / "my_scans/a.npy")
    lines = [shlex.split(line)[1:] for command, line in EXAMPLES if command == "prepare" and "folder" in line]
    assert lines
    for words in lines:
        assert main([*words, "out=out", "--workers", "0"]) == 0


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
