"""``mm3d view``: a prepared scene, or a scan in the colors of its features."""

from __future__ import annotations

import argparse
from pathlib import Path

from mm3d_benchmarks.commands.data import key_values, profile_of
from mm3d_benchmarks.launching.prepared_data import prepared_root
from mm3d_core.errors import UserError


def view(options: argparse.Namespace) -> int:
    """Show one prepared scene, or a scan in the colors of its features."""
    from mm3d_benchmarks.viewing import page as viewing

    settings = key_values(options.settings)
    if "scan" in settings:
        from mm3d_benchmarks.commands.own_networks import view_features  # brings torch

        return view_features(settings, options.store)
    if "dataset" not in settings:
        raise UserError(
            "say which data set and scene: mm3d view dataset=scannet scene=scene0000_00 out=FOLDER; "
            "or which network and scan: mm3d view run=KEY scan=room.ply out=FOLDER"
        )
    data = profile_of(options.profile)["data"]
    dataset, root = settings.pop("dataset"), settings.pop("root", None)
    path = settings.pop("path", None) or settings.pop("dataset.path", None)
    root = Path(root) if root else prepared_root(dataset, data, path)
    scene, out = settings.pop("scene", None), Path(settings.pop("out", "view"))
    if settings:
        raise UserError(f"{sorted(settings)[0]}: unknown; mm3d view takes dataset, path, scene, root and out")
    for path in viewing.view_scene(root, None if scene is None else str(scene), out):
        print(path)
    return 0
