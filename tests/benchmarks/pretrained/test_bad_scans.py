"""Whatever is wrong with a scan, or with what is asked of a network: one error that names it, with a remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks.pretrained.scan_files import write_scan
from benchmarks.pretrained.small_networks import cloud, described

from mm3d_benchmarks import pretrained
from mm3d_benchmarks.pretrained.network import Network
from mm3d_core.errors import UserError


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Network]:
    folder = tmp_path_factory.mktemp("networks")
    asked = {"encoder": ("point_transformer", "pretrain"), "segmentor": ("point_transformer", "finetune")}
    asked |= {"detector": ("votenet", "finetune")}
    return {name: pretrained.load(described(folder / name, *what), device="cpu") for name, what in asked.items()}


def test_a_scan_without_color_for_a_network_that_reads_color(networks: dict[str, Network], tmp_path: Path) -> None:
    coord, color = cloud(600)
    grey = write_scan(tmp_path / "grey.ply", coord, None)
    with pytest.raises(UserError, match=r"grey.ply: has no color, which this network reads.*give.*a scan with color"):
        networks["encoder"].features(grey)
    assert networks["detector"].features(grey, progress=False).shape == (600, 64)  # reads height alone
    assert len(networks["encoder"].features(write_scan(tmp_path / "a.ply", coord, color), progress=False)) == 600


@pytest.mark.parametrize("unit", [0.001, 0.01])
def test_a_scan_in_other_units(networks: dict[str, Network], tmp_path: Path, unit: float) -> None:
    coord, color = cloud(600)
    file = write_scan(tmp_path / "room.ply", coord / unit, color)
    with pytest.raises(UserError, match=rf"room.ply: is .* m long, which no scan of rooms is: scale={unit:g} makes it"):
        networks["encoder"].features(file)
    found = networks["encoder"].features(file, scale=unit, progress=False)
    np.testing.assert_allclose(found, networks["encoder"].features(coord, color, progress=False), atol=1e-3)


def test_a_small_thing_in_metres_can_be_insisted_on(networks: dict[str, Network]) -> None:
    coord, color = cloud(600)
    with pytest.raises(UserError, match="scale=1 if it is in metres"):
        networks["encoder"].features(coord / 50, color)
    assert len(networks["encoder"].features(coord / 50, color, scale=1.0, progress=False)) == 600


@pytest.mark.parametrize("data", [b"", b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\n"
                                  b"property float z\nend_header\n"])  # fmt: skip
def test_an_empty_file(networks: dict[str, Network], tmp_path: Path, data: bytes) -> None:
    (tmp_path / "empty.ply").write_bytes(data)
    with pytest.raises(UserError, match=r"empty.ply: (is empty|the PLY has no vertices).*export"):
        networks["encoder"].features(tmp_path / "empty.ply")


@pytest.mark.parametrize(
    ("coord", "said"),
    [
        (np.zeros((0, 3)), "is empty"),
        (np.full((5, 3), np.nan), "no point with finite coordinates"),
        (np.zeros((5, 2)), r"\(N, 3\), not float64 \(5, 2\)"),
        (np.array([["a", "b", "c"]]), r"numbers \(N, 3\)"),
    ],
)
def test_arrays_that_are_no_points(networks: dict[str, Network], coord: np.ndarray, said: str) -> None:
    with pytest.raises(UserError, match=said):
        networks["encoder"].features(coord, np.zeros((len(coord), 3), np.uint8))


def test_colors_for_other_points(networks: dict[str, Network]) -> None:
    coord, color = cloud(600)
    with pytest.raises(UserError, match="color: has 599 rows, coord has 600"):
        networks["encoder"].features(coord, color[:-1])
    with pytest.raises(UserError, match="no known range"):
        networks["encoder"].features(coord, color.astype(float) * -7)


@pytest.mark.parametrize(
    ("who", "method", "said"),
    [
        ("segmentor", "detect", r"is a segmentation model, it cannot detect; call segment\(\.\.\.\)"),
        ("detector", "segment", r"is a detection model, it cannot segment; call detect\(\.\.\.\)"),
        ("encoder", "segment", r"is a pre-trained encoder without a head, it cannot segment; call features\(\.\.\.\)"),
        ("encoder", "detect", r"is a pre-trained encoder without a head, it cannot detect"),
    ],
)
def test_a_wrong_kind_of_model(networks: dict[str, Network], who: str, method: str, said: str) -> None:
    coord, color = cloud(600)
    with pytest.raises(UserError, match=said):
        getattr(networks[who], method)(coord, color)


@pytest.mark.parametrize("options", [{"level": 3}, {"level": "coarse"}, {"level": -1}, {"level": True}])
def test_a_level_that_is_not_there(networks: dict[str, Network], options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="is finest, all, or a number from 0 to 2"):
        networks["encoder"].features(*cloud(600), **options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"voxel": -1.0}, "must be positive"),
        ({"max_points": 0}, "must be positive"),
        ({"out": "features.txt"}, "ends in .npy"),
        ({"colour": 1}, "colour=: is no option of a scan; there are columns, up"),
        ({"up": "y"}, "turn arrays so that z is up"),
    ],
)
def test_options_that_cannot_be(networks: dict[str, Network], options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        networks["encoder"].features(*cloud(600), **options)


def test_files_that_are_no_scans(networks: dict[str, Network], tmp_path: Path) -> None:
    (tmp_path / "a.fbx").write_bytes(b"x")
    with pytest.raises(UserError, match=r"a.fbx: is not read as a scan; export it as .glb or .ply"):
        networks["encoder"].features(tmp_path / "a.fbx")
    with pytest.raises(UserError, match="there is no such scan"):
        networks["encoder"].features(tmp_path / "b.ply")
    (tmp_path / "c.ply").write_bytes(b"ply\nnonsense")
    with pytest.raises(UserError, match=r"c.ply"):
        networks["encoder"].features(tmp_path / "c.ply")
