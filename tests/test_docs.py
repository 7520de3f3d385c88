"""The worked examples of docs/ run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mm3d_benchmarks.commands import main as cli

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^```\w*[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = sorted((ROOT / "docs").glob("add_*.md"))


def _typed(text: str) -> list[str]:
    """Whole commands that a page prints, those with a stand-in such as KEY, N or ... left out."""
    fenced = "\n".join(FENCE.findall(text)).replace("\\\n", " ")
    found = [match[0] for match in re.finditer(r"^mm3d (?:run|sweep|info)\b.*$", fenced, re.MULTILINE)]
    found += re.findall(r"`(mm3d (?:run|sweep|info) [^`\n]+)`", FENCE.sub("", text))
    return [line for line in found if not re.search(r"\b[A-Z]{2,}\b(?!=)|\.\.\.|<", line.partition("#")[0])]


BLOCK = re.compile(
    r"^```(?P<language>\w+) (?P<what>file=(?P<file>\S+)|run)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@pytest.fixture(scope="module")
def smoke_data(tmp_path_factory):
    """The smoke profile's S3DIS scenes, generated and prepared once."""
    folder = tmp_path_factory.mktemp("docs")
    _run("mm3d generate --dataset s3dis --workers 1", folder)
    _run("mm3d prepare dataset=s3dis --workers 1", folder)
    return folder / "data"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_worked_example_runs_as_printed(page, tmp_path, smoke_data):
    (tmp_path / "data").symlink_to(smoke_data)
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    blocks = list(BLOCK.finditer(page.read_text()))
    commands = [line for block in blocks if not block["file"] for line in block["text"].splitlines()]
    assert commands, f"{page.name} has no commands to run"
    for block in blocks:
        if block["file"]:
            file = tmp_path / block["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block["text"])
    for command in commands:
        _run(command, tmp_path)


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name
)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


COMMANDS = [
    (page.name, line)
    for page in (ROOT / "README.md", *sorted({*(ROOT / "docs").glob("*.md")} - {*PAGES}))  # those run as a whole, above
    for line in dict.fromkeys(_typed(page.read_text()))
]


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line[:60]}" for page, line in COMMANDS])
def test_a_command_of_the_docs_asks_for_something_that_exists(page: str, line: str, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    words = shlex.split(line, comments=True)[1:]
    words += ["--dry-run"] if words[0] != "info" and "--dry-run" not in words else []
    assert cli.main(words) == 0, capsys.readouterr().err


def _run(command: str, folder: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
