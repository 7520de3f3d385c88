"""Publicly released segmentation checkpoints, under our names.

    python -m mm3d_backbones.released_segmentation model_best.pth model.safetensors --classes ceiling,floor,wall,...
    python -m mm3d_backbones.released_segmentation pretrained.pth encoder.safetensors --encoder

Known are the checkpoints of POSTECH-CVLab/point-transformer, of MingyeXu/mm-3dscene (segmentation; of a pre-training
the student is taken), of JIA-Lab-research/Stratified-Transformer and of Pointcept's Point Transformer V3 (its network;
its classifier has another form), by the names of their tensors. Nothing is
unpickled: files are read with ``weights_only=True``. What was not taken over is reported by name.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from mm3d_backbones import released_point_transformer_v3 as third
from mm3d_backbones.point_transformer import PointTransformer
from mm3d_backbones.point_transformer_v3 import PointTransformerV3
from mm3d_backbones.segmentor import Segmentor
from mm3d_backbones.stratified_transformer import StratifiedTransformer
from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import LoadReport, save_weights
from mm3d_core.training.released import read_released

S3DIS_ORDER = (
    "ceiling", "floor", "wall", "beam", "column", "window", "door", "chair", "table", "bookcase", "sofa", "board",
    "clutter",
)  # fmt: skip  # of the released heads; POSTECH-CVLab/point-transformer, data/s3dis/s3dis_names.txt

_BLOCK = {  # attention block of Point Transformer
    "linear1": "linear_in",
    "bn1": "norm_in",
    "transformer2.linear_q": "attention.query",
    "transformer2.linear_k": "attention.key",
    "transformer2.linear_v": "attention.value",
    "transformer2.linear_p": "attention.position",
    "transformer2.linear_w": "attention.weight",
    "bn2": "norm_attention",
    "linear3": "linear_out",
    "bn3": "norm_out",
}
_WINDOW_BLOCK = {  # attention block of Stratified Transformer
    "norm1": "norm_attention",
    "attn.relative_pos_query_table": "attention.query_table",
    "attn.relative_pos_key_table": "attention.key_table",
    "attn.relative_pos_value_table": "attention.value_table",
    "attn.qkv": "attention.query_key_value",
    "attn.proj": "attention.out",
    "norm2": "norm_perceptron",
    "mlp.fc1": "perceptron.0",
    "mlp.fc2": "perceptron.2",
}
_STEM = {
    "kpconv.weight": "convolution.weight",
    "kpconv.K_points": "convolution.points",
    "unary_1.0": "narrow.0",
    "unary_1.1.batch_norm": "narrow.1",
    "unary_2.0": "widen.0",
    "unary_2.1.batch_norm": "widen.1",
}


def import_released(
    model: Segmentor, state: Mapping[str, Tensor], class_names: Sequence[str] | None = None, source: str = "released"
) -> LoadReport:
    """Copy released tensors into a segmentation network.

    Args:
        model: our network; its encoder says which names are expected.
        state: released tensors by their names.
        class_names: the model's classes in order; a released S3DIS head (13 classes) is reordered to it. None: as
            released.
        source: named in the report.

    Returns:
        What was loaded, what stayed fresh, what had another shape, and which released tensors found no place.

    Raises:
        UserError: no tensor found its place, or classes that the released head does not have.
        ValueError: an encoder of which no released checkpoint is known.
    """
    translated, unused = {}, []
    levels = len(tuple(model.encoder.channels))  # pyright: ignore[reportArgumentType]
    translate = _translator(model.encoder, state, levels)
    for name, value in state.items():
        ours = translate(name.removeprefix("module."))
        if ours is None:
            unused.append(name)
        else:
            translated[ours] = third.translated(ours, value)
    _reorder_classes(translated, class_names)
    target = model.state_dict()
    fitting = {name for name in translated.keys() & target.keys() if translated[name].shape == target[name].shape}
    report = LoadReport(
        source=source,
        loaded=sorted(fitting),
        fresh=sorted(target.keys() - translated.keys()),
        unused=sorted([*unused, *(translated.keys() - target.keys())]),
        mismatched=sorted((translated.keys() & target.keys()) - fitting),
    )
    if not fitting:
        raise UserError(f"{source}: no tensor belongs to {type(model.encoder).__name__}\n{report.describe()}")
    model.load_state_dict({name: translated[name] for name in fitting}, strict=False)
    return report


def _translator(encoder: Encoder, state: Mapping[str, Tensor], levels: int):
    if isinstance(encoder, PointTransformer):
        return lambda name: point_transformer_name(name, levels)
    if isinstance(encoder, StratifiedTransformer):
        start = int(any(name.removeprefix("module.").startswith("downsample.") for name in state))
        return lambda name: stratified_name(name, levels, start)
    if isinstance(encoder, PointTransformerV3):
        return third.point_transformer_v3_name
    raise ValueError(f"model: no released checkpoint is known for {type(encoder).__name__}")


def encoder_name(encoder: Encoder, name: str, state: Mapping[str, Tensor]) -> str | None:
    """Our name, inside the encoder, of a released tensor; None if it has no place there.

    Args:
        state: the whole checkpoint, which tells two stems apart.

    Raises:
        ValueError: an encoder of which no released checkpoint is known.
    """
    levels = len(tuple(encoder.channels))  # pyright: ignore[reportArgumentType]
    ours = _translator(encoder, state, levels)(name.removeprefix("module."))
    return ours.removeprefix("encoder.") if ours is not None and ours.startswith("encoder.") else None


def point_transformer_name(name: str, levels: int = 5) -> str | None:
    """Our name of a tensor of POSTECH's or MM-3DScene's Point Transformer; None if it has no place (a teacher's)."""
    name = re.sub(r"^PT_model\.", "", name)
    if found := re.fullmatch(r"cls(?:_pt)?\.(.+)", name):
        return f"head.{found[1]}"
    found = re.fullmatch(r"(enc|dec)(\d)\.(\d)\.(.+)", name)
    if found is None:
        return None
    side, level, place, rest = found[1], int(found[2]) - 1, int(found[3]), found[4]
    if place:
        rest = _replaced(rest, _BLOCK)
        return rest and f"encoder.{'encoder' if side == 'enc' else 'decoder'}_blocks.{level}.{place - 1}.{rest}"
    if side == "enc":
        rest = _replaced(rest, {"linear": "linear", "bn": "norm"})
        return rest and f"encoder.down.{level}.{rest}"
    coarsest = level == levels - 1
    rest = _replaced(rest, {"linear1": "fuse" if coarsest else "skip", "linear2": "context" if coarsest else "lift"})
    return rest and f"encoder.up.{level}.{rest}"


def stratified_name(name: str, levels: int = 4, start: int = 0) -> str | None:
    """Our name of a tensor of the released Stratified Transformer; None if it has no place.

    Args:
        levels: levels of the network.
        start: level of its first attention stage: 0, or 1 with the two-convolution stem.
    """
    if found := re.fullmatch(r"classifier\.(.+)", name):
        return f"head.{found[1]}"
    if found := re.fullmatch(r"stem_layer\.(\d)\.(.+)", name):
        norm = "norm" if found[1] == "0" else "unused"
        rest = _replaced(found[2], {**_STEM, "bn.batch_norm": norm})
        return rest and f"encoder.stem.{found[1]}.{rest}"
    if found := re.fullmatch(r"downsample\.(norm|linear)\.(.+)", name):
        return f"encoder.down.0.{found[1]}.{found[2]}"
    if found := re.fullmatch(r"layers\.(\d)\.downsample\.(norm|linear)\.(.+)", name):
        return f"encoder.down.{int(found[1]) + start}.{found[2]}.{found[3]}"
    if found := re.fullmatch(r"layers\.(\d)\.blocks\.(\d+)\.(.+)", name):
        rest = _replaced(found[3], _WINDOW_BLOCK)
        return rest and f"encoder.stages.{int(found[1]) + start}.{found[2]}.{rest}"
    if found := re.fullmatch(r"upsamples\.(\d)\.linear([12])\.(.+)", name):
        return f"encoder.up.{levels - 2 - int(found[1])}.{'skip' if found[2] == '1' else 'lift'}.{found[3]}"
    return None


def _replaced(name: str, table: Mapping[str, str]) -> str | None:
    """``name`` with its beginning translated; None if no entry fits."""
    for theirs, ours in table.items():
        if name == theirs or name.startswith(f"{theirs}."):
            return ours + name[len(theirs) :]
    return None


def _reorder_classes(weights: dict[str, Tensor], class_names: Sequence[str] | None) -> None:
    """Bring the rows of a released S3DIS head into the order of ``class_names``."""
    last = weights.get("head.3.weight")
    if class_names is None or last is None or len(last) != len(S3DIS_ORDER) or tuple(class_names) == S3DIS_ORDER:
        return
    if sorted(class_names) != sorted(S3DIS_ORDER):
        raise UserError(f"class_names: the released S3DIS head knows {', '.join(S3DIS_ORDER)}; got {class_names}")
    rows = torch.tensor([S3DIS_ORDER.index(name) for name in class_names])
    for name in ("head.3.weight", "head.3.bias"):
        if name in weights:
            weights[name] = weights[name][rows]


def network_of(state: Mapping[str, Tensor]) -> Segmentor:
    """The network that a released checkpoint belongs to, with the head's number of classes.

    Raises:
        UserError: none that is known.
    """
    names = {name.removeprefix("module."): value for name, value in state.items()}
    head = next((v for n, v in names.items() if n in ("cls.3.weight", "cls_pt.3.weight", "classifier.3.weight")), None)
    classes = len(head) if head is not None else len(S3DIS_ORDER)
    if third.STEM in names:
        return Segmentor(third.encoder_of(names), len(names.get("seg_head.weight", S3DIS_ORDER)))
    first = names.get("enc1.0.linear.weight", names.get("PT_model.enc1.0.linear.weight"))
    if first is not None:
        return Segmentor(PointTransformer(in_channels=first.shape[1]), classes)
    if "stem_layer.1.kpconv.weight" in names:
        deep = StratifiedTransformer(
            voxel=0.02,
            channels=(48, 96, 192, 384, 384),
            depths=(0, 3, 9, 3, 3),
            heads=(3, 6, 12, 24, 24),
            window=5,
            key_stride=4,
            skipped_blocks=3,
        )
        return Segmentor(deep, classes)
    if "stem_layer.0.kpconv.weight" in names:
        return Segmentor(StratifiedTransformer(), classes)
    raise UserError(
        "the checkpoint is none of Point Transformer, Point Transformer V3, MM-3DScene (segmentation) or Stratified "
        f"Transformer; it holds {', '.join(sorted(names)[:3])}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert one file; prints the report. Returns 1, with one line on stderr, when that cannot be done."""
    parser = argparse.ArgumentParser(
        prog="python -m mm3d_backbones.released_segmentation", description=(__doc__ or "").partition("\n")[0]
    )  # pyright: ignore
    parser.add_argument("released", type=Path, help="a released .pth file")
    parser.add_argument("output", type=Path, help="the safetensors file to write, as a fine-tuning run does")
    parser.add_argument("--classes", help="class names in the order of your data set, separated by commas (S3DIS only)")
    parser.add_argument("--encoder", action="store_true", help="write the encoder alone, as a pre-training does")
    options = parser.parse_args(arguments)
    try:
        state = read_released(options.released)
        model = network_of(state)
        names = options.classes.split(",") if options.classes else None
        report = import_released(model, state, names, source=options.released.name)
        part = model.encoder if options.encoder else model
        save_weights(options.output, part.state_dict(), {"imported_from": options.released.name})
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(report.describe())
    return 0


if __name__ == "__main__":
    sys.exit(main())
