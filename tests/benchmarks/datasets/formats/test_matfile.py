"""MATLAB files: scipy's own come through, and what would crash it does not reach it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hostile.mutations_images import nested_cells
from scipy.io import savemat

from mm3d_benchmarks.datasets.formats.matfile import read_mat

HEAD = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


@pytest.mark.parametrize("compressed", [False, True])
def test_what_metadata_is_made_of_comes_through(tmp_path: Path, compressed: bool) -> None:
    cells = np.empty((1, 2), object)
    cells[0, :] = ["SUNRGBD/a", np.arange(6.0).reshape(2, 3)]
    inner = np.array([("chair", np.eye(3))], [("name", object), ("basis", object)])
    value = {"number": 1.5, "text": "straße", "cells": cells, "struct": inner, "empty": np.zeros((0, 0)), "z": 1 + 2j,
             "flags": np.array([[True, False]]), "small": np.arange(5, dtype=np.uint8)}  # fmt: skip
    savemat(tmp_path / "a.mat", value, do_compression=compressed)
    found = read_mat(tmp_path / "a.mat")
    assert found["text"][0] == "straße"
    assert found["cells"][0, 0][0] == "SUNRGBD/a"
    np.testing.assert_array_equal(found["struct"][0, 0]["basis"], np.eye(3))
    assert found["z"] == 1 + 2j


def test_cells_within_cells_without_end_are_refused(tmp_path: Path) -> None:
    """scipy follows them by recursion in C: 20,000 of them end its process."""
    (tmp_path / "a.mat").write_bytes(HEAD + nested_cells(20_000))
    with pytest.raises(ValueError, match="nested deeper"):
        read_mat(tmp_path / "a.mat")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "not a MATLAB v5"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "option -v7"),
        (HEAD + b"\x0e\0\0\0\xff\xff\xff\x7f", "left"),
        (HEAD + b"\x0f\0\0\0\x04\0\0\0abcd", "error"),
    ],
)
def test_other_files_are_told_apart(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(ValueError, match=match):
        read_mat(tmp_path / "a.mat")
