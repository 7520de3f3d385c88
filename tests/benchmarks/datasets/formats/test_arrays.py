"""NumPy files: every honest array is read, and no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mm3d_benchmarks.datasets.formats.arrays import read_archive, read_array

NUMBERS = st.sampled_from(["<f4", "<f8", "u1", "<i2", ">i4", "<i8", "?"]).flatmap(
    lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=5))
)
NO_RESET = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)


@NO_RESET
@given(value=NUMBERS, fortran=st.booleans())
def test_any_array_comes_back(tmp_path: Path, value: np.ndarray, fortran: bool) -> None:
    value = np.asfortranarray(value) if fortran else value
    np.save(tmp_path / "a.npy", value)
    np.savez_compressed(tmp_path / "a.npz", value=value, other=value.reshape(-1))
    for found in (read_array(tmp_path / "a.npy"), read_archive(tmp_path / "a.npz")["value"]):
        np.testing.assert_array_equal(found, value)
        assert found.dtype == value.dtype
    np.testing.assert_array_equal(read_array(tmp_path / "a.npy", memory_map=True), value)


@NO_RESET
@given(value=NUMBERS, change=st.integers(-9, 9).filter(bool))
def test_a_file_of_another_length_is_refused(tmp_path: Path, value: np.ndarray, change: int) -> None:
    np.save(tmp_path / "a.npy", value)
    data = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(ValueError):
        read_array(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "value", [np.array([{"a": 1}], object), np.array(["x"]), np.zeros(2, "<c8"), np.zeros(2, "i4,f4")]
)
def test_anything_but_plain_numbers_is_refused(tmp_path: Path, value: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", value, allow_pickle=True)
    np.savez(tmp_path / "a.npz", a=value)
    for read in (lambda: read_array(tmp_path / "a.npy"), lambda: read_archive(tmp_path / "a.npz")):
        with pytest.raises(ValueError, match="plain numbers"):
            read()


def test_text_is_read_where_it_is_expected(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", names=np.array(["floor", "wall"]))
    assert read_archive(tmp_path / "a.npz", "biufU")["names"].tolist() == ["floor", "wall"]
