"""What one run is: a frozen configuration with a key by content.

The key hashes what can move a number: the kind, the resolved configuration, the manifests of the prepared data, the
keys of the runs it starts from, and a fingerprint of the code it can reach. Machine settings (devices, workers,
folders) are held beside the configuration, in ``local``, and never enter the key.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from mm3d_core.errors import UserError

KINDS = ("pretrain", "finetune", "evaluate")
KEY_LENGTH = 12
LISTS = ("protocol.scene_list", "protocol.point_list")  # keys that name a file whose content moves numbers
WEIGHTS = "pretrain.path"  # the same, of weights that were given in the place of a pre-training

#: Sections of the composed configuration that each kind does not read; what a kind cannot see cannot change its key.
_UNSEEN = {
    "pretrain": (
        "evaluation",
        "protocol",
        "task",
        "backbone.task",
        "recipe.finetune",
        "recipe.pretrain.mm3dscene",
    ),  # fmt: skip (the last: the method that reads it holds its values)
    "finetune": ("evaluation", "pretrain", "backbone.decoder", "recipe.pretrain"),
    "evaluate": (
        "pretrain",
        "backbone.decoder",
        "recipe",
        "protocol.scenes",
        "protocol.scene_list",
        "protocol.list_seed",
        "protocol.points_per_scene",
        "protocol.boxes_per_scene",
        "protocol.point_list",
        "protocol.longer",
    ),  # fmt: skip (protocol.train stays: it decides which network is scored)
}


@dataclass(frozen=True)
class RunSpec:
    """One run.

    Attributes:
        kind: ``pretrain``, ``finetune`` or ``evaluate``.
        config: resolved, plain and JSON-able; only what moves a number.
        upstream: role -> key of the runs it starts from; roles are ``pretrain`` and ``finetune``.
        data: data set name -> hash of its prepared manifest; key of ``LISTS``, or ``WEIGHTS`` -> hash of that file.
        code: fingerprint of the reachable code.
        local: machine settings laid over ``config`` when the run starts; not part of the key.

    Raises:
        UserError: an unknown kind.
    """

    kind: str
    config: Mapping[str, Any]
    upstream: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    code: str = ""
    local: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"kind={self.kind}: there is no such kind of run; choose one of {', '.join(KINDS)}")
        object.__setattr__(self, "key", content_key(self.identity()))

    key: str = field(init=False, default="")

    def identity(self) -> dict[str, Any]:
        """What the key hashes."""
        return {
            "kind": self.kind,
            "config": self.config,
            "upstream": self.upstream,
            "data": self.data,
            "code": self.code,
        }

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain data; :meth:`from_json` reads it back."""
        return {**self.identity(), "local": self.local}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        """The spec that :meth:`to_json` wrote.

        Raises:
            ValueError: it is not such a spec.
        """
        names = ("kind", "config", "upstream", "data", "code", "local")
        if not isinstance(value, Mapping) or any(name not in value for name in names):
            raise ValueError(f"a run has {', '.join(names)}")
        kind, config, upstream, data, code, local = (value[name] for name in names)
        texts = [kind, code, *upstream.values(), *data.values()] if _are_mappings(upstream, data) else [None]
        if not _are_mappings(config, local) or not all(isinstance(text, str) for text in texts):
            raise ValueError("its parts are of other kinds than they should be")
        return cls(kind, config, upstream, data, code, local)

    def effective_config(self) -> dict[str, Any]:
        """What the run function receives: the configuration with the machine settings laid over it."""
        return merge(copy.deepcopy(dict(self.config)), self.local)


def _are_mappings(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


def content_key(identity: Any) -> str:
    """12 hex digits of the SHA-256 of canonical JSON (sorted keys, no spaces)."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def seen_by(kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a composed configuration that a kind of run reads (a copy)."""
    kept = json.loads(json.dumps(config))  # a copy, several times faster than deepcopy
    longer = kind == "finetune" and (config.get("protocol") or {}).get("longer")  # counts the pre-training's steps
    for path in _UNSEEN[kind]:
        if not (longer and path == "recipe.pretrain"):
            drop(kept, path)
    kept["kind"] = kind
    return kept


def merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``over`` onto ``base`` in place, mapping by mapping; anything else replaces what was there."""
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(base.get(name), dict):
            merge(base[name], value)
        else:
            base[name] = copy.deepcopy(value)
    return base


def drop(config: dict[str, Any], path: str) -> None:
    """Remove a dotted key if it is there."""
    *parents, last = path.split(".")
    for name in parents:
        config = config.get(name)  # type: ignore[assignment]
        if not isinstance(config, dict):
            return
    config.pop(last, None)


def in_order(specs: Iterable[RunSpec]) -> list[RunSpec]:
    """Upstreams before what starts from them.

    Raises:
        UserError: a run that starts, over others, from itself, or an upstream that is not among the specs.
    """
    by_key = {spec.key: spec for spec in specs}
    return [by_key[key] for key in order_of({key: list(spec.upstream.values()) for key, spec in by_key.items()})]


def order_of(parents: Mapping[str, Iterable[str]]) -> list[str]:
    """Names sorted so that parents come first. Raises as :func:`in_order`."""
    for name, own in parents.items():
        for parent in own:
            if parent not in parents:
                raise UserError(f"run {name} starts from {parent}, which no plan knows; run `mm3d plan` again")
    try:
        return [*TopologicalSorter(parents).static_order()]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        raise UserError(f"upstreams form a cycle: {circle}; a run cannot start from its own result") from error
