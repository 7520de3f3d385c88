"""The worked examples of docs/ run as they are printed, and links lead somewhere."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from printed import PAGES, ROOT, run

EXAMPLES = sorted((ROOT / "docs").glob("add_*.md"))
BLOCK = re.compile(r'^```(?:sh|\w+ title="(?P<into>in )?(?P<file>\S+)")\n(?P<text>.*?)^```$', re.MULTILINE | re.DOTALL)
SLOW = ("add_a_pretraining",)  # trains three times


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.stem in SLOW else ()) for page in EXAMPLES],
    ids=lambda page: page.stem,
)
def test_a_worked_example_runs_as_printed(page, tmp_path, request):
    text = page.read_text()
    home = copy_of_the_packages(tmp_path) if re.search(r'^```.*"packages/', text, re.MULTILINE) else None
    if "dataset=s3dis" in text:
        (tmp_path / "data").symlink_to(request.getfixturevalue("smoke_data"))
    shutil.copytree(ROOT / "sweeps", tmp_path / "sweeps")
    blocks = list(BLOCK.finditer(text))
    write_files(blocks, tmp_path)
    commands = [line for block in blocks if not block["file"] for line in block["text"].splitlines()]
    assert commands, f"{page.name} has no commands to run"
    for command in commands:
        run(command, tmp_path, home=home)


def test_the_suite_covers_a_new_data_set_and_a_new_backbone_without_another_line(tmp_path):
    home = copy_of_the_packages(tmp_path)
    for example in ("add_a_data_set", "add_a_backbone"):
        write_files(list(BLOCK.finditer((ROOT / "docs" / f"{example}.md").read_text())), tmp_path)
    config = home / "packages/benchmarks/mm3d_benchmarks/conf/backbone/tiny.yaml"
    config.write_text((tmp_path / "conf/backbone/tiny.yaml").read_text().replace("tiny_enc", "mm3d_backbones.tiny_enc"))
    (tmp_path / "tiny_encoder.py").rename(home / "packages/backbones/mm3d_backbones/tiny_encoder.py")
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    suites = "datasets/test_dataset_configs.py planning/test_compose.py test_plans_for_a_gpu.py"
    files = " ".join(f"tests/benchmarks/{name}" for name in suites.split())
    said = run(
        f"python -m pytest -vv -p no:cacheprovider {files} -k 'attic or tiny or reader_has or every_reader'",
        tmp_path,
        home=home,
    )
    assert "attic" in said
    assert "[tiny]" in said


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_site_takes_every_block_for_one(page):
    heads = re.findall(r"^```(\S.*)$", page.read_text(), re.MULTILINE)
    assert [head for head in heads if not re.fullmatch(r'\w+( title="[^"]+")?', head)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_sentence_names_exist(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    named = re.findall(r"`((?:mm3d_core|mm3d_backbones|mm3d_benchmarks|pointops|tests|speed|tools)/[\w/]+\.\w+)`", text)
    places = [ROOT, *(ROOT / "packages").iterdir()]
    assert [name for name in named if not any((place / name).exists() for place in places)] == []


def copy_of_the_packages(folder: Path) -> Path:
    """A checkout's Python packages, for examples that add files to them."""
    for name in ("core", "backbones", "benchmarks"):
        shutil.copytree(
            ROOT / "packages" / name, folder / "packages" / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    return folder


def write_files(blocks: list[re.Match[str]], folder: Path) -> None:
    """Write an example's files; a line that is called "in" a file goes into the list of data sets."""
    for block in blocks:
        if block["file"]:
            file = folder / block["file"]
            file.parent.mkdir(parents=True, exist_ok=True)
            text = block["text"]
            if block["into"]:
                before, found, after = file.read_text().partition("DATASETS = {\n")
                assert found
                text = before + found + text + after
            file.write_text(text)
