"""What tests of the documentation share."""

from __future__ import annotations

from pathlib import Path

import pytest
from printed import run


@pytest.fixture(scope="session")
def smoke_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smoke profile's S3DIS scenes in a folder ``data``, generated and prepared once."""
    folder = tmp_path_factory.mktemp("docs")
    run("mm3d generate --dataset s3dis --workers 1", folder)
    run("mm3d prepare dataset=s3dis --workers 1", folder)
    return folder / "data"
