"""Publicly released detection checkpoints under our names.

VoteNet (facebookresearch/votenet), H3DNet (zaiweizhang/H3DNet), and MM-3DScene's detection checkpoints, whose backbone
and detector are VoteNet's (MingyeXu/mm-3dscene, detection/). Only names and shapes differ: 1x1 convolutions are linear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from mm3d_core.encoder import Encoder
from mm3d_core.errors import UserError
from mm3d_core.training.checkpoint import LoadReport, save_weights
from mm3d_core.training.released import read_released

LAYER_TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
Pairs = Iterator[tuple[str, str]]


def import_votenet(model: nn.Module, released: Mapping[str, Tensor], source: str = "checkpoint") -> LoadReport:
    """Load a released VoteNet into :class:`mm3d_backbones.votenet.VoteNet`, whole or not at all.

    Raises:
        UserError: a tensor is missing, left over or of another shape (another data set or other inputs).
    """
    return _load(model, _renamed(released, _votenet_pairs()), source, allow_unused=False)


def import_h3dnet(model: nn.Module, released: Mapping[str, Tensor], source: str = "checkpoint") -> LoadReport:
    """Load a released H3DNet into :class:`mm3d_backbones.h3dnet.H3DNet`. Raises as :func:`import_votenet`."""
    return _load(model, _renamed(released, _h3dnet_pairs()), source, allow_unused=False)


def import_encoder(
    encoder: Encoder, released: Mapping[str, Tensor], source: str = "checkpoint", skip_mismatched: bool = False
) -> LoadReport:
    """Load the ``backbone_net`` of a released VoteNet or MM-3DScene pre-training into a PointNet2Encoder.

    Args:
        skip_mismatched: leave out tensors of another shape, as MM-3DScene's fine-tuning does silently with the first
            layer (it pre-trains on color and height, and fine-tunes on color); the report names them.

    Raises:
        UserError: a tensor is missing or, unless skipped, of another shape.
    """
    layers = iter(encoder_layers())
    return _load(encoder, _renamed(released, layers), source, allow_unused=True, skip_mismatched=skip_mismatched)


def encoder_layers(towers: int = 0) -> list[tuple[str, str]]:
    """Released layer -> our layer inside the encoder: VoteNet's, or with ``towers`` H3DNet's."""
    if not towers:
        return [(theirs, ours.removeprefix("encoder.")) for theirs, ours in _encoder_pairs("backbone_net", "encoder")]
    pairs = [pair for pair in _h3dnet_pairs() if pair[1].startswith("encoder.")]
    return [(theirs, ours.removeprefix("encoder.")) for theirs, ours in pairs]


def convert_file(source: Path, target: Path, network: str) -> list[str]:
    """Rewrite a released checkpoint as ``model.safetensors`` for an evaluation.

    Args:
        network: ``votenet`` or ``h3dnet``.

    Returns:
        The names written.

    Raises:
        UserError: an unknown network, or a file that does not hold all of it.
    """
    tables = {"votenet": _votenet_pairs, "h3dnet": _h3dnet_pairs}
    if network not in tables:
        raise UserError(f"network={network}: choose one of {', '.join(tables)}")
    renamed, missing, unused = _renamed(read_released(source), tables[network]())
    if missing or unused:
        raise UserError(f"{source}: is not a released {network}: lacks {missing[:4]}, has {unused[:4]} beyond it")
    save_weights(target, renamed)
    return sorted(renamed)


def _load(
    module: nn.Module,
    renamed: tuple[dict[str, Tensor], list[str], list[str]],
    source: str,
    allow_unused: bool,
    skip_mismatched: bool = False,
) -> LoadReport:
    theirs, missing, unused = renamed
    ours = module.state_dict()
    shared = theirs.keys() & ours.keys()
    fitting = {name for name in shared if theirs[name].shape == ours[name].shape}
    report = LoadReport(source, sorted(fitting), sorted(ours.keys() - fitting), unused, sorted(shared - fitting))
    problems = bool(missing or (unused and not allow_unused) or (report.mismatched and not skip_mismatched))
    if problems or ours.keys() - theirs.keys():
        shapes = [f"{n} {tuple(theirs[n].shape)} for {tuple(ours[n].shape)}" for n in report.mismatched[:4]]
        raise UserError(
            f"{source}: does not fit {type(module).__name__}: {len(missing)} layers missing {missing[:3]}, "
            f"{len(unused)} tensors left over {unused[:3]}, {len(report.mismatched)} of another shape {shapes}; "
            "build the network with the classes, heading bins and input channels of the checkpoint"
        )
    module.load_state_dict({name: theirs[name] for name in fitting}, strict=False)
    return report


def _renamed(released: Mapping[str, Tensor], pairs: Pairs) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """Tensors under our names, their layers that are missing, and their tensors without a partner."""
    renamed, missing, used = {}, [], set()
    for theirs, ours in pairs:
        names = [name for name in LAYER_TENSORS if f"{theirs}.{name}" in released]
        if "weight" not in names:
            missing.append(theirs)
        for name in names:
            value = released[f"{theirs}.{name}"]
            renamed[f"{ours}.{name}"] = value.flatten(1) if value.ndim > 2 else value
            used.add(f"{theirs}.{name}")
    return renamed, missing, sorted(released.keys() - used)


def _votenet_pairs() -> Pairs:
    yield from _encoder_pairs("backbone_net", "encoder")
    yield from _voting_pairs("vgen", "voting")
    yield from _mlp_pairs("pnet.vote_aggregation.mlp_module", "clustering.abstraction.mlp")
    yield from _head_pairs("pnet", "head")


def _h3dnet_pairs() -> Pairs:
    for tower in range(4):
        yield from _encoder_pairs(f"backbone_net{tower + 1}", f"encoder.towers.{tower}")
    for number in range(2):
        yield f"conv_agg{number + 1}", f"fuse.linears.{number}"
        yield f"bn_agg{number + 1}", f"fuse.norms.{number}"
    yield from _voting_pairs("vgen", "votings.center")
    for theirs, ours in (("z", "horizontal"), ("xy", "vertical"), ("line", "edge")):
        yield f"conv_flag_{theirs}1", f"flags.{ours}.stack.linears.0"
        yield f"bn_flag_{theirs}1", f"flags.{ours}.stack.norms.0"
        yield f"conv_flag_{theirs}2", f"flags.{ours}.last"
        yield from _voting_pairs(f"vgen_{theirs}", f"votings.{ours}")
        yield from _mlp_pairs(f"pnet_{theirs}.vote_aggregation.mlp_module", f"primitives.{ours}.abstraction.mlp")
        yield from _head_pairs(f"pnet_{theirs}", f"primitives.{ours}.head")
    yield from _refinement_pairs("pnet_final")


def _refinement_pairs(theirs: str) -> Pairs:
    yield from _mlp_pairs(f"{theirs}.vote_aggregation.mlp_module", "clustering.abstraction.mlp")
    yield from _head_pairs(theirs, "head")
    for side, ours in (("surface", "faces"), ("line", "edges")):
        yield from _mlp_pairs(f"{theirs}.match_{side}_center.mlp_module", f"matching.{ours}.mlp")
        for number in range(2):
            yield f"{theirs}.conv_{side}{number + 1}", f"refinement.{ours}.linears.{number}"
            yield f"{theirs}.bn_{side}{number + 1}", f"refinement.{ours}.norms.{number}"
    for kind, ours in (("match", "matching.match"), ("match_sem", "matching.semantic_match")):
        yield f"{theirs}.conv_{kind}1", f"{ours}.stack.linears.0"
        yield f"{theirs}.bn_{kind}1", f"{ours}.stack.norms.0"
        yield f"{theirs}.conv_{kind}2", f"{ours}.last"
    places = ("first", 0), ("head.stack", 0), ("head.stack", 1)
    for number, (place, layer) in enumerate(places, start=1):
        yield f"{theirs}.conv_refine{number}", f"refinement.{place}.linears.{layer}"
        yield f"{theirs}.bn_refine{number}", f"refinement.{place}.norms.{layer}"
    yield f"{theirs}.conv_refine4", "refinement.head.last"


def _encoder_pairs(theirs: str, ours: str) -> Pairs:
    for name in ("sa1", "sa2", "sa3", "sa4"):
        yield from _mlp_pairs(f"{theirs}.{name}.mlp_module", f"{ours}.{name}.mlp")
    for name in ("fp1", "fp2"):
        yield from _mlp_pairs(f"{theirs}.{name}.mlp", f"{ours}.{name}", layers=2)


def _mlp_pairs(theirs: str, ours: str, layers: int = 3) -> Pairs:
    for number in range(layers):
        yield f"{theirs}.layer{number}.conv", f"{ours}.linears.{number}"
        yield f"{theirs}.layer{number}.bn.bn", f"{ours}.norms.{number}"


def _voting_pairs(theirs: str, ours: str) -> Pairs:
    yield from _head_pairs(theirs, f"{ours}.head")


def _head_pairs(theirs: str, ours: str) -> Pairs:
    for number in range(2):
        yield f"{theirs}.conv{number + 1}", f"{ours}.stack.linears.{number}"
        yield f"{theirs}.bn{number + 1}", f"{ours}.stack.norms.{number}"
    yield f"{theirs}.conv3", f"{ours}.last"
