"""The encoder alone of every released network: whole, value for value, or refused in one line."""

from __future__ import annotations

import pytest
import torch
from backbones.released_states import h3dnet, point_transformer_state, stratified_state, votenet
from torch import Tensor, nn

from mm3d_backbones.h3dnet import FourTowers
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.released_encoders import COUNTERS, import_encoder
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.errors import UserError

DEEP = {
    "voxel": 0.02, "channels": (48, 96, 192, 384, 384), "depths": (0, 3, 9, 3, 3), "heads": (3, 6, 12, 24, 24),
    "window": 5, "key_stride": 4, "skipped_blocks": 3,
}  # fmt: skip


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix("module."): value for name, value in state.items()}


@pytest.mark.parametrize(
    ("encoder", "state", "heads"),
    [
        (PointTransformer, point_transformer_state(), ("cls.",)),
        (PointTransformer, point_transformer_state("PT_model.", "cls_pt", 20), ("cls_pt.",)),
        (StratifiedTransformer, stratified_state(), ("classifier.",)),
        (lambda: StratifiedTransformer(**DEEP), stratified_state(scannet=True), ("classifier.",)),
        (lambda: PointNet2Encoder(1), votenet(), ("vgen.", "pnet.")),
        (lambda: PointNet2Encoder(4), votenet(channels=4), ("vgen.", "pnet.")),
        (lambda: FourTowers(1), h3dnet(), ("vgen", "pnet", "conv_", "bn_")),
    ],
    ids=[
        "point transformer",
        "mm-3dscene",
        "stratified s3dis",
        "stratified scannet",
        "votenet",
        "mm-3dscene votenet",
        "h3dnet",
    ],
)
def test_every_tensor_of_the_encoder_arrives_once_and_the_rest_is_named(encoder, state, heads) -> None:
    ours, released = encoder(), bare(state)
    account = import_encoder(ours, released, "best.pth")
    weights = ours.state_dict()
    assert sorted(account.taken.values()) == sorted(weights)
    assert account.missing == ()
    assert set(account.taken) | set(account.left_out) == set(released)
    assert account.left_out
    assert all(name.startswith(heads) for name in account.left_out)
    for theirs, name in account.taken.items():
        assert torch.equal(weights[name], released[theirs].reshape(weights[name].shape))
    told = account.describe()
    assert "the encoder is whole" in told
    assert f"taken     {len(weights)}" in told
    assert f"left out  {len(account.left_out)}" in told
    assert all(name in account.describe(every=True) for name in (*account.taken, *account.left_out))


def test_old_files_without_counters_are_taken_and_told() -> None:
    released = {name: value for name, value in bare(point_transformer_state()).items() if not name.endswith(COUNTERS)}
    account = import_encoder(PointTransformer(), released)
    assert account.missing
    assert all(name.endswith(COUNTERS) for name in account.missing)
    assert f"missing   {len(account.missing)}" in account.describe()


def test_a_released_encoder_computes_what_its_tensors_say() -> None:
    """Same numbers as an encoder into which the whole released network was loaded."""
    from mm3d_backbones.released_segmentation import import_released, network_of

    state = bare(point_transformer_state())
    whole, alone = network_of(state), PointTransformer()
    import_released(whole, state)
    import_encoder(alone, state)
    for name, value in whole.encoder.state_dict().items():
        assert torch.equal(alone.state_dict()[name], value)


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {other: value for other, value in bare(state).items() if other != name}


@pytest.mark.parametrize(
    ("encoder", "state", "message"),
    [
        (PointTransformer(), bare(votenet()), "holds no PointTransformer"),
        (PointNet2Encoder(1), bare(point_transformer_state()), "holds no PointNet2Encoder"),
        (PointNet2Encoder(1), bare(h3dnet()), "holds no PointNet2Encoder"),
        (PointNet2Encoder(3), bare(votenet(channels=4)), "another width: sa1.mlp.linears.0.weight is 64x7"),
        (PointTransformer(depths=(1, 1, 1, 1, 1)), bare(point_transformer_state()), "another depth"),
        (PointTransformer(), without(point_transformer_state(), "enc1.0.linear.weight"), "lacks 1 of its tensors"),
        (
            PointTransformer(),
            bare(point_transformer_state()) | bare(point_transformer_state("PT_model.")),
            "more than once",
        ),
        (nn.Linear(2, 2), bare(votenet()), "no released checkpoint of this network"),
    ],
    ids=["foreign", "foreign detector", "towers", "inputs", "depth", "not whole", "twice", "unknown network"],
)
def test_what_does_not_fit_is_refused_in_one_line_and_changes_nothing(encoder, state, message) -> None:
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    with pytest.raises(UserError, match=r"^[^\n]+$") as refusal:
        import_encoder(encoder, state, "best.pth")
    assert message in str(refusal.value)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
