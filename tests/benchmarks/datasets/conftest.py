"""Small raw data sets, generated once per session."""

from pathlib import Path

import pytest

from mm3d_benchmarks.datasets.embedded.generate import generate

REAL = Path(__file__).parents[3].parent / "shared" / "real_samples"


@pytest.fixture(scope="session")
def raw_scannet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three embedded scans in ScanNet's raw format. Tests that change files copy them first."""
    return generate("scannet", tmp_path_factory.mktemp("raw") / "scannet", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def raw_s3dis(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six embedded rooms in S3DIS's raw format."""
    return generate("s3dis", tmp_path_factory.mktemp("raw") / "s3dis", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def raw_sunrgbd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five embedded frames in SUN RGB-D's raw format."""
    return generate("sunrgbd", tmp_path_factory.mktemp("raw") / "sunrgbd", profile="tiny", quiet=True)


@pytest.fixture(scope="session")
def real_samples() -> Path:
    """The folder of real samples beside the checkout."""
    if not REAL.is_dir():
        pytest.skip("the real samples are not on this machine")
    return REAL
