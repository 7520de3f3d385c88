"""The speed of a step of Point Transformer is measured against a network that computes the same things."""

from __future__ import annotations

import torch

from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.segmentor import Segmentor
from speed.point_transformer import main
from speed.point_transformer_peer import PeerPointTransformer


def test_the_peer_has_the_parameters_of_ours():
    def count(network: torch.nn.Module) -> int:
        return sum(parameter.numel() for parameter in network.parameters())

    assert count(PeerPointTransformer(6, 13)) == count(Segmentor(PointTransformer(), 13))


def test_a_small_measurement_prints_the_ratio(capsys):
    assert main(["--points", "600", "--repeats", "1"]) == 0
    out = capsys.readouterr().out
    assert "| 600 |" in out
    assert "3.5x" in out
