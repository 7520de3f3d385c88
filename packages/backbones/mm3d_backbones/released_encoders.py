"""The encoder of a released checkpoint, whole or not at all, with an account of every name.

One entrance for all networks of which checkpoints are released: Point Transformer (POSTECH-CVLab, MM-3DScene
segmentation, of whose pre-training the student is taken), Point Transformer V3, Stratified Transformer, VoteNet (with
MM-3DScene detection) and H3DNet; and for models of this suite. The names are those of :mod:`released_segmentation` and
:mod:`released_detection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from mm3d_backbones.h3dnet import FourTowers
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_backbones.pointnet2 import PointNet2Encoder
from mm3d_backbones.released_detection import LAYER_TENSORS, encoder_layers
from mm3d_backbones.released_point_transformer_v3 import convolution_weight
from mm3d_backbones.released_segmentation import encoder_name
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError

COUNTERS = "num_batches_tracked"  # of batch norms; no number depends on it, and old files lack it


@dataclass(frozen=True)
class Account:
    """What became of every name.

    Attributes:
        source: the file, for messages.
        taken: released name -> ours, in our order.
        left_out: released names that are not of the encoder (heads, decoders, a teacher), sorted.
        missing: our names that the file lacks and that matter to no number; anything else missing is refused.
    """

    source: str
    taken: Mapping[str, str]
    left_out: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def renamed(self) -> dict[str, str]:
        """Those taken under another name."""
        return {theirs: ours for theirs, ours in self.taken.items() if theirs != ours}

    def describe(self, every: bool = False) -> str:
        """Four lines for people; ``every``: all names, one a line."""
        limit = 10**9 if every else 3
        gap = "\n            " if every else ", "
        pairs = [f"{theirs} -> {ours}" for theirs, ours in self.renamed.items()]
        lines = [f"{self.source}: the encoder is whole", f"  taken     {len(self.taken)} tensors"]
        for title, names in (("renamed", pairs), ("left out", self.left_out), ("missing", self.missing)):
            more = f", and {len(names) - limit} more" if len(names) > limit else ""
            told = gap.join(names[:limit]) + more
            lines.append(f"  {title:<9} {len(names)}" + (f": {gap.lstrip(', ')}{told}" if names else ""))
        return "\n".join(lines)


def import_encoder(encoder: Encoder, released: Mapping[str, Tensor], source: str = "checkpoint") -> Account:
    """Copy a released encoder's tensors into ours.

    Args:
        released: tensors by their released names, ``module.`` stripped.

    Raises:
        UserError: an encoder of which nothing is released, a checkpoint of another network, or one of another width
            or depth; the encoder is as it was then.
    """
    names = encoder_names(encoder, released)
    ours, network = encoder.state_dict(), type(encoder).__name__
    if not names.keys() & released.keys() or not set(names.values()) & ours.keys():
        some = ", ".join(sorted(released)[:3])
        raise UserError(
            f"{source}: holds no {network} (it holds {some}); choose the backbone that the checkpoint is of"
        )
    if len(set(names.values())) < len(names):
        twice = next(ours for ours in names.values() if list(names.values()).count(ours) > 1)
        raise UserError(f"{source}: holds {twice} more than once; save the one network that you mean alone")
    tensors = {name: _as_ours(released[theirs], ours.get(name)) for theirs, name in names.items()}
    strange = sorted(n for n in tensors.keys() & ours.keys() if tensors[n].shape != ours[n].shape)
    if strange:
        first = strange[0]
        raise UserError(
            f"{source}: is a {network} of another width: {first} is {_size(tensors[first])}, this backbone's is "
            f"{_size(ours[first])} ({len(strange)} tensors differ); choose backbone, inputs and sizes as the "
            "checkpoint's, for example backbone.encoder.channels=..."
        )
    missing, beyond = sorted(ours.keys() - tensors.keys()), sorted(tensors.keys() - ours.keys())
    lacking = [name for name in missing if not name.endswith(COUNTERS)]
    if lacking or beyond:
        what = f"lacks {len(lacking)} of its tensors, {lacking[0]}" if lacking else f"has {beyond[0]} beyond it"
        raise UserError(
            f"{source}: is a {network} of another depth, or not whole: it {what}; choose the backbone's depths as the "
            "checkpoint's, or restore the file"
        )
    encoder.load_state_dict(tensors, strict=False)
    order = {name: number for number, name in enumerate(ours)}
    taken = dict(sorted(names.items(), key=lambda pair: order[pair[1]]))
    return Account(source, taken, tuple(sorted(released.keys() - taken.keys())), tuple(missing))


def encoder_names(encoder: Encoder, released: Mapping[str, Tensor]) -> dict[str, str]:
    """Released name -> our name inside the encoder, of every released tensor that belongs there.

    Tensors under our own names are taken too, alone or as the part ``encoder`` of a model.

    Raises:
        UserError: an encoder of which no released checkpoint is known.
    """
    ours = encoder.state_dict().keys()
    for prefix in ("", "encoder."):
        if {f"{prefix}{name}" for name in ours} <= released.keys():
            return {f"{prefix}{name}": name for name in ours}
    if isinstance(encoder, PointTransformer | PointTransformerV3 | StratifiedTransformer):
        found = {name: encoder_name(encoder, name, released) for name in released}
        return {theirs: ours for theirs, ours in found.items() if ours is not None}
    if isinstance(encoder, PointNet2Encoder | FourTowers):
        layers = encoder_layers(towers=len(encoder.towers) if isinstance(encoder, FourTowers) else 0)
        pairs = [(f"{theirs}.{name}", f"{ours}.{name}") for theirs, ours in layers for name in LAYER_TENSORS]
        return {theirs: ours for theirs, ours in pairs if theirs in released}
    raise UserError(f"{type(encoder).__name__}: no released checkpoint of this network is known; load its own weights")


def _as_ours(value: Tensor, ours: Tensor | None) -> Tensor:
    """A 1x1 convolution's weights as those of a linear layer, spconv's kernels as those of our convolution."""
    if ours is not None and ours.ndim == 3 and value.ndim == 5:
        return convolution_weight(value)
    return value.flatten(1) if ours is not None and ours.ndim == 2 and value.ndim > 2 else value


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "scalar"
