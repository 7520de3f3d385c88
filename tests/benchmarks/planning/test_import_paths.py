"""Constructors read as source text."""

from __future__ import annotations

import pytest

from mm3d_benchmarks.planning.import_paths import accepts, parameters_of, targets_in


@pytest.mark.parametrize(
    ("target", "argument", "answer"),
    [
        ("mm3d_core.methods.mm3dscene.MM3DScene", "csd_weight", True),
        ("mm3d_core.methods.mm3dscene.MM3DScene", "csd_wieght", False),
        ("mm3d_benchmarks.runs.recipe.Recipe", "steps", True),  # a dataclass
        ("mm3d_benchmarks.datasets.readers.scannet.facts", "anything", False),  # a function
        ("mm3d_backbones.h3dnet.FourTowers", "anything", None),  # **options
        ("torch.optim.AdamW", "lr", None),  # not ours
    ],
)
def test_what_a_constructor_accepts(target: str, argument: str, answer: bool | None) -> None:
    assert accepts(target, argument) is answer


def test_self_is_no_argument() -> None:
    assert "self" not in (parameters_of("mm3d_core.methods.mm3dscene.MM3DScene") or ())


def test_targets_are_found_at_any_depth() -> None:
    config = {"a": {"_target_": "x.Y"}, "b": [{"_target_": "z.W"}]}
    assert list(targets_in(config)) == [("a._target_", "x.Y"), ("b[0]._target_", "z.W")]
