"""RunSpec: the key is the content, and nothing but the content."""

from __future__ import annotations

import pytest
import toy

from mm3d_benchmarks.store.spec import RunSpec, in_order, merge, order_of, seen_by
from mm3d_core.errors import UserError


def test_the_key_is_twelve_hex_digits_and_survives_the_way_through_json() -> None:
    spec = toy.spec(value=1.0)
    assert len(spec.key) == 12
    assert int(spec.key, 16) >= 0
    assert RunSpec.from_json(spec.to_json()).key == spec.key


@pytest.mark.parametrize(
    "other",
    [
        toy.spec(value=2.0),
        toy.spec(kind="finetune"),
        toy.spec(upstream={"pretrain": "0" * 12}),
        RunSpec("pretrain", toy.spec().config, {}, {"scannet": "abc"}, "", {}),
        RunSpec("pretrain", toy.spec().config, {}, {}, "changed code", {}),
    ],
)
def test_whatever_moves_a_number_moves_the_key(other: RunSpec) -> None:
    assert other.key != toy.spec(value=1.0).key


def test_machine_settings_do_not_move_the_key_but_reach_the_run() -> None:
    plain = toy.spec()
    fast = RunSpec("pretrain", plain.config, local={"machine": {"workers": 8}, "dataset": {"root": "/elsewhere"}})
    assert fast.key == RunSpec("pretrain", plain.config).key
    assert fast.effective_config()["machine"]["workers"] == 8
    assert fast.effective_config()["dataset"] == {"name": "none", "root": "/elsewhere"}


def test_a_kind_sees_only_what_it_reads() -> None:
    config = {
        "pretrain": {"name": "x"},
        "recipe": {"pretrain": 1, "finetune": 2},
        "backbone": {"task": 1, "decoder": 2},
        "evaluation": 3,
    }
    assert seen_by("finetune", config) == {"recipe": {"finetune": 2}, "backbone": {"task": 1}, "kind": "finetune"}
    assert seen_by("pretrain", config)["backbone"] == {"decoder": 2}
    assert "recipe" not in seen_by("evaluate", config)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UserError, match="kind=train"):
        RunSpec("train", {})


def test_upstreams_come_first() -> None:
    first = toy.spec(value=1.0)
    second = toy.spec("finetune", {"pretrain": first.key})
    assert [s.key for s in in_order([second, first])] == [first.key, second.key]


def test_a_cycle_of_upstreams_is_named() -> None:
    with pytest.raises(UserError, match="a -> b -> a"):
        order_of({"a": ["b"], "b": ["a"]})


def test_an_unknown_upstream_is_named() -> None:
    with pytest.raises(UserError, match="starts from zzz"):
        order_of({"a": ["zzz"]})


def test_a_long_chain_is_no_matter_of_recursion() -> None:
    assert len(order_of({str(i): [str(i + 1)] if i < 5000 else [] for i in range(5001)})) == 5001


def test_merging_replaces_everything_but_mappings() -> None:
    assert merge({"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"c": [2]}, "d": {"e": 3}}) == {
        "a": {"b": 1, "c": [2]},
        "d": {"e": 3},
    }
