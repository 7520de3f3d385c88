"""What a released project has: one licence, one version, typed packages, and files that say how to cite and join."""

import tomllib
from pathlib import Path

import yaml

import mm3d_core
import pointops

ROOT = Path(__file__).resolve().parents[1]


def test_both_distributions_carry_the_same_licence():
    suite, operations = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in (".", "packages/pointops")
    )
    assert suite["project"]["license"] == operations["project"]["license"] == "Apache-2.0"
    assert (ROOT / "LICENSE").read_bytes() == (ROOT / "packages/pointops/LICENSE").read_bytes()
    assert all("NOTICE" in project["project"]["license-files"] for project in (suite, operations))


def test_files_that_cannot_ask_for_the_version_agree_with_it():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
    changes = (ROOT / "CHANGELOG.md").read_text()
    assert cited == mm3d_core.__version__ == pointops.__version__
    assert f"## [{cited}]" in changes


def test_every_package_is_typed():
    for package in ROOT.glob("packages/*/*/__init__.py"):
        assert (package.parent / "py.typed").is_file(), package.parent


def test_pip_and_uv_find_pointops_in_the_checkout_as_the_docs_say():
    suite, operations = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text()) for folder in (".", "packages/pointops")
    )
    name = operations["project"]["name"]
    assert name in suite["project"]["dependencies"]
    source = suite["tool"]["uv"]["sources"][name]["path"]
    assert (ROOT / source).samefile(ROOT / "packages/pointops")
    assert f"pip install ./{source} ." in (ROOT / "docs/laptop.md").read_text()


def test_pointops_asks_for_no_other_torch_than_the_suite_does():
    suite, operations = (
        tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
        for folder in (".", "packages/pointops")
    )
    assert suite["requires-python"] == operations["requires-python"]
    assert set(operations["dependencies"]) <= set(suite["dependencies"])
