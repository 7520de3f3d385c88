"""The benchmark of Point Transformer V3: shares are shares, and a peer that is not there is said."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from speed.point_transformer_v3 import main, measured


def test_a_step_is_longer_than_its_parts():
    sizes = {"channels": (8,) * 5, "heads": (1,) * 5, "decoder_channels": (8,) * 4, "decoder_heads": (1,) * 4}
    found = measured(800, 1, **sizes, depths=(1,) * 5, decoder_depths=(1,) * 4)
    assert 0 < found["plan"] < found["step"]
    assert 0 < found["convolution"] + found["attention"] < 100
    assert 0 < found["voxels"] <= 800


@pytest.mark.skipif(find_spec("spconv") is not None, reason="spconv is installed")
def test_a_missing_peer_is_said(capsys: pytest.CaptureFixture[str]):
    assert main(["--points", "--repeats", "1"]) == 0
    assert "spconv is not installed" in capsys.readouterr().out
