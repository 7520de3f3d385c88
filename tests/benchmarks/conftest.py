"""Toy runs, importable here and in the processes that the launchers start, and small raw data sets once a session."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mm3d_benchmarks.store.store import Store
from mm3d_benchmarks.synthetic.generate import generate

TESTS = Path(__file__).resolve().parents[1]
TOYS = str(TESTS / "toys")
REAL = TESTS.parents[1] / "shared" / "real_samples"
sys.path.insert(0, TOYS)


@pytest.fixture
def toys_for_children(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts can import the toys."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [TOYS, os.environ.get("PYTHONPATH", "")])))


@pytest.fixture
def store(tmp_path: Path, toys_for_children: None) -> Store:
    """An empty store whose runs may be toys."""
    return Store(tmp_path / "runs")


@pytest.fixture(scope="session")
def raw_scannet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three synthetic scans in ScanNet's raw format. Tests that change files copy them first."""
    return generate("scannet", tmp_path_factory.mktemp("raw") / "scannet", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def raw_s3dis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six synthetic rooms in S3DIS's raw format."""
    return generate("s3dis", tmp_path_factory.mktemp("raw") / "s3dis", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def raw_sunrgbd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five synthetic frames in SUN RGB-D's raw format."""
    return generate("sunrgbd", tmp_path_factory.mktemp("raw") / "sunrgbd", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def real_samples() -> Path:
    """The folder of real samples beside the checkout."""
    if not REAL.is_dir():
        pytest.skip("the real samples are not on this machine")
    return REAL
