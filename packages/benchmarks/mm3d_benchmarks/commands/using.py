"""The parsers of ``mm3d features``, ``predict``, ``view`` and ``import``: scans and weights of one's own."""

from __future__ import annotations

import argparse

from mm3d_benchmarks.commands.parsing import command, flag, group_folders, profile, store_place


def add_features(commands) -> None:
    """``mm3d features``."""
    parser = command(
        commands, "features", "own_networks:features", "features of every point of a scan from a pre-trained encoder",
        "examples:\n  mm3d features run=8f56298edfc2 scan=room.ply out=features.npy\n"
        "  mm3d features run=encoder.safetensors scan=room.ply out=features.npy level=all\n"
        "  mm3d features run=runs/8f56298edfc2 scan=room.obj out=features.npy up=y scale=0.001\n\n"
        "The array has a row for each point of the file, in its order: float32, NaN where a row is no point.",
    )  # fmt: skip
    _network_settings(parser, "scan=FILE out=FILE.npy; level=finest|all|NUMBER")


def add_predict(commands) -> None:
    """``mm3d predict``."""
    parser = command(
        commands, "predict", "own_networks:predict", "classes or boxes in scans of your own, from a trained model",
        "examples:\n  mm3d predict run=1c2d3e4f5a6b scan=room.ply out=predictions\n"
        "  mm3d predict run=model.safetensors scan=my_scans out=predictions device=cuda\n\n"
        "For each scan: NAME.html and NAME.png to look at; of classes NAME.ply (colors, labels) and NAME.labels.npy\n"
        "(a number for each point of the file, -1 where a row is no point); of boxes NAME.json.\n"
        "The picture leaves away what is higher than 2.1 m and the walls in front of the room.",
    )  # fmt: skip
    _network_settings(parser, "scan=FILE|FOLDER out=FOLDER; min_score=0.5 (boxes)")


def add_view(commands) -> None:
    """``mm3d view``."""
    parser = command(
        commands, "view", "view:view",
        "a prepared scene, or a scan in the colors of its features, as a page that opens from disk and as pictures",
        "examples:\n  mm3d view dataset=s3dis out=view\n"
        "  mm3d view dataset=s3dis scene=Area_5_office_1 out=view --profile paper\n"
        "  mm3d view run=8f56298edfc2 scan=room.ply level=all out=view\n"
        "  mm3d view features=features.npy scan=room.ply out=view",
    )  # fmt: skip
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE",
        help="dataset=NAME scene=NAME out=FOLDER; or run=KEY|FILE (or features=FILE.npy) scan=FILE out=FOLDER, and "
        "what mm3d features takes",
    )  # fmt: skip
    profile(parser)
    store_place(parser)


def add_import(commands) -> None:
    """``mm3d import``."""
    parser = command(
        commands, "import", "weights:import_weights",
        "bring in the encoder of a released checkpoint, with an account of its names and a weights card",
        "examples:\n  mm3d import model_best.pth backbone=point_transformer out=encoder.safetensors licence=MIT\n"
        "  mm3d run pretrain=file pretrain.path=encoder.safetensors backbone=point_transformer --profile paper",
    )  # fmt: skip
    parser.add_argument("file", metavar="FILE", help="what torch.save wrote (.pth, .tar), or a model.safetensors")
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE",
        help="backbone=NAME, out=FILE.safetensors, overrides such as backbone.encoder.channels=[...], and for the card "
        "from=, licence=, trained_on=, method=, citation=, note=",
    )  # fmt: skip
    flag(parser, "--names", "print every name that was taken, left out, missing")
    group_folders(parser)


def _network_settings(parser: argparse.ArgumentParser, own: str) -> None:
    parser.add_argument(
        "settings", nargs="*", metavar="KEY=VALUE",
        help=f"run=KEY|FILE {own}; device=auto|cpu|cuda, voxel=METRES, max_points=NUMBER (of a crop: memory), "
        "every_point=true (as the published voting), "
        "modules=PACKAGE (of a network of yours); and of the scan up=, scale=, columns=, color_range=, points=",
    )  # fmt: skip
    store_place(parser)
