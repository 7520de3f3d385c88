"""Damage and malice, from a seed: what may arrive in place of an honest file.

``mutate`` draws from generic damage (bits, blocks, lengths) and from what the format invites: counts, shapes, sizes,
nesting, aliases, tags that make objects, names that are paths, archives that unpack to far more than they weigh.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hostile.damage import Mutation, generic
from hostile.mutations_arrays import npy, npz, pcd, ply
from hostile.mutations_images import jpg, mat, png
from hostile.mutations_texts import js, text, yml
from hostile.mutations_weights import safetensors, sealed, tensors

FORMATS: dict[str, Callable[[bytes, Random], Mutation]] = {
    "ply": ply, "ascii ply": ply, "pcd": pcd, "npy": npy, "npz": npz, "mat": mat, "png": png, "jpg": jpg, "text": text,
    "json": js, "yaml": yml, "torch": tensors, "sealed": sealed, "safetensors": safetensors,
}  # fmt: skip


def mutate(data: bytes, kind: str, random: Random) -> Mutation:
    """One mutation of an honest file of a format."""
    special = FORMATS.get(kind)
    if special is not None and random.random() < 0.5:
        return special(data, random)
    return generic(data, kind, random)
