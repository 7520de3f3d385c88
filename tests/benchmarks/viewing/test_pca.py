"""Features as colors: alike features look alike, and the same features look the same."""

from __future__ import annotations

import numpy as np
import pytest

from mm3d_benchmarks.viewing.pca import pca_colors


def test_alike_features_get_alike_colors() -> None:
    random = np.random.default_rng(0)
    groups = random.normal(size=(4, 16)) * 5
    features = (groups[np.arange(400) % 4] + random.normal(size=(400, 16)) * 0.1).astype(np.float32)
    features[9] = np.nan
    colors = pca_colors(features)
    assert tuple(colors[9]) == (190, 190, 190)
    means = np.array([colors[n::4][10:].mean(axis=0) for n in range(4)])
    apart = np.abs(means[:, None] - means[None]).max(axis=2) + 999 * np.eye(4)
    assert apart.min() > 40
    assert max(colors[n::4][10:].astype(float).std() for n in range(4)) < 120
    np.testing.assert_array_equal(colors, pca_colors(features.copy()))


@pytest.mark.parametrize("width", [1, 2, 3])
def test_few_features_make_colors_too(width: int) -> None:
    assert pca_colors(np.random.default_rng(0).random((50, width))).shape == (50, 3)
    assert (pca_colors(np.ones((5, width))) == pca_colors(np.ones((5, width)))).all()
