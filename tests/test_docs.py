"""The worked examples of docs/ run as they are printed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").glob("add_*.md"))
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


def _run(command: str, folder: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
